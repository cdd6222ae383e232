/**
 * What both ends of an HTTP/2 connection do (RFC 9113): frames on the connection itself, header blocks, windows, limits, errors. Streams
 * are the business of whoever extends it. After an error nothing more is read: GOAWAY goes out, and the socket closes
 * when the peer does, or soon. Over 300 lines, since it is where every type of frame is told apart.
 */
import type { Socket } from 'node:net'
import type { Clock } from '../../component/clock.ts'
import { FLOOD, FloodGuard } from './flood-guard.ts'
import { ReceiveWindow, SendWindow } from './flow-control.ts'
import { FrameReader, type FrameSink, freeChunk, withoutPadding } from './frame-reader.ts'
import {
  ConnectionError,
  ERROR,
  FLAG,
  FRAME,
  frameSizeError,
  protocolError,
  readUint31,
  readUint32,
  StreamError,
} from './frames.ts'
import { HeaderBlock } from './header-block.ts'
import { HpackDecoder } from './hpack-decoder.ts'
import type { HpackEncoder } from './hpack-encoder.ts'
import { Output } from './output.ts'
import { PeerSettings } from './settings.ts'
import { isShared } from './socket-reader.ts'

/** Unwritten bytes at which reading stops until the peer has taken them. */
const MAX_UNWRITTEN_BYTES = 1024 * 1024
/** How long a connection that was ended here stays for the peer to end it too. */
export const LINGER_MS = 500
/** How long a header block, or another frame than DATA, may take from its first byte to its last. */
const PART_MS = 10_000

export abstract class Connection implements FrameSink {
  readonly socket: Socket
  readonly output: Output
  readonly peerSettings = new PeerSettings()
  readonly decoder = new HpackDecoder()
  readonly sendWindow = new SendWindow()
  readonly guard: FloodGuard
  protected abstract readonly encoder: HpackEncoder
  /** The time when the chunk that is being read came. */
  nowMs: number
  /** The highest stream that the peer opened. */
  lastStreamId = 0
  /** When the socket is destroyed; Infinity while the connection is in use. */
  closeAtMs = Number.POSITIVE_INFINITY
  settingsAcked = false
  readonly clock: Clock
  readonly #reader = new FrameReader(this)
  readonly #receiveWindow: ReceiveWindow
  readonly #block: HeaderBlock
  #settingsSeen = false
  /** What is left of a chunk when reading stopped for want of room. */
  #rest: Buffer | undefined
  #unwritten = false
  /** Something points into the chunk that is being read. */
  chunkKept = false
  /** The frame of which a part is kept, by its number, and since when. */
  #partFrame = 0
  #partSinceMs = 0

