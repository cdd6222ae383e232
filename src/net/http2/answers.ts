/**
 * Answers of a gRPC server: Response, and Trailers-Only for an error (gRPC over HTTP/2, Responses). The usual one is kept as
 * a template of whole frames, of which only stream ids and lengths change from call to call.
 */
import type { GrpcStatus } from '../grpc.ts'
import { DEFAULT_FRAME_BYTES, FLAG, FRAME, FRAME_HEAD_BYTES, putFrameHead, putUint32 } from './frames.ts'
import { HpackEncoder, INDEXING } from './hpack-encoder.ts'
import type { Output } from './output.ts'
import { ACCEPTED_ENCODINGS, type Rejection } from './request-head.ts'

const CONTENT_TYPE = 'application/grpc'
const PREFIX_BYTES = 5
const END = FLAG.END_HEADERS | FLAG.END_STREAM
/** Peers limit header lists; the message and the details of a status stay well below. */
const MAX_MESSAGE_BYTES = 3000
const MAX_DETAILS_BYTES = 4096
/** Of what a status needs in a header block beside message and details. */
const STATUS_ROOM = 400
const HEADERS_ROOM = 200

export class Answers {
  readonly encoder = new HpackEncoder()
  readonly #output: Output
  /** HEADERS, head and prefix of DATA; the trailers. */
  #opening: Uint8Array | undefined
  #closing: Uint8Array = new Uint8Array(0)
  #version = -1
  /** The refusal that was written last, as a frame: under overload one after the other is the same. */
  #refused: GrpcStatus | undefined
  #refusal: Uint8Array = new Uint8Array(0)
  #refusalVersion = -1

  constructor(output: Output) {
    this.#output = output
  }

  /** A whole answer with status OK. The caller has seen that it fits the windows and one frame. */
  ok(streamId: number, message: Uint8Array): void {
    const output = this.#output
    if (this.#opening === undefined || this.#version !== this.encoder.version) {
      this.#learn(streamId, message)
      return
    }
    const opening = this.#opening
    const closing = this.#closing
    output.reserve(opening.length + message.length + closing.length)
    const { bytes } = output
    let at = output.length
    for (let index = 0; index < opening.length; index++) bytes[at + index] = opening[index]!
    putUint32(bytes, at + 5, streamId)
    at += opening.length
    const size = message.length + PREFIX_BYTES
    putFrameHead(bytes, at - PREFIX_BYTES - FRAME_HEAD_BYTES, size, FRAME.DATA, 0, streamId)
    putUint32(bytes, at - 4, message.length)
    if (message.length < 32)
      for (let index = 0; index < message.length; index++) bytes[at + index] = message[index]!
    else bytes.set(message, at)
    at += message.length
    for (let index = 0; index < closing.length; index++) bytes[at + index] = closing[index]!
    putUint32(bytes, at + 5, streamId)
    output.length = at + closing.length
  }

