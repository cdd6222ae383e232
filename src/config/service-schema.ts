/**
 * The `service` section: what of it works, what is harmless to ignore, what is refused.
 */
import { z } from 'zod'
import { duration, harmless, refused } from './fields.ts'
import type { LogsTelemetry, MetricsTelemetry, ServiceConfig, Supervision } from './types.ts'

const DEFAULT_METRICS_HOST = 'localhost'
const DEFAULT_METRICS_PORT = 8888
const DEFAULT_SHUTDOWN_TIMEOUT_MS = 30_000
/** Shards give a sign ten times a second; collections and decisions may take their time. */
const LEAST_HEARTBEAT_TIMEOUT_MS = 1000
/** The first wait (workers/pool.ts). */
const LEAST_RESTART_INTERVAL_MS = 250
/** A shard that holds all components and no data takes half of it. */
const LEAST_HEAP_MIB = 32

const logLevel = z
  .string()
  .transform((text, context) => {
    const level = text.trim().toLowerCase()
    if (level === 'debug' || level === 'info' || level === 'warn' || level === 'error') return level
    context.addIssue({ code: 'custom', message: `expected one of debug, info, warn, error, got "${text}"` })
    return z.NEVER
  })
  .meta({ type: 'string', title: 'debug, info, warn or error' })

const metricsLevel = z
  .string()
  .transform((text, context) => {
    const level = text.trim().toLowerCase()
    if (level === 'none' || level === 'basic' || level === 'normal' || level === 'detailed') return level
    const message = `expected one of none, basic, normal, detailed, got "${text}"`
    context.addIssue({ code: 'custom', message })
    return z.NEVER
  })
  .meta({ type: 'string', title: 'none, basic, normal or detailed' })

const logs = z.strictObject({
  level: logLevel.default('info'),
  encoding: z.enum(['console', 'json']).default('json'),
  sampling: z
    .strictObject({
      enabled: z.boolean().default(true),
      tick: duration().default(10_000),
      initial: z.int().min(0).default(10),
      thereafter: z.int().min(0).default(100),
    })
    .prefault({}),
  output_paths: z.array(z.string().min(1)).default(['stderr']),
  initial_fields: z.record(z.string(), z.unknown()).default({}),
  error_output_paths: harmless('what goes wrong in the logger itself goes to stderr', z.array(z.string())),
  development: harmless('there is no development mode of the logger', z.boolean()),
  disable_caller: harmless('log lines carry no caller', z.boolean()),
  disable_stacktrace: harmless('a stack trace is part of the error it belongs to', z.boolean()),
  disable_zap_resource: harmless('log lines carry no resource', z.boolean()),
  processors: refused('own logs are not exported over OTLP; collect what is written to output_paths'),
})

const prometheusReader = z.strictObject({
  host: z.string().default(DEFAULT_METRICS_HOST),
  port: z.int().min(0).max(65_535).default(DEFAULT_METRICS_PORT),
  without_type_suffix: z.boolean().default(true),
  without_units: z.boolean().default(true),
  without_scope_info: harmless('own metrics carry no scope labels', z.boolean()),
  without_target_info: harmless('the resource is always shown as target_info', z.boolean()),
  with_resource_constant_labels: harmless('the resource is shown as target_info', z.unknown()),
  translation_strategy: refused('use without_type_suffix and without_units'),
})

const reader = z.strictObject({
  pull: z
    .strictObject({
      exporter: z.strictObject({ prometheus: prometheusReader }),
      producers: refused('own metrics come from one producer'),
      cardinality_limits: harmless('own metrics have limits of their own'),
    })
    .optional(),
  periodic: refused('own metrics are not pushed; scrape a pull reader'),
})

const metrics = z.strictObject({
  level: metricsLevel.default('normal'),
  readers: z.array(reader).optional(),
  address: z.string().optional().meta({ description: 'Legacy form of a pull reader.' }),
  views: harmless('every own metric is shown as it is'),
})

const traces = z.strictObject({
  level: harmless('own traces are not recorded'),
  propagators: harmless('own traces are not recorded'),
  sampler: harmless('own traces are not recorded'),
  processors: refused('own traces are not exported'),
})

const resourceValue = z.union([z.string(), z.number(), z.boolean(), z.null()])
const resource = z.record(z.string().min(1), z.unknown()).transform((map, context) => {
  const result: Record<string, string | null> = {}
  const put = (name: string, value: unknown, path: (string | number)[]) => {
    const parsed = resourceValue.safeParse(value)
    if (parsed.success) result[name] = parsed.data === null ? null : String(parsed.data)
    else
      context.addIssue({ code: 'custom', path, message: 'expected a string, a number, true, false or null' })
  }
  for (const [name, value] of Object.entries(map)) {
    if (name === 'schema_url' && typeof value === 'string') continue
    if (name !== 'attributes' || !Array.isArray(value)) {
      put(name, value, [name])
      continue
    }
    for (const [index, item] of value.entries()) {
      const named = z.looseObject({ name: z.string().min(1), value: z.unknown() }).safeParse(item)
      if (named.success) put(named.data.name, named.data.value, ['attributes', index, 'value'])
      else
        context.addIssue({ code: 'custom', path: ['attributes', index], message: 'expected {name, value}' })
    }
  }
  return result
})

