/**
 * The admin endpoint, where `service.admin` asks for it:
 *
 *     POST /-/reload    brings the configuration in as it is in its files now, and answers what that did:
 *                       200, or 400 when it was refused; the body is a ReloadResult
 *     POST /-/capture   writes what enters a pipeline into a file for a while (admin-capture.ts)
 *
 * Who can reach it can make Weir read its own files again and, where the configuration names a directory
 * for captures, write there; nothing else. Web pages cannot: what a browser sends has an Origin and is
 * turned away.
 */
import { answerBadRequests } from '../net/bad-requests.ts'
import { http } from '../net/node-http.ts'
import { parseEndpoint } from './listeners.ts'

/** For connections on which nothing is asked. */
const SOCKET_TIMEOUT_MS = 120_000
const MAX_CONNECTIONS = 16

export interface AdminAnswer {
  readonly status: number
  readonly body: unknown
}

/** Bounds its time by itself; the signal says that nobody waits for the answer any more. */
export type AdminCall = (query: URLSearchParams, gone: AbortSignal) => Promise<AdminAnswer>

export interface AdminServer {
  /** Where it listens: the port is resolved. */
  readonly address: string
  close(): void
}

export async function startAdminServer(
  endpoint: string,
  calls: Readonly<Record<string, AdminCall>>,
): Promise<AdminServer> {
  const closing = new AbortController()
  const server = http.createServer({ maxHeaderSize: 16 * 1024 }, (request, response) => {
    request.resume() // A body says nothing here.
    const [path = '', query = ''] = (request.url ?? '').split('?', 2)
    const call = Object.hasOwn(calls, path) ? calls[path] : undefined
    const known = Object.keys(calls).map((name) => `POST ${name}`)
    if (call === undefined)
      return void response.writeHead(404).end(`not found: there is ${known.join(' and ')}\n`)
    if (request.method !== 'POST') return void response.writeHead(405, { allow: 'POST' }).end()
    if (request.headers.origin !== undefined) return void response.writeHead(403).end('not for web pages\n')
    const gone = new AbortController()
    response.on('close', () => gone.abort())
    request.socket.setTimeout(0)
    void call(new URLSearchParams(query), AbortSignal.any([gone.signal, closing.signal])).then(
      ({ status, body }) => {
        request.socket.setTimeout(SOCKET_TIMEOUT_MS)
        response.writeHead(status, { 'content-type': 'application/json' })
        response.end(`${JSON.stringify(body, null, 1)}\n`)
      },
    )
  })
  server.maxConnections = MAX_CONNECTIONS
  server.setTimeout(SOCKET_TIMEOUT_MS)
  answerBadRequests(server)
  const { host, port } = parseEndpoint({ endpoint })
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const why = error.code === 'EADDRINUSE' ? 'address already in use' : error.message
      reject(new Error(`service.admin cannot listen on ${endpoint}: ${why}`, { cause: error }))
    })
    server.listen({ host, port, exclusive: true }, () => resolve())
  })
  const bound = server.address()
  const place = typeof bound === 'object' && bound !== null ? bound : { address: host, port, family: 'IPv4' }
  const shown = place.family === 'IPv6' ? `[${place.address}]` : place.address
  return {
    address: `${shown}:${place.port}`,
    close() {
      closing.abort()
      server.close()
      server.closeIdleConnections()
    },
  }
}
