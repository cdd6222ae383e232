/**
 * Cuts what a socket delivers into frames (RFC 9113 section 4). DATA is passed on as it comes, piece by piece, so that its bytes are
 * copied once, to where they belong; other frames are passed whole.
 */
import {
  ConnectionError,
  DEFAULT_FRAME_BYTES,
  ERROR,
  FLAG,
  FRAME,
  FRAME_HEAD_BYTES,
  frameSizeError,
  protocolError,
  readUint31,
} from './frames.ts'
import { isShared } from './socket-reader.ts'

export interface FrameSink {
  /** A frame that is whole, with its payload between `start` and `end`. Only valid during the call. */
  onFrame(type: number, flags: number, streamId: number, bytes: Buffer, start: number, end: number): void
  /** A DATA frame begins; `length` is that of its payload with the padding, which counts for flow control. */
  onDataHead(flags: number, streamId: number, length: number): void
  /** Content of it. Gives the place up to which it was taken: less than `end` stops the reader. */
  onData(bytes: Buffer, start: number, end: number): number
  /** All of it is there. */
  onDataEnd(): void
}

export class FrameReader {
  readonly #sink: FrameSink
  readonly #head = Buffer.alloc(FRAME_HEAD_BYTES)
  #headFilled = 0
  /** Between the head of a frame and its end. */
  #inFrame = false
  #type = 0
  #flags = 0
  #streamId = 0
  /** Bytes of the payload that are still to come: content of DATA, its padding, all of another frame. */
  #left = 0
  #padding = 0
  #padLengthDue = false
  /** The payload of a frame that came in more than one chunk. */
  #payload: Buffer | undefined
  #filled = 0
  /** Frames that have begun. */
  frames = 0

  constructor(sink: FrameSink) {
    this.#sink = sink
  }

  /** The payload of a frame is there in part: it is kept until the rest comes. */
  get keeping(): boolean {
    return this.#payload !== undefined
  }

  /** Gives the place up to which the chunk was read: its end, unless the sink stopped it. */
  read(chunk: Buffer, at: number): number {
    const end = chunk.length
    while (at < end) {
      if (!this.#inFrame) {
        if (this.#headFilled === 0 && end - at >= FRAME_HEAD_BYTES) {
          this.#begin(chunk, at)
          at += FRAME_HEAD_BYTES
        } else {
          const count = Math.min(FRAME_HEAD_BYTES - this.#headFilled, end - at)
          chunk.copy(this.#head, this.#headFilled, at, at + count)
          this.#headFilled += count
          at += count
          if (this.#headFilled < FRAME_HEAD_BYTES) return at
          this.#headFilled = 0
          this.#begin(this.#head, 0)
        }
      }
      if (this.#type === FRAME.DATA) {
        const upTo = this.#data(chunk, at, end)
        if (upTo < 0) return ~upTo
        at = upTo
      } else at = this.#whole(chunk, at, end)
    }
    return at
  }

  #begin(bytes: Buffer, at: number): void {
    const length = (bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!
    const type = bytes[at + 3]!
    const flags = bytes[at + 4]!
    if (length > DEFAULT_FRAME_BYTES) throw frameSizeError(`a frame of ${length} bytes`)
    this.frames++
    this.#type = type
    this.#flags = flags
    this.#streamId = readUint31(bytes, at + 5)
    this.#left = length
    this.#inFrame = true
    if (type !== FRAME.DATA) return
    this.#padLengthDue = (flags & FLAG.PADDED) !== 0
    this.#padding = 0
    if (this.#padLengthDue && length === 0) throw frameSizeError('padding without its length')
    this.#sink.onDataHead(flags, this.#streamId, length)
  }

  /** Gives the place up to which it read, or ~place when the sink stopped it there. */
  #data(chunk: Buffer, at: number, end: number): number {
    if (this.#padLengthDue) {
      if (at === end) return at
      const padding = chunk[at++]!
      this.#padLengthDue = false
      this.#left -= 1 + padding
      if (this.#left < 0) throw protocolError('more padding than frame')
      this.#padding = padding
    }
    if (this.#left > 0) {
      const upTo = Math.min(end, at + this.#left)
      if (upTo > at) {
        const taken = this.#sink.onData(chunk, at, upTo)
        this.#left -= taken - at
        at = taken
        if (taken < upTo) return ~taken
      }
      if (this.#left > 0) return at
    }
    if (this.#padding > 0) {
      const skipped = Math.min(this.#padding, end - at)
      this.#padding -= skipped
      at += skipped
      if (this.#padding > 0) return at
    }
    this.#inFrame = false
    this.#sink.onDataEnd()
    return at
  }

  #whole(chunk: Buffer, at: number, end: number): number {
    const length = this.#left
    if (this.#payload === undefined && end - at >= length) {
      this.#inFrame = false
      this.#sink.onFrame(this.#type, this.#flags, this.#streamId, chunk, at, at + length)
      return at + length
    }
    this.#payload ??= Buffer.allocUnsafe(length)
    const count = Math.min(length - this.#filled, end - at)
    chunk.copy(this.#payload, this.#filled, at, at + count)
    this.#filled += count
    if (this.#filled === length) {
      const payload = this.#payload
      this.#payload = undefined
      this.#filled = 0
      this.#inFrame = false
      this.#sink.onFrame(this.#type, this.#flags, this.#streamId, payload, 0, length)
    }
    return at + count
  }
}

/** Where content starts and ends in a payload that may be padded (RFC 9113 sections 6.1 and 6.2). */
export function withoutPadding(flags: number, bytes: Buffer, start: number, end: number): number {
  if ((flags & FLAG.PADDED) === 0) return end
  if (start === end) throw frameSizeError('padding without its length')
  const contentEnd = end - bytes[start]!
  if (contentEnd < start + 1) throw new ConnectionError(ERROR.PROTOCOL_ERROR, 'more padding than frame')
  return contentEnd
}

/**
 * Frees a chunk of the socket now: all of it was copied to where it belongs. Left to the garbage collector, chunks of 64 KB
 * make it mark the whole heap every few hundred requests (42 KB requests: some 60 us each on a busy machine).
 */
export function freeChunk(chunk: Buffer): void {
  const { buffer } = chunk
  if (buffer instanceof ArrayBuffer && buffer.byteLength === chunk.length && !isShared(chunk))
    buffer.transfer(0)
}
