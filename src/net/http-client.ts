/**
 * HTTP requests of exporters, on undici: one pool of connections per destination.
 *
 * What a hostile or broken server sends back is bounded: headers by the parser, the body of a success to 4
 * MiB and of an error to 64 KiB, after which the connection is dropped. No content encoding is asked for and
 * none is decoded, redirects are not followed. A body in chunks is sent as it is, without joining it.
 */
import { Readable } from 'node:stream'
import { buildConnector, type Dispatcher, EnvHttpProxyAgent, Pool, ProxyAgent } from 'undici'
import type { ClientAuthenticator } from '../component/auth.ts'
import type { Host } from '../component/host.ts'
import { DownstreamError, RetryableError, ShutdownError, toError } from '../errors.ts'
import { NO_CONTEXT } from '../otlp/batch.ts'
import { clientAuthenticator } from './client-auth.ts'
import type { HttpClientConfig } from './client-fields.ts'
import { coalesce } from './coalesce.ts'
import { type Compression, compress } from './compression.ts'
import { usesProxyOfEnvironment } from './proxy.ts'
import { grpcFromHttp } from './rpc-status.ts'
import { announceBody, keepUnsent } from './sent-body.ts'
import { ClientTls } from './tls.ts'
import { USER_AGENT } from './user-agent.ts'

export const MAX_SUCCESS_BYTES = 4 * 1024 * 1024
export const MAX_ERROR_BYTES = 64 * 1024
const CONNECT_TIMEOUT_MS = 10_000
/** Of a body that goes out in pieces: a write costs about as much as a copy of such a block. */
const PIECES = { smallBytes: 16 * 1024, blockBytes: 64 * 1024 }
const NEVER_MS = 2 ** 31 - 1

export interface HttpResponse {
  readonly status: number
  /** Keys in lower case; of a repeated header the first. */
  readonly headers: ReadonlyMap<string, string>
  readonly body: Uint8Array
  /** The body was longer than what is read. */
  readonly truncated: boolean
}

export class HttpClient {
  /** Nothing refers to the chunks of a request once it has settled. */
  readonly releases = true
  readonly #config: HttpClientConfig
  readonly #host: Host
  readonly #pools = new Map<string, Dispatcher>()
  #tls: ClientTls | undefined
  #auth: ClientAuthenticator | undefined
  #closed = false

  constructor(config: HttpClientConfig, host: Host) {
    this.#config = config
    this.#host = host
  }

  /** Reads certificates and finds the authenticator. Throws ConfigError. */
  start(): void {
    this.#tls = new ClientTls(this.#config.tls)
    this.#auth = clientAuthenticator(this.#config.auth, this.#host)
  }

