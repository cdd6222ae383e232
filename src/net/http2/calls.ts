/**
 * The calls of one connection, from their heads to their answers (gRPC over HTTP/2). A handler runs when the message is whole and
 * the stream has ended. A call that is refused before that is answered at once, and its stream is reset without an error, so
 * that the client stops sending. Over 300 lines, since every step of a call may end it, and all ends meet in `remove`.
 */
import { RefusedError, TooLargeError } from '../../errors.ts'
import { decompress } from '../compression.ts'
import { GRPC, type GrpcStatus, type UnaryHandler } from '../grpc.ts'
import { Answers, fitsOneFrame, frameMessage } from './answers.ts'
import { Call, PHASE } from './call.ts'
import { DEFAULT_FRAME_BYTES, ERROR, FLAG, StreamError } from './frames.ts'
import { type Rejection, type RequestHead, rejection } from './request-head.ts'
import type { ServerConnection } from './server-connection.ts'
import type { ServerContext } from './server-context.ts'

/** How long an answer may wait for the peer's windows. */
const SEND_MS = 60_000
/** How much of a request that is answered already is read, and how long, before its stream is reset. */
const DROP_BYTES = 64 * 1024
const DROP_MS = 5000
/** How long a connection waits for room for a message before the call is refused. */
const ROOM_MS = 5000
const NEVER = Number.POSITIVE_INFINITY
const PREFIX_BYTES = 5
const UNKNOWN_METHOD: Rejection = rejection('unimplemented', 200, GRPC.UNIMPLEMENTED, 'unknown method')

export class Calls {
  readonly answers: Answers
  readonly #connection: ServerConnection
  readonly #context: ServerContext
  readonly #byId = new Map<number, Call>()
  /** Calls whose answer waits for the peer's windows. */
  readonly #sending = new Set<Call>()
  /** Handlers at work whose stream is gone: they count as streams still. */
  #orphans = 0
  /** Bytes of the budget that calls on this connection hold. */
  #heldBytes = 0
  /** The call for which there was no room, and since when. */
  #waiting: Call | undefined
  #waitingSinceMs = 0
  /** No call is due before this. */
  #dueMs = NEVER

  constructor(connection: ServerConnection, context: ServerContext) {
    this.#connection = connection
    this.#context = context
    this.answers = new Answers(connection.output)
  }

  get size(): number {
    return this.#byId.size + this.#orphans
  }

  get(id: number): Call | undefined {
    return this.#byId.get(id)
  }

  [Symbol.iterator](): IterableIterator<Call> {
    return this.#byId.values()
  }

  open(id: number, head: RequestHead, endStream: boolean): void {
    const { streamWindow, messageMs, options } = this.#context
    const { nowMs } = this.#connection
    if (endStream && head.contentLength > 0)
      throw new StreamError(id, ERROR.PROTOCOL_ERROR, 'content-length does not match')
    const call = new Call(id, head, this, streamWindow, nowMs + messageMs)
    this.#byId.set(id, call)
    if (head.timeoutMs >= 0) {
      call.deadlineMs = nowMs + head.timeoutMs
      call.dueMs = Math.min(call.dueMs, call.deadlineMs)
    }
    this.#due(call.dueMs)
    if (head.rejection !== undefined) this.#reject(call, head.rejection)
    else if (head.handler === undefined) this.#reject(call, UNKNOWN_METHOD)
    else if (options.admit === undefined) call.admitted = true
    else this.#admit(call)
    if (endStream) this.onEnd(call)
  }

