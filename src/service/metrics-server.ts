/**
 * The pull endpoint of Weir's own metrics, on the address of service.telemetry.metrics.readers: what all threads counted,
 * joined by prom-client, with the process's own figures and Node's runtime metrics.
 */
import http from 'node:http'
import { AggregatorRegistry, collectDefaultMetrics, Registry } from 'prom-client'
import type { MetricDescription } from '../component/telemetry.ts'
import type { MetricsTelemetry } from '../config/types.ts'
import type { SharedView } from '../workers/shared.ts'
import { type JsonMetric, type MetricSource, readMetrics } from './metrics.ts'

export interface MetricsServerOptions {
  readonly reader: MetricsTelemetry['readers'][number]
  readonly sources: () => readonly MetricSource[]
  readonly shared: SharedView
  /** Rows of the shared ledger. */
  readonly rows: number
  readonly startedAtMs: number
  /** On every series and on target_info: service_name, service_instance_id, service_version and what the user adds. */
  readonly resource: Readonly<Record<string, string>>
}

const SOCKET_TIMEOUT_MS = 30_000
const MAX_CONNECTIONS = 64

export async function startMetricsServer(options: MetricsServerOptions): Promise<{ close(): Promise<void> }> {
  const runtime = new Registry()
  collectDefaultMetrics({ register: runtime })
  const server = http.createServer({ maxHeaderSize: 16 * 1024 }, (request, response) => {
    const path = (request.url ?? '').split('?', 1)[0]
    if (path !== '/metrics') return void response.writeHead(404).end('not found: metrics are at /metrics\n')
    if (request.method !== 'GET' && request.method !== 'HEAD') return void response.writeHead(405).end()
    render(options, runtime).then(
      (text) => {
        response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' })
        response.end(request.method === 'HEAD' ? undefined : text)
      },
      () => void response.writeHead(500).end('metrics could not be read\n'),
    )
  })
  server.maxConnections = MAX_CONNECTIONS
  server.setTimeout(SOCKET_TIMEOUT_MS)
  server.on('clientError', (_error, socket) => void socket.destroy())
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
    async close() {
      server.close()
      server.closeAllConnections()
      runtime.clear()
    },
  }
}

async function render(options: MetricsServerOptions, runtime: Registry): Promise<string> {
  const { typeSuffix, units } = options.reader
  const rename = (description: MetricDescription) => exportedName(description, typeSuffix, units)
  const threads = options.sources().map((source) => readMetrics(source, rename))
  threads.push(
    processMetrics(options).map(([description, value]) => single(rename(description), description, value)),
  )
  const labels = promLabels(options.resource)
  for (const thread of threads) {
    for (const metric of thread) for (const value of metric.values) Object.assign(value.labels, labels)
  }
  const joined = AggregatorRegistry.aggregate(threads)
  const info = `# HELP target_info Target metadata\n# TYPE target_info gauge\ntarget_info{${labelText(labels)}} 1\n`
  return `${await joined.metrics()}\n${info}${await runtime.metrics()}`
}

function single(name: string, description: MetricDescription, value: number): JsonMetric {
  return {
    name,
    help: description.help,
    type: description.kind,
    values: [{ value, labels: {} }],
    aggregator: 'sum',
  }
}

const UNIT_SUFFIXES: Readonly<Record<string, string>> = { s: 'seconds', ms: 'milliseconds', By: 'bytes' }

/** `otelcol_` and the plain name; a reader may ask for the suffixes that the Go collector once added. */
export function exportedName(description: MetricDescription, typeSuffix: boolean, units: boolean): string {
  let name = `otelcol_${description.name}`
  const unit = UNIT_SUFFIXES[description.unit]
  if (units && unit !== undefined && !name.endsWith(`_${unit}`)) name += `_${unit}`
  if (typeSuffix && description.kind === 'counter' && !name.endsWith('_total')) name += '_total'
  return name
}

function processMetrics(options: MetricsServerOptions): readonly (readonly [MetricDescription, number])[] {
  const cpu = process.cpuUsage()
  const memory = process.memoryUsage()
  let heapBytes = 0
  for (let row = 0; row < options.rows; row++) heapBytes += options.shared.heapBytes(row)
  const metric = (kind: 'counter' | 'gauge', name: string, unit: string, help: string): MetricDescription =>
    kind === 'counter'
      ? { kind, name, unit, help, labels: [] }
      : { kind, name, unit, help, labels: [], merge: 'sum' }
  return [
    [
      metric('counter', 'process_uptime', 's', 'Uptime of the process.'),
      (Date.now() - options.startedAtMs) / 1000,
    ],
    [
      metric('counter', 'process_cpu_seconds', 's', 'CPU user and system time.'),
      (cpu.user + cpu.system) / 1e6,
    ],
    [metric('gauge', 'process_memory_rss', 'By', 'Resident set size.'), memory.rss],
    [metric('gauge', 'process_runtime_heap_alloc_bytes', 'By', 'Heap in use, over all threads.'), heapBytes],
    [
      metric(
        'gauge',
        'process_runtime_total_sys_memory_bytes',
        'By',
        'Heap and buffers held by the runtime.',
      ),
      memory.heapTotal + memory.external,
    ],
    [
      metric('gauge', 'process_memory_ledger', 'By', 'What the memory limiter steers by.'),
      options.shared.memoryLedger().usedBytes(),
    ],
  ]
}

function promLabels(resource: Readonly<Record<string, string>>): Record<string, string> {
  const labels: Record<string, string> = {}
  for (const [key, value] of Object.entries(resource)) labels[key.replace(/[^a-zA-Z0-9_]/g, '_')] = value
  return labels
}

function labelText(labels: Readonly<Record<string, string>>): string {
  const quote = (value: string) =>
    value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
  return Object.entries(labels)
    .map(([key, value]) => `${key}="${quote(value)}"`)
    .join(',')
}
