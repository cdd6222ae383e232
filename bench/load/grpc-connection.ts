/**
 * One client connection of the load: just enough HTTP/2 (RFC 9113) for unary gRPC calls, several at a time. Header blocks are
 * laid out beforehand (framing.ts), answers are read by their trailers; windows are kept, pings are answered.
 */
import net from 'node:net'
import { HpackDecoder } from '../../src/net/http2/hpack-decoder.ts'
import type { Field } from '../../src/net/http2/hpack-table.ts'
import { type FramedRequest, frame, renew } from './framing.ts'

export interface Answer {
  readonly ok: boolean
  readonly ms: number
  /** grpc-status; -1 when the call ended without one. */
  readonly status: number
  /** The answer carries google.rpc.RetryInfo. */
  readonly retryInfo: boolean
}

type OnAnswer = (call: Call, ok: boolean, ms: number, status: number, retryInfo: boolean) => void

export interface Call {
  readonly framed: FramedRequest
  readonly serial: number
  readonly stream: number
  readonly startedMs: number
  frame: number
  window: number
  writes: number
  over: boolean
}

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
/** No dynamic header table, so that every trailer is spelled out; a stream window of 1 MiB, a wide connection window. */
const SETTINGS = frame(4, 0, 0, Buffer.from([0, 1, 0, 0, 0, 0, 0, 4, 0, 0x10, 0, 0]))
const WIDEN = frame(8, 0, 0, Buffer.from([0x3f, 0xff, 0, 0]))
const ACK = frame(4, 1, 0, Buffer.alloc(0))
const RETRY_INFO = Buffer.from('google.rpc.RetryInfo')
/** grpc-status: 0, a literal value of one byte, plain or Huffman-coded. */
const ZERO = Buffer.from([1, 0x30])
const ZERO_HUFFMAN = Buffer.from([0x81, 0x07])

export class GrpcConnection {
  readonly #socket: net.Socket
  readonly #onAnswer: OnAnswer
  readonly #release: (framed: FramedRequest) => void
  readonly #calls = new Map<number, Call>()
  /** Calls with frames that did not fit the windows, in their order. */
  #waiting: Call[] = []
  #rest: Buffer | undefined
  #stream = 1
  #window = 65_535
  #initialWindow = 65_535
  dead = false

  /** `release` gives a request back when its call is over and the socket holds nothing of it. */
  constructor(port: number, onAnswer: OnAnswer, release: (framed: FramedRequest) => void) {
    this.#onAnswer = onAnswer
    this.#release = release
    this.#socket = net.connect({ port, host: '127.0.0.1', noDelay: true })
    this.#socket.write(Buffer.concat([PREFACE, SETTINGS, WIDEN]))
    this.#socket.on('data', (chunk: Buffer) => this.#read(chunk))
    this.#socket.on('error', () => this.#die())
    this.#socket.on('close', () => this.#die())
  }

  get open(): number {
    return this.#calls.size
  }

  call(framed: FramedRequest, serial: number): void {
    const call: Call = {
      framed,
      serial,
      stream: this.#stream,
      startedMs: performance.now(),
      frame: 0,
      window: this.#initialWindow,
      writes: 0,
      over: false,
    }
    this.#stream += 2
    renew(framed, call.stream, serial)
    this.#calls.set(call.stream, call)
    this.#send(call)
    if (!call.over && call.frame < framed.frameAt.length - 1) this.#waiting.push(call)
  }