  constructor(socket: Socket, clock: Clock, windowBytes: number, headerBytes: number) {
    this.socket = socket
    this.clock = clock
    this.nowMs = clock.monotonicMs()
    this.output = new Output(socket)
    this.guard = new FloodGuard(this.nowMs)
    this.#receiveWindow = new ReceiveWindow(windowBytes)
    this.#block = new HeaderBlock(headerBytes)
    socket.on('drain', () => this.#onDrain())
  }

  protected abstract onHeaders(
    streamId: number,
    endStream: boolean,
    selfDependent: boolean,
    bytes: Buffer,
    start: number,
    end: number,
  ): void
  protected abstract onReset(streamId: number, code: number): void
  protected abstract onWindowUpdate(streamId: number, increment: number): void
  /** After a change of the initial window, or more room on the connection. */
  protected abstract onWindowsOpened(): void
  protected abstract onInitialWindow(change: number): void
  protected abstract onPing(): void
  protected abstract onPingAck(): void
  /** Last stream, code and text of a GOAWAY stand between `start` and `end`. */
  protected abstract onGoAway(bytes: Buffer, start: number, end: number): void
  /** The peer's settings were taken over. */
  protected onSettings(): void {}
  protected abstract isIdle(streamId: number): boolean
  protected abstract resetStream(streamId: number, code: number): void
  /** An error that is no fault of the peer. */
  protected abstract onBug(error: unknown): void
  /** Told before the connection, or one stream, ends for a fault of the peer. */
  protected onFault(_error: ConnectionError | StreamError): void {}
  abstract onDataHead(flags: number, streamId: number, length: number): void
  abstract onData(bytes: Buffer, start: number, end: number): number
  abstract onDataEnd(): void

  protected openWindow(): void {
    const { opening } = this.#receiveWindow
    if (opening > 0) this.output.number(FRAME.WINDOW_UPDATE, 0, opening)
  }

  /** Reading stopped since there was no room; the socket is paused. */
  get stopped(): boolean {
    return this.#rest !== undefined
  }

  get closing(): boolean {
    return this.closeAtMs !== Number.POSITIVE_INFINITY
  }

  protected read(chunk: Buffer, at: number): void {
    if (this.closing) return
    this.chunkKept = false
    try {
      const upTo = this.#reader.read(chunk, at)
      if (upTo < chunk.length && !this.closing) {
        this.#rest = isShared(chunk) ? Buffer.from(chunk.subarray(upTo)) : chunk.subarray(upTo)
        this.socket.pause()
      } else if (!this.chunkKept) freeChunk(chunk)
    } catch (error) {
      this.fail(error)
    }
    if (this.socket.writableLength > MAX_UNWRITTEN_BYTES) {
      this.#unwritten = true
      this.socket.pause()
    }
  }

  /** Goes on where reading stopped. False when it stopped again. */
  protected readOn(): boolean {
    const rest = this.#rest
    if (rest === undefined) return true
    this.#rest = undefined
    this.nowMs = this.clock.monotonicMs()
    this.read(rest, 0)
    if (this.#rest !== undefined) return false
    if (!this.#unwritten) this.socket.resume()
    return true
  }

  /** A part of a frame, or of a header block, is kept. */
  protected get keepsPart(): boolean {
    return this.#reader.keeping || this.#block.streamId !== 0
  }

  /** Ends a connection that sends a frame or a header block so slowly that keeping its parts is all there is to it. */
  protected sweepParts(nowMs: number): void {
    const reader = this.#reader
    const { streamId, sinceMs } = this.#block
    if (streamId !== 0 && nowMs - sinceMs > PART_MS && !this.stopped) throw slow('a header block')
    if (!reader.keeping) this.#partFrame = 0
    else if (this.#partFrame !== reader.frames) {
      this.#partFrame = reader.frames
      this.#partSinceMs = nowMs
    } else if (nowMs - this.#partSinceMs > PART_MS && !this.stopped) throw slow('a frame')
  }

  #onDrain(): void {
    if (!this.#unwritten) return
    this.#unwritten = false
    if (this.#rest === undefined) this.socket.resume()
  }

  /** Ends the connection with GOAWAY. */
  fail(error: unknown): void {
    if (this.closing) return
    if (error instanceof ConnectionError) {
      this.onFault(error)
      return void this.end(error.code, error.message)
    }
    this.onBug(error)
    this.end(ERROR.INTERNAL_ERROR, 'internal error')
  }

  /** Sends GOAWAY and closes; what still comes is dropped, so that the peer gets to read it. */
  end(code: number, reason: string): void {
    if (this.closing) return
    this.closeAtMs = this.clock.monotonicMs() + LINGER_MS
    this.#rest = undefined
    this.output.goAway(this.lastStreamId, code, reason)
    this.output.flush()
    this.socket.end()
    this.socket.resume()
  }

  onFrame(type: number, flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    this.#checkOrder(type, streamId)
    try {
      this.#dispatch(type, flags, streamId, bytes, start, end)
    } catch (error) {
      if (!(error instanceof StreamError)) throw error
      this.guard.take(FLOOD.RESET, this.nowMs)
      this.onFault(error)
      this.resetStream(error.streamId, error.code)
    }
  }

  #checkOrder(type: number, streamId: number): void {
    const open = this.#block.streamId
    if (open !== 0 && (type !== FRAME.CONTINUATION || streamId !== open))
      throw protocolError('another frame inside of a header block')
    if (!this.#settingsSeen && type !== FRAME.SETTINGS) throw protocolError('the first frame is not SETTINGS')
  }

  /** DATA counts for the window of the connection whatever becomes of it. */
  protected takeData(length: number): void {
    this.#checkOrder(FRAME.DATA, 0)
    this.#receiveWindow.take(length)
    const credit = this.#receiveWindow.refill()
    if (credit > 0) this.output.number(FRAME.WINDOW_UPDATE, 0, credit)
  }

  #dispatch(type: number, flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    switch (type) {
      case FRAME.HEADERS:
        return void this.#headers(flags, streamId, bytes, start, end)
      case FRAME.CONTINUATION:
        return void this.#continuation(flags, streamId, bytes, start, end)
      case FRAME.SETTINGS:
        return void this.#settings(flags, streamId, bytes, start, end)
      case FRAME.PING:
        return void this.#ping(flags, streamId, bytes, start, end)
      case FRAME.WINDOW_UPDATE:
        return void this.#windowUpdate(streamId, bytes, start, end)
      case FRAME.RST_STREAM:
        if (end - start !== 4) throw frameSizeError('RST_STREAM of a wrong length')
        if (this.isIdle(streamId)) throw protocolError('RST_STREAM on an idle stream')
        this.guard.take(FLOOD.RESET, this.nowMs)
        return void this.onReset(streamId, readUint32(bytes, start))
      case FRAME.PRIORITY:
        if (streamId === 0) throw protocolError('PRIORITY on the connection')
        this.guard.take(FLOOD.PRIORITY, this.nowMs)
        if (end - start !== 5) throw new StreamError(streamId, ERROR.FRAME_SIZE_ERROR, 'PRIORITY length')
        if (readUint31(bytes, start) === streamId)
          throw new StreamError(streamId, ERROR.PROTOCOL_ERROR, 'a stream that depends on itself')
        return
      case FRAME.GOAWAY:
        if (streamId !== 0) throw protocolError('GOAWAY on a stream')
        if (end - start < 8) throw frameSizeError('GOAWAY is too short')
        this.guard.take(FLOOD.IGNORED, this.nowMs)
        return void this.onGoAway(bytes, start, end)
      case FRAME.PUSH_PROMISE:
        throw protocolError('PUSH_PROMISE')
      default:
        this.guard.take(FLOOD.IGNORED, this.nowMs)
    }
  }

  #headers(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    if (streamId === 0) throw protocolError('HEADERS on the connection')
    end = withoutPadding(flags, bytes, start, end)
    if (flags & FLAG.PADDED) start++
    let selfDependent = false
    if (flags & FLAG.PRIORITY) {
      if (end - start < 5) throw frameSizeError('HEADERS without their priority')
      selfDependent = readUint31(bytes, start) === streamId
      start += 5
    }
    if (flags & FLAG.END_HEADERS) {
      this.onHeaders(streamId, (flags & FLAG.END_STREAM) !== 0, selfDependent, bytes, start, end)
      return
    }
    if (start === end) this.guard.take(FLOOD.EMPTY, this.nowMs)
    this.#block.open(streamId, flags, selfDependent, this.nowMs)
    this.#block.add(bytes, start, end)
  }

  #continuation(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    const block = this.#block
    if (block.streamId === 0) throw protocolError('CONTINUATION without HEADERS')
    block.add(bytes, start, end)
    if ((flags & FLAG.END_HEADERS) === 0) {
      if (start === end) this.guard.take(FLOOD.EMPTY, this.nowMs)
      return
    }
    const endStream = (block.flags & FLAG.END_STREAM) !== 0
    const { bytes: whole, length, selfDependent } = block
    block.close()
    this.onHeaders(streamId, endStream, selfDependent, whole, 0, length)
  }

  #settings(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    if (streamId !== 0) throw protocolError('SETTINGS on a stream')
    this.guard.take(FLOOD.SETTINGS, this.nowMs)
    if (flags & FLAG.ACK) {
      if (start !== end) throw frameSizeError('SETTINGS acknowledgement with a payload')
      this.settingsAcked = true
      return
    }
    this.#settingsSeen = true
    const before = this.peerSettings.initialWindowSize
    this.peerSettings.apply(bytes, start, end)
    const change = this.peerSettings.initialWindowSize - before
    this.encoder.setLimit(this.peerSettings.headerTableSize)
    this.output.frame(FRAME.SETTINGS, FLAG.ACK, NOTHING)
    this.onSettings()
    if (change === 0) return
    this.onInitialWindow(change)
    if (change > 0) this.onWindowsOpened()
  }

