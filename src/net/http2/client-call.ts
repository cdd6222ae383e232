/** One unary call of a client: its request on the way out, its answer on the way in (RFC 9113 section 5.1). */
import { keepPayload } from '../../otlp/payload-pool.ts'
import { GRPC } from '../grpc.ts'
import { GrpcCallError, type OutgoingCall } from '../grpc-transport.ts'
import { FLAG, FRAME, FRAME_HEAD_BYTES, putFrameHead } from './frames.ts'
import { MessageReader, type Room } from './message-reader.ts'
import type { Output } from './output.ts'
import type { ResponseHead } from './response-head.ts'

const PREFIX_BYTES = 5

/** Who has the call now: a connection, or the list of those that wait for one. */
export interface CallHolder {
  cancel(call: ClientCall, error: GrpcCallError): void
}

/** Bytes of answers that one connection holds. */
export interface AnswerRoom {
  answerBytes: number
}

/** Of answers that are not whole, on one connection. An honest one is some bytes long. */
const MAX_ANSWER_BYTES = 32 * 1024 * 1024

export class ClientCall implements Room {
  readonly request: OutgoingCall
  /** On the monotonic clock; Infinity without. */
  readonly deadlineMs: number
  readonly answer: Promise<Uint8Array>
  holder: CallHolder | undefined
  /** 0 until it has a stream. */
  id = 0
  /** It could not be sent at once. */
  waited = false
  /** Times that it was begun anew since no server had looked at it. */
  repeats = 0
  sentMs = 0
  /** Bytes of DATA that are still to be sent, with the prefix. */
  left = 0
  /** What may be sent, less the peer's initial window. */
  sendCredit = 0
  head: ResponseHead | undefined
  reader = new MessageReader()
  /** What the peer may still send. */
  windowLeft = 0
  settled = false
  readonly #chunks: readonly Uint8Array[]
  readonly #compressed: boolean
  readonly #length: number
  #prefixLeft = PREFIX_BYTES
  #chunk = 0
  #chunkAt = 0
  #output: Output | undefined
  #room: AnswerRoom | undefined
  /** Of its answer, in `#room`. */
  #held = 0
  /** Where its last byte stands in `#output`. */
  #endsAt = 0
  #resolve: (answer: Uint8Array) => void = nothing
  #reject: (error: GrpcCallError) => void = nothing

  constructor(request: OutgoingCall, chunks: readonly Uint8Array[], compressed: boolean, deadlineMs: number) {
    this.request = request
    this.#chunks = chunks
    this.#compressed = compressed
    this.deadlineMs = deadlineMs
    let length = 0
    for (const chunk of chunks) length += chunk.length
    this.#length = length
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    request.attempt.addEventListener('abort', this)
  }

  /** The attempt is over. */
  handleEvent(): void {
    this.holder?.cancel(this, new GrpcCallError(GRPC.CANCELLED, 'the attempt was given up'))
  }

  /** From the start, on this connection. */
  begin(id: number, output: Output, room: AnswerRoom, windowBytes: number, nowMs: number): void {
    this.#keepUnsent()
    this.#room = room
    this.id = id
    this.sentMs = nowMs
    this.left = PREFIX_BYTES + this.#length
    this.sendCredit = 0
    this.head = undefined
    if (this.reader.length >= 0) this.reader = new MessageReader()
    this.windowLeft = windowBytes
    this.#prefixLeft = PREFIX_BYTES
    this.#chunk = 0
    this.#chunkAt = 0
    this.#output = output
  }

  /** Writes one DATA frame of this many bytes of prefix and message; the last one ends the request. */
  write(count: number): void {
    const output = this.#output!
    output.reserve(FRAME_HEAD_BYTES + PREFIX_BYTES)
    this.left -= count
    const flags = this.left === 0 ? FLAG.END_STREAM : 0
    output.length = putFrameHead(output.bytes, output.length, count, FRAME.DATA, flags, this.id)
    for (; this.#prefixLeft > 0 && count > 0; count--) {
      output.bytes[output.length++] = this.#prefixByte(PREFIX_BYTES - this.#prefixLeft)
      this.#prefixLeft--
    }
    while (count > 0) {
      const chunk = this.#chunks[this.#chunk]!
      const end = Math.min(chunk.length, this.#chunkAt + count)
      count -= end - this.#chunkAt
      if (end > this.#chunkAt) output.content(chunk, this.#chunkAt, end)
      this.#chunkAt = end
      if (end < chunk.length) break
      this.#chunk++
      this.#chunkAt = 0
    }
    this.#endsAt = output.end
  }

  /** compressed 8 bits | length 32 bits. */
  #prefixByte(index: number): number {
    if (index === 0) return this.#compressed ? 1 : 0
    return (this.#length >>> (8 * (PREFIX_BYTES - 1 - index))) & 255
  }

  resolve(answer: Uint8Array): void {
    if (this.#settle()) this.#resolve(answer)
  }

  reject(error: GrpcCallError): void {
    if (this.#settle()) this.#reject(error)
  }

  #settle(): boolean {
    if (this.settled) return false
    this.settled = true
    this.holder = undefined
    this.request.attempt.removeEventListener('abort', this)
    this.#keepUnsent()
    return true
  }

  /**
   * What the socket still has to read is not to be used again when the owner of the bytes thinks that they are free. Memory
   * that is shared with another shard cannot be kept from that, so then the connection ends.
   */
  #keepUnsent(): void {
    const output = this.#output
    if (output === undefined || output.taken >= this.#endsAt) return
    for (const chunk of this.#chunks) {
      if (chunk.buffer instanceof SharedArrayBuffer) return void output.cut()
      keepPayload(chunk)
    }
  }

  take(bytes: number): boolean {
    const room = this.#room
    if (room === undefined || room.answerBytes + bytes > MAX_ANSWER_BYTES) return false
    room.answerBytes += bytes
    this.#held += bytes
    return true
  }

  /** It has left its connection, or what came of its answer is dropped. */
  leave(): void {
    if (this.#room !== undefined) this.#room.answerBytes -= this.#held
    this.#held = 0
    this.#room = undefined
    this.holder = undefined
  }

  allocate(bytes: number): Buffer {
    return Buffer.allocUnsafe(bytes)
  }

  free(): void {}
}

function nothing(): void {}
