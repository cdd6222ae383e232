/**
 * A small registry for tests of the configuration: every kind, every way a field can be, and nothing that
 * runs.
 */
import { z } from 'zod'
import {
  defineConnector,
  defineExporter,
  defineExtension,
  defineProcessor,
  defineReceiver,
  type Registry,
} from '../../../src/component/define.ts'
import { duration, harmless, refused, secret } from '../../../src/config/fields.ts'

const never = () => {
  throw new Error('not built in tests of the configuration')
}
const described = { stability: 'stable', summary: 'For tests.', telemetry: {} } as const

const server = z.strictObject({
  endpoint: z.string().default('localhost:4317'),
  max_bytes: z.int().optional(),
})
const otlp = defineReceiver({
  ...described,
  type: 'otlp',
  signals: ['traces', 'metrics', 'logs'],
  config: z.strictObject({
    protocols: z
      .strictObject({ grpc: server.optional(), http: server.optional() })
      .refine((protocols) => protocols.grpc || protocols.http, {
        error: 'must specify at least one protocol',
      }),
  }),
  listeners: ({ protocols }) =>
    (['grpc', 'http'] as const).flatMap((name) => {
      const endpoint = protocols[name]?.endpoint
      return endpoint === undefined ? [] : [{ path: ['protocols', name, 'endpoint'], endpoint }]
    }),
  create: never,
})

const hostmetrics = defineReceiver({
  ...described,
  type: 'host_metrics',
  deprecatedTypes: ['hostmetrics'],
  signals: ['metrics'],
  config: z.strictObject({
    collection_interval: duration().default(60_000),
    scrapers: z.array(z.string()).min(1),
  }),
  create: never,
})

const batch = defineProcessor({
  ...described,
  type: 'batch',
  signals: ['traces', 'metrics', 'logs'],
  capabilities: { mutatesData: false },
  config: z.strictObject({
    timeout: duration().default(200),
    send_batch_size: z.int().min(0).default(8192),
    metadata_keys: z.array(z.string()).default([]),
  }),
  create: never,
})

const policy = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('latency'), threshold_ms: z.int().min(0) }),
  z.strictObject({ type: z.literal('status_code'), codes: z.array(z.enum(['OK', 'ERROR', 'UNSET'])).min(1) }),
])
const sampling = defineProcessor({
  ...described,
  type: 'tail_sampling',
  signals: ['traces'],
  capabilities: { mutatesData: false },
  config: z.strictObject({
    policies: z.array(policy).min(1),
    num_traces: z.int().min(1).default(50_000),
    ratio: z.number().min(0).max(1).default(0.5),
    enabled: z.boolean().default(true),
    expected_new_traces_per_sec: harmless('the store grows as it needs to'),
    wait: z.union([z.strictObject({ after: duration() }), z.boolean()]).optional(),
  }),
  create: never,
})

const exporter = defineExporter({
  ...described,
  type: 'otlp_grpc',
  deprecatedTypes: ['otlp'],
  signals: ['traces', 'metrics', 'logs'],
  config: z.strictObject({
    endpoint: z.string().min(1),
    headers: z.record(z.string().min(1), z.string()).default({}),
    token: secret().optional(),
    tenant: z.string().optional(),
    compression: z.enum(['gzip', 'zstd', 'none']).default('gzip'),
    wait_for_ready: refused('the connection is always waited for'),
  }),
  create: never,
})

const prometheus = defineExporter({
  ...described,
  type: 'prometheus',
  signals: ['metrics'],
  config: z.strictObject({
    endpoint: z.string().min(1),
    const_labels: z.record(z.string(), z.string()).default({}),
  }),
  listeners: ({ endpoint }) => [{ path: ['endpoint'], endpoint }],
  create: never,
})

const nop = defineExporter({
  ...described,
  type: 'nop',
  signals: ['traces', 'metrics', 'logs'],
  config: z.strictObject({}),
  create: never,
})

const forward = defineConnector({
  ...described,
  type: 'forward',
  routes: [
    { from: 'traces', to: 'traces' },
    { from: 'metrics', to: 'metrics' },
    { from: 'logs', to: 'logs' },
  ],
  config: z.strictObject({}),
  create: never,
})

const count = defineConnector({
  ...described,
  type: 'count',
  routes: [
    { from: 'traces', to: 'metrics' },
    { from: 'logs', to: 'metrics' },
  ],
  config: z.strictObject({}),
  create: never,
})

const health = defineExtension({
  ...described,
  type: 'health_check',
  runsIn: 'main',
  config: z.strictObject({ endpoint: z.string().default('localhost:13133') }),
  listeners: ({ endpoint }) => [{ path: ['endpoint'], endpoint }],
  create: never,
})

export const testRegistry: Registry = {
  receivers: [otlp, hostmetrics],
  processors: [batch, sampling],
  exporters: [exporter, prometheus, nop],
  connectors: [forward, count],
  extensions: [health],
  refused: { exporter: { datadog: 'there is no exporter for this backend' } },
}
