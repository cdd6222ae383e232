/**
 * The pull endpoint of Weir's own metrics, on the address of service.telemetry.metrics.readers. What the
 * page takes to make is loaded with the first request for it (metrics-page.ts).
 */
import type { Registry } from 'prom-client'
import type { MetricsTelemetry } from '../config/types.ts'
import { answerBadRequests } from '../net/bad-requests.ts'
import { http } from '../net/node-http.ts'
import type { SharedView } from '../workers/shared.ts'
import type { MetricSource } from './metrics.ts'

export interface MetricsServerOptions {
  readonly reader: MetricsTelemetry['readers'][number]
  readonly sources: () => readonly MetricSource[]
  readonly shared: SharedView
  /** Rows of the shared ledger. */
  readonly rows: number
  readonly startedAtMs: number
  /**
   * On every series and on target_info: service_name, service_instance_id, service_version and what the
   * user adds.
   */
  readonly resource: Readonly<Record<string, string>>
}

const SOCKET_TIMEOUT_MS = 30_000
const MAX_CONNECTIONS = 64

export interface MetricsServer {
  /** From now on for another configuration, on the same address. */
  use(options: MetricsServerOptions): void
  close(): Promise<void>
}

export async function startMetricsServer(first: MetricsServerOptions): Promise<MetricsServer> {
  let options = first
  let runtime: Registry | undefined
  const page = async () => {
    const { collectRuntime, render } = await import('./metrics-page.ts')
    runtime ??= collectRuntime()
    return render(options, runtime)
  }
  const server = http.createServer({ maxHeaderSize: 16 * 1024 }, (request, response) => {
    const path = (request.url ?? '').split('?', 1)[0]
    if (path !== '/metrics') return void response.writeHead(404).end('not found: metrics are at /metrics\n')
    if (request.method !== 'GET' && request.method !== 'HEAD') return void response.writeHead(405).end()
    page().then(
      (text) => {
        response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' })
        response.end(request.method === 'HEAD' ? undefined : text)
      },
      () => void response.writeHead(500).end('metrics could not be read\n'),
    )
  })
  server.maxConnections = MAX_CONNECTIONS
  server.setTimeout(SOCKET_TIMEOUT_MS)
  answerBadRequests(server)
  const { host, port } = options.reader
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const why = error.code === 'EADDRINUSE' ? 'address already in use' : error.message
      reject(
        new Error(`service.telemetry.metrics cannot listen on ${host}:${port}: ${why}`, { cause: error }),
      )
    })
    server.listen({ host: host === 'localhost' ? '127.0.0.1' : host, port, exclusive: true }, () => resolve())
  })
  return {
    use(next) {
      options = next
    },
    async close() {
      server.close()
      server.closeAllConnections()
      runtime?.clear()
    },
  }
}
