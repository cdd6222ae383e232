/**
 * Heads and trailers of an answer (gRPC over HTTP/2, Responses), checked as HTTP (RFC 9113 section 8.3.2) and read as gRPC, and how
 * HTTP statuses and codes of RST_STREAM stand for gRPC statuses.
 */
import { type Encoding, isEncoding } from '../compression.ts'
import { GRPC } from '../grpc.ts'
import { ERROR } from './frames.ts'
import type { HpackDecoder } from './hpack-decoder.ts'
import { FIELD, type Field } from './hpack-table.ts'

export class ResponseHead {
  /** `:status`; -1 in trailers. */
  readonly http: number
  readonly contentType: string
  /** Of a compressed message; undefined when it has none, or one that is not known. */
  readonly encoding: Encoding | undefined
  /** grpc-status; -1 without. */
  readonly status: number
  readonly message: string
  /** grpc-status-details-bin. */
  readonly details: Uint8Array | undefined
  /** Why it is malformed. */
  readonly malformed: string | undefined

  /** `overLimit`: the list was too long, and `fields` is only its beginning. */
  constructor(fields: readonly Field[], overLimit: boolean) {
    let http = -1
    let contentType = ''
    let encoding: Encoding | undefined
    let status = -1
    let message = ''
    let details: Uint8Array | undefined
    let malformed = overLimit ? 'the header list is too long' : undefined
    let regular = false
    for (const { name, value, defect } of fields) {
      if (defect !== FIELD.FINE) malformed ??= 'a bad field'
      if (name.startsWith(':')) {
        if (regular || name !== ':status' || http >= 0) malformed ??= 'a bad pseudo-header'
        http = /^[1-9]\d\d$/.test(value) ? Number(value) : 0
        continue
      }
      regular = true
      if (name === 'content-type') contentType = value
      else if (name === 'grpc-encoding') encoding = isEncoding(value) ? value : undefined
      else if (name === 'grpc-status') status = /^\d{1,9}$/.test(value) ? Number(value) : GRPC.UNKNOWN
      else if (name === 'grpc-message') message = percentDecode(value)
      else if (name === 'grpc-status-details-bin') details = Buffer.from(value.split(',', 1)[0]!, 'base64')
    }
    this.http = http
    this.contentType = contentType
    this.encoding = encoding
    this.status = status
    this.message = message
    this.details = details
    this.malformed = malformed
  }

  get isGrpc(): boolean {
    return this.http === 200 && /^application\/grpc(?:[+;]|$)/i.test(this.contentType)
  }
}

/** A longer block is decoded each time. */
const MAX_CACHED_BYTES = 1024

/** Heads as they come; the same bytes, while the dynamic table stays as it was, say the same. */
export class ResponseHeads {
  readonly #decoder: HpackDecoder
  readonly #limitBytes: number
  #bytes: Buffer = Buffer.alloc(0)
  #version = -1
  #head: ResponseHead | undefined

  constructor(decoder: HpackDecoder, limitBytes: number) {
    this.#decoder = decoder
    this.#limitBytes = limitBytes
  }

  read(bytes: Buffer, start: number, end: number): ResponseHead {
    const decoder = this.#decoder
    const { version } = decoder
    const known = this.#head
    if (
      known !== undefined &&
      version === this.#version &&
      end - start === this.#bytes.length &&
      this.#bytes.compare(bytes, start, end) === 0
    )
      return known
    const fields: Field[] = []
    const size = decoder.decode(bytes, start, end, this.#limitBytes, fields)
    const head = new ResponseHead(fields, size > this.#limitBytes)
    if (version === decoder.version && end - start <= MAX_CACHED_BYTES) {
      this.#bytes = Buffer.from(bytes.subarray(start, end))
      this.#version = version
      this.#head = head
    }
    return head
  }
}

/** What %XX stands for are bytes of UTF-8 (gRPC over HTTP/2, Status-Message). What is no such code stays as it is. */
export function percentDecode(text: string): string {
  if (!text.includes('%')) return text
  const bytes = Buffer.allocUnsafe(text.length)
  let length = 0
  for (let at = 0; at < text.length; at++) {
    const code = text.slice(at + 1, at + 3)
    if (text.charCodeAt(at) === 37 && /^[0-9a-f]{2}$/i.test(code)) {
      bytes[length++] = Number.parseInt(code, 16)
      at += 2
    } else bytes[length++] = text.charCodeAt(at)
  }
  return bytes.toString('utf8', 0, length)
}

/** gRPC's doc/http-grpc-status-mapping.md. */
export function statusOfHttp(http: number): number {
  switch (http) {
    case 400:
      return GRPC.INTERNAL
    case 401:
      return GRPC.UNAUTHENTICATED
    case 403:
      return GRPC.PERMISSION_DENIED
    case 404:
      return GRPC.UNIMPLEMENTED
    case 429:
    case 502:
    case 503:
    case 504:
      return GRPC.UNAVAILABLE
    default:
      return GRPC.UNKNOWN
  }
}

/** gRPC over HTTP/2, "HTTP2 Transport Mapping, Errors". */
export function statusOfReset(code: number): number {
  switch (code) {
    case ERROR.REFUSED_STREAM:
      return GRPC.UNAVAILABLE
    case ERROR.CANCEL:
      return GRPC.CANCELLED
    case ERROR.ENHANCE_YOUR_CALM:
      return GRPC.RESOURCE_EXHAUSTED
    case 12: // INADEQUATE_SECURITY
      return GRPC.PERMISSION_DENIED
    default:
      return GRPC.INTERNAL
  }
}

const ERROR_NAMES = new Map<number, string>(Object.entries(ERROR).map(([name, code]) => [code, name]))

export function errorName(code: number): string {
  return ERROR_NAMES.get(code) ?? `code ${code}`
}
