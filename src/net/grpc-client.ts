/**
 * Unary gRPC calls of exporters: bytes go out by path and bytes come back, over Weir's own HTTP/2 layer or over @grpc/grpc-js. What a
 * status means for the data is decided here. Protobuf is none of its business, but for google.rpc.Status in the trailer, from which
 * the delay that a server asks for is read.
 */
import type { ClientAuthenticator } from '../component/auth.ts'
import type { Host } from '../component/host.ts'
import { ConfigError, DownstreamError, RetryableError, ShutdownError, toError } from '../errors.ts'
import { NO_CONTEXT } from '../otlp/batch.ts'
import { FieldCursor, LEN } from '../otlp/wire.ts'
import { clientAuthenticator, type RequestHeaders, sendAuthorized, withoutTls } from './client-auth.ts'
import type { GrpcClientConfig } from './client-fields.ts'
import { GRPC } from './grpc.ts'
import { createGrpcJsTransport } from './grpc-js-client.ts'
import {
  type GrpcAddress,
  GrpcCallError,
  type GrpcTransport,
  type GrpcTransportOptions,
  type MessageCompression,
} from './grpc-transport.ts'
import { createHttp2GrpcTransport } from './http2/client-channel.ts'
import { headerFields } from './http2/client-heads.ts'
import { usesProxyOfEnvironment } from './proxy.ts'
import { ClientTls } from './tls.ts'
import { USER_AGENT } from './user-agent.ts'
import { ANY, DURATION, RPC_RETRY_INFO, RPC_STATUS } from './wire-fields.ts'

/** A response larger than this is refused by the client. */
export const MAX_RESPONSE_BYTES = 4 * 1024 * 1024

export interface GrpcTarget {
  /** As grpc-js takes it: with a resolver scheme. */
  readonly target: string
  /** Empty for a socket of the file system. */
  readonly hostname: string
  readonly address: GrpcAddress
  /** The endpoint began with https://. */
  readonly forceTls: boolean
}

const PORT = /:(\d{1,5})$/

