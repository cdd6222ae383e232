/**
 * The page of Weir's own metrics: what all threads counted, joined by prom-client, with the process's own figures and Node's
 * runtime metrics. Loaded when the page is asked for the first time; Node's runtime metrics begin then.
 */
import { AggregatorRegistry, collectDefaultMetrics, Registry } from 'prom-client'
import type { MetricDescription } from '../component/telemetry.ts'
import { type JsonMetric, readMetrics } from './metrics.ts'
import type { MetricsServerOptions } from './metrics-server.ts'

/** Node's runtime metrics; they are sampled from now on. */
export function collectRuntime(): Registry {
  const runtime = new Registry()
  collectDefaultMetrics({ register: runtime })
  return runtime
}

export async function render(options: MetricsServerOptions, runtime: Registry): Promise<string> {
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
    [
      metric(
        'gauge',
        'process_memory_rest',
        'By',
        'What the process takes beside the ledger: code, stacks and the like.',
      ),
      options.shared.memoryLedger().restBytes(),
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
