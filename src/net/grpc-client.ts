/**
 * Unary gRPC calls of exporters, on @grpc/grpc-js: bytes go out by path and bytes come back. Protobuf is none
 * of its business, but for google.rpc.Status in the trailer, from which the delay that a server asks for is
 * read.
 */
import { createSecureContext } from 'node:tls'
import * as grpc from '@grpc/grpc-js'
import type { ClientAuthenticator } from '../component/auth.ts'
import type { Host } from '../component/host.ts'
import { DownstreamError, RetryableError, ShutdownError, toError } from '../errors.ts'
import { NO_CONTEXT } from '../otlp/batch.ts'
import { FieldCursor, LEN } from '../otlp/wire.ts'
import { clientAuthenticator, type RequestHeaders, sendAuthorized, withoutTls } from './client-auth.ts'
import type { GrpcClientConfig } from './client-fields.ts'
import { GRPC } from './grpc.ts'
import { isLoopback } from './proxy.ts'
import { ClientTls } from './tls.ts'
import { USER_AGENT } from './user-agent.ts'
import { ANY, DURATION, RPC_RETRY_INFO, RPC_STATUS } from './wire-fields.ts'

/** A response larger than this is refused by the client. */
export const MAX_RESPONSE_BYTES = 4 * 1024 * 1024
const FIRST_RECONNECT_MS = 1000
/** A backend that comes back is found again within this time. */
const LONGEST_RECONNECT_MS = 10_000
const GZIP = 2

export interface GrpcTarget {
  /** As grpc-js takes it: with a resolver scheme. */
  readonly target: string
  /** Empty for a socket of the file system. */
  readonly hostname: string
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
    return path === '' ? undefined : { target: `unix:${path}`, hostname: '', forceTls }
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
  return { target, hostname: host === '' ? 'localhost' : host, forceTls }
}

export class GrpcClient {
  readonly #config: GrpcClientConfig & { readonly endpoint: string }
  readonly #host: Host
  readonly #target: GrpcTarget
  #tls: ClientTls | undefined
  #tlsInUse: unknown
  #auth: ClientAuthenticator | undefined
  #client: grpc.Client | undefined
  #closed = false