/** Undefined when it is no endpoint: a host without a port, or nothing. */
export function parseGrpcEndpoint(endpoint: string): GrpcTarget | undefined {
  const text = endpoint.trim()
  const forceTls = text.startsWith('https://')
  if (text.startsWith('unix:')) {
    const path = text.replace(/^unix:(\/\/)?/, '')
    return path === '' ? undefined : { target: `unix:${path}`, hostname: '', address: { path }, forceTls }
  }
  const scheme = /^(dns|passthrough|ipv4|ipv6|https?):(\/\/)?/.exec(text)
  let address = scheme ? text.slice(scheme[0].length) : text
  // dns://authority/name and dns:///name: the name is what follows the last slash.
  if (scheme?.[1] === 'dns' || scheme?.[1] === 'passthrough') address = address.replace(/^[^/]*\//, '')
  else address = address.replace(/\/+$/, '')
  const port = Number(PORT.exec(address)?.[1] ?? Number.NaN)
  const host = address.replace(PORT, '')
  if (!(port >= 0 && port <= 65535) || /[\s/?#]/.test(address)) return undefined
  if (host.includes(':') && !/^\[.*\]$/.test(host)) return undefined
  const resolver = scheme?.[1] === 'ipv4' || scheme?.[1] === 'ipv6' ? scheme[1] : 'dns'
  const target = `${resolver}:${host === '' ? 'localhost' : ''}${address}`
  const hostname = host === '' ? 'localhost' : host
  return { target, hostname, address: { host: hostname.replace(/^\[|\]$/g, ''), port }, forceTls }
}

export class GrpcClient {
  readonly #config: GrpcClientConfig & { readonly endpoint: string }
  readonly #host: Host
  readonly #target: GrpcTarget
  #tls: ClientTls | undefined
  #tlsInUse: unknown
  #auth: ClientAuthenticator | undefined
  /** Those of the config. */
  readonly #headers: RequestHeaders
  #transport: GrpcTransport | undefined
  #draining = false
  #closed = false

  /** The endpoint has been checked with parseGrpcEndpoint. */
  constructor(config: GrpcClientConfig & { readonly endpoint: string }, host: Host) {
    this.#config = config
    this.#host = host
    this.#target = parseGrpcEndpoint(config.endpoint) ?? {
      target: config.endpoint,
      hostname: '',
      address: { path: config.endpoint },
      forceTls: false,
    }
    this.#headers = Object.fromEntries(
      config.headers.map(({ name, value }) => [name.toLowerCase(), value.reveal()]),
    )
  }

  /** Reads certificates, finds the authenticator and begins to connect. Throws ConfigError. */
  start(): void {
    const { tls } = this.#config
    this.#tls = new ClientTls(this.#target.forceTls ? { ...tls, insecure: false } : tls)
    checkHeaders(this.#headers)
    this.#auth = clientAuthenticator(this.#config.auth, this.#host)
    if (this.#auth?.needsTls && !this.#tls.options()) throw withoutTls(this.#config.auth)
    this.#connected().connect()
  }

  /** True when nothing refers to the bytes of a message once its call has settled. */
  get releases(): boolean {
    return this.#implementation === 'http2'
  }

  /** The process is stopping: a call that comes now finds out at once whether the server is there. */
  drain(): void {
    this.#draining = true
    this.#transport?.drain()
  }

  async shutdown(): Promise<void> {
    this.#closed = true
    this.#transport?.close()
    this.#transport = undefined
  }

  /**
   * One call, whose message is a list of chunks. Rejects with RetryableError or DownstreamError by the status (spec: OTLP/gRPC).
   * `timeoutMs` is told to the server; 0 = none. `attempt` ends the call. `context` is the origin of the data, for an
   * authenticator that looks at it.
   */
  call(
    path: string,
    message: readonly Uint8Array[],
    timeoutMs: number,
    attempt: AbortSignal,
    context = NO_CONTEXT,
  ): Promise<Uint8Array> {
    const send = (headers: RequestHeaders) => this.#send(path, message, timeoutMs, attempt, headers)
    if (!this.#auth) return send(this.#headers)
    return sendAuthorized(this.#auth, this.#config.headers, context, send)
  }

  async #send(
    path: string,
    message: readonly Uint8Array[],
    timeoutMs: number,
    attempt: AbortSignal,
    headers: RequestHeaders,
  ): Promise<Uint8Array> {
    if (this.#closed) throw new ShutdownError('exporter is shutting down')
    attempt.throwIfAborted()
    try {
      return await this.#connected().call({ path, message, headers, timeoutMs, attempt })
    } catch (error) {
      throw error instanceof GrpcCallError ? callError(error) : error
    }
  }

  /** A new connection when the certificates were read again; what is in flight ends on the old one. */
  #connected(): GrpcTransport {
    const tls = this.#tls?.options()
    if (this.#transport && this.#tlsInUse === tls) return this.#transport
    this.#transport?.close()
    this.#tlsInUse = tls
    const create = this.#implementation === 'grpc-js' ? createGrpcJsTransport : createHttp2GrpcTransport
    this.#transport = create(this.#options(tls))
    if (this.#draining) this.#transport.drain()
    return this.#transport
  }

  /** Only grpc-js knows its way through a proxy. */
  get #implementation(): 'http2' | 'grpc-js' {
    const { implementation, compression } = this.#config
    const packs = compression === 'zstd' || compression === 'snappy'
    const { hostname } = this.#target
    return !packs && hostname !== '' && usesProxyOfEnvironment(hostname) ? 'grpc-js' : implementation
  }

  #options(tls: GrpcTransportOptions['tls']): GrpcTransportOptions {
    const { authority, balancer_name, compression, keepalive, user_agent, wait_for_ready } = this.#config
    const { target, address } = this.#target
    return {
      target,
      address,
      authority,
      tls,
      userAgent: user_agent === '' ? USER_AGENT : user_agent,
      compression:
        compression === 'none' || compression === '' ? undefined : (compression satisfies MessageCompression),
      balancer: balancer_name === '' ? 'pick_first' : balancer_name,
      waitForReady: wait_for_ready,
      maxResponseBytes: MAX_RESPONSE_BYTES,
      keepalive: keepalive
        ? {
            timeMs: keepalive.time,
            timeoutMs: keepalive.timeout,
            permitWithoutStream: keepalive.permit_without_stream,
          }
        : undefined,
    }
  }
}

/** What gRPC cannot carry is known at the start, not with the first call. Throws ConfigError. */
function checkHeaders(headers: RequestHeaders): void {
  try {
    headerFields(headers)
  } catch (error) {
    const { message } = toError(error)
    throw new ConfigError([{ file: 'exporter', line: 0, column: 0, path: 'headers', message }])
  }
}

function callError(error: GrpcCallError): Error {
  const retryAfterMs = error.details === undefined ? undefined : retryDelayMs(error.details)
  return grpcStatusError(error.code, error.message, retryAfterMs, error)
}

/**
 * What a gRPC status means for the data. RESOURCE_EXHAUSTED may be sent again only when the server says when.
 */
export function grpcStatusError(
  code: number,
  message: string,
  retryAfterMs: number | undefined,
  cause?: unknown,
): Error {
  const name = Object.entries(GRPC).find(([, value]) => value === code)?.[0] ?? `code ${code}`
  const text = `${name}: ${message}`
  switch (code) {
    case GRPC.CANCELLED:
    case GRPC.DEADLINE_EXCEEDED:
    case GRPC.ABORTED:
    case GRPC.OUT_OF_RANGE:
    case GRPC.UNAVAILABLE:
    case GRPC.DATA_LOSS:
      return new RetryableError(text, { cause, retryAfterMs })
    case GRPC.RESOURCE_EXHAUSTED:
      if (retryAfterMs !== undefined) return new RetryableError(text, { cause, retryAfterMs })
      return new DownstreamError(text, { cause, grpcStatus: code })
    default:
      return new DownstreamError(text, { cause, grpcStatus: code })
  }
}

const RETRY_INFO = 'type.googleapis.com/google.rpc.RetryInfo'

/**
 * The delay of a RetryInfo detail in an encoded google.rpc.Status; undefined when there is none or it is
 * broken.
 */
export function retryDelayMs(status: Uint8Array): number | undefined {
  try {
    return readRetryDelay(new FieldCursor(status))
  } catch (error) {
    toError(error) // Broken details say nothing; the code still counts.
    return undefined
  }
}

// message Status { int32 code = 1; string message = 2; repeated Any details = 3; }
// message Any { string type_url = 1; bytes value = 2; }
// message RetryInfo { Duration retry_delay = 1; }, message Duration { int64 seconds = 1; int32 nanos = 2; }
function readRetryDelay(status: FieldCursor): number | undefined {
  const any = new FieldCursor()
  const info = new FieldCursor()
  const duration = new FieldCursor()
  while (status.next()) {
    if (status.number !== RPC_STATUS.details || status.wireType !== LEN) continue
    let isRetryInfo = false
    info.reset(status.bytes, 0, 0)
    any.enter(status)
    while (any.next()) {
      if (any.number === ANY.typeUrl) isRetryInfo = any.string() === RETRY_INFO
      else if (any.number === ANY.value) info.enter(any)
    }
    if (!isRetryInfo) continue
    let delayMs = 0
    while (info.next()) {
      if (info.number !== RPC_RETRY_INFO.retryDelay) continue
      duration.enter(info)
      while (duration.next()) {
        if (duration.number === DURATION.seconds) delayMs += Number(duration.int64()) * 1000
        else if (duration.number === DURATION.nanos) delayMs += Number(duration.int64()) / 1e6
      }
    }
    return Math.max(0, delayMs)
  }
  return undefined
}
