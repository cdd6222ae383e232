/**
 * Frames of HTTP/2: their layout (RFC 9113 section 4.1), types and flags (section 6) and error codes (section 7).
 * A frame is 9 bytes of head, then its payload:
 *
 *     length 24 bits | type 8 | flags 8 | reserved 1, stream id 31
 */

export const FRAME = {
  DATA: 0,
  HEADERS: 1,
  PRIORITY: 2,
  RST_STREAM: 3,
  SETTINGS: 4,
  PUSH_PROMISE: 5,
  PING: 6,
  GOAWAY: 7,
  WINDOW_UPDATE: 8,
  CONTINUATION: 9,
} as const

/** ACK is that of SETTINGS and PING, END_STREAM the same bit on DATA and HEADERS. */
export const FLAG = { ACK: 1, END_STREAM: 1, END_HEADERS: 4, PADDED: 8, PRIORITY: 32 } as const

export const ERROR = {
  NO_ERROR: 0,
  PROTOCOL_ERROR: 1,
  INTERNAL_ERROR: 2,
  FLOW_CONTROL_ERROR: 3,
  SETTINGS_TIMEOUT: 4,
  STREAM_CLOSED: 5,
  FRAME_SIZE_ERROR: 6,
  REFUSED_STREAM: 7,
  CANCEL: 8,
  COMPRESSION_ERROR: 9,
  CONNECT_ERROR: 10,
  ENHANCE_YOUR_CALM: 11,
} as const

/** What an error is called in a metric, by its code. */
const REASONS: readonly string[] = [
  'no_error',
  'protocol_error',
  'internal_error',
  'flow_control',
  'settings_timeout',
  'stream_closed',
  'frame_size',
  'refused_stream',
  'cancel',
  'compression',
  'connect',
  'flood',
]

export const FRAME_HEAD_BYTES = 9
/** SETTINGS_MAX_FRAME_SIZE as it is when nobody changes it; what Weir takes. */
export const DEFAULT_FRAME_BYTES = 16_384
export const MAX_FRAME_BYTES = 2 ** 24 - 1
export const MAX_STREAM_ID = 2 ** 31 - 1
/** What a client sends first (RFC 9113 section 3.4). */
export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')

/** Ends the connection: GOAWAY with this code (RFC 9113 section 5.4.1). */
export class ConnectionError extends Error {
  readonly code: number
  /** For a metric: one word of a few. */
  readonly reason: string
  constructor(code: number, message: string, reason = REASONS[code] ?? 'protocol_error') {
    super(message)
    this.name = 'ConnectionError'
    this.code = code
    this.reason = reason
  }
}

/** Ends one stream: RST_STREAM with this code (RFC 9113 section 5.4.2). */
export class StreamError extends Error {
  readonly code: number
  readonly streamId: number
  constructor(streamId: number, code: number, message: string) {
    super(message)
    this.name = 'StreamError'
    this.streamId = streamId
    this.code = code
  }
}

export function protocolError(message: string): ConnectionError {
  return new ConnectionError(ERROR.PROTOCOL_ERROR, message)
}

export function frameSizeError(message: string): ConnectionError {
  return new ConnectionError(ERROR.FRAME_SIZE_ERROR, message)
}

/** Writes a frame's head; gives the place after it. */
export function putFrameHead(
  target: Uint8Array,
  at: number,
  length: number,
  type: number,
  flags: number,
  streamId: number,
): number {
  target[at] = length >>> 16
  target[at + 1] = length >>> 8
  target[at + 2] = length
  target[at + 3] = type
  target[at + 4] = flags
  putUint32(target, at + 5, streamId)
  return at + FRAME_HEAD_BYTES
}

export function putUint32(target: Uint8Array, at: number, value: number): void {
  target[at] = value >>> 24
  target[at + 1] = value >>> 16
  target[at + 2] = value >>> 8
  target[at + 3] = value
}

export function readUint32(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0
}

/** 31 bits, without the reserved one: a stream id or a window increment. */
export function readUint31(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! & 0x7f) << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!
}
