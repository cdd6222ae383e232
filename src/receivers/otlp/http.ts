/**
 * OTLP/HTTP: one path per signal that some pipeline takes, POST only, protobuf and JSON.
 *
 * In this order: route, method and type; authentication; whether the pipeline would refuse; body, within limits;
 * decompression, within limits; framing; pipeline. So nothing is read for a request that cannot succeed.
 */
import type { IncomingMessage } from 'node:http'
import type { AuthData, ServerAuthenticator } from '../../component/auth.ts'
import type { Consumer } from '../../component/define.ts'
import { InvalidError, PartialSuccess, RefusedError, UnauthenticatedError } from '../../errors.ts'
import { decompress, type Encoding, isEncoding } from '../../net/compression.ts'
import { answer, ClientGone, readBody } from '../../net/http-body.ts'
import { type Exchange, type HttpConnection, HttpServer } from '../../net/http-server.ts'
import { encodeRpcStatus, rpcStatusJson } from '../../net/rpc-status.ts'
import { NO_METADATA, type RequestContext, type Signal } from '../../otlp/batch.ts'
import { decodeJson } from '../../otlp/json-decode.ts'
import { givePayload } from '../../otlp/payload-pool.ts'
import { bodyLimitBytes, type HttpConfig } from './config.ts'
import { Door } from './door.ts'
import { authenticate, findAuthenticator, Intake, type ServerSettings } from './intake.ts'
import { encodePartial, OK_JSON, OK_PROTOBUF, partialJson } from './response.ts'
import { retryAfterHeader } from './status.ts'

const PROTOBUF = 'application/x-protobuf'
const JSON_TYPE = 'application/json'
const TEXT = 'text/plain; charset=utf-8'
type Format = typeof PROTOBUF | typeof JSON_TYPE

interface Route {
  readonly signal: Signal
  readonly next: Consumer
}

export class OtlpHttp {
  readonly #config: HttpConfig
  readonly #settings: ServerSettings
  readonly #intake: Intake
  readonly #routes = new Map<string, Route>()
  readonly #limitBytes: number
  readonly #encodings: ReadonlySet<string>
  #authenticator: ServerAuthenticator | undefined
  #door: Door | undefined

  constructor(config: HttpConfig, settings: ServerSettings) {
    this.#config = config
    this.#settings = settings
    this.#intake = new Intake(settings, 'http', config.max_in_flight_bytes)
    this.#limitBytes = bodyLimitBytes(config)
    this.#encodings = new Set(config.compression_algorithms)
    const paths = {
      traces: config.traces_url_path,
      metrics: config.metrics_url_path,
      logs: config.logs_url_path,
    }
    for (const signal of ['traces', 'metrics', 'logs'] as const) {
      const next = settings.next[signal]
      if (next !== undefined) this.#routes.set(paths[signal], { signal, next })
    }
  }

