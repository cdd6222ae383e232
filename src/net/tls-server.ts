/**
 * Ends TLS on sockets that were accepted elsewhere: raw sockets go in, TLSSockets whose handshake is done come out.
 *
 * No error of a socket reaches the process: each has a handler from the moment it is seen. A handshake that does not finish
 * in time is cut.
 */
import { statSync } from 'node:fs'
import type { Socket } from 'node:net'
import tls from 'node:tls'
import { toError } from '../errors.ts'
import { type ServerTlsConfig, serverTlsOptions } from './tls.ts'

const HANDSHAKE_TIMEOUT_MS = 10_000
/** How often, at most, a watched client CA file is looked at. */
const WATCH_MS = 1000

export interface ServerTlsOptions {
  /** Protocols by ALPN, best first. */
  readonly alpn: readonly string[]
  /** Refuses a client that chose none of `alpn` by not offering any (gRPC). */
  readonly alpnRequired?: boolean
  onSecure(socket: tls.TLSSocket): void
  /** A handshake or a reload failed. */
  onProblem(message: string, error: Error): void
  /** A connection was closed before its handshake was done, for this reason. */
  onRefused?(reason: 'tls_handshake' | 'tls_timeout' | 'tls_hang_up' | 'alpn'): void
  readonly nowMs: () => number
  readonly handshakeTimeoutMs?: number
}

export interface ServerTls {
  accept(raw: Socket): void
  /** Handshakes under way. */
  readonly pending: number
  /** Cuts the handshakes that are under way. Sockets handed out live on. */
  close(): void
}

/** Reads the files; throws ConfigError that names the one that does not work. */
export function createServerTls(config: ServerTlsConfig, options: ServerTlsOptions): ServerTls {
  const server = tls.createServer({
    ...serverTlsOptions(config),
    ALPNProtocols: [...options.alpn],
    handshakeTimeout: options.handshakeTimeoutMs ?? HANDSHAKE_TIMEOUT_MS,
  })
  // Handshakes under way, by the peer's address: a TLSSocket does not tell which socket it sits on.
  const pending = new Map<string, Socket>()
  let closed = false
  const reload = createReload(config, server, options)
  const ignore = () => {}

  server.on('secureConnection', (socket) => {
    socket.on('error', ignore)
    pending.delete(peerKey(socket))
    if (closed || (options.alpnRequired && !socket.alpnProtocol)) {
      if (!closed) options.onRefused?.('alpn')
      socket.destroy()
    } else options.onSecure(socket)
  })
  server.on('tlsClientError', (error, socket) => {
    socket.on('error', ignore)
    socket.destroy()
    const code = 'code' in error ? error.code : undefined
    // Clients begin more connections than they use, and leave those that they do not need: no problem of anybody.
    if (code === 'ECONNRESET') return void options.onRefused?.('tls_hang_up')
    options.onRefused?.(code === 'ERR_TLS_HANDSHAKE_TIMEOUT' ? 'tls_timeout' : 'tls_handshake')
    options.onProblem('TLS handshake failed', error)
  })
  server.on('error', (error) => options.onProblem('TLS server failed', error))

  return {
    accept(raw) {
      raw.on('error', ignore)
      const key = peerKey(raw)
      raw.on('close', () => {
        if (pending.get(key) === raw) pending.delete(key)
      })
      pending.set(key, raw)
      reload()
      server.emit('connection', raw)
    },
    get pending() {
      return pending.size
    },
    close() {
      closed = true
      for (const raw of pending.values()) raw.destroy()
      pending.clear()
    },
  }
}

function peerKey(socket: Socket): string {
  return `${socket.remoteAddress}|${socket.remotePort}`
}

/** Reads certificate, key and client CA again when it is time; called at each handshake. */
function createReload(config: ServerTlsConfig, server: tls.Server, options: ServerTlsOptions): () => void {
  const watched = config.client_ca_file_reload ? config.client_ca_file : ''
  let loadedMs = options.nowMs()
  let lookedMs = loadedMs
  let stamp = fileStamp(watched)
  return () => {
    const nowMs = options.nowMs()
    let due = config.reload_interval > 0 && nowMs - loadedMs >= config.reload_interval
    if (watched !== '' && nowMs - lookedMs >= WATCH_MS) {
      lookedMs = nowMs
      const current = fileStamp(watched)
      if (current !== stamp) due = true
      stamp = current
    }
    if (!due) return
    loadedMs = nowMs
    try {
      server.setSecureContext(serverTlsOptions(config))
    } catch (error) {
      options.onProblem('TLS files could not be read again, the old ones stay in use', toError(error))
    }
  }
}

/** Changes when the file does. */
function fileStamp(path: string): string {
  if (path === '') return ''
  try {
    const stat = statSync(path)
    return `${stat.ino}:${stat.size}:${stat.mtimeMs}`
  } catch {
    return 'missing'
  }
}