const supervision = z.strictObject({
  heartbeat_timeout: duration()
    .refine((ms) => ms === 0 || ms >= LEAST_HEARTBEAT_TIMEOUT_MS, {
      error: 'has to be 0 (never) or at least 1s',
    })
    .prefault('10s')
    .meta({ description: 'A shard that gives no sign of life for this long is started again; 0 = never.' }),
  restart_max_interval: duration()
    .refine((ms) => ms >= LEAST_RESTART_INTERVAL_MS, { error: 'has to be at least 250ms' })
    .prefault('30s')
    .meta({ description: 'Waits before a shard is started again begin with 250ms and double up to this.' }),
  max_heap_mib: z
    .int()
    .refine((mib) => mib === 0 || mib >= LEAST_HEAP_MIB, {
      error: `has to be 0 or at least ${LEAST_HEAP_MIB}`,
    })
    .default(0)
    .meta({ description: 'Heap of one shard, without payload; 0 = what V8 takes.' }),
  max_memory_mib: z.int().min(0).default(0).meta({
    description:
      'Heap and payload of all shards; beyond it the largest one is started again. 0 = 9/10 of the memory.',
  }),
})

export const pipelineSchema = z.strictObject({
  receivers: z.array(z.string()).default([]),
  processors: z.array(z.string()).default([]),
  exporters: z.array(z.string()).default([]),
})

/** What who reaches the admin endpoint may have recorded (docs/sampling-replay.md). Absent: nothing. */
const capture = z.strictObject({
  directory: z
    .string()
    .min(1)
    .meta({ description: 'Where captures are written; made when it is not there.' }),
  max_size_mib: z.int().min(1).max(1_048_576).default(1024).meta({ description: 'Of one capture.' }),
  max_duration: duration()
    .refine((ms) => ms >= 1000 && ms <= 24 * 3600 * 1000, { error: 'expected 1s to 24h' })
    .prefault('10m'),
})

export const serviceSchema = z.strictObject({
  extensions: z.array(z.string()).default([]).meta({ description: 'Ids of extensions, in starting order.' }),
  pipelines: z.record(z.string(), pipelineSchema).default({}),
  shards: z.int().min(0).max(1024).optional().meta({
    description: 'Worker threads that hold the pipelines; 0 = all in the main thread, absent = one per core.',
  }),
  shutdown_timeout: duration().default(DEFAULT_SHUTDOWN_TIMEOUT_MS),
  supervision: supervision.prefault({}),
  admin: z
    .strictObject({
      endpoint: z.string().default('localhost:8889').meta({
        description: 'Where POST /-/reload and POST /-/capture are taken.',
      }),
      capture: capture.nullish(),
    })
    .nullish(),
  telemetry: z
    .strictObject({
      logs: logs.prefault({}),
      metrics: metrics.prefault({}),
      traces: traces.prefault({}),
      resource: resource.default({}),
    })
    .prefault({}),
})

export type ParsedService = z.infer<typeof serviceSchema>
type ParsedMetrics = z.infer<typeof metrics>

export function logsTelemetry(parsed: z.infer<typeof logs>): LogsTelemetry {
  const { enabled, tick, initial, thereafter } = parsed.sampling
  return {
    level: parsed.level,
    encoding: parsed.encoding,
    sampling: { enabled, tickMs: tick, initial, thereafter },
    outputPaths: parsed.output_paths,
    initialFields: parsed.initial_fields,
  }
}

export type Reader = MetricsTelemetry['readers'][number]

/** Readers with the path of what they were written as, below `service.telemetry.metrics`. */
export function metricsReaders(parsed: ParsedMetrics): { reader: Reader; path: (string | number)[] }[] {
  if (parsed.level === 'none') return []
  const plain = { typeSuffix: false, units: false }
  const found: { reader: Reader; path: (string | number)[] }[] = []
  if (parsed.address !== undefined) {
    const address = parseAddress(parsed.address)
    if (address) found.push({ reader: { ...address, ...plain }, path: ['address'] })
  }
  if (!parsed.readers && parsed.address === undefined) {
    const reader = { host: DEFAULT_METRICS_HOST, port: DEFAULT_METRICS_PORT, ...plain }
    return [{ reader, path: [] }]
  }
  for (const [index, { pull }] of (parsed.readers ?? []).entries()) {
    const prometheus = pull?.exporter.prometheus
    if (!prometheus) continue
    const { host, port } = prometheus
    const reader = {
      host,
      port,
      typeSuffix: !prometheus.without_type_suffix,
      units: !prometheus.without_units,
    }
    found.push({ reader, path: ['readers', index, 'pull', 'exporter', 'prometheus', 'port'] })
  }
  return found
}

/** `host:port`, `:port` or `[::1]:port`; undefined when it is none of them. */
export function parseAddress(text: string): { host: string; port: number } | undefined {
  const match = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,5})$/.exec(text.trim())
  const port = Number(match?.[3])
  if (!match || port > 65_535) return undefined
  return { host: match[1] ?? match[2] ?? '', port }
}

const MIB = 1024 ** 2

export function supervisionOf(parsed: ParsedService): Supervision {
  const { heartbeat_timeout, restart_max_interval, max_heap_mib, max_memory_mib } = parsed.supervision
  return {
    heartbeatTimeoutMs: heartbeat_timeout,
    restartMaxIntervalMs: restart_max_interval,
    maxHeapMib: max_heap_mib,
    maxMemoryBytes: max_memory_mib * MIB,
  }
}

export function telemetryOf(parsed: ParsedService): ServiceConfig['service']['telemetry'] {
  const { logs: parsedLogs, metrics: parsedMetrics, resource: attributes } = parsed.telemetry
  const readers = metricsReaders(parsedMetrics).map(({ reader }) => reader)
  return {
    logs: logsTelemetry(parsedLogs),
    metrics: { level: parsedMetrics.level, readers },
    resource: attributes,
  }
}
