/**
 * The head of a call, from the fields of its header block: checked as HTTP (RFC 9113 section 8.3) and as gRPC (gRPC over HTTP/2,
 * Request-Headers). Nothing in it changes once it is read, so that calls with the same block share one.
 *
 * What is malformed as HTTP ends the stream; what is no gRPC gets an answer that says so. A missing `te` is let pass, as
 * other servers do.
 */
import { type Encoding, isEncoding } from '../compression.ts'
import { type CallHead, GRPC, type GrpcStatus, type UnaryHandler } from '../grpc.ts'
import { FIELD, type Field } from './hpack-table.ts'

/** What this server decodes, as `grpc-accept-encoding` lists it. */
export const ACCEPTED_ENCODINGS = 'identity,gzip,deflate,zstd,snappy'
const ENCODINGS = new Set(ACCEPTED_ENCODINGS.split(','))

/** RFC 9113 section 8.2.2. */
const CONNECTION_FIELDS = new Set([
  'connection',
  'proxy-connection',
  'keep-alive',
  'transfer-encoding',
  'upgrade',
])
/** Of the protocol, not metadata of the caller. */
const PROTOCOL_FIELDS = new Set([
  'content-type',
  'content-length',
  'te',
  'host',
  'grpc-timeout',
  'grpc-encoding',
  'grpc-accept-encoding',
  'accept-encoding',
])
const UNIT_MS: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1000,
  m: 1,
  u: 1e-3,
  n: 1e-6,
}

/** An answer without the call being looked at. `text` is for those who do not speak gRPC. */
export interface Rejection extends GrpcStatus {
  readonly http: number
  readonly text: boolean
  /** For a metric. */
  readonly reason: string
}

export class RequestHead implements CallHead {
  readonly path: string
  readonly peer: string
  readonly handler: UnaryHandler | undefined
  /** Malformed as HTTP, and how. */
  readonly malformed: string | undefined
  readonly rejection: Rejection | undefined
  /** The handler keeps no message after it has settled. */
  readonly releases: boolean
  /** undefined = identity. */
  readonly encoding: Encoding | undefined
  /** From grpc-timeout; -1 without. */
  readonly timeoutMs: number
  /** -1 without. */
  readonly contentLength: number
  readonly #fields: readonly Field[]
  readonly #authority: string
  #metadata: Map<string, string[]> | undefined

  /** `overLimit`: the list was too long, and `fields` is only its beginning. */
  constructor(
    fields: readonly Field[],
    peer: string,
    handlers: ReadonlyMap<string, UnaryHandler>,
    overLimit = false,
    releases?: (path: string) => boolean,
  ) {
    const parts = new Parts(fields)
    this.#fields = fields
    this.peer = peer
    this.path = parts.path ?? ''
    this.#authority = parts.authority ?? parts.host ?? ''
    this.malformed = overLimit ? undefined : parts.malformed()
    this.contentLength = parts.contentLength
    const encoding = parts.encoding ?? 'identity'
    this.encoding = isEncoding(encoding) ? encoding : undefined
    this.timeoutMs = parseTimeout(parts.timeout)
    if (overLimit)
      this.rejection = rejection('header_list', 431, GRPC.RESOURCE_EXHAUSTED, 'the header list is too long')
    else if (this.malformed === undefined) this.rejection = reject(parts, encoding, this.timeoutMs)
    this.handler = handlers.get(this.path)
    this.releases = releases?.(this.path) === true
  }

