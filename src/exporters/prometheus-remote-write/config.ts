/** The configuration of `prometheus_remote_write`, under the names and defaults of the Go collector. */
import { z } from 'zod'
import type { QueueSettings, SendingSettings } from '../../component/define.ts'
import { harmless, refused } from '../../config/fields.ts'
import { httpClientFields, httpUrlField } from '../../net/client-fields.ts'
import { constantLabelsField, externalLabelsField, resourceLabelsOf } from '../../prometheus/label-fields.ts'
import { chooseStrategy, keepsUtf8, labelName, STRATEGIES } from '../../prometheus/naming.ts'
import { retryField, timeoutField } from '../../sending/fields.ts'
import type { FamilyOptions } from './families.ts'

export const RW1 = 'prometheus.WriteRequest'
export const RW2 = 'io.prometheus.write.v2.Request'

const DEFAULT_BATCH_BYTES = 3_000_000
const DEFAULT_PARALLEL = 5
/** Headers that belong to the protocol. */
const RESERVED = ['content-encoding', 'content-type', 'user-agent', 'x-prometheus-remote-write-version']

const queueBlock = z
  .strictObject({
    enabled: z.boolean().default(true),
    queue_size: z.int().min(0).default(10_000),
    num_consumers: z
      .int()
      .min(0)
      .default(DEFAULT_PARALLEL)
      .describe('Requests of one batch that are sent side by side; batches are sent one after the other.'),
  })
  .refine((queue) => !queue.enabled || queue.queue_size > 0, {
    error: 'a queue size of 0 takes nothing: give a size or turn the queue off',
    path: ['queue_size'],
  })

const storedQueue = z.strictObject({
  storage: z
    .string()
    .min(1, { error: 'must not be empty' })
    .nullish()
    .describe('Id of a storage extension: the queue is on the disk, and all series go through one shard.'),
})

const { compression: _, ...clientFields } = httpClientFields()

const fields = z.strictObject({
  endpoint: httpUrlField().default('http://some.url:9411/api/prom/push'),
  ...clientFields,
  compression: z.enum(['', 'snappy'], { error: 'remote write is always compressed with snappy' }).default(''),
  timeout: timeoutField('5s').describe('Limit of one attempt at a batch.'),
  retry_on_failure: retryField({ initialInterval: '50ms' }),
  remote_write_queue: queueBlock.nullish().transform((queue) => queue ?? queueBlock.parse({})),
  sending_queue: storedQueue.nullish().describe('Only where the queue is; the rest is remote_write_queue.'),
  namespace: z.string().default(''),
  external_labels: externalLabelsField(),
  max_batch_size_bytes: z.int().min(0).default(DEFAULT_BATCH_BYTES).describe('0 = the default.'),
  max_batch_request_parallelism: z.int().min(1).optional(),
  resource_to_telemetry_conversion: z
    .strictObject({
      enabled: z.boolean().default(false),
      exclude_service_attributes: z.boolean().default(false),
    })
    .nullish(),
  resource_constant_labels: constantLabelsField(),
  target_info: z.strictObject({ enabled: z.boolean().default(true) }).nullish(),
  disable_scope_info: z.boolean().default(false),
  export_created_metric: z
    .strictObject({ enabled: z.boolean().default(false) })
    .nullish()
    .refine((value) => value?.enabled !== true, {
      error: 'not supported: the Go collector removed it after 0.116; remote write 2.0 carries start times',
    })
    .meta({ status: 'refused', why: 'removed upstream; remote write 2.0 carries start times' }),
  add_metric_suffixes: z.boolean().default(true),
  translation_strategy: z.enum(['', ...STRATEGIES]).default(''),
  send_metadata: z.boolean().default(false),
  protobuf_message: z.enum([RW1, RW2]).default(RW1),
  wal: refused('name a file_storage extension in sending_queue.storage, which keeps the queue on the disk'),
  include_metadata_keys: z.array(z.string().min(1).toLowerCase()).default([]),
  convert_explicit_histograms_to_nhcb: z.boolean().default(false),
  keep_classic_histograms: z.boolean().default(false),
  http2_max_streams: harmless('requests are sent over HTTP/1.1'),
  http: z.strictObject({}).nullish().describe('The HTTP fields may also be given in this block.'),
})

