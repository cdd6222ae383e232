/**
 * The server's end of an HTTP/2 connection: preface, streams and their states (RFC 9113 sections 3.4 and 5.1). What a call means
 * is the business of `calls.ts`. Over 300 lines for all that a connection tells its server.
 */
import type { Socket } from 'node:net'
import { StallWatch } from '../stall.ts'
import { type Call, PHASE } from './call.ts'
import { Calls } from './calls.ts'
import { Connection } from './connection.ts'
import { FLOOD } from './flood-guard.ts'
import { ConnectionError, ERROR, FLAG, FRAME, PREFACE, protocolError, StreamError } from './frames.ts'
import type { HpackEncoder } from './hpack-encoder.ts'
import type { Field } from './hpack-table.ts'
import { Lifetime, type Living } from './lifetime.ts'
import { RequestHead } from './request-head.ts'
import type { ServerContext } from './server-context.ts'
import { DEFAULT_WINDOW, encodeSettings, MAX_WINDOW, SETTING } from './settings.ts'

const CONNECTION_WINDOW = 16 * 1024 * 1024
/** A header block on the wire may be as long as the list that it makes. */
const MAX_HEADER_BYTES = 64 * 1024
/** A longer block is decoded each time. */
const MAX_CACHED_BYTES = 4096
/** A shorter frame counts as one of this length among those that were on their way when their call was refused. */
const SMALL_DATA_BYTES = 4096
/** A connection on which nothing is due soon is looked at so often: ten thousand idle ones cost 2 % of a core, each 100 ms it was 3 %. */
const QUIET_MS = 500
/** Streams that were reset here, whose frames may still be on their way. */
const MAX_REMEMBERED = 10_000
const HTTP1 = /^(?:GET|POST|PUT|HEAD|OPTIONS|DELETE|PATCH|CONNECT|TRACE) /
const NOT_HTTP1 =
  'HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n' +
  'This port speaks gRPC, which is HTTP/2. OTLP over HTTP/1.1 has a port of its own, usually 4318.\n'

export class ServerConnection extends Connection implements Living {
  readonly lifetime: Lifetime
  readonly calls: Calls
  readonly peer: string
  readonly #context: ServerContext
  #prefaceSeen = 0
  /** The call whose DATA frame is being read; undefined when it is dropped. */
  #dataCall: Call | undefined
  #dataFlags = 0
  #dataBytes = 0
  /** DATA that clients may have sent of calls that were refused, before they knew. */
  underWayBytes = 0
  readonly #stall = new StallWatch()
  /** It is not looked at before. */
  #quietUntilMs = 0
  /** Ids of streams that were reset here, oldest first. */
  readonly #remembered = new Set<number>()
  /** The last header block that changed nothing in the dynamic table, and what it said. */
  #cachedBlock: Buffer = NOTHING
  #cachedVersion = -1
  #cachedHead: RequestHead | undefined

  constructor(socket: Socket, context: ServerContext) {
    super(socket, context.clock, CONNECTION_WINDOW, MAX_HEADER_BYTES)
    this.#context = context
    this.peer = socket.remoteAddress === undefined ? '' : `${socket.remoteAddress}:${socket.remotePort}`
    this.lifetime = new Lifetime(this, context.options.keepalive, this.nowMs)
    this.calls = new Calls(this, context)
  }

  protected get encoder(): HpackEncoder {
    return this.calls.answers.encoder
  }

  get callCount(): number {
    return this.calls.size
  }