  #ping(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    if (streamId !== 0) throw protocolError('PING on a stream')
    if (end - start !== 8) throw frameSizeError('PING of a wrong length')
    this.guard.take(FLOOD.PING, this.nowMs)
    if (flags & FLAG.ACK) return void this.onPingAck()
    this.output.frame(FRAME.PING, FLAG.ACK, bytes.subarray(start, end))
    this.onPing()
  }

  #windowUpdate(streamId: number, bytes: Buffer, start: number, end: number): void {
    if (end - start !== 4) throw frameSizeError('WINDOW_UPDATE of a wrong length')
    this.guard.take(FLOOD.WINDOW_UPDATE, this.nowMs)
    const increment = readUint32(bytes, start) & 0x7fffffff
    if (streamId === 0) {
      if (increment === 0) throw protocolError('WINDOW_UPDATE of 0')
      this.sendWindow.add(increment)
      this.onWindowsOpened()
      return
    }
    if (this.isIdle(streamId)) throw protocolError('WINDOW_UPDATE on an idle stream')
    if (increment === 0) throw new StreamError(streamId, ERROR.PROTOCOL_ERROR, 'WINDOW_UPDATE of 0')
    this.onWindowUpdate(streamId, increment)
  }
}

const NOTHING = new Uint8Array(0)

function slow(what: string): ConnectionError {
  return new ConnectionError(ERROR.ENHANCE_YOUR_CALM, `${what} comes too slowly`, 'slow_frames')
}
