/**
 * The client's end of an HTTP/2 connection: preface, streams and their states (RFC 9113 sections 3.4 and 5.1), flow control of what
 * is sent (5.2), GOAWAY of the server (6.8), keepalive. What an answer says is read here (gRPC over HTTP/2); which connection
 * a call goes to is the business of `client-channel.ts`. Over 300 lines since every kind of frame on a stream ends up here.
 */
import type { Socket } from 'node:net'
import type { Clock } from '../../component/clock.ts'
import { GRPC } from '../grpc.ts'
import { GrpcCallError } from '../grpc-transport.ts'
import { httpError, settle } from './client-answer.ts'
import type { CallHolder, ClientCall } from './client-call.ts'
import { type ClientIdentity, RequestHeads } from './client-heads.ts'
import { Keepalive, type KeepaliveOptions } from './client-keepalive.ts'
import { ClientSender } from './client-sender.ts'
import { Connection, LINGER_MS } from './connection.ts'
import { FLOOD } from './flood-guard.ts'
import {
  ConnectionError,
  ERROR,
  FLAG,
  FRAME,
  MAX_STREAM_ID,
  PREFACE,
  protocolError,
  readUint31,
  readUint32,
  StreamError,
} from './frames.ts'
import type { HpackEncoder } from './hpack-encoder.ts'
import { errorName, type ResponseHead, ResponseHeads, statusOfReset } from './response-head.ts'
import { encodeSettings, MAX_WINDOW, SETTING } from './settings.ts'

const CONNECTION_WINDOW = 8 * 1024 * 1024
const MAX_HEADER_BYTES = 64 * 1024
/** Calls at a time, when the server allows more. */
const MAX_STREAMS = 256

/** Told about what becomes of a connection. */
export interface ConnectionOwner {
  /** The server's settings are there: calls may begin. */
  onReady(connection: ClientConnection): void
  /** It may take more calls than a moment ago. */
  onRoom(connection: ClientConnection): void
  /** It takes no new calls; those under way go on. */
  onDraining(connection: ClientConnection, reason: string): void
  /** It is gone, for this reason. Its calls have been failed. */
  onLost(connection: ClientConnection, reason: string): void
  /** The server has not looked at this call, so that it can be sent again. */
  repeat(call: ClientCall, error: GrpcCallError): void
}

export interface ClientConnectionOptions {
  readonly clock: Clock
  readonly identity: ClientIdentity
  readonly maxResponseBytes: number
  readonly keepalive: KeepaliveOptions | undefined
}

export class ClientConnection extends Connection implements CallHolder {
  readonly keepalive: Keepalive
  readonly #owner: ConnectionOwner
  readonly #maxResponseBytes: number
  readonly #streamWindow: number
  readonly #heads: RequestHeads
  readonly #openings = new ResponseHeads(this.decoder, MAX_HEADER_BYTES)
  readonly #closings = new ResponseHeads(this.decoder, MAX_HEADER_BYTES)
  readonly #calls = new Map<number, ClientCall>()
  readonly #sender = new ClientSender(this)
  #nextId = 1
  #dataCall: ClientCall | undefined
  #dataFlags = 0
  #dataBytes = 0
  #lost = false
  #reason = ''
  /** Bytes of answers that are not whole. */
  answerBytes = 0
  ready = false
  /** It takes no new calls. */
  draining = false

