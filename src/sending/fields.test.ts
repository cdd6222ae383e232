import { expect, test } from 'vitest'
import { z } from 'zod'
import { queueField, retryField, sendingSettings, timeoutField } from './fields.ts'

const schema = z.strictObject({
  timeout: timeoutField('5s'),
  retry_on_failure: retryField(),
  sending_queue: queueField(),
})

const DEFAULTS = {
  timeoutMs: 5000,
  retry: {
    enabled: true,
    initialIntervalMs: 5000,
    randomizationFactor: 0.5,
    multiplier: 1.5,
    maxIntervalMs: 30_000,
    maxElapsedTimeMs: 300_000,
  },
  queue: {
    numConsumers: 10,
    queueSize: 1000,
    sizer: 'requests',
    blockOnOverflow: false,
    waitForResult: false,
    storage: undefined,
    batch: undefined,
  },
}

test('absent, null and empty blocks all give the defaults of the Collector', () => {
  const f = (config: unknown) => expect(sendingSettings(schema.parse(config))).toEqual(DEFAULTS)
  f({})
  f({ retry_on_failure: null, sending_queue: null })
  f({ retry_on_failure: {}, sending_queue: {} })
  f({ timeout: '5s', sending_queue: { batch: null, storage: null } })
})

test('an exporter may bring other defaults', () => {
  const other = z.strictObject({
    retry: retryField({ initialInterval: '50ms', maxInterval: '200ms', maxElapsedTime: '5m' }),
    queue: queueField({ enabledByDefault: false, numConsumers: 5, queueSize: 10 }),
  })
  expect(other.parse({}).retry).toMatchObject({ initialIntervalMs: 50, maxIntervalMs: 200 })
  expect(other.parse({}).queue).toBeUndefined()
  expect(other.parse({ queue: {} }).queue).toMatchObject({ numConsumers: 5, queueSize: 10 })
})

test('enabled: false turns the queue off', () => {
  expect(schema.parse({ sending_queue: { enabled: false } }).sending_queue).toBeUndefined()
})

test('the batch block has its own defaults, and its unit follows the queue', () => {
  const f = (queue: object) => schema.parse({ sending_queue: queue }).sending_queue?.batch
  expect(f({ batch: {} })).toEqual({
    flushTimeoutMs: 200,
    minSize: 8192,
    maxSize: 0,
    sizer: 'items',
    metadataKeys: [],
  })
  expect(f({ sizer: 'bytes', queue_size: 1_000_000, batch: {} })?.sizer).toBe('bytes')
  expect(f({ sizer: 'bytes', batch: { sizer: 'items' } })?.sizer).toBe('items')
  expect(f({ sizer: 'requests', batch: {} })?.sizer).toBe('items')
  expect(f({ batch: { partition: { metadata_keys: ['X-Tenant'] } } })?.metadataKeys).toEqual(['x-tenant'])
})

test('what the Collector refuses is refused, at its place', () => {
  const f = (config: unknown, path: string, message: RegExp) => {
    const issues = schema.safeParse(config).error?.issues ?? []
    expect(issues.map((issue) => issue.path.join('.'))).toEqual([path])
    expect(issues[0]?.message).toMatch(message)
  }
  f({ timeout: '-1s' }, 'timeout', /negative/)
  f({ timeout: 'soon' }, 'timeout', /not a duration/)
  f({ retry_on_failure: { initial_interval: '-1s' } }, 'retry_on_failure.initial_interval', /negative/)
  f({ retry_on_failure: { randomization_factor: 2 } }, 'retry_on_failure.randomization_factor', /<=1/)
  f({ retry_on_failure: { max_elapsed_time: '1s' } }, 'retry_on_failure.max_elapsed_time', /initial_interval/)
  f({ retry_on_failure: { max_elapsed_time: '10s' } }, 'retry_on_failure.max_elapsed_time', /max_interval/)
  f({ sending_queue: { num_consumers: 0 } }, 'sending_queue.num_consumers', />=1/)
  f({ sending_queue: { queue_size: 0 } }, 'sending_queue.queue_size', />=1/)
  f({ sending_queue: { sizer: 'spans' } }, 'sending_queue.sizer', /items/)
  f({ sending_queue: { storage: '' } }, 'sending_queue.storage', /empty/)
  const both = { storage: 'file_storage', wait_for_result: true }
  f({ sending_queue: both }, 'sending_queue.wait_for_result', /storage/)
  f({ sending_queue: { batch: { flush_timeout: 0 } } }, 'sending_queue.batch.flush_timeout', /greater/)
  f({ sending_queue: { batch: { min_size: 10, max_size: 5 } } }, 'sending_queue.batch.max_size', /min_size/)
  f({ sending_queue: { sizer: 'items', batch: {} } }, 'sending_queue.batch.min_size', /more than queue_size/)
  const twice = { sending_queue: { batch: { partition: { metadata_keys: ['A', 'a'] } } } }
  f(twice, 'sending_queue.batch.partition.metadata_keys', /twice/)
})

test('a disabled retry block is not checked against itself', () => {
  const config = { retry_on_failure: { enabled: false, max_elapsed_time: '1s' } }
  expect(schema.parse(config).retry_on_failure.enabled).toBe(false)
})
