/**
 * The admin endpoint, where `service.admin` asks for it:
 *
 *     POST /-/reload    brings the configuration in as it is in its files now, and answers what that did
 *
 * The answer is 200, or 400 when the configuration was refused; its body is a ReloadResult in JSON.
 *
 * Who can reach it can make Weir read its own files again and nothing else. Web pages cannot: what a
 * browser sends has an Origin and is turned away.
 */
import { answerBadRequests } from '../net/bad-requests.ts'
import { http } from '../net/node-http.ts'
import { parseEndpoint } from './listeners.ts'
import type { ReloadResult } from './reload.ts'

/** A reload may have to import plugins and to start exporters. */
const SOCKET_TIMEOUT_MS = 120_000
const MAX_CONNECTIONS = 16

export interface AdminServer {
  /** Where it listens: the port is resolved. */
  readonly address: string
  close(): void
}

export async function startAdminServer(
  endpoint: string,
  reload: () => Promise<ReloadResult>,
): Promise<AdminServer> {
  const server = http.createServer({ maxHeaderSize: 16 * 1024 }, (request, response) => {
    request.resume() // A body says nothing here.
    const path = (request.url ?? '').split('?', 1)[0]
    if (path !== '/-/reload') return void response.writeHead(404).end('not found: there is POST /-/reload\n')
    if (request.method !== 'POST') return void response.writeHead(405, { allow: 'POST' }).end()
    if (request.headers.origin !== undefined) return void response.writeHead(403).end('not for web pages\n')
    void reload().then((result) => {
      response.writeHead(result.result === 'refused' ? 400 : 200, { 'content-type': 'application/json' })
      response.end(`${JSON.stringify(result, null, 1)}\n`)
    })
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
      server.close()
      server.closeIdleConnections()
    },
  }
}
