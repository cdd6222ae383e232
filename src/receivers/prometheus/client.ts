/**
 * The HTTP client of one scrape config: GET requests on kept connections, with its credentials, certificates
 * and proxy.
 *
 * What a target sends is bounded: headers by the parser, the body by `body_size_limit`, on the wire and
 * unpacked, and by MAX_BODY_BYTES where that is not set. Only gzip is asked for and decoded. A redirect takes
 * the credentials along only on the same origin.
 */
import { readFile } from 'node:fs/promises'
import { Agent, buildConnector, type Dispatcher, EnvHttpProxyAgent } from 'undici'
import { InvalidError, RetryableError, TooLargeError, toError } from '../../errors.ts'
import { decompress } from '../../net/compression.ts'
import { ClientTls } from '../../net/tls.ts'
import { USER_AGENT } from '../../net/user-agent.ts'
import type { Protocol, ScrapeConfig } from './scrape-config.ts'

/** Of a body when `body_size_limit` says nothing. */
export const MAX_BODY_BYTES = 256 * 1024 * 1024
const MAX_REDIRECTS = 10
const MAX_SECRET_FILE_BYTES = 64 * 1024
const CONNECT_TIMEOUT_MS = 60_000 // The scrape timeout ends earlier what hangs.

/** Longer than most intervals, so that a connection serves many scrapes. */
const KEEP_ALIVE_MS = 300_000
/** What a kept connection fails with when the target closed it just now: then a new one is tried, once. */
const CLOSED = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE'])

const MEDIA: Readonly<Record<Protocol, string>> = {
  PrometheusProto: '',
  'OpenMetricsText1.0.0': 'application/openmetrics-text;version=1.0.0',
  'OpenMetricsText0.0.1': 'application/openmetrics-text;version=0.0.1',
  'PrometheusText1.0.0': 'text/plain;version=1.0.0',
  'PrometheusText0.0.4': 'text/plain;version=0.0.4',
}
/** The versions in which names may be of any characters, and that take `escaping`. */
const WITH_ESCAPING: ReadonlySet<Protocol> = new Set(['OpenMetricsText1.0.0', 'PrometheusText1.0.0'])
const HIGHEST_WEIGHT = 6

/** What is asked for, the first protocol first. */
export function acceptHeader(protocols: readonly Protocol[], escaping: string): string {
  const spoken = protocols.filter((protocol) => protocol !== 'PrometheusProto')
  const parts = spoken.map((protocol, index) => {
    const suffix = WITH_ESCAPING.has(protocol) ? `;escaping=${escaping}` : ''
    return `${MEDIA[protocol]}${suffix};q=0.${HIGHEST_WEIGHT - index}`
  })
  return [...parts, `*/*;q=0.${HIGHEST_WEIGHT - spoken.length}`].join(',')
}

export interface ScrapedBody {
  readonly body: Uint8Array
  readonly openMetrics: boolean
}

export interface ClientSettings {
  readonly job: ScrapeConfig
  readonly accept: string
  /** 0 = MAX_BODY_BYTES. */
  readonly bodyLimitBytes: number
}

export class ScrapeClient {
  readonly #settings: ClientSettings
  readonly #tls: ClientTls
  readonly #agent: Dispatcher

  /** Reads certificates. Throws ConfigError. */
  constructor(settings: ClientSettings) {
    this.#settings = settings
    const { job } = settings
    this.#tls = new ClientTls(job.tls_config)
    const options = {
      connections: null,
      pipelining: 1,
      allowH2: false,
      headersTimeout: 0,
      bodyTimeout: 0,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: KEEP_ALIVE_MS,
    }
    if (job.proxy_url !== '' || job.proxy_from_environment) {
      const proxy =
        job.proxy_url === ''
          ? {}
          : { httpProxy: job.proxy_url, httpsProxy: job.proxy_url, noProxy: job.no_proxy }
      // The type of undici has no `| undefined` on its optional fields; the values are the same.
      const requestTls = this.#tls.options() as buildConnector.BuildOptions
      this.#agent = new EnvHttpProxyAgent({ ...options, ...proxy, requestTls, connect: requestTls })
    } else {
      const connect: buildConnector.connector = (target, callback) => this.#connector()(target, callback)
      this.#agent = new Agent({ ...options, connect })
    }
  }

  async close(): Promise<void> {
    await this.#agent.destroy()
  }

  #madeFor: unknown
  #made: buildConnector.connector | undefined
  /** The connector follows the certificates when they are read again. */
  #connector(): buildConnector.connector {
    const tls = this.#tls.options()
    if (this.#made && this.#madeFor === tls) return this.#made
    this.#madeFor = tls
    const options = { ...tls, timeout: CONNECT_TIMEOUT_MS, allowH2: false }
    this.#made = buildConnector(options as buildConnector.BuildOptions) // As above.
    return this.#made
  }