  #admit(call: Call): void {
    const decide = (status: GrpcStatus | undefined): void => {
      if (call.phase !== PHASE.READING) return
      call.admitted = true
      if (status !== undefined) this.#refuse(call, status)
      else if (call.remoteEnded) this.#deliver(call)
    }
    try {
      const verdict = this.#context.options.admit?.(call)
      if (verdict instanceof Promise)
        verdict.then(decide, (error: unknown) => decide(this.#context.statusOf(error)))
      else decide(verdict)
    } catch (error) {
      decide(this.#context.statusOf(error))
    }
  }

  /** Gives the place up to which the content was taken. */
  onData(call: Call, bytes: Buffer, start: number, end: number): number {
    if (call.phase !== PHASE.READING) {
      call.received += end - start
      if (call.phase === PHASE.DROPPING && call.received > DROP_BYTES)
        this.#connection.resetStream(call.id, ERROR.NO_ERROR)
      return end
    }
    const upTo = call.reader.read(bytes, start, end, this.#context.options.maxMessageBytes, call)
    call.received += upTo - start
    if (call.reader.bytes.buffer === bytes.buffer) this.#connection.chunkKept = true
    if (call.reader.problem !== undefined) this.#problem(call, call.reader.problem)
    else if (upTo < end && this.#waiting !== call) {
      this.#context.tell('pause', 'in_flight_bytes')
      this.#waiting = call
      this.#waitingSinceMs = this.#connection.nowMs
    }
    if (upTo < end) this.#context.budget.wait(this.#connection)
    else if (this.#waiting === call) this.#waiting = undefined
    return upTo
  }

  takeRoom(bytes: number): boolean {
    if (!this.#context.budget.tryTake(bytes, this.#heldBytes)) return false
    this.#heldBytes += bytes
    return true
  }

  onEnd(call: Call): void {
    call.remoteEnded = true
    const { contentLength } = call.head
    if (contentLength >= 0 && call.received !== contentLength) {
      this.#context.tell('request', 'malformed')
      return void this.#connection.resetStream(call.id, ERROR.PROTOCOL_ERROR)
    }
    if (call.phase === PHASE.DROPPING) return void this.remove(call)
    if (call.phase !== PHASE.READING) return
    call.reader.end()
    if (call.reader.problem !== undefined) this.#problem(call, call.reader.problem)
    else if (call.admitted) this.#deliver(call)
  }

  #deliver(call: Call): void {
    const { reader, head } = call
    const { handler, encoding } = head
    if (handler === undefined) return // It has been rejected.
    if (!reader.compressed) {
      this.#handle(call)
      this.#run(call, handler, reader.message)
    } else if (encoding === undefined)
      this.#problem(call, { code: GRPC.INTERNAL, message: 'compressed message without grpc-encoding' })
    else {
      this.#handle(call)
      const limit = this.#context.options.maxMessageBytes
      decompress(encoding, reader.message, limit).then(
        (message) => this.#decompressed(call, handler, message),
        (error: unknown) => {
          const large = error instanceof TooLargeError
          const status = large
            ? { code: GRPC.RESOURCE_EXHAUSTED, message: error.message }
            : { code: GRPC.INTERNAL, message: 'the message cannot be decompressed' }
          this.#settle(call)
          if (call.phase === PHASE.GONE) this.#context.tell('request', reasonOf(status))
          else this.#problem(call, status)
        },
      )
    }
  }

  #handle(call: Call): void {
    call.phase = PHASE.HANDLING
    call.working = true
  }

  #decompressed(call: Call, handler: UnaryHandler, message: Uint8Array): void {
    if (call.phase === PHASE.GONE) return void this.#settle(call)
    call.reader.drop(call)
    const more = message.length - call.held
    this.#context.budget.take(more)
    this.#heldBytes += more
    call.held = message.length
    this.#run(call, handler, message)
  }

  #run(call: Call, handler: UnaryHandler, message: Uint8Array): void {
    call.message = message
    call.dueMs = call.deadlineMs ?? NEVER
    this.#context.options.onMessage?.(call.reader.length, message.length)
    try {
      handler(call).then(
        (response) => this.#answer(call, response),
        (error: unknown) => this.#failed(call, error),
      )
    } catch (error) {
      this.#failed(call, error)
    }
  }

  /** The handler is done: what the call held is free. */
  #settle(call: Call): void {
    call.working = false
    if (call.phase === PHASE.GONE) {
      this.#orphans--
      this.#ended()
    }
    this.#release(call)
  }

