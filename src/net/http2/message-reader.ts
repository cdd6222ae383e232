/**
 * The one message of a unary call, out of the DATA of its stream (gRPC over HTTP/2, Length-Prefixed-Message):
 *
 *     compressed 8 bits (0 or 1) | length 32 bits | message
 *
 * The length is checked before anything is allocated for it. Bytes are copied once, into a buffer of the message's own size; a
 * promise of more than TRUSTED_BYTES is believed only as far as bytes have come (the buffer grows fourfold).
 */
import { GRPC, type GrpcStatus } from '../grpc.ts'
import { isShared } from './socket-reader.ts'

const PREFIX_BYTES = 5
const TRUSTED_BYTES = 256 * 1024
const GROWTH = 4
const EMPTY: Buffer = Buffer.alloc(0)

/** Where the bytes of a message are accounted for. */
export interface Room {
  /** False when there is no room now: reading stops, and goes on with the same bytes later. */
  take(bytes: number): boolean
  /** A buffer of at least this size, of which `take` has been told. */
  allocate(bytes: number): Buffer
  free(bytes: Buffer): void
}

export class MessageReader {
  compressed = false
  /** Of the message on the wire; -1 until the prefix is there. */
  length = -1
  /** Why the message is refused. What comes after it is dropped. */
  problem: GrpcStatus | undefined
  bytes: Buffer = EMPTY
  #filled = 0
  #prefixFilled = 0
  #prefixLength = 0

  /** Takes DATA between `at` and `end`; gives the place up to which there was room. */
  read(chunk: Buffer, at: number, end: number, limitBytes: number, room: Room): number {
    if (this.problem !== undefined) return end
    if (this.length < 0) {
      at = this.#prefix(chunk, at, end)
      if (this.#prefixFilled < PREFIX_BYTES) return at
      const length = this.#prefixLength
      if (length > limitBytes)
        return this.#refuse(
          GRPC.RESOURCE_EXHAUSTED,
          `message of ${length} bytes, the limit is ${limitBytes}`,
          end,
        )
      if (this.problem !== undefined) return end
      if (length > 0) {
        if (at === end) return at
        const first = Math.min(length, TRUSTED_BYTES)
        if (!room.take(first)) return at
        this.length = length
        if (end - at >= length && chunk.buffer.byteLength <= length + length / 4 + 64 && !isShared(chunk)) {
          // The chunk holds little else, so the message may stay where it is.
          this.bytes = chunk.subarray(at, at + length)
          this.#filled = length
          at += length
        } else this.bytes = room.allocate(first)
      } else this.length = 0
    }
    while (this.#filled < this.length && at < end) {
      if (this.#filled === this.bytes.length && !this.#grow(room)) return at
      const count = Math.min(end - at, Math.min(this.length, this.bytes.length) - this.#filled)
      chunk.copy(this.bytes, this.#filled, at, at + count)
      this.#filled += count
      at += count
    }
    if (at < end) return this.#refuse(GRPC.UNIMPLEMENTED, 'more than one message in a unary call', end)
    return at
  }

  /** The stream has ended: the message must be whole. */
  end(): void {
    if (this.problem !== undefined) return
    if (this.#prefixFilled === 0) this.#refuse(GRPC.UNIMPLEMENTED, 'a unary call without a message', 0)
    else if (this.length < 0 && this.#prefixFilled === PREFIX_BYTES && this.#prefixLength === 0)
      this.length = 0
    else if (this.length < 0 || this.#filled < this.length)
      this.#refuse(GRPC.INTERNAL, 'the message is cut off', 0)
  }

  /** The message on the wire, when all of it is there. */
  get message(): Buffer {
    return this.bytes.length === this.length ? this.bytes : this.bytes.subarray(0, this.length)
  }

  /** Lets go of the bytes, which nobody may use from now on. */
  drop(room: Room): void {
    room.free(this.bytes)
    this.bytes = EMPTY
  }

  #prefix(chunk: Buffer, at: number, end: number): number {
    while (this.#prefixFilled < PREFIX_BYTES && at < end) {
      const byte = chunk[at++]!
      if (this.#prefixFilled++ > 0) this.#prefixLength = this.#prefixLength * 256 + byte
      else if (byte === 1) this.compressed = true
      else if (byte !== 0) this.#refuse(GRPC.INTERNAL, 'broken message prefix', at)
    }
    return at
  }

  #grow(room: Room): boolean {
    const size = Math.min(this.length, this.bytes.length * GROWTH)
    if (!room.take(size - this.bytes.length)) return false
    const grown = room.allocate(size)
    this.bytes.copy(grown)
    room.free(this.bytes)
    this.bytes = grown
    return true
  }

  #refuse(code: number, message: string, at: number): number {
    this.problem = { code, message }
    return at
  }
}