  async start(): Promise<void> {
    const config = this.#config
    const { host, logger } = this.#settings
    this.#authenticator = findAuthenticator(this.#settings, 'http', config.auth?.authenticator)
    const server = new HttpServer({
      clock: host.clock,
      maxConnections: config.max_connections,
      readTimeoutMs: config.read_timeout,
      readHeaderTimeoutMs: config.read_header_timeout,
      writeTimeoutMs: config.write_timeout,
      idleTimeoutMs: config.idle_timeout,
      keepAlives: config.keep_alives_enabled,
      responseHeaders: config.response_headers ?? {},
      cors: config.cors,
      handle: (exchange) => this.#handle(exchange),
      onEvent: (event, reason) => this.#intake.onEvent(event, reason),
      onError: (error) => logger.error('request failed', { transport: 'http', error }),
    })
    this.#door = new Door(this.#settings, {
      transport: 'http',
      config,
      server,
      intake: this.#intake,
      alpn: 'http/1.1',
      hasRoom: (handshakes) => handshakes < config.max_connections, // The server counts its own.
      inFlightBytes: () => this.#intake.inFlight.usedBytes,
    })
    await this.#door.open()
  }

  async shutdown(deadline: AbortSignal): Promise<void> {
    const door = this.#door
    this.#door = undefined
    await door?.close(deadline)
  }

  async #handle(exchange: Exchange): Promise<void> {
    const { request } = exchange
    const route = this.#routes.get(pathOf(request.url ?? ''))
    if (route === undefined) {
      this.#intake.count('failedRequests', 'unimplemented')
      return answer(exchange, 404, TEXT, '404 page not found\n')
    }
    if (request.method !== 'POST') {
      this.#intake.count('failedRequests', 'method')
      exchange.response.setHeader('Allow', 'POST')
      return answer(exchange, 405, TEXT, '405 method not allowed, supported: [POST]')
    }
    const format = formatOf(request.headers['content-type'])
    if (format === undefined) {
      this.#intake.count('failedRequests', 'unsupported_media')
      return answer(
        exchange,
        415,
        TEXT,
        '415 unsupported media type, supported: [application/json, application/x-protobuf]',
      )
    }
    return this.#receive(exchange, route, format)
  }

  async #receive(exchange: Exchange, route: Route, format: Format): Promise<void> {
    const intake = this.#intake
    const { request } = exchange
    let seenByPipeline = false
    let heldBytes = 0
    let borrowed: Uint8Array | undefined
    try {
      const context = this.#authenticator
        ? await this.#authenticated(exchange, this.#authenticator)
        : this.#context(exchange.connection, request)
      const refused = route.next.refusal?.()
      if (refused !== undefined) throw refused
      const encoding = this.#encodingOf(request)
      // What is decoded is not needed afterwards; what goes on as it is, only if the pipeline lets go of it.
      const pooled = encoding !== undefined || format === JSON_TYPE || route.next.releases === true
      const body = await readBody(exchange, this.#limitBytes, intake.inFlight, pooled)
      if (pooled) borrowed = body
      heldBytes = body.length
      if (body.length === 0) return succeed(exchange, format)
      let message: Uint8Array = body
      if (encoding !== undefined) {
        if (intake.inFlight.full) throw new RefusedError('too many bytes in flight')
        message = await decompress(encoding, body, this.#limitBytes)
        intake.inFlight.take(message.length)
        heldBytes += message.length
      }
      intake.messageBytes.add(message.length)
      if (format === JSON_TYPE) message = decodeJson(route.signal, message)
      const taken = intake.take(route.signal, route.next, message, context)
      seenByPipeline = true
      await taken
      succeed(exchange, format)
    } catch (error) {
      if (error instanceof ClientGone) return
      if (error instanceof PartialSuccess) succeedPartly(exchange, format, route.signal, error)
      else this.#refuse(exchange, format, error, seenByPipeline)
    } finally {
      if (heldBytes > 0) intake.inFlight.give(heldBytes)
      if (borrowed !== undefined) givePayload(borrowed)
    }
  }

  /** Undefined: the body is as it is. Throws InvalidError for what is unknown or not allowed; no decoder runs then. */
  #encodingOf(request: IncomingMessage): Encoding | undefined {
    const header = request.headers['content-encoding']
    if (this.#encodings.size === 0) return undefined
    const name = header === undefined ? '' : header.trim().toLowerCase()
    if (!this.#encodings.has(name))
      throw new InvalidError(
        name === '' ? 'the body must be compressed' : `unsupported Content-Encoding ${JSON.stringify(name)}`,
      )
    return isEncoding(name) ? name : undefined
  }

  /** Without metadata all requests of a connection share one context. */
  #context(connection: HttpConnection, request: IncomingMessage, auth?: AuthData): RequestContext {
    if (this.#config.include_metadata || auth !== undefined)
      return {
        metadata: this.#config.include_metadata ? headersOf(request) : NO_METADATA,
        clientAddress: connection.peer,
        transport: 'http',
        auth,
      }
    // The note of a connection is only ever set here.
    const known = connection.note as RequestContext | undefined
    if (known !== undefined) return known
    const context = { metadata: NO_METADATA, clientAddress: connection.peer, transport: 'http' }
    connection.note = context
    return context
  }

  async #authenticated(exchange: Exchange, authenticator: ServerAuthenticator): Promise<RequestContext> {
    const { request, connection } = exchange
    const headers = headersOf(request)
    const names = this.#config.auth?.request_params ?? []
    if (names.length > 0) {
      const query = new URLSearchParams((request.url ?? '').split('?', 2)[1] ?? '')
      for (const name of names) if (query.has(name)) headers.set(name.toLowerCase(), query.getAll(name))
    }
    return this.#context(connection, request, await authenticate(authenticator, headers))
  }

  #refuse(exchange: Exchange, format: Format, error: unknown, seenByPipeline: boolean): void {
    const refused = this.#intake.refuse(error, seenByPipeline)
    const challenge = this.#authenticator?.challenge
    if (challenge !== undefined && error instanceof UnauthenticatedError)
      exchange.response.setHeader('WWW-Authenticate', challenge)
    const retryAfter = retryAfterHeader(refused)
    if (retryAfter !== undefined) exchange.response.setHeader('Retry-After', retryAfter)
    const body = format === JSON_TYPE ? rpcStatusJson(refused) : encodeRpcStatus(refused)
    answer(exchange, refused.http, format, body)
  }
}

function succeed(exchange: Exchange, format: Format): void {
  answer(exchange, 200, format, format === JSON_TYPE ? OK_JSON : OK_PROTOBUF)
}

function succeedPartly(exchange: Exchange, format: Format, signal: Signal, partial: PartialSuccess): void {
  answer(exchange, 200, format, format === JSON_TYPE ? partialJson(signal, partial) : encodePartial(partial))
}

function pathOf(url: string): string {
  const query = url.indexOf('?')
  return query < 0 ? url : url.slice(0, query)
}

/** The type without its parameters; undefined when it is none of OTLP. */
function formatOf(header: string | undefined): Format | undefined {
  if (header === PROTOBUF || header === JSON_TYPE) return header
  const type = header?.split(';', 1)[0]?.trim().toLowerCase()
  return type === PROTOBUF || type === JSON_TYPE ? type : undefined
}

/** Keys in lower case, values in the order they came; `host` is among them. */
function headersOf(request: IncomingMessage): Map<string, string[]> {
  const headers = new Map<string, string[]>()
  const raw = request.rawHeaders
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const key = raw[index]!.toLowerCase()
    const values = headers.get(key)
    if (values === undefined) headers.set(key, [raw[index + 1]!])
    else values.push(raw[index + 1]!)
  }
  return headers
}
