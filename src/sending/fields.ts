/**
 * The three blocks that every exporter shares, under the names and defaults of the Collector's exporter
 * helper:
 * `timeout`, `retry_on_failure` and `sending_queue`. An exporter puts them into its schema and hands the
 * parsed values to `sendingSettings`:
 *
 *     config: z.strictObject({
 *       timeout: timeoutField('5s'), retry_on_failure: retryField(), sending_queue: queueField(), ...
 *     }),
 *     sending: (config) => sendingSettings(config),
 *
 * Leaving a block out and writing it empty mean the same: its defaults.
 */
import { z } from 'zod'
import type {
  QueueBatchSettings,
  QueueSettings,
  RetrySettings,
  SendingSettings,
  Sizer,
} from '../component/define.ts'
import { duration } from '../config/fields.ts'

/** A duration of zero or more, with its default as a user would write it. */
export function nonNegativeDuration(defaultText: string) {
  return duration()
    .refine((ms) => ms >= 0, { error: 'must not be negative' })
    .prefault(defaultText)
}

/** Limit of one attempt; 0 = none. */
export function timeoutField(defaultText: string) {
  return nonNegativeDuration(defaultText)
}

export interface RetryDefaults {
  readonly enabled?: boolean
  readonly initialInterval?: string
  readonly maxInterval?: string
  readonly maxElapsedTime?: string
}

export function retryField(defaults: RetryDefaults = {}) {
  const block = z
    .strictObject({
      enabled: z.boolean().default(defaults.enabled ?? true),
      initial_interval: nonNegativeDuration(defaults.initialInterval ?? '5s'),
      randomization_factor: z.number().min(0).max(1).default(0.5),
      multiplier: z.number().min(0).default(1.5),
      max_interval: nonNegativeDuration(defaults.maxInterval ?? '30s'),
      max_elapsed_time: nonNegativeDuration(defaults.maxElapsedTime ?? '300s'),
    })
    .check((context) => {
      const { enabled, initial_interval, max_interval, max_elapsed_time } = context.value
      if (!enabled || max_elapsed_time === 0) return
      const path = ['max_elapsed_time']
      const refuse = (message: string) =>
        context.issues.push({ code: 'custom', message, path, input: max_elapsed_time })
      if (max_elapsed_time < initial_interval) refuse('must not be less than initial_interval (0 = no limit)')
      else if (max_elapsed_time < max_interval) refuse('must not be less than max_interval (0 = no limit)')
    })
  return block.nullish().transform((given): RetrySettings => {
    const value = given ?? block.parse({})
    return {
      enabled: value.enabled,
      initialIntervalMs: value.initial_interval,
      randomizationFactor: value.randomization_factor,
      multiplier: value.multiplier,
      maxIntervalMs: value.max_interval,
      maxElapsedTimeMs: value.max_elapsed_time,
    }
  })
}

const MAX_METADATA_KEYS = 32

const batchBlock = z
  .strictObject({
    flush_timeout: duration()
      .refine((ms) => ms > 0, { error: 'must be greater than 0' })
      .prefault('200ms'),
    min_size: z.int().min(0).default(8192),
    max_size: z.int().min(0).default(0).describe('0 = no limit; larger batches are split.'),
    sizer: z.enum(['items', 'bytes']).optional(),
    partition: z
      .strictObject({
        metadata_keys: z
          .array(z.string().min(1).toLowerCase())
          .max(MAX_METADATA_KEYS)
          .refine((keys) => new Set(keys).size === keys.length, {
            error: 'the same key twice (upper and lower case are one)',
          })
          .nullish(),
      })
      .nullish(),
  })
  .refine((value) => value.max_size === 0 || value.max_size >= value.min_size, {
    error: 'must not be less than min_size (0 = no limit)',
    path: ['max_size'],
  })

type BatchBlock = z.output<typeof batchBlock>

export interface QueueDefaults {
  readonly enabledByDefault?: boolean
  readonly numConsumers?: number
  readonly queueSize?: number
}

/** Undefined when the queue is off: the caller then waits for the export. */
export function queueField(defaults: QueueDefaults = {}) {
  const block = z
    .strictObject({
      enabled: z.boolean().default(true),
      num_consumers: z
        .int()
        .min(1)
        .max(10_000)
        .default(defaults.numConsumers ?? 10),
      queue_size: z
        .int()
        .min(1)
        .default(defaults.queueSize ?? 1000),
      sizer: z.enum(['requests', 'items', 'bytes']).optional(),
      block_on_overflow: z.boolean().default(false),
      wait_for_result: z.boolean().default(false),
      storage: z
        .string()
        .min(1, { error: 'must not be empty' })
        .nullish()
        .describe('Id of a storage extension: the queue is on the disk.'),
      batch: batchBlock.nullish(),
    })
    .check((context) => {
      const { enabled, batch, queue_size, sizer, storage, wait_for_result } = context.value
      if (enabled && storage && wait_for_result) {
        const message = 'not possible with storage, which answers when the data is stored'
        context.issues.push({ code: 'custom', message, path: ['wait_for_result'], input: true })
      }
      if (!enabled || !batch || batchSizer(batch, sizer) !== (sizer ?? 'requests')) return
      if (batch.min_size <= queue_size) return
      const message = `${batch.min_size} is more than queue_size ${queue_size}: the batch could never fill`
      context.issues.push({ code: 'custom', message, path: ['batch', 'min_size'], input: batch.min_size })
    })
  return block.nullish().transform((given): QueueSettings | undefined => {
    const value = given ?? block.parse({ enabled: defaults.enabledByDefault ?? true })
    if (!value.enabled) return undefined
    return {
      numConsumers: value.num_consumers,
      queueSize: value.queue_size,
      sizer: value.sizer ?? 'requests',
      blockOnOverflow: value.block_on_overflow,
      waitForResult: value.wait_for_result,
      storage: value.storage ?? undefined,
      batch: value.batch ? batchSettings(value.batch, value.sizer) : undefined,
    }
  })
}

/** The batch's own unit, else the queue's when it is one that a batch can be measured in. */
function batchSizer(batch: BatchBlock, queueSizer: Sizer | undefined): 'items' | 'bytes' {
  return batch.sizer ?? (queueSizer === 'bytes' ? 'bytes' : 'items')
}

function batchSettings(batch: BatchBlock, queueSizer: Sizer | undefined): QueueBatchSettings {
  return {
    flushTimeoutMs: batch.flush_timeout,
    minSize: batch.min_size,
    maxSize: batch.max_size,
    sizer: batchSizer(batch, queueSizer),
    metadataKeys: batch.partition?.metadata_keys ?? [],
  }
}

/** From the three parsed blocks to what the shell takes. Extra fields of the config are ignored. */
export function sendingSettings(config: {
  readonly timeout: number
  readonly retry_on_failure: RetrySettings
  readonly sending_queue: QueueSettings | undefined
}): SendingSettings {
  return { timeoutMs: config.timeout, retry: config.retry_on_failure, queue: config.sending_queue }
}