  /** Writes the frames that the windows allow, in one piece. */
  #send(call: Call): void {
    const { bytes, frameAt } = call.framed
    const first = call.frame
    let next = first
    while (next < frameAt.length - 1) {
      const dataBytes = next === 0 ? 0 : frameAt[next + 1]! - frameAt[next]! - 9
      if (dataBytes > call.window || dataBytes > this.#window) break
      call.window -= dataBytes
      this.#window -= dataBytes
      next++
    }
    if (next === first) return
    call.frame = next
    call.writes++
    this.#socket.write(bytes.subarray(frameAt[first], frameAt[next]), () => {
      call.writes--
      if (call.over && call.writes === 0) this.#release(call.framed)
    })
  }

  #pump(): void {
    if (this.#waiting.length === 0) return
    const waiting = this.#waiting
    this.#waiting = []
    for (const call of waiting) {
      if (call.over) continue
      this.#send(call)
      if (call.frame < call.framed.frameAt.length - 1) this.#waiting.push(call)
    }
  }

  #read(chunk: Buffer): void {
    const bytes = this.#rest === undefined ? chunk : Buffer.concat([this.#rest, chunk])
    let at = 0
    while (bytes.length - at >= 9) {
      const end = at + 9 + bytes.readUIntBE(at, 3)
      if (bytes.length < end) break
      this.#frame(bytes[at + 3]!, bytes[at + 4]!, bytes.readUInt32BE(at + 5) & 0x7fffffff, bytes, at + 9, end)
      at = end
    }
    this.#rest = at === bytes.length ? undefined : bytes.subarray(at)
  }

  #frame(type: number, flags: number, stream: number, bytes: Buffer, at: number, end: number): void {
    if (type === 1) {
      if (flags & 1) this.#trailers(stream, bytes.subarray(at, end))
    } else if (type === 8) {
      const increment = bytes.readUInt32BE(at) & 0x7fffffff
      const call = stream === 0 ? undefined : this.#calls.get(stream)
      if (stream === 0) this.#window += increment
      else if (call !== undefined) call.window += increment
      this.#pump()
    } else if (type === 4 && !(flags & 1)) {
      this.#settings(bytes.subarray(at, end))
    } else if (type === 6 && !(flags & 1)) {
      this.#socket.write(frame(6, 1, 0, bytes.subarray(at, end)))
    } else if (type === 3) {
      this.#over(stream, false, -1, false)
    } else if (type === 7) {
      this.#die()
    }
  }

  #settings(payload: Buffer): void {
    for (let at = 0; at + 6 <= payload.length; at += 6) {
      if (payload.readUInt16BE(at) !== 4) continue
      const initial = payload.readUInt32BE(at + 2)
      for (const call of this.#calls.values()) call.window += initial - this.#initialWindow
      this.#initialWindow = initial
    }
    this.#socket.write(ACK)
    this.#pump()
  }

  #trailers(stream: number, block: Buffer): void {
    if (block.includes(ZERO) || block.includes(ZERO_HUFFMAN)) {
      this.#over(stream, true, 0, false)
      return
    }
    const fields: Field[] = []
    new HpackDecoder(0).decode(block, 0, block.length, 65_536, fields)
    const value = (name: string) => fields.find((field) => field.name === name)?.value
    const details = Buffer.from(value('grpc-status-details-bin') ?? '', 'base64')
    this.#over(stream, false, Number(value('grpc-status') ?? -1), details.includes(RETRY_INFO))
  }

  #over(stream: number, ok: boolean, status: number, retryInfo: boolean): void {
    const call = this.#calls.get(stream)
    if (call === undefined) return
    this.#calls.delete(stream)
    call.over = true
    if (call.writes === 0) this.#release(call.framed)
    // An answer before all was sent: the rest of the request is not wanted.
    if (call.frame < call.framed.frameAt.length - 1 && !this.dead)
      this.#socket.write(frame(3, 0, stream, Buffer.from([0, 0, 0, 8])))
    this.#onAnswer(call, ok, performance.now() - call.startedMs, status, retryInfo)
  }

  #die(): void {
    if (this.dead) return
    this.dead = true
    this.#socket.destroy()
    for (const stream of [...this.#calls.keys()]) this.#over(stream, false, -1, false)
  }

  close(): void {
    this.dead = true
    this.#socket.destroy()
  }
}