  /** The endpoint has been checked with parseGrpcEndpoint. */
  constructor(config: GrpcClientConfig & { readonly endpoint: string }, host: Host) {
    this.#config = config
    this.#host = host
    this.#target = parseGrpcEndpoint(config.endpoint) ?? {
      target: config.endpoint,
      hostname: '',
      forceTls: false,
    }
  }

  /** Reads certificates, finds the authenticator and begins to connect. Throws ConfigError. */
  start(): void {
    const { tls } = this.#config
    this.#tls = new ClientTls(this.#target.forceTls ? { ...tls, insecure: false } : tls)
    this.#auth = clientAuthenticator(this.#config.auth, this.#host)
    if (this.#auth?.needsTls && !this.#tls.options()) throw withoutTls(this.#config.auth)
    this.#connected().getChannel().getConnectivityState(true)
  }

  async shutdown(): Promise<void> {
    this.#closed = true
    this.#client?.close()
    this.#client = undefined
  }

  /**
   * One call. Rejects with RetryableError or DownstreamError by the status (spec: OTLP/gRPC). `timeoutMs` is
   * told to the server; 0 = none. `attempt` ends the call. `context` is the origin of the data, for an authenticator
   * that looks at it.
   */
  async call(
    path: string,
    message: Uint8Array,
    timeoutMs: number,
    attempt: AbortSignal,
    context = NO_CONTEXT,
  ): Promise<Uint8Array> {
    if (this.#closed) throw new ShutdownError('exporter is shutting down')
    const send = (headers: RequestHeaders) => this.#send(path, message, timeoutMs, attempt, headers)
    return await sendAuthorized(this.#auth, this.#config.headers, context, send)
  }

  async #send(
    path: string,
    message: Uint8Array,
    timeoutMs: number,
    attempt: AbortSignal,
    headers: RequestHeaders,
  ): Promise<Uint8Array> {
    const metadata = new grpc.Metadata({ waitForReady: this.#config.wait_for_ready })
    for (const [name, value] of Object.entries(headers)) add(metadata, name, value)
    attempt.throwIfAborted()
    const options = timeoutMs > 0 ? { deadline: Date.now() + timeoutMs } : {}
    return await new Promise<Uint8Array>((resolve, reject) => {
      const cancel = () => call.cancel()
      const call = this.#connected().makeUnaryRequest(
        path,
        toBuffer,
        identity,
        message,
        metadata,
        options,
        end,
      )
      attempt.addEventListener('abort', cancel)
      function end(error: grpc.ServiceError | null, response: Buffer | undefined) {
        attempt.removeEventListener('abort', cancel)
        if (error) reject(callError(error))
        else resolve(response ?? Buffer.alloc(0))
      }
    })
  }

  /** A new connection when the certificates were read again; what is in flight ends on the old one. */
  #connected(): grpc.Client {
    const tls = this.#tls?.options()
    if (this.#client && this.#tlsInUse === tls) return this.#client
    this.#client?.close()
    this.#tlsInUse = tls
    const credentials = tls
      ? grpc.credentials.createFromSecureContext(createSecureContext(tls), {
          rejectUnauthorized: tls.rejectUnauthorized ?? true,
        })
      : grpc.credentials.createInsecure()
    this.#client = new grpc.Client(this.#target.target, credentials, this.#channelOptions(tls?.servername))
    return this.#client
  }

  #channelOptions(serverName: string | undefined): grpc.ChannelOptions {
    const { authority, balancer_name, compression, keepalive, user_agent } = this.#config
    return {
      'grpc.primary_user_agent': user_agent === '' ? USER_AGENT : user_agent,
      'grpc.max_receive_message_length': MAX_RESPONSE_BYTES,
      'grpc.max_send_message_length': -1,
      'grpc.initial_reconnect_backoff_ms': FIRST_RECONNECT_MS,
      'grpc.max_reconnect_backoff_ms': LONGEST_RECONNECT_MS,
      'grpc.use_local_subchannel_pool': 1,
      'grpc.enable_http_proxy': isLoopback(this.#target.hostname) ? 0 : 1,
      'grpc.service_config': JSON.stringify({
        loadBalancingConfig: [{ [balancer_name === '' ? 'pick_first' : balancer_name]: {} }],
      }),
      ...(compression === 'gzip' ? { 'grpc.default_compression_algorithm': GZIP } : {}),
      ...(authority !== '' ? { 'grpc.default_authority': authority } : {}),
      ...(serverName !== undefined ? { 'grpc.ssl_target_name_override': serverName } : {}),
      ...(keepalive
        ? {
            'grpc.keepalive_time_ms': keepalive.time,
            'grpc.keepalive_timeout_ms': keepalive.timeout,
            'grpc.keepalive_permit_without_calls': keepalive.permit_without_stream ? 1 : 0,
          }
        : {}),
    }
  }
}

function add(metadata: grpc.Metadata, name: string, value: string): void {
  const key = name.toLowerCase()
  metadata.add(key, key.endsWith('-bin') ? Buffer.from(value) : value)
}

function toBuffer(message: Uint8Array): Buffer {
  return Buffer.from(message.buffer, message.byteOffset, message.length)
}

function identity(message: Buffer): Buffer {
  return message
}

function callError(error: grpc.ServiceError): Error {
  const details = error.metadata?.get('grpc-status-details-bin')[0]
  const retryAfterMs = typeof details === 'object' ? retryDelayMs(details) : undefined
  return grpcStatusError(error.code, plainDetails(error.details || error.message), retryAfterMs, error)
}

/** What grpc-js says of a failed connection, without the words it repeats for each layer. */
function plainDetails(details: string): string {
  return details
    .replace(/^round_robin: /, '')
    .replace(/(No connection established\. Last error: )+(Error: )?/, '')
    .replace(/\.? Resolution note: $/, '')
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
