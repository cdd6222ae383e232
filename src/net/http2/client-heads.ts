/**
 * Heads of the calls of one connection (gRPC over HTTP/2, Request-Headers). Calls of an exporter say the same each time, so that
 * from the second one on their block is a run of indexes into the dynamic table (RFC 7541 section 2.3): it is kept as a
 * whole frame, of which only the stream id changes.
 */
import type { OutgoingCall } from '../grpc-transport.ts'
import { DEFAULT_FRAME_BYTES, FLAG, FRAME, FRAME_HEAD_BYTES, putFrameHead, putUint32 } from './frames.ts'
import { HpackEncoder, INDEXING } from './hpack-encoder.ts'
import { ENTRY_BYTES } from './hpack-table.ts'
import type { Output } from './output.ts'
import { ACCEPTED_ENCODINGS } from './request-head.ts'
import type { PeerSettings } from './settings.ts'

/** What all calls of a client say of themselves. */
export interface ClientIdentity {
  readonly scheme: 'http' | 'https'
  readonly authority: string
  readonly userAgent: string
  /** Undefined: messages are sent as they are. */
  readonly encoding: string | undefined
}

/** Of the protocol or of the connection: never taken from a user's headers. */
const RESERVED = new Set([
  'connection',
  'content-length',
  'content-type',
  'grpc-accept-encoding',
  'grpc-encoding',
  'grpc-message',
  'grpc-message-type',
  'grpc-status',
  'grpc-status-details-bin',
  'grpc-timeout',
  'host',
  'keep-alive',
  'proxy-connection',
  'te',
  'transfer-encoding',
  'upgrade',
  'user-agent',
])
const NAME = /^[0-9a-z_.-]+$/
const VALUE = /^[\x20-\x7e]*$/

type Pair = readonly [name: string, value: string]

/** The user's headers as fields. Throws RangeError for what gRPC cannot carry. */
export function headerFields(headers: Readonly<Record<string, string>>): readonly Pair[] {
  const fields: Pair[] = []
  for (const [name, text] of Object.entries(headers)) {
    if (!NAME.test(name)) throw new RangeError(`"${name}" is no name of a gRPC header`)
    if (RESERVED.has(name)) continue
    const value = name.endsWith('-bin')
      ? Buffer.from(text).toString('base64').replace(/=+$/, '')
      : text.trim()
    if (!VALUE.test(value)) throw new RangeError(`the header "${name}" holds more than printable ASCII`)
    fields.push([name, value])
  }
  return fields
}

/** At most eight digits and a unit. */
function timeoutText(ms: number): string {
  return ms < 1e8 ? `${Math.max(1, Math.ceil(ms))}m` : `${Math.min(99_999_999, Math.ceil(ms / 1000))}S`
}

export class RequestHeads {
  readonly encoder = new HpackEncoder()
  readonly #identity: ClientIdentity
  /** What the kept frame says. */
  #path = ''
  #timeoutMs = -1
  #headers: Readonly<Record<string, string>> | undefined
  #frame: Uint8Array = EMPTY
  #version = -1

  constructor(identity: ClientIdentity) {
    this.#identity = identity
  }

  /**
   * Writes the head of a call. `leftMs` is what is left of its time when it had to wait, else -1. Throws RangeError when it
   * cannot be sent: nothing was written then.
   */
  write(output: Output, streamId: number, call: OutgoingCall, leftMs: number, peer: PeerSettings): void {
    if (leftMs < 0 && this.#version === this.encoder.version && this.#isKept(call)) {
      const frame = this.#frame
      const { length } = frame
      output.reserve(length)
      output.bytes.set(frame, output.length)
      putUint32(output.bytes, output.length + 5, streamId)
      output.length += length
      return
    }
    const { version } = this.encoder
    const block = this.#encode(call, leftMs, peer.maxHeaderListSize)
    writeFrames(output, streamId, block, peer.maxFrameSize)
    if (leftMs >= 0 || version !== this.encoder.version || block.length > DEFAULT_FRAME_BYTES) return
    this.#frame = new Uint8Array(FRAME_HEAD_BYTES + block.length)
    this.#frame.set(block, putFrameHead(this.#frame, 0, block.length, FRAME.HEADERS, FLAG.END_HEADERS, 0))
    this.#version = version
    this.#path = call.path
    this.#timeoutMs = call.timeoutMs
    this.#headers = call.headers
  }

  #isKept(call: OutgoingCall): boolean {
    if (call.path !== this.#path || call.timeoutMs !== this.#timeoutMs) return false
    const kept = this.#headers
    if (call.headers === kept || kept === undefined) return kept !== undefined
    let count = 0
    for (const name in call.headers) {
      if (call.headers[name] !== kept[name]) return false
      count++
    }
    for (const _name in kept) count--
    return count === 0
  }

  #encode(call: OutgoingCall, leftMs: number, limitBytes: number): Uint8Array {
    const { scheme, authority, userAgent, encoding } = this.#identity
    const fields: Pair[] = [
      [':method', 'POST'],
      [':scheme', scheme],
      [':path', call.path],
      [':authority', authority],
    ]
    if (call.timeoutMs > 0) fields.push(['grpc-timeout', timeoutText(leftMs >= 0 ? leftMs : call.timeoutMs)])
    if (encoding !== undefined) fields.push(['grpc-encoding', encoding])
    fields.push(['grpc-accept-encoding', ACCEPTED_ENCODINGS], ['te', 'trailers'])
    fields.push(
      ['content-type', 'application/grpc'],
      ['user-agent', userAgent],
      ...headerFields(call.headers),
    )
    let room = HpackEncoder.BEGIN_ROOM
    let listBytes = 0
    for (const [name, value] of fields) {
      room += HpackEncoder.room(name, value)
      listBytes += name.length + value.length + ENTRY_BYTES
    }
    if (listBytes > limitBytes)
      throw new RangeError(`headers of ${listBytes} bytes, the server takes ${limitBytes}`)
    const block = Buffer.allocUnsafe(room)
    let end = this.encoder.begin(block, 0)
    for (const [name, value] of fields) {
      const once = name === 'grpc-timeout' && leftMs >= 0
      end = this.encoder.field(block, end, name, value, once ? INDEXING.NONE : INDEXING.ADD)
    }
    return block.subarray(0, end)
  }
}

/** HEADERS, and CONTINUATION for what does not fit one frame (RFC 9113 section 6.10). */
function writeFrames(output: Output, streamId: number, block: Uint8Array, maxFrameBytes: number): void {
  for (let at = 0; at < block.length || at === 0; ) {
    const count = Math.min(maxFrameBytes, block.length - at)
    const type = at === 0 ? FRAME.HEADERS : FRAME.CONTINUATION
    const flags = at + count === block.length ? FLAG.END_HEADERS : 0
    output.reserve(FRAME_HEAD_BYTES + count)
    const start = putFrameHead(output.bytes, output.length, count, type, flags, streamId)
    output.bytes.set(block.subarray(at, at + count), start)
    output.length = start + count
    at += count
  }
}

const EMPTY = new Uint8Array(0)
