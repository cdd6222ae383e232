/** SETTINGS (RFC 9113 section 6.5): what the peer said, checked, and how own settings are written. */
import {
  ConnectionError,
  DEFAULT_FRAME_BYTES,
  ERROR,
  FRAME,
  FRAME_HEAD_BYTES,
  frameSizeError,
  MAX_FRAME_BYTES,
  protocolError,
  putFrameHead,
  putUint32,
  readUint32,
} from './frames.ts'

export const SETTING = {
  HEADER_TABLE_SIZE: 1,
  ENABLE_PUSH: 2,
  MAX_CONCURRENT_STREAMS: 3,
  INITIAL_WINDOW_SIZE: 4,
  MAX_FRAME_SIZE: 5,
  MAX_HEADER_LIST_SIZE: 6,
} as const

export const DEFAULT_WINDOW = 65_535
export const MAX_WINDOW = 2 ** 31 - 1
export const DEFAULT_TABLE_BYTES = 4096
/** More than this in one frame is no use: six settings are known. */
const MAX_SETTINGS = 64

/** The peer's settings; the defaults until its first SETTINGS frame. */
export class PeerSettings {
  headerTableSize = DEFAULT_TABLE_BYTES
  maxConcurrentStreams = Number.POSITIVE_INFINITY
  initialWindowSize = DEFAULT_WINDOW
  maxFrameSize = DEFAULT_FRAME_BYTES
  maxHeaderListSize = Number.POSITIVE_INFINITY

  /** Takes over the payload of a SETTINGS frame, in the order in which it lists them. */
  apply(bytes: Uint8Array, start: number, end: number): void {
    const length = end - start
    if (length % 6 !== 0) throw frameSizeError('SETTINGS of a length that is no multiple of 6')
    if (length > 6 * MAX_SETTINGS)
      throw new ConnectionError(ERROR.ENHANCE_YOUR_CALM, 'too many settings', 'flood_settings')
    for (let at = start; at < end; at += 6)
      this.#set((bytes[at]! << 8) | bytes[at + 1]!, readUint32(bytes, at + 2))
  }

  #set(setting: number, value: number): void {
    switch (setting) {
      case SETTING.HEADER_TABLE_SIZE:
        this.headerTableSize = value
        break
      case SETTING.ENABLE_PUSH:
        if (value > 1) throw protocolError('SETTINGS_ENABLE_PUSH must be 0 or 1')
        break
      case SETTING.MAX_CONCURRENT_STREAMS:
        this.maxConcurrentStreams = value
        break
      case SETTING.INITIAL_WINDOW_SIZE:
        if (value > MAX_WINDOW)
          throw new ConnectionError(ERROR.FLOW_CONTROL_ERROR, 'SETTINGS_INITIAL_WINDOW_SIZE is too large')
        this.initialWindowSize = value
        break
      case SETTING.MAX_FRAME_SIZE:
        if (value < DEFAULT_FRAME_BYTES || value > MAX_FRAME_BYTES)
          throw protocolError('SETTINGS_MAX_FRAME_SIZE is out of range')
        this.maxFrameSize = value
        break
      case SETTING.MAX_HEADER_LIST_SIZE:
        this.maxHeaderListSize = value
        break
    }
  }
}

/** A whole SETTINGS frame of these pairs. */
export function encodeSettings(pairs: readonly (readonly [setting: number, value: number])[]): Uint8Array {
  const frame = new Uint8Array(FRAME_HEAD_BYTES + pairs.length * 6)
  let at = putFrameHead(frame, 0, pairs.length * 6, FRAME.SETTINGS, 0, 0)
  for (const [setting, value] of pairs) {
    frame[at + 1] = setting
    putUint32(frame, at + 2, value)
    at += 6
  }
  return frame
}