  async shutdown(): Promise<void> {
    this.#closed = true
    await Promise.all([...this.#pools.values()].map((pool) => pool.destroy()))
    this.#pools.clear()
  }

  /**
   * Sends one POST. Rejects with RetryableError when no answer came (connection, time-out); a status,
   * whatever it is, resolves. `headers` are the exporter's own; those of the config replace them. `context` is the
   * origin of the data, for an authenticator that looks at it.
   */
  async post(
    url: URL,
    headers: Readonly<Record<string, string>>,
    chunks: readonly Uint8Array[],
    attempt: AbortSignal,
    context = NO_CONTEXT,
  ): Promise<HttpResponse> {
    if (this.#closed) throw new ShutdownError('exporter is shutting down')
    const sent: Record<string, string> = { 'user-agent': USER_AGENT, ...headers }
    if (url.username !== '') sent['authorization'] = basicAuthorization(url)
    const { compression, compression_params: params } = this.#config
    let body = chunks
    if (compression !== '' && compression !== 'none') {
      body = await compress(compression satisfies Compression, params?.level || undefined, chunks)
      sent['content-encoding'] = compression
    }
    for (const { name, value } of this.#config.headers) sent[name.toLowerCase()] = value.reveal()
    if (!this.#auth) return await this.#request('POST', url, sent, body, attempt)
    const asked = { ...sent }
    await this.#auth.authorize(asked, context)
    const answer = await this.#request('POST', url, asked, body, attempt)
    if (answer.status !== 401 || this.#auth.rejected?.(asked) !== true) return answer
    await this.#auth.authorize(sent, context)
    return await this.#request('POST', url, sent, body, attempt)
  }

  /** As post(), for what authenticators ask of their own servers. */
  async get(url: URL, attempt: AbortSignal): Promise<HttpResponse> {
    if (this.#closed) throw new ShutdownError('shutting down')
    return await this.#request('GET', url, { 'user-agent': USER_AGENT }, [], attempt)
  }

  async #request(
    method: 'GET' | 'POST',
    url: URL,
    headers: Record<string, string>,
    chunks: readonly Uint8Array[],
    attempt: AbortSignal,
  ): Promise<HttpResponse> {
    try {
      return await this.#exchange(method, url, headers, chunks, attempt)
    } catch (error) {
      const { message, cause } = describe(toError(error))
      throw new RetryableError(`${url.host}: ${message}`, { cause })
    }
  }

  async #exchange(
    method: 'GET' | 'POST',
    url: URL,
    headers: Record<string, string>,
    chunks: readonly Uint8Array[],
    attempt: AbortSignal,
  ): Promise<HttpResponse> {
    let length = 0
    for (const chunk of chunks) length += chunk.length
    const blocks = coalesce(chunks, PIECES)
    const [only] = blocks
    // A view of its own, since another exporter may be sending the same chunk.
    const whole = blocks.length === 1 && only ? only.subarray() : Readable.from(blocks, { objectMode: false })
    const body = method === 'GET' ? null : whole
    if (body === null) return await this.#ask({ method, headers, body }, url, attempt)
    headers['content-length'] = String(length)
    announceBody(body)
    try {
      return await this.#ask({ method, headers, body }, url, attempt)
    } finally {
      keepUnsent(body, chunks)
    }
  }

  async #ask(
    request: Pick<Dispatcher.RequestOptions, 'method' | 'headers' | 'body'>,
    url: URL,
    attempt: AbortSignal,
  ): Promise<HttpResponse> {
    const response: Dispatcher.ResponseData = await this.#pool(url).request({
      ...request,
      origin: url.origin,
      path: url.pathname + url.search,
      signal: attempt,
      headersTimeout: 0,
      bodyTimeout: 0,
    })
    const success = response.statusCode >= 200 && response.statusCode < 300
    const limit = success ? MAX_SUCCESS_BYTES : MAX_ERROR_BYTES
    const answer = await readAtMost(response.body, limit)
    return { status: response.statusCode, headers: firstValues(response.headers), ...answer }
  }

  #pool(url: URL): Dispatcher {
    const known = this.#pools.get(url.origin)
    if (known) return known
    const made = this.#makePool(url)
    this.#pools.set(url.origin, made)
    return made
  }

  #makePool(url: URL): Dispatcher {
    const { max_conns_per_host, idle_conn_timeout, disable_keep_alives, proxy_url } = this.#config
    const idleMs = idle_conn_timeout === 0 ? NEVER_MS : idle_conn_timeout
    const options = {
      connections: max_conns_per_host === 0 ? null : max_conns_per_host,
      keepAliveTimeout: idleMs,
      keepAliveMaxTimeout: idleMs,
      pipelining: disable_keep_alives ? 0 : 1,
      allowH2: false,
    }
    // The type of undici has no `| undefined` on its optional fields; the values are the same.
    const tls = (this.#tls?.options() ?? {}) as buildConnector.BuildOptions
    if (proxy_url !== '') return new ProxyAgent({ uri: proxy_url, requestTls: tls, ...options })
    if (usesProxyOfEnvironment(url.hostname)) return new EnvHttpProxyAgent({ requestTls: tls, ...options })
    const connect: buildConnector.connector = (target, callback) => this.#connector()(target, callback)
    return new Pool(url.origin, { ...options, connect })
  }

  #connectorTls: unknown
  #made: buildConnector.connector | undefined
  /** The connector follows the certificates when they are read again. */
  #connector(): buildConnector.connector {
    const tls = this.#tls?.options()
    if (this.#made && this.#connectorTls === tls) return this.#made
    this.#connectorTls = tls
    const options = { ...tls, timeout: CONNECT_TIMEOUT_MS, allowH2: false }
    this.#made = buildConnector(options as buildConnector.BuildOptions) // As in #makePool.
    return this.#made
  }
}

/** Credentials that are part of the URL, as clients in Go send them. */
function basicAuthorization(url: URL): string {
  const credentials = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`
  return `Basic ${Buffer.from(credentials).toString('base64')}`
}

async function readAtMost(
  stream: AsyncIterable<Uint8Array> & { destroy(): unknown },
  limit: number,
): Promise<{ body: Uint8Array; truncated: boolean }> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of stream) {
    chunks.push(chunk)
    length += chunk.length
    if (length <= limit) continue
    stream.destroy()
    return { body: Buffer.concat(chunks, limit), truncated: true }
  }
  return { body: chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks), truncated: false }
}

function firstValues(headers: Record<string, string | string[] | undefined>): Map<string, string> {
  const result = new Map<string, string>()
  for (const [key, value] of Object.entries(headers)) {
    const first = Array.isArray(value) ? value[0] : value
    if (first !== undefined) result.set(key.toLowerCase(), first)
  }
  return result
}

/** Connection errors of several addresses come as one without a text of its own. */
function describe(error: Error): { message: string; cause: Error } {
  if (error instanceof AggregateError && error.errors.length > 0)
    return { message: error.errors.map((inner) => toError(inner).message).join('; '), cause: error }
  return { message: error.message || error.name, cause: error }
}

/** The Retry-After header in ms from now: seconds or an HTTP date. Undefined when absent or neither. */
export function retryAfterMs(response: HttpResponse, wallMs: number): number | undefined {
  const text = response.headers.get('retry-after')?.trim()
  if (text === undefined || text === '') return undefined
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000
  const at = /^[A-Za-z]{3,9},? /.test(text) ? Date.parse(text) : Number.NaN
  return Number.isNaN(at) ? undefined : Math.max(0, at - wallMs)
}

/**
 * What a status that is no success means: RetryableError when `retryable` says so (with Retry-After for 429
 * and 503), else DownstreamError with the gRPC code that the status stands for.
 */
export function statusError(
  response: HttpResponse,
  url: URL,
  wallMs: number,
  retryable: (status: number) => boolean,
  detail = bodyText(response),
): Error {
  const { status } = response
  const location = status >= 300 && status < 400 ? response.headers.get('location') : undefined
  const hint = location ? `redirects to ${location.slice(0, 200)}, which is not followed` : detail
  const message = `${url.host}${url.pathname} answered ${status}${hint === '' ? '' : `: ${hint}`}`
  if (!retryable(status)) return new DownstreamError(message, { grpcStatus: grpcFromHttp(status) })
  const throttled = status === 429 || status === 503
  return new RetryableError(message, { retryAfterMs: throttled ? retryAfterMs(response, wallMs) : undefined })
}

const MAX_DETAIL = 500

/** The beginning of an error body, for logs; control characters are taken out. */
export function bodyText(response: HttpResponse): string {
  const text = Buffer.from(response.body.subarray(0, MAX_DETAIL)).toString('utf8')
  return text.replace(/[\x00-\x1f\x7f]+/g, ' ').trim()
}
