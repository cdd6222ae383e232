/**
 * An HTTP/1.1 server on sockets that were accepted elsewhere, with a limit on everything: connections, headers, bodies, bytes
 * held, times. node:http parses; this file decides how much of a request is read, and when.
 *
 * A timeout of 0 means no limit of the user's. Slow senders are cut all the same: headers must be there within a
 * minute and a request within five (HEADERS_MS, REQUEST_MS), so that nobody holds a connection by trickling.
 */
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Clock } from '../component/clock.ts'
import { createCors } from './cors.ts'
import type { CorsConfig } from './server-fields.ts'

const HEADERS_MS = 60_000
const REQUEST_MS = 300_000
const CHECK_MS = 1000
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
  note: unknown
}

export class HttpServer {
  readonly #server: http.Server
  readonly #options: HttpServerOptions
  readonly #connections = new Map<Socket, HttpConnection>()
  readonly #headers: readonly (readonly [string, string])[]
  readonly #cors: ReturnType<typeof createCors>
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
    this.#server.on('request', (request, response) => this.#onRequest(request, response, false))
    this.#server.on('checkContinue', (request, response) => this.#onRequest(request, response, true))
    // The server never listens itself; this starts its check for slow senders.
    this.#server.emit('listening')
  }

  get connectionCount(): number {
    return this.#connections.size
  }

  /** Takes over a connected socket, plain or TLS. Over the limit of connections idle ones are closed to make room. */
  accept(socket: Socket): void {
    if (this.#stopping) return void socket.destroy()
    if (this.#connections.size >= this.#options.maxConnections) {
      this.#server.closeIdleConnections()
      if (this.#connections.size >= this.#options.maxConnections) return void socket.destroy()
    }
    const peer = socket.remoteAddress === undefined ? '' : `${socket.remoteAddress}:${socket.remotePort}`
    this.#connections.set(socket, { socket, peer, open: 0, note: undefined })
    socket.on('close', () => {
      this.#connections.delete(socket)
      if (this.#connections.size === 0) this.#onEmpty?.()
    })
    this.#server.emit('connection', socket)
  }

  #onRequest(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void {
    const connection = this.#connections.get(request.socket)
    if (connection === undefined) return void request.socket.destroy()
    const options = this.#options
    connection.open++
    if (options.writeTimeoutMs > 0) {
      const timer = options.clock.after(options.writeTimeoutMs, () => request.socket.destroy())
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
    this.#server.close()
  }
}