  #failed(call: Call, error: unknown): void {
    const status = this.#context.statusOf(error)
    this.#settle(call)
    if (call.phase !== PHASE.GONE) this.#refuse(call, status)
  }

  #answer(call: Call, response: Uint8Array): void {
    this.#settle(call)
    if (call.phase === PHASE.GONE) return
    const { sendWindow, peerSettings, lifetime, guard } = this.#connection
    const size = response.length + PREFIX_BYTES
    lifetime.sentData = true
    guard.answers++
    if (
      fitsOneFrame(response) &&
      size <= sendWindow.left &&
      size <= peerSettings.initialWindowSize + call.sendCredit
    ) {
      sendWindow.left -= size
      this.answers.ok(call.id, response)
      this.remove(call)
      return
    }
    this.answers.headers(call.id)
    this.#send(call, frameMessage(response))
  }

  #send(call: Call, pending: Uint8Array): void {
    call.phase = PHASE.SENDING
    call.pending = pending
    call.dueMs = this.#context.clock.monotonicMs() + SEND_MS
    this.#due(call.dueMs)
    this.#sending.add(call)
    this.pump(call)
  }

  /** Sends what the windows allow of an answer that waits for them. */
  pump(call: Call): void {
    if (call.phase !== PHASE.SENDING) return
    const { sendWindow, peerSettings } = this.#connection
    const { pending } = call
    while (call.pendingAt < pending.length) {
      const rest = pending.length - call.pendingAt
      const window = Math.min(sendWindow.left, peerSettings.initialWindowSize + call.sendCredit)
      const count = Math.min(window, rest, DEFAULT_FRAME_BYTES)
      if (count <= 0) return
      sendWindow.left -= count
      call.sendCredit -= count
      const flags = call.text && count === rest ? FLAG.END_STREAM : 0
      this.answers.data(call.id, pending, call.pendingAt, call.pendingAt + count, flags)
      call.pendingAt += count
    }
    this.#sending.delete(call)
    if (!call.text) this.answers.trailers(call.id)
    this.#finish(call, call.text)
  }

  pumpAll(): void {
    for (const call of this.#sending) {
      if (this.#connection.sendWindow.left <= 0) return
      this.pump(call)
    }
  }

  /** Refuses what no handler has seen. */
  #problem(call: Call, status: GrpcStatus): void {
    this.#context.tell('request', reasonOf(status))
    this.#refuse(call, status)
  }

  /** Answers a call that is not looked at. The rest of a short request is read, since there may be an error in it. */
  #reject(call: Call, rejected: Rejection): void {
    this.#context.tell('request', rejected.reason)
    if (rejected.text) {
      this.answers.textHead(call.id, rejected)
      call.text = true
      this.#send(call, Buffer.from(rejected.message))
      return
    }
    this.answers.trailersOnly(call.id, rejected, rejected.http)
    this.#finish(call, true)
  }

  #refuse(call: Call, status: GrpcStatus): void {
    const { lifetime, guard } = this.#connection
    lifetime.sentData = true
    guard.answers++
    this.answers.trailersOnly(call.id, status)
    this.#finish(call, false)
  }

  /** The answer is out. When the peer is not done, it is told to stop, or heard out for a little. */
  #finish(call: Call, hearOut: boolean): void {
    if (call.remoteEnded) this.remove(call)
    else if (hearOut) {
      call.phase = PHASE.DROPPING
      call.dueMs = this.#context.clock.monotonicMs() + DROP_MS
      this.#due(call.dueMs)
    } else {
      this.#connection.underWayBytes += call.windowLeft
      this.#connection.resetStream(call.id, ERROR.NO_ERROR)
    }
  }

  /** The stream is over. */
  remove(call: Call): void {
    if (!this.#byId.delete(call.id)) return
    if (call.phase === PHASE.SENDING) this.#sending.delete(call)
    if (this.#waiting === call) this.#waiting = undefined
    if (call.working) this.#orphans++
    else this.#release(call)
    call.phase = PHASE.GONE
    this.#ended()
  }

  #release(call: Call): void {
    const { held } = call
    call.reader.drop(call)
    call.held = 0
    this.#heldBytes -= held
    if (held > 0) this.#context.budget.give(held)
  }

  #ended(): void {
    if (this.size === 0) this.#connection.lifetime.onLastCallEnded(this.#connection.nowMs)
  }

  get dueMs(): number {
    return this.#dueMs
  }

  #due(ms: number): void {
    if (ms >= this.#dueMs) return
    this.#dueMs = ms
    this.#connection.wake()
  }

  sweep(nowMs: number): void {
    const waiting = this.#waiting
    if (waiting !== undefined && nowMs - this.#waitingSinceMs > ROOM_MS) {
      this.#waiting = undefined
      this.#refuse(waiting, this.#context.statusOf(new RefusedError('too many bytes in flight')))
      this.#context.budget.leave(this.#connection)
      this.#connection.retry()
    }
    if (nowMs < this.#dueMs) return
    this.#dueMs = NEVER
    for (const call of this.#byId.values()) {
      if (call.dueMs <= nowMs) this.#expire(call)
      else this.#due(call.dueMs)
    }
  }

  #expire(call: Call): void {
    if (call.phase === PHASE.SENDING) {
      this.#context.tell('answer', 'stalled')
      this.#connection.resetStream(call.id, ERROR.CANCEL)
    } else if (call.phase === PHASE.DROPPING) this.#connection.resetStream(call.id, ERROR.NO_ERROR)
    else if (call.phase === PHASE.READING)
      this.#problem(call, { code: GRPC.DEADLINE_EXCEEDED, message: 'the message did not come in time' })
    else if (call.phase !== PHASE.GONE)
      this.#refuse(call, { code: GRPC.DEADLINE_EXCEEDED, message: 'deadline exceeded' })
  }

  /** The connection is gone; handlers that are at work end later. */
  abandon(): void {
    this.#context.budget.leave(this.#connection)
    for (const call of this.#byId.values()) this.remove(call)
  }
}

/** What a refusal is called in a metric. */
function reasonOf(status: GrpcStatus): string {
  if (status.code === GRPC.RESOURCE_EXHAUSTED) return 'too_large'
  return status.code === GRPC.DEADLINE_EXCEEDED ? 'timeout' : 'invalid'
}
