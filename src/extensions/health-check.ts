/**
 * `health_check` extension: says over HTTP whether Weir takes data.
 *
 *     extensions:
 *       health_check: { endpoint: localhost:13133 }
 *     service:
 *       extensions: [health_check]
 *
 * 200 while all shards run, 503 with the reason before that, while a shard restarts, and once shutdown has begun.
 * When a shard had to be started again, the body says how often.
 */
import { z } from 'zod'
import { defineExtension } from '../component/define.ts'
import { counter } from '../component/telemetry.ts'
import { harmless, refused } from '../config/fields.ts'
import { answerBadRequests } from '../net/bad-requests.ts'
import { http } from '../net/node-http.ts'

/** More are closed at once. */
const MAX_CONNECTIONS = 64

const telemetry = {
  refused: counter(
    'extension_health_check_refused_connections',
    '{connection}',
    'Connections over the limit.',
  ),
}

const config = z.strictObject({
  endpoint: z.string().default('localhost:13133'),
  path: z.string().startsWith('/').default('/'),
  response_body: z
    .strictObject({ healthy: z.string().default(''), unhealthy: z.string().default('') })
    .optional(),
  check_collector_pipeline: harmless('it has no effect in the Go collector either'),
  tls: refused('the health endpoint is plain HTTP; put it on loopback or behind a proxy'),
  use_v2: refused('only the first version of the health check is built'),
})

export default defineExtension({
  type: 'health_check',
  stability: 'beta',
  summary: 'Answers on HTTP whether the collector takes data.',
  runsIn: 'main',
  config,
  telemetry,
  listeners: (config) => [{ path: ['endpoint'], endpoint: config.endpoint }],
  create({ id, config, host, service, telemetry }) {
    const server = http.createServer({ maxHeaderSize: 16 * 1024 }, (request, response) => {
      const path = (request.url ?? '').split('?', 1)[0]
      if (path !== config.path) return void response.writeHead(404).end()
      const reason = service.notReadyReason()
      response.writeHead(reason === undefined ? 200 : 503, { 'content-type': 'application/json' })
      response.end(body(reason))
    })
    server.setTimeout(30_000)
    answerBadRequests(server)
    const body = (reason: string | undefined) => {
      const often = service.restarts?.() ?? 0
      const restarts = often > 0 ? { restarts: often } : {}
      const custom = reason === undefined ? config.response_body?.healthy : config.response_body?.unhealthy
      if (custom) return custom
      if (reason !== undefined) {
        return JSON.stringify({
          status: 'Server not available',
          upSince: '0001-01-01T00:00:00Z',
          uptime: '',
          reason,
          ...restarts,
        })
      }
      const upSince = new Date(service.startedAtMs).toISOString()
      return JSON.stringify({
        status: 'Server available',
        upSince,
        uptime: uptime(Date.now() - service.startedAtMs),
        ...restarts,
      })
    }
    let connections = 0
    let listener: { close(): Promise<void> } | undefined
    return {
      async start() {
        listener = await host.listen({ name: `extensions/${id}`, endpoint: config.endpoint }, (socket) => {
          if (++connections > MAX_CONNECTIONS) {
            telemetry.refused.add(1)
            socket.destroy()
          }
          socket.on('close', () => connections--)
          if (!socket.destroyed) server.emit('connection', socket)
        })
      },
      async shutdown() {
        await listener?.close()
        server.close()
        server.closeAllConnections()
      },
    }
  },
})

/** A Go duration: `1h2m3.5s`. */
function uptime(ms: number): string {
  const hours = Math.floor(ms / 3_600_000)
  const minutes = Math.floor(ms / 60_000) % 60
  const seconds = `${(ms % 60_000) / 1000}s`
  return `${hours > 0 ? `${hours}h` : ''}${hours > 0 || minutes > 0 ? `${minutes}m` : ''}${seconds}`
}
