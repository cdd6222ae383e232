/**
 * An HTTP/1.1 server on sockets that were accepted elsewhere, with a limit on everything: connections, headers, bodies, bytes
 * held, times. node:http parses; this file decides how much of a request is read, and when.
 *
 * A timeout of 0 means no limit of the user's. Slow senders are cut all the same: headers must be there within a
 * minute and a request within five (HEADERS_MS, REQUEST_MS), so that nobody holds a connection by trickling.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Clock, Timer } from '../component/clock.ts'
import { createCors } from './cors.ts'
import type { ServerEvent } from './grpc.ts'
import { http } from './node-http.ts'
import type { CorsConfig } from './server-fields.ts'
import { StallWatch } from './stall.ts'

const HEADERS_MS = 60_000
const REQUEST_MS = 300_000
const CHECK_MS = 1000
/** How often connections are looked at whether their peer takes what it is sent. */
const STALL_CHECK_MS = 10_000
/** Of the connections, when there have to be fewer. */
const EVICTED_SHARE = 0.01
const MAX_HEADER_BYTES = 64 * 1024
const MAX_HEADERS = 256

export interface HttpServerOptions {
  readonly clock: Clock
  readonly maxConnections: number
  readonly readTimeoutMs: number
  readonly readHeaderTimeoutMs: number
  readonly writeTimeoutMs: number
  readonly idleTimeoutMs: number
  readonly keepAlives: boolean
  readonly responseHeaders: Readonly<Record<string, string>>
  readonly cors: CorsConfig | null | undefined
  /**
   * Answers one request, of whose body nothing has been read. When it rejects the connection is closed.
   */
  handle(exchange: Exchange): Promise<void>
  onError(error: unknown): void
  /** What limits and timeouts did, with a reason for a metric; as a gRPC server tells it. */
  onEvent?(event: ServerEvent, reason: string): void
}

/** One request, its response and the connection they are on. */
export interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly connection: HttpConnection
  readonly server: HttpServer
  /** The client waits for `100 Continue` before it sends the body. */
  readonly expectsContinue: boolean
}

/** What is known of a connection, and what the user of the server keeps with it. */
export interface HttpConnection {
  readonly socket: Socket
  /** `host:port` of the peer. */
  readonly peer: string
  /** Requests that are not answered. */
  open: number
  /** Requests so far. */
  requests: number
  /** The last response that was begun. */
  response: ServerResponse | undefined
  readonly stall: StallWatch
  note: unknown
}

export class HttpServer {
  readonly #server: Server
  readonly #options: HttpServerOptions
  readonly #connections = new Map<Socket, HttpConnection>()
  readonly #headers: readonly (readonly [string, string])[]
  readonly #cors: ReturnType<typeof createCors>
  readonly #sweep: Timer
  #stopping = false
  #onEmpty: (() => void) | undefined

