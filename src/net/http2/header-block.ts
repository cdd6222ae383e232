/**
 * A header block: HEADERS and the CONTINUATION frames after it (RFC 9113 sections 4.3, 6.2 and 6.10). Nothing else may come
 * between them. The block is limited in bytes and in frames, before it is decoded.
 */
import { ConnectionError, ERROR } from './frames.ts'

const MAX_FRAMES = 128
const EMPTY = Buffer.alloc(0)

export class HeaderBlock {
  readonly #limitBytes: number
  /** The stream whose block is open; 0 when none is. */
  streamId = 0
  /** Flags of the HEADERS frame. */
  flags = 0
  /** The HEADERS frame made its stream depend on itself. */
  selfDependent = false
  bytes: Buffer = EMPTY
  length = 0
  #frames = 0
  /** When the block that is open began. */
  sinceMs = 0

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes
  }

  /** Starts a block that does not end with its HEADERS frame. */
  open(streamId: number, flags: number, selfDependent: boolean, nowMs: number): void {
    this.streamId = streamId
    this.sinceMs = nowMs
    this.flags = flags
    this.selfDependent = selfDependent
    this.length = 0
    this.#frames = 0
  }

  add(bytes: Buffer, start: number, end: number): void {
    const needed = this.length + end - start
    if (needed > this.#limitBytes)
      throw new ConnectionError(ERROR.ENHANCE_YOUR_CALM, 'header block is too long', 'flood_headers')
    if (++this.#frames > MAX_FRAMES)
      throw new ConnectionError(ERROR.ENHANCE_YOUR_CALM, 'too many CONTINUATION frames', 'flood_headers')
    if (needed > this.bytes.length) {
      const grown = Buffer.allocUnsafe(Math.max(needed, this.bytes.length * 2, 1024))
      this.bytes.copy(grown, 0, 0, this.length)
      this.bytes = grown
    }
    bytes.copy(this.bytes, this.length, start, end)
    this.length = needed
  }

  /** After the block was decoded. */
  close(): void {
    this.streamId = 0
    this.length = 0
    this.bytes = EMPTY
  }
}