  constructor(socket: Socket, options: ClientConnectionOptions, owner: ConnectionOwner) {
    super(socket, options.clock, CONNECTION_WINDOW, MAX_HEADER_BYTES)
    this.#owner = owner
    this.#maxResponseBytes = options.maxResponseBytes
    this.#streamWindow = options.maxResponseBytes + 1024
    this.#heads = new RequestHeads(options.identity)
    this.keepalive = new Keepalive(this, options.keepalive, this.nowMs)
    socket.on('drain', () => this.#onWritable())
    this.output.raw(PREFACE)
    this.output.raw(
      encodeSettings([
        [SETTING.ENABLE_PUSH, 0],
        [SETTING.MAX_CONCURRENT_STREAMS, 0],
        [SETTING.INITIAL_WINDOW_SIZE, this.#streamWindow],
        [SETTING.MAX_HEADER_LIST_SIZE, MAX_HEADER_BYTES],
      ]),
    )
    this.openWindow()
    this.output.flush()
  }

  protected get encoder(): HpackEncoder {
    return this.#heads.encoder
  }

  get callCount(): number {
    return this.#calls.size
  }

  /** Calls have begun on it. */
  get used(): boolean {
    return this.#nextId > 1
  }

  /** Calls that may begin now. */
  get room(): number {
    if (!this.ready || this.draining || this.#sender.blocked || this.#nextId > MAX_STREAM_ID) return 0
    return Math.min(this.peerSettings.maxConcurrentStreams, MAX_STREAMS) - this.#calls.size
  }

  /** What the socket delivered. */
  receive(chunk: Buffer): void {
    if (this.closing) return
    this.nowMs = this.clock.monotonicMs()
    this.keepalive.onRead(this.nowMs)
    this.read(chunk, 0)
  }

  /** Begins a call. There must be room. */
  open(call: ClientCall): void {
    const { output } = this
    const nowMs = this.clock.monotonicMs()
    const id = this.#nextId
    const leftMs = call.waited ? Math.max(0, call.deadlineMs - nowMs) : -1
    call.begin(id, output, this, this.#streamWindow, nowMs)
    call.holder = this
    try {
      this.#heads.write(output, id, call.request, leftMs, this.peerSettings)
    } catch (error) {
      call.leave()
      if (!(error instanceof RangeError)) throw error
      call.reject(new GrpcCallError(GRPC.INTERNAL, error.message))
      return
    }
    this.#nextId += 2
    this.#calls.set(id, call)
    this.#sender.add(call)
    if (this.#nextId > MAX_STREAM_ID) this.retire('stream ids are used up')
  }

  /** Ends a call before its answer. */
  cancel(call: ClientCall, error: GrpcCallError): void {
    this.keepalive.onGivenUp(call.sentMs, this.clock.monotonicMs())
    this.#fail(call, error, ERROR.CANCEL)
  }

  /** No new calls; ends when the last one has. */
  retire(reason: string): void {
    if (!this.draining) {
      this.draining = true
      this.#owner.onDraining(this, reason)
    }
    if (this.#calls.size === 0) this.end(ERROR.NO_ERROR, '')
  }

  /** The other side is silent. */
  giveUp(reason: string): void {
    this.#lose(reason)
    this.socket.destroy()
  }

  sweep(nowMs: number): void {
    if (this.#lost) return
    for (const call of this.#calls.values())
      if (nowMs >= call.deadlineMs)
        this.cancel(call, new GrpcCallError(GRPC.DEADLINE_EXCEEDED, 'no answer before the deadline'))
    this.keepalive.sweep(nowMs)
  }

  // --- What is sent.

  #onWritable(): void {
    if (!this.#sender.blocked || this.#lost) return
    this.#sender.unblock()
    this.#owner.onRoom(this)
  }

  protected onWindowsOpened(): void {
    this.#sender.pumpAll()
  }

  protected onWindowUpdate(streamId: number, increment: number): void {
    const call = this.#calls.get(streamId)
    if (call === undefined) return
    call.sendCredit += increment
    if (this.peerSettings.initialWindowSize + call.sendCredit > MAX_WINDOW)
      throw new StreamError(streamId, ERROR.FLOW_CONTROL_ERROR, 'the window of the stream overflows')
    this.#sender.pump(call)
  }

  protected onInitialWindow(): void {
    const { initialWindowSize } = this.peerSettings
    for (const call of this.#calls.values())
      if (initialWindowSize + call.sendCredit > MAX_WINDOW)
        throw new ConnectionError(ERROR.FLOW_CONTROL_ERROR, 'the window of a stream overflows')
  }

  protected override onSettings(): void {
    if (this.ready) return void this.#owner.onRoom(this)
    this.ready = true
    this.#owner.onReady(this)
  }

  // --- What comes.

  protected isIdle(streamId: number): boolean {
    if (streamId === 0) throw protocolError('a frame that needs a stream')
    return streamId >= this.#nextId || streamId % 2 === 0
  }

  protected onHeaders(
    streamId: number,
    endStream: boolean,
    _selfDependent: boolean,
    bytes: Buffer,
    start: number,
    end: number,
  ): void {
    if (this.isIdle(streamId)) throw protocolError('HEADERS on an idle stream')
    const call = this.#calls.get(streamId)
    const cache = call?.head === undefined ? this.#openings : this.#closings
    const head = cache.read(bytes, start, end)
    if (call === undefined) return void this.guard.take(FLOOD.IGNORED, this.nowMs)
    if (head.malformed !== undefined)
      throw new StreamError(streamId, ERROR.PROTOCOL_ERROR, `a malformed answer: ${head.malformed}`)
    if (call.head !== undefined) {
      if (!endStream || head.http >= 0)
        throw new StreamError(streamId, ERROR.PROTOCOL_ERROR, 'a malformed answer: trailers')
      this.#complete(call, head)
    } else if (head.http >= 100 && head.http < 200) {
      if (endStream) throw new StreamError(streamId, ERROR.PROTOCOL_ERROR, 'a malformed answer: 1xx')
      this.guard.take(FLOOD.IGNORED, this.nowMs)
    } else if (head.http < 200)
      throw new StreamError(streamId, ERROR.PROTOCOL_ERROR, 'a malformed answer: no :status')
    else if (endStream) this.#complete(call, head)
    else if (head.isGrpc || head.status >= 0) call.head = head
    else this.#fail(call, httpError(head), ERROR.CANCEL)
  }

  onDataHead(flags: number, streamId: number, length: number): void {
    if (streamId === 0) throw protocolError('DATA on the connection')
    this.takeData(length)
    this.#dataFlags = flags
    this.#dataBytes = 0
    const call = this.#calls.get(streamId)
    this.#dataCall = call
    if (call === undefined) {
      if (this.isIdle(streamId)) throw protocolError('DATA on an idle stream')
      this.guard.take(FLOOD.IGNORED, this.nowMs)
      return
    }
    call.windowLeft -= length
    if (call.head !== undefined && call.windowLeft >= 0) return
    const code = call.head === undefined ? ERROR.PROTOCOL_ERROR : ERROR.FLOW_CONTROL_ERROR
    this.#dataCall = undefined
    this.#fail(call, new GrpcCallError(GRPC.INTERNAL, 'a malformed answer: DATA out of place'), code)
  }

  onData(bytes: Buffer, start: number, end: number): number {
    const call = this.#dataCall
    this.#dataBytes += end - start
    if (call === undefined || call.settled) return end
    const upTo = call.reader.read(bytes, start, end, this.#maxResponseBytes, call)
    if (call.reader.bytes.buffer === bytes.buffer) this.chunkKept = true
    const { problem } = call.reader
    if (problem !== undefined || upTo < end) {
      const message = problem?.message ?? 'too many answers at a time'
      this.#fail(call, new GrpcCallError(problem?.code ?? GRPC.RESOURCE_EXHAUSTED, message), ERROR.CANCEL)
    }
    return end
  }

  onDataEnd(): void {
    const call = this.#dataCall
    const ended = (this.#dataFlags & FLAG.END_STREAM) !== 0
    if (this.#dataBytes === 0 && !ended) this.guard.take(FLOOD.EMPTY, this.nowMs)
    this.#dataCall = undefined
    if (call === undefined || call.settled) return
    if (ended)
      return void this.#fail(
        call,
        new GrpcCallError(GRPC.INTERNAL, 'the answer ended without its trailers'),
        -1,
      )
    const used = this.#streamWindow - call.windowLeft
    if (used * 2 < this.#streamWindow) return
    call.windowLeft += used
    this.output.number(FRAME.WINDOW_UPDATE, call.id, used)
  }

  /** The stream has ended; the head may be all there is. */
  #complete(call: ClientCall, trailers: ResponseHead): void {
    this.guard.answers++
    this.#remove(call, ERROR.NO_ERROR)
    settle(call, trailers, this.#maxResponseBytes)
  }

  protected onReset(streamId: number, code: number): void {
    const call = this.#calls.get(streamId)
    if (call === undefined) return
    const error = new GrpcCallError(statusOfReset(code), `the stream was reset: ${errorName(code)}`)
    if (code !== ERROR.REFUSED_STREAM) return void this.#fail(call, error, -1)
    this.#remove(call, -1)
    this.#owner.repeat(call, error)
  }

  /** A fault of the server in one stream. */
  protected resetStream(streamId: number, code: number): void {
    const call = this.#calls.get(streamId)
    if (call === undefined) return
    this.#fail(call, new GrpcCallError(GRPC.INTERNAL, `a malformed answer: ${errorName(code)}`), code)
  }

  protected onGoAway(bytes: Buffer, start: number, end: number): void {
    const last = readUint31(bytes, start)
    const code = readUint32(bytes, start + 4)
    const text = bytes.toString('utf8', start + 8, Math.min(end, start + 208))
    this.#reason = `the server went away: ${errorName(code)}${text === '' ? '' : ` ${text}`}`
    this.draining = true
    this.#owner.onDraining(this, this.#reason)
    for (const call of [...this.#calls.values()]) {
      if (call.id <= last) continue
      this.#remove(call, -1)
      this.#owner.repeat(call, new GrpcCallError(GRPC.UNAVAILABLE, this.#reason))
    }
    if (this.#calls.size === 0) this.end(ERROR.NO_ERROR, '')
  }

  protected onPing(): void {}
  protected onPingAck(): void {}

  protected onBug(error: unknown): void {
    this.#reason = `internal error: ${String(error)}`
  }

  // --- The end of calls and of the connection.

  /** `code` goes to the server, unless it has ended the stream itself (-1). */
  #fail(call: ClientCall, error: GrpcCallError, code: number): void {
    if (!this.#calls.has(call.id)) return
    if (code >= 0) this.output.number(FRAME.RST_STREAM, call.id, code)
    this.#remove(call, -1)
    call.reject(error)
  }

  /** The stream is over. A request that is not all out is cut off. */
  #remove(call: ClientCall, code: number): void {
    if (call.left > 0) {
      this.#sender.delete(call)
      if (code >= 0) this.output.number(FRAME.RST_STREAM, call.id, code)
    }
    this.#calls.delete(call.id)
    call.leave()
    if (!this.draining) this.#owner.onRoom(this)
    else if (this.#calls.size === 0 && !this.closing) this.end(ERROR.NO_ERROR, '')
  }

  override end(code: number, reason: string): void {
    if (this.closing) return
    super.end(code, reason)
    setTimeout(() => this.socket.destroy(), LINGER_MS).unref()
    this.#lose(reason === '' ? 'the connection was closed' : reason)
  }

  /** The socket is gone. */
  onClose(reason: string): void {
    this.closeAtMs = 0
    this.#lose(reason)
  }

  #lose(reason: string): void {
    if (this.#lost) return
    this.#lost = true
    this.draining = true
    const why = this.#reason === '' ? reason : this.#reason
    this.#owner.onLost(this, why)
    const calls = [...this.#calls.values()]
    this.#calls.clear()
    this.#sender.clear()
    for (const call of calls) {
      call.leave()
      call.reject(new GrpcCallError(GRPC.UNAVAILABLE, why))
    }
  }
}