  constructor(options: HttpServerOptions) {
    this.#options = options
    this.#headers = Object.entries(options.responseHeaders)
    this.#cors = createCors(options.cors)
    const readMs = options.readTimeoutMs || REQUEST_MS
    this.#server = http.createServer({
      // The header limit is part of the request limit, and may not exceed it.
      headersTimeout: Math.min(options.readHeaderTimeoutMs || options.readTimeoutMs || HEADERS_MS, readMs),
      requestTimeout: readMs,
      keepAliveTimeout: options.idleTimeoutMs || options.readTimeoutMs,
      keepAliveTimeoutBuffer: 0,
      connectionsCheckingInterval: CHECK_MS,
      maxHeaderSize: MAX_HEADER_BYTES,
      insecureHTTPParser: false,
      noDelay: true,
    })
    this.#server.maxHeadersCount = MAX_HEADERS
    this.#server.on('clientError', (error: NodeJS.ErrnoException, socket) =>
      this.#onClientError(error, socket as Socket),
    )
    this.#server.on('request', (request, response) => this.#onRequest(request, response, false))
    this.#server.on('checkContinue', (request, response) => this.#onRequest(request, response, true))
    // The server never listens itself; this starts its check for slow senders.
    this.#server.emit('listening')
    this.#sweep = options.clock.every(STALL_CHECK_MS, () => this.#cutStalled())
  }

  get connectionCount(): number {
    return this.#connections.size
  }

  /** Takes over a connected socket, plain or TLS. Over the limit some that are not in use are closed to make room. */
  accept(socket: Socket): void {
    if (this.#stopping) return void socket.destroy()
    if (this.#connections.size >= this.#options.maxConnections && !this.#makeRoom()) {
      this.#options.onEvent?.('connection', 'max_connections')
      return void socket.destroy()
    }
    const peer = socket.remoteAddress === undefined ? '' : `${socket.remoteAddress}:${socket.remotePort}`
    this.#connections.set(socket, {
      socket,
      peer,
      open: 0,
      requests: 0,
      response: undefined,
      stall: new StallWatch(),
      note: undefined,
    })
    socket.on('close', () => {
      this.#connections.delete(socket)
      if (this.#connections.size === 0) this.#onEmpty?.()
    })
    this.#server.emit('connection', socket)
  }

  /** Closes connections without a request: those that never had one first, then any, the oldest first. */
  #makeRoom(): boolean {
    const wanted = Math.ceil(this.#connections.size * EVICTED_SHARE)
    let left = wanted
    for (const unused of [true, false]) {
      for (const { socket, open, requests } of this.#connections.values()) {
        if (open > 0 || socket.destroyed || (unused && requests > 0)) continue
        this.#options.onEvent?.('connection', 'evicted')
        socket.destroy()
        if (--left === 0) return true
      }
    }
    return left < wanted
  }

  #cutStalled(): void {
    const nowMs = this.#options.clock.monotonicMs()
    for (const { socket, stall } of this.#connections.values()) {
      if (!stall.stalled(socket, nowMs)) continue
      this.#options.onEvent?.('connection', 'stalled')
      socket.destroy()
    }
  }

  /** What could not be parsed, or did not come in time. Answered if there is nothing of an answer on its way. */
  #onClientError(error: NodeJS.ErrnoException, socket: Socket): void {
    const connection = this.#connections.get(socket)
    const [reason, status] = clientErrorOf(error.code)
    if (reason !== undefined) this.#options.onEvent?.('connection', reason)
    const begun = connection !== undefined && connection.open > 0 && connection.response?.headersSent === true
    if (status !== undefined && socket.writable && !begun)
      socket.write(`HTTP/1.1 ${status}\r\nConnection: close\r\n\r\n`)
    socket.destroy(error)
  }

  #onRequest(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void {
    const connection = this.#connections.get(request.socket)
    if (connection === undefined) return void request.socket.destroy()
    const options = this.#options
    connection.open++
    connection.requests++
    connection.response = response
    if (options.writeTimeoutMs > 0) {
      const timer = options.clock.after(options.writeTimeoutMs, () => {
        options.onEvent?.('answer', 'write_timeout')
        request.socket.destroy()
      })
      response.on('close', () => timer.cancel())
    }
    if (!options.keepAlives) response.setHeader('Connection', 'close')
    for (const [name, value] of this.#headers) response.setHeader(name, value)
    if (this.#cors?.(request, response)) {
      this.#done(connection)
      return
    }
    options.handle({ request, response, connection, server: this, expectsContinue }).then(
      () => this.#done(connection),
      (error: unknown) => {
        this.#done(connection)
        request.socket.destroy()
        options.onError(error)
      },
    )
  }

  #done(connection: HttpConnection): void {
    connection.open--
    if (this.#stopping && connection.open === 0) connection.socket.destroySoon()
  }

  /** True while no new request is wanted: answers then say `Connection: close`. */
  get stopping(): boolean {
    return this.#stopping
  }

  /** Answers what is in flight, closes the rest; at the deadline closes all. */
  async shutdown(deadline: AbortSignal): Promise<void> {
    this.#stopping = true
    const empty = new Promise<void>((resolve) => {
      this.#onEmpty = resolve
    })
    for (const connection of this.#connections.values())
      if (connection.open === 0) connection.socket.destroySoon()
    const cut = () => {
      for (const socket of this.#connections.keys()) socket.destroy()
    }
    if (deadline.aborted) cut()
    deadline.addEventListener('abort', cut)
    if (this.#connections.size > 0) await empty
    deadline.removeEventListener('abort', cut)
    this.#sweep.cancel()
    this.#server.close()
  }
}

/** Reason for the metric and status line, by the code of node:http; neither when the client just went away. */
function clientErrorOf(code: string | undefined): readonly [reason?: string, status?: string] {
  switch (code) {
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return ['request_timeout', '408 Request Timeout']
    case 'HPE_HEADER_OVERFLOW':
      return ['header_list', '431 Request Header Fields Too Large']
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return ['chunk_extensions', '413 Payload Too Large']
    case 'HPE_INVALID_EOF_STATE':
      return []
    default:
      return code?.startsWith('HPE_') ? ['protocol_error', '400 Bad Request'] : []
  }
}