  /** Writes the answer field by field; when that left the table as it was, the next one is written from its bytes. */
  #learn(streamId: number, message: Uint8Array): void {
    const output = this.#output
    const { version } = this.encoder
    output.reserve(2 * HEADERS_ROOM + message.length)
    const start = output.length
    this.headers(streamId)
    this.data(streamId, frameMessage(message), 0, message.length + PREFIX_BYTES)
    const middle = output.length
    this.trailers(streamId)
    if (version !== this.encoder.version) return
    this.#opening = Uint8Array.prototype.slice.call(output.bytes, start, middle - message.length)
    this.#closing = Uint8Array.prototype.slice.call(output.bytes, middle, output.length)
    this.#version = version
  }

  /** The head of an answer whose message comes piece by piece. */
  headers(streamId: number): void {
    const at = this.#begin(HEADERS_ROOM)
    const { bytes } = this.#output
    let end = this.encoder.begin(bytes, at)
    end = this.encoder.field(bytes, end, ':status', '200', INDEXING.ADD)
    end = this.encoder.field(bytes, end, 'content-type', CONTENT_TYPE, INDEXING.ADD)
    this.#finish(streamId, FLAG.END_HEADERS, end)
  }

  data(streamId: number, content: Uint8Array, start: number, end: number, flags = 0): void {
    const output = this.#output
    output.reserve(FRAME_HEAD_BYTES + end - start)
    const at = putFrameHead(output.bytes, output.length, end - start, FRAME.DATA, flags, streamId)
    output.bytes.set(start === 0 && end === content.length ? content : content.subarray(start, end), at)
    output.length = at + end - start
  }

  trailers(streamId: number): void {
    const at = this.#begin(HEADERS_ROOM)
    const { bytes } = this.#output
    let end = this.encoder.begin(bytes, at)
    end = this.encoder.field(bytes, end, 'grpc-status', '0', INDEXING.ADD)
    this.#finish(streamId, END, end)
  }

  /** Ends a call with a status and no message. */
  trailersOnly(streamId: number, status: GrpcStatus, http = 200): void {
    const { version } = this.encoder
    const output = this.#output
    if (status === this.#refused && version === this.#refusalVersion) {
      output.raw(this.#refusal)
      putUint32(output.bytes, output.length - this.#refusal.length + 5, streamId)
      return
    }
    const start = this.#writeStatus(streamId, status, http)
    if (http !== 200 || version !== this.encoder.version) return
    this.#refused = status
    this.#refusal = Uint8Array.prototype.slice.call(output.bytes, start, output.length)
    this.#refusalVersion = version
  }

  /** Gives where the frame starts. */
  #writeStatus(streamId: number, status: GrpcStatus, http: number): number {
    const message = percentEncode(status.message)
    const details = encodeDetails(status.details)
    const at = this.#begin(STATUS_ROOM + message.length + details.length)
    const { bytes } = this.#output
    const { encoder } = this
    let end = encoder.begin(bytes, at)
    const put = (name: string, value: string, indexing: number = INDEXING.NONE): void => {
      end = encoder.field(bytes, end, name, value, indexing)
    }
    put(':status', String(http))
    put('content-type', CONTENT_TYPE, INDEXING.ADD)
    put('grpc-status', String(status.code))
    if (message !== '') put('grpc-message', message)
    if (details !== '') put('grpc-status-details-bin', details)
    if (status.code === 12) put('grpc-accept-encoding', ACCEPTED_ENCODINGS)
    this.#finish(streamId, END, end)
    return at - FRAME_HEAD_BYTES
  }

  /** The head of an answer to somebody who does not speak gRPC; its text follows as DATA. */
  textHead(streamId: number, rejected: Rejection): void {
    const at = this.#begin(HEADERS_ROOM)
    const { bytes } = this.#output
    const { encoder } = this
    let end = encoder.begin(bytes, at)
    end = encoder.field(bytes, end, ':status', String(rejected.http), INDEXING.NONE)
    end = encoder.field(bytes, end, 'content-type', 'text/plain; charset=utf-8', INDEXING.NONE)
    end = encoder.field(bytes, end, 'allow', 'POST', INDEXING.NONE)
    this.#finish(streamId, FLAG.END_HEADERS, end)
  }

  /** Room for a frame of up to `room` bytes; gives where its payload starts. */
  #begin(room: number): number {
    this.#output.reserve(FRAME_HEAD_BYTES + HpackEncoder.BEGIN_ROOM + room)
    return this.#output.length + FRAME_HEAD_BYTES
  }

  #finish(streamId: number, flags: number, end: number): void {
    const output = this.#output
    const length = end - output.length - FRAME_HEAD_BYTES
    putFrameHead(output.bytes, output.length, length, FRAME.HEADERS, flags, streamId)
    output.length = end
  }
}

/** Prefix and message. */
export function frameMessage(message: Uint8Array): Uint8Array {
  const framed = Buffer.allocUnsafe(PREFIX_BYTES + message.length)
  framed[0] = 0
  putUint32(framed, 1, message.length)
  framed.set(message, PREFIX_BYTES)
  return framed
}

/** Bytes of DATA that an answer takes; all in one frame when at most this. */
export function fitsOneFrame(message: Uint8Array): boolean {
  return message.length + PREFIX_BYTES <= DEFAULT_FRAME_BYTES
}

/** As base64 without its padding; too long a one is left out. */
function encodeDetails(details: Uint8Array | undefined): string {
  if (details === undefined || details.length > MAX_DETAILS_BYTES) return ''
  return Buffer.from(details).toString('base64').replace(/=+$/, '')
}

const PLAIN = /^[\x20-\x24\x26-\x7e]*$/

/** Bytes of UTF-8 outside of printable ASCII, and `%`, as %XX (gRPC over HTTP/2, Status-Message). */
export function percentEncode(message: string): string {
  if (message.length <= MAX_MESSAGE_BYTES && PLAIN.test(message)) return message
  let text = ''
  for (const byte of Buffer.from(message.slice(0, MAX_MESSAGE_BYTES))) {
    if (byte >= 0x20 && byte <= 0x7e && byte !== 0x25) text += String.fromCharCode(byte)
    else text += `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
    if (text.length > MAX_MESSAGE_BYTES) break
  }
  return text
}