  /** Rejects with an error of errors.ts that says in one line what went wrong. */
  async get(url: URL, timeoutMs: number, signal: AbortSignal): Promise<ScrapedBody> {
    const headers = await this.#headers(timeoutMs)
    const credentials = await this.#authorization()
    if (credentials !== undefined) headers['authorization'] = credentials
    let current = url
    for (let redirects = 0; ; redirects++) {
      const response = await this.#request(current, headers, signal)
      const location = redirectOf(response, this.#settings.job.follow_redirects)
      if (location === undefined) return await this.#read(response)
      response.body.on('error', () => {}).destroy()
      const next = URL.parse(location, current.href)
      if (!next || !/^https?:$/.test(next.protocol)) throw new InvalidError('redirected to no HTTP address')
      if (redirects >= MAX_REDIRECTS) throw new InvalidError(`stopped after ${MAX_REDIRECTS} redirects`)
      if (next.origin !== current.origin) this.#forgetSecrets(headers)
      current = next
    }
  }

  #forgetSecrets(headers: Record<string, string | string[]>): void {
    delete headers['authorization']
    for (const name of Object.keys(this.#settings.job.http_headers ?? {})) delete headers[name.toLowerCase()]
  }

  async #request(
    url: URL,
    headers: Record<string, string | string[]>,
    signal: AbortSignal,
    again = false,
  ): Promise<Dispatcher.ResponseData> {
    const path = url.pathname + url.search
    const options = { origin: url.origin, path, method: 'GET', headers, signal } as const
    try {
      return await this.#agent.request(options)
    } catch (error) {
      if (!again && error instanceof Error && 'code' in error && CLOSED.has(String(error.code)))
        return this.#request(url, headers, signal, true)
      throw connectionError(error)
    }
  }

  async #headers(timeoutMs: number): Promise<Record<string, string | string[]>> {
    const { job, accept } = this.#settings
    const headers: Record<string, string | string[]> = {
      'user-agent': USER_AGENT,
      accept,
      'accept-encoding': job.enable_compression ? 'gzip' : 'identity',
      'x-prometheus-scrape-timeout-seconds': String(timeoutMs / 1000),
    }
    for (const [name, { values, secrets, files }] of Object.entries(job.http_headers ?? {})) {
      const given = [...values, ...secrets.map((one) => one.reveal())]
      for (const file of files) given.push(await readSecret(file))
      headers[name.toLowerCase()] = given
    }
    return headers
  }

  /** Files are read for each scrape, so that what is renewed in place is used at once. */
  async #authorization(): Promise<string | undefined> {
    const {
      basic_auth: basic,
      authorization,
      bearer_token: token,
      bearer_token_file: file,
    } = this.#settings.job
    if (basic) {
      const name = basic.username_file === '' ? basic.username : await readSecret(basic.username_file)
      const word =
        basic.password_file === '' ? basic.password.reveal() : await readSecret(basic.password_file)
      return `Basic ${Buffer.from(`${name}:${word}`).toString('base64')}`
    }
    if (authorization) {
      const { type, credentials, credentials_file: path } = authorization
      return `${type} ${path === '' ? credentials.reveal() : await readSecret(path)}`.trim()
    }
    if (token) return `Bearer ${token.reveal()}`
    return file === '' ? undefined : `Bearer ${await readSecret(file)}`
  }

  async #read(response: Dispatcher.ResponseData): Promise<ScrapedBody> {
    const { statusCode, headers, body } = response
    body.on('error', () => {}) // An abort after the last read has no reader.
    if (statusCode !== 200) {
      body.destroy()
      throw new InvalidError(`server returned HTTP status ${statusCode}`)
    }
    const limit = this.#settings.bodyLimitBytes || MAX_BODY_BYTES
    const encoding = String(headers['content-encoding'] ?? '')
      .trim()
      .toLowerCase()
    if (encoding !== '' && encoding !== 'identity' && encoding !== 'gzip') {
      body.destroy()
      throw new InvalidError(`content encoding "${encoding.slice(0, 50)}" was not asked for`)
    }
    const openMetrics = this.#isOpenMetrics(String(headers['content-type'] ?? ''))
    const chunks: Uint8Array[] = []
    let length = 0
    try {
      for await (const chunk of body) {
        chunks.push(chunk)
        length += chunk.length
        if (length > limit) break // Leaving the loop destroys the connection.
      }
    } catch (error) {
      throw connectionError(error)
    }
    if (length > limit) throw new TooLargeError(`body_size_limit exceeded (limit ${limit} bytes)`)
    const whole = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)
    return { body: encoding === 'gzip' ? await unpack(whole, limit) : whole, openMetrics }
  }

  #isOpenMetrics(contentType: string): boolean {
    const media = contentType.split(';')[0]?.trim().toLowerCase() ?? ''
    if (media === 'application/openmetrics-text') return true
    if (media === 'text/plain') return false
    if (media === 'application/vnd.google.protobuf')
      throw new InvalidError('the target sent protobuf, which was not asked for')
    return this.#settings.job.fallback_scrape_protocol.startsWith('OpenMetrics')
  }
}

async function unpack(body: Uint8Array, limit: number): Promise<Uint8Array> {
  try {
    return await decompress('gzip', body, limit)
  } catch (error) {
    if (error instanceof TooLargeError)
      throw new TooLargeError(`body_size_limit exceeded (limit ${limit} bytes, unpacked)`)
    throw error
  }
}

function redirectOf(response: Dispatcher.ResponseData, follow: boolean): string | undefined {
  if (!follow || ![301, 302, 303, 307, 308].includes(response.statusCode)) return undefined
  const { location } = response.headers
  return Array.isArray(location) ? location[0] : location
}

async function readSecret(path: string): Promise<string> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    throw new RetryableError(`cannot read ${path}: ${toError(error).message}`)
  }
  if (text.length > MAX_SECRET_FILE_BYTES || /[\r\n\0]/.test(text.trim()))
    throw new InvalidError(`${path} does not hold one line`)
  return text.trim()
}

/** Connection errors of several addresses come as one without a text of its own. */
function connectionError(thrown: unknown): Error {
  const error = toError(thrown)
  const message =
    error instanceof AggregateError && error.errors.length > 0
      ? error.errors.map((inner) => toError(inner).message).join('; ')
      : error.message || error.name
  return new RetryableError(message, { cause: error })
}