  /** What the socket delivered. */
  receive(chunk: Buffer): void {
    if (this.closing) return
    this.nowMs = this.clock.monotonicMs()
    this.lifetime.onRead(this.nowMs)
    this.read(chunk, this.#prefaceSeen === PREFACE.length ? 0 : this.#preface(chunk))
  }

  /** Goes on after a wait for room. */
  retry(): boolean {
    return this.closing || this.readOn()
  }

  destroy(): void {
    this.socket.destroy()
  }

  cut(reason: string): void {
    this.tell(reason)
    this.socket.destroy()
  }

  tell(reason: string): void {
    this.#context.tell('connection', reason)
  }

  /** Ends a connection that is not in use, at once. */
  evict(): void {
    this.tell('evicted')
    this.end(ERROR.NO_ERROR, '')
    this.socket.destroySoon()
  }

  /** Gives the place after the preface. */
  #preface(chunk: Buffer): number {
    let at = 0
    while (at < chunk.length && this.#prefaceSeen < PREFACE.length) {
      if (chunk[at] === PREFACE[this.#prefaceSeen]) {
        at++
        this.#prefaceSeen++
        continue
      }
      if (at === this.#prefaceSeen && HTTP1.test(chunk.toString('latin1', 0, 8))) {
        this.tell('http1')
        this.socket.end(NOT_HTTP1)
        this.closeAtMs = this.nowMs
        this.wake()
      } else this.fail(protocolError('no HTTP/2 preface'))
      return chunk.length
    }
    if (this.#prefaceSeen === PREFACE.length) this.#open()
    return at
  }

  #open(): void {
    const { maxStreams, streamWindow } = this.#context
    this.output.raw(
      encodeSettings([
        [SETTING.MAX_CONCURRENT_STREAMS, maxStreams],
        [SETTING.INITIAL_WINDOW_SIZE, streamWindow],
        [SETTING.MAX_HEADER_LIST_SIZE, MAX_HEADER_BYTES],
      ]),
    )
    this.openWindow()
    this.lifetime.open = true
    if (this.#context.stopping) this.lifetime.drain(this.nowMs)
  }

  protected isIdle(streamId: number): boolean {
    if (streamId === 0) throw protocolError('a frame that needs a stream')
    return streamId > this.lastStreamId || streamId % 2 === 0
  }

  protected onHeaders(
    streamId: number,
    endStream: boolean,
    selfDependent: boolean,
    bytes: Buffer,
    start: number,
    end: number,
  ): void {
    if (streamId % 2 === 0) throw protocolError('a stream id that is even')
    if (streamId <= this.lastStreamId) return void this.#trailers(streamId, endStream, bytes, start, end)
    this.lastStreamId = streamId
    const head = this.#head(bytes, start, end)
    if (head.rejection?.reason === 'header_list') this.guard.take(FLOOD.RESET, this.nowMs)
    if (selfDependent)
      throw new StreamError(streamId, ERROR.PROTOCOL_ERROR, 'a stream that depends on itself')
    if (head.malformed !== undefined) throw new StreamError(streamId, ERROR.PROTOCOL_ERROR, head.malformed)
    if (this.lifetime.final || this.calls.size >= this.#context.maxStreams)
      throw new StreamError(streamId, ERROR.REFUSED_STREAM, 'no more streams')
    this.calls.open(streamId, head, endStream)
  }

  /** The same bytes, while the dynamic table stays as it was, say the same. */
  #head(bytes: Buffer, start: number, end: number): RequestHead {
    const { decoder } = this
    const { version } = decoder
    const cached = this.#cachedBlock
    if (
      version === this.#cachedVersion &&
      end - start === cached.length &&
      cached.compare(bytes, start, end) === 0
    )
      return this.#cachedHead!
    const fields: Field[] = []
    const size = decoder.decode(bytes, start, end, MAX_HEADER_BYTES, fields)
    const { options } = this.#context
    const tooLong = size > MAX_HEADER_BYTES
    const head = new RequestHead(fields, this.peer, options.handlers, tooLong, options.releases)
    if (version === decoder.version && end - start <= MAX_CACHED_BYTES) {
      this.#cachedBlock = Buffer.from(bytes.subarray(start, end))
      this.#cachedVersion = version
      this.#cachedHead = head
    }
    return head
  }

  /** HEADERS on a stream that was opened before: the end of a request, read and dropped. */
  #trailers(streamId: number, endStream: boolean, bytes: Buffer, start: number, end: number): void {
    const call = this.calls.get(streamId)
    if (call === undefined && !this.#remembered.has(streamId))
      throw new ConnectionError(ERROR.STREAM_CLOSED, 'HEADERS on a closed stream')
    const fields: Field[] = []
    this.decoder.decode(bytes, start, end, MAX_HEADER_BYTES, fields)
    if (call === undefined) return void this.guard.take(FLOOD.IGNORED, this.nowMs)
    if (call.remoteEnded) throw new StreamError(streamId, ERROR.STREAM_CLOSED, 'HEADERS after the end')
    if (!endStream || fields.some((field) => field.defect !== 0 || field.name.startsWith(':')))
      throw new StreamError(streamId, ERROR.PROTOCOL_ERROR, 'malformed trailers')
    this.calls.onEnd(call)
  }

  onDataHead(flags: number, streamId: number, length: number): void {
    if (streamId === 0) throw protocolError('DATA on the connection')
    this.takeData(length)
    this.#dataFlags = flags
    this.#dataBytes = 0
    const call = this.calls.get(streamId)
    this.#dataCall = call
    if (call === undefined) {
      if (this.isIdle(streamId)) throw protocolError('DATA on an idle stream')
      if (!this.#remembered.has(streamId))
        throw new ConnectionError(ERROR.STREAM_CLOSED, 'DATA on a closed stream')
      this.underWayBytes =
        Math.min(this.underWayBytes, CONNECTION_WINDOW) - Math.max(length, SMALL_DATA_BYTES)
      if (this.underWayBytes >= 0) return
      this.underWayBytes = 0
      this.guard.take(FLOOD.IGNORED, this.nowMs)
      return
    }
    call.windowLeft -= length
    if (!call.remoteEnded && call.windowLeft >= 0) return
    this.guard.take(FLOOD.RESET, this.nowMs)
    this.#context.tell('request', 'malformed')
    this.#dataCall = undefined
    this.resetStream(streamId, call.remoteEnded ? ERROR.STREAM_CLOSED : ERROR.FLOW_CONTROL_ERROR)
  }

  onData(bytes: Buffer, start: number, end: number): number {
    const call = this.#dataCall
    this.#dataBytes += end - start
    return call === undefined ? end : this.calls.onData(call, bytes, start, end)
  }

  onDataEnd(): void {
    const call = this.#dataCall
    const ended = (this.#dataFlags & FLAG.END_STREAM) !== 0
    if (this.#dataBytes === 0 && !ended) this.guard.take(FLOOD.EMPTY, this.nowMs)
    if (call === undefined || call.phase === PHASE.GONE) return
    this.#dataCall = undefined
    if (ended) return void this.calls.onEnd(call)
    const used = this.#context.streamWindow - call.windowLeft
    if (used * 2 < this.#context.streamWindow) return
    call.windowLeft += used
    this.output.number(FRAME.WINDOW_UPDATE, call.id, used)
  }

  protected onReset(streamId: number): void {
    const call = this.calls.get(streamId)
    if (call !== undefined) this.calls.remove(call)
  }

  /** Ends one stream from here. Frames that the peer sent before it learns of it are dropped. */
  resetStream(streamId: number, code: number): void {
    this.output.number(FRAME.RST_STREAM, streamId, code)
    this.#remembered.add(streamId)
    if (this.#remembered.size > MAX_REMEMBERED)
      for (const oldest of this.#remembered) {
        this.#remembered.delete(oldest)
        break
      }
    this.onReset(streamId)
  }

  protected onWindowUpdate(streamId: number, increment: number): void {
    const call = this.calls.get(streamId)
    if (call === undefined) return
    call.sendCredit += increment
    if (this.peerSettings.initialWindowSize + call.sendCredit > MAX_WINDOW)
      throw new StreamError(streamId, ERROR.FLOW_CONTROL_ERROR, 'the window of the stream overflows')
    this.calls.pump(call)
  }

  protected onWindowsOpened(): void {
    this.calls.pumpAll()
  }

  protected onInitialWindow(): void {
    const { initialWindowSize } = this.peerSettings
    if (initialWindowSize <= DEFAULT_WINDOW) return
    for (const call of this.calls)
      if (initialWindowSize + call.sendCredit > MAX_WINDOW)
        throw new ConnectionError(ERROR.FLOW_CONTROL_ERROR, 'the window of a stream overflows')
  }

  protected onPing(): void {
    this.lifetime.onPing(this.nowMs)
  }

  protected onPingAck(): void {
    this.lifetime.onPingAck()
  }

  /** The client opens no more streams: when those that are open have ended, so does the connection. */
  protected onGoAway(): void {
    if (this.calls.size === 0) this.end(ERROR.NO_ERROR, '')
    else this.lifetime.finishing = true
  }

  protected override onFault(error: ConnectionError | StreamError): void {
    if (error instanceof ConnectionError) this.tell(error.reason)
    else this.#context.tell('request', error.code === ERROR.REFUSED_STREAM ? 'too_many_streams' : 'malformed')
  }

  protected onBug(error: unknown): void {
    this.#context.report(error)
  }

  /** Something may be due sooner than it was. */
  wake(): void {
    this.#quietUntilMs = 0
  }

  override end(code: number, reason: string): void {
    super.end(code, reason)
    this.wake()
  }

  /** For ten thousand connections most of what this costs is to fetch them into the cache. */
  sweep(nowMs: number): void {
    if (nowMs < this.#quietUntilMs) return
    if (nowMs >= this.closeAtMs) return void this.socket.destroy()
    if (this.closing) return
    this.nowMs = nowMs
    try {
      if (this.#stall.stalled(this.socket, nowMs)) return void this.cut('stalled')
      this.sweepParts(nowMs)
      this.calls.sweep(nowMs)
      this.lifetime.sweep(nowMs)
      if (!this.lifetime.draining && !this.closing && !this.keepsPart)
        this.#quietUntilMs = Math.min(nowMs + QUIET_MS, this.calls.dueMs)
    } catch (error) {
      this.fail(error)
    }
  }

  /** The socket is gone. */
  onClose(): void {
    this.closeAtMs = 0
    this.calls.abandon()
  }
}

const NOTHING = Buffer.alloc(0)
