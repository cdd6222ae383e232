/**
 * Connects a client's socket: TCP or a socket of the file system, plain or TLS with `h2` chosen by ALPN (RFC 9113 section 3.2). What
 * comes in is read into one buffer for each connection, since nothing of it stays there.
 */
import net from 'node:net'
import tls from 'node:tls'

const READ_BYTES = 16 * 1024
/** Dead peers of idle connections are found by the kernel. */
const TCP_KEEPALIVE_MS = 15_000

export type Place = { readonly host: string; readonly port: number } | { readonly path: string }

export interface DialOptions {
  readonly place: Place
  /** The name that the certificate must have, and that is asked for unless it is an address. */
  readonly serverName: string
  readonly tls: tls.ConnectionOptions | undefined
}

/** Called in this order: `opened` and then `received` any number of times, or neither; `closed` once. */
export interface DialEvents {
  opened(socket: net.Socket): void
  received(chunk: Buffer): void
  closed(reason: string): void
}

export function dial(options: DialOptions, events: DialEvents): net.Socket {
  let opened = false
  let early: Buffer[] | undefined
  let reason = ''
  // Twice as long as what is read into it, so that no chunk is the whole of its memory, which may then be freed.
  const buffer = Buffer.from(new ArrayBuffer(2 * READ_BYTES), 0, READ_BYTES)
  const callback = (count: number): boolean => {
    const chunk = buffer.subarray(0, count)
    if (opened) events.received(chunk)
    else (early ??= []).push(Buffer.from(chunk))
    return true
  }
  const target = {
    ...options.place,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: TCP_KEEPALIVE_MS,
    onread: { buffer, callback },
  }
  const socket = options.tls === undefined ? net.connect(target) : connectTls(target, options)
  socket.once(options.tls === undefined ? 'connect' : 'secureConnect', () => {
    if (socket instanceof tls.TLSSocket && socket.alpnProtocol !== 'h2') {
      reason = 'the server did not choose HTTP/2 (h2) by ALPN'
      socket.destroy()
      return
    }
    opened = true
    events.opened(socket)
    for (const chunk of early ?? []) events.received(chunk)
    early = undefined
  })
  socket.on('error', (error) => {
    reason ||= error.message
  })
  socket.on('end', () => {
    reason ||= 'the server closed the connection'
  })
  socket.on('close', () => events.closed(reason === '' ? 'the connection was closed' : reason))
  return socket
}

function connectTls(target: net.NetConnectOpts, options: DialOptions): tls.TLSSocket {
  const { serverName } = options
  return tls.connect({
    ...options.tls,
    ...target,
    ALPNProtocols: ['h2'],
    servername: net.isIP(serverName) === 0 ? serverName : '',
    checkServerIdentity: (_host, certificate) => tls.checkServerIdentity(serverName, certificate),
  })
}