  /** Built when somebody asks. */
  get metadata(): ReadonlyMap<string, readonly string[]> {
    if (this.#metadata !== undefined) return this.#metadata
    const metadata = new Map<string, string[]>()
    for (const { name, value } of this.#fields) {
      if (name.startsWith(':') || PROTOCOL_FIELDS.has(name)) continue
      const values = metadata.get(name)
      if (values === undefined) metadata.set(name, [value])
      else values.push(value)
    }
    if (this.#authority !== '') metadata.set('host', [this.#authority])
    this.#metadata = metadata
    return metadata
  }
}

/** The fields that the protocol knows, picked out in one pass. */
class Parts {
  method: string | undefined
  scheme: string | undefined
  path: string | undefined
  authority: string | undefined
  host: string | undefined
  contentType: string | undefined
  encoding: string | undefined
  timeout: string | undefined
  contentLength = -1
  #malformed: string | undefined

  constructor(fields: readonly Field[]) {
    let regular = false
    for (const field of fields) {
      if (field.defect !== FIELD.FINE)
        this.#malformed ??= field.defect === FIELD.BAD_NAME ? 'bad field name' : 'bad field value'
      if (field.name.charCodeAt(0) === 58) {
        if (regular) this.#malformed ??= 'pseudo-header after a regular field'
        this.#pseudo(field)
      } else {
        regular = true
        this.#regular(field)
      }
    }
  }

  malformed(): string | undefined {
    if (this.#malformed !== undefined) return this.#malformed
    if (this.method === undefined) return 'no :method'
    if (this.method === 'CONNECT')
      return this.authority === undefined ? 'CONNECT without :authority' : undefined
    if (this.scheme === undefined) return 'no :scheme'
    if (this.path === undefined || this.path === '') return 'no :path'
    return undefined
  }

  #pseudo({ name, value }: Field): void {
    let earlier: string | undefined
    if (name === ':path') {
      earlier = this.path
      this.path = value
    } else if (name === ':method') {
      earlier = this.method
      this.method = value
    } else if (name === ':scheme') {
      earlier = this.scheme
      this.scheme = value
    } else if (name === ':authority') {
      earlier = this.authority
      this.authority = value
    } else this.#malformed ??= 'unknown pseudo-header'
    if (earlier !== undefined) this.#malformed ??= 'pseudo-header given twice'
  }

  #regular({ name, value }: Field): void {
    switch (name) {
      case 'content-type':
        this.contentType = value
        break
      case 'te':
        if (value !== 'trailers') this.#malformed ??= 'te other than trailers'
        break
      case 'grpc-timeout':
        this.timeout = value
        break
      case 'grpc-encoding':
        this.encoding = value
        break
      case 'host':
        this.host = value
        break
      case 'content-length': {
        const length = /^\d{1,15}$/.test(value) ? Number(value) : -1
        if (length < 0 || (this.contentLength >= 0 && this.contentLength !== length))
          this.#malformed ??= 'bad content-length'
        this.contentLength = length
        break
      }
      default:
        if (CONNECTION_FIELDS.has(name)) this.#malformed ??= 'connection-specific field'
    }
  }
}

function reject(parts: Parts, encoding: string, timeoutMs: number): Rejection | undefined {
  if (parts.method !== 'POST')
    return rejection('not_grpc', 405, GRPC.INTERNAL, 'gRPC calls are sent by POST\n', true)
  const type = parts.contentType
  if (type === undefined || !/^application\/grpc(?:\+proto)?(?:;|$)/i.test(type))
    return rejection(
      'not_grpc',
      415,
      GRPC.INVALID_ARGUMENT,
      `content-type "${type ?? ''}" is not application/grpc`,
    )
  if (!ENCODINGS.has(encoding))
    return rejection(
      'unsupported_encoding',
      200,
      GRPC.UNIMPLEMENTED,
      `grpc-encoding "${encoding}" is not supported`,
    )
  if (Number.isNaN(timeoutMs)) return rejection('malformed', 400, GRPC.INTERNAL, 'malformed grpc-timeout')
  return undefined
}

export function rejection(
  reason: string,
  http: number,
  code: number,
  message: string,
  text = false,
): Rejection {
  return { reason, http, code, message, text }
}

/** At most eight digits and a unit; -1 without one, NaN when it is malformed. */
function parseTimeout(text: string | undefined): number {
  if (text === undefined) return -1
  const unit = UNIT_MS[text.charAt(text.length - 1)]
  if (unit === undefined || !/^\d{1,8}.$/.test(text)) return Number.NaN
  return Number(text.slice(0, -1)) * unit
}