const HTTP_KEYS = new Set(['endpoint', 'timeout', 'compression', ...Object.keys(clientFields)])

/** HTTP fields may stand under `http:`. What is there replaces what stands beside it. */
function hoistHttp(given: unknown): unknown {
  if (typeof given !== 'object' || given === null || !('http' in given)) return given
  const { http, ...rest } = given
  if (typeof http !== 'object' || http === null) return given
  const entries = Object.entries(http)
  const known = entries.filter(([key]) => HTTP_KEYS.has(key))
  const unknown = entries.filter(([key]) => !HTTP_KEYS.has(key))
  return { ...rest, ...Object.fromEntries(known), http: Object.fromEntries(unknown) }
}

export const config = z.preprocess(hoistHttp, fields).superRefine((value, context) => {
  const refuse = (path: string, message: string) =>
    context.addIssue({ code: 'custom', path: [path], message })
  if (value.resource_to_telemetry_conversion?.enabled && value.resource_constant_labels)
    refuse('resource_constant_labels', 'replaces resource_to_telemetry_conversion: give only one of them')
  const strategy = value.translation_strategy
  if (strategy !== '' && keepsUtf8(strategy) && value.protobuf_message === RW1)
    refuse('translation_strategy', `${strategy} keeps UTF-8 names, which needs protobuf_message: ${RW2}`)
  if (value.convert_explicit_histograms_to_nhcb && value.protobuf_message === RW1)
    refuse('convert_explicit_histograms_to_nhcb', `custom buckets need protobuf_message: ${RW2}`)
  if (value.sending_queue?.storage && !value.remote_write_queue.enabled)
    context.addIssue({
      code: 'custom',
      path: ['sending_queue', 'storage'],
      message: 'needs a queue: remote_write_queue.enabled is false',
    })
  for (const key of value.include_metadata_keys)
    if (RESERVED.includes(key)) refuse('include_metadata_keys', `${key} belongs to the protocol`)
})
export type Config = z.output<typeof config>

export function sendingOf(config: Config): SendingSettings {
  const { enabled, queue_size } = config.remote_write_queue
  const queue: QueueSettings = {
    numConsumers: 1, // One batch after the other keeps the samples of each series in order.
    queueSize: queue_size,
    sizer: 'requests',
    blockOnOverflow: false,
    waitForResult: false,
    storage: config.sending_queue?.storage ?? undefined,
    inOrder: true,
    batch: undefined,
  }
  return {
    timeoutMs: config.timeout,
    retry: config.retry_on_failure,
    queue: enabled ? queue : undefined,
  }
}

export function parallelOf(config: Config): number {
  return config.max_batch_request_parallelism ?? Math.max(1, config.remote_write_queue.num_consumers)
}

export function limitBytesOf(config: Config): number {
  return config.max_batch_size_bytes || DEFAULT_BATCH_BYTES
}

/** The client's configuration: bodies are compressed here, and headers of the protocol stay as they are. */
export function clientConfigOf(config: Config) {
  const headers = config.headers.filter(({ name }) => !RESERVED.includes(name.toLowerCase()))
  return { ...config, compression: '' as const, headers }
}

export function reservedHeaders(config: Config): string[] {
  return config.headers.map(({ name }) => name).filter((name) => RESERVED.includes(name.toLowerCase()))
}

/** How to translate for one version of the protocol. */
export function familyOptions(config: Config, message: typeof RW1 | typeof RW2): FamilyOptions {
  const strategy = chooseStrategy(config.translation_strategy, config.add_metric_suffixes)
  const second = message === RW2
  const external = new Map<string, string>()
  for (const [name, value] of Object.entries(config.external_labels))
    external.set(labelName(name, strategy, 'collapse'), value)
  return {
    namespace: config.namespace,
    targetInfo: config.target_info?.enabled ?? true,
    metadata: config.send_metadata || second,
    startTimestamps: second,
    customBuckets: config.convert_explicit_histograms_to_nhcb && second,
    classicToo: config.keep_classic_histograms,
    base: {
      strategy,
      external,
      scope: config.disable_scope_info ? 'none' : 'present',
      resourceLabels: resourceLabelsOf(config),
      labelStyle: 'collapse',
      targetInfo: 'informative',
    },
  }
}
