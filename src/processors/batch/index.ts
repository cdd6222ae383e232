/**
 * `batch` processor: joins what comes in to larger batches, by number of items and by time.
 *
 *     processors:
 *       batch:
 *         timeout: 1s
 *         send_batch_size: 1024
 *         send_batch_max_size: 2048
 *         metadata_keys: [x-tenant]
 *
 * Batches are joined by their chunk lists, so no item is decoded or copied (tiny chunks aside, see
 * pile.ts). A caller has its answer when its items are in the pile, and what fails later is counted as
 * dropped; when an exporter behind has no queue or waits for its result, the caller is held until the
 * next stage took its items, and gets its error.
 */
import { defineProcessor } from '../../component/define.ts'
import {
  type Counter,
  counter,
  gauge,
  histogram,
  type Instruments,
  volatileItems,
} from '../../component/telemetry.ts'
import { DownstreamError, ShutdownError, toError } from '../../errors.ts'
import { type Batch, NO_CONTEXT, type RequestContext } from '../../otlp/batch.ts'
import { Batcher, type BatcherOptions, type Trigger } from './batcher.ts'
import { config } from './config.ts'

const SIZE_BUCKETS = [
  10, 25, 50, 75, 100, 250, 500, 750, 1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000, 10_000, 20_000,
  30_000, 50_000, 100_000,
]
/** 128 bytes to 16 MiB. */
const BYTES_BUCKETS = Array.from({ length: 18 }, (_, index) => 128 * 2 ** index)

const telemetry = {
  sendSize: histogram(
    'processor_batch_batch_send_size',
    '{unit}',
    'Items of the batches sent.',
    SIZE_BUCKETS,
  ),
  sendBytes: histogram(
    'processor_batch_batch_send_size_bytes',
    'By',
    'Bytes of the batches sent.',
    BYTES_BUCKETS,
  ),
  sizeTriggers: counter(
    'processor_batch_batch_size_trigger_send',
    '{times}',
    'Batches sent because of their size.',
  ),
  timeoutTriggers: counter(
    'processor_batch_timeout_trigger_send',
    '{times}',
    'Batches sent because of their age.',
  ),
  cardinality: gauge(
    'processor_batch_metadata_cardinality',
    '{combinations}',
    'Combinations of metadata values.',
  ),
  dropped: counter(
    'processor_batch_dropped_items',
    '{item}',
    'Items lost because the next stage failed after their senders were answered.',
    ['signal'],
  ),
  refused: counter(
    'processor_batch_refused_items',
    '{item}',
    'Items refused because their combination of metadata values would be one too many.',
    ['signal'],
  ),
  volatile: volatileItems,
}

export default defineProcessor({
  type: 'batch',
  signals: ['traces', 'metrics', 'logs'],
  stability: 'stable',
  summary: 'Joins what comes in to larger batches, by number of items and by time.',
  capabilities: { mutatesData: false },
  takesIntoMemory: 'unless_held',
  config,
  telemetry,
  create({ config, telemetry, logger, host, signal, next, holdsCaller }) {
    const dropped = telemetry.dropped.with({ signal })
    const refused = telemetry.refused.with({ signal })
    const instruments = { cardinality: telemetry.cardinality, refused }
    const groups = new BatcherGroups(config.metadata_keys, config.metadata_cardinality_limit, instruments, {
      config,
      signal,
      context: NO_CONTEXT,
      next,
      clock: host.clock,
      holdsCaller,
      volatile: telemetry.volatile.with({ otel_signal: signal }),
      onSent: (batch, trigger) => recordSent(telemetry, batch, trigger),
      onDropped(items, error) {
        dropped.add(items)
        logger.error('Sender failed. The batch is dropped.', { error: toError(error), items })
      },
    })
    return {
      releases: true, // What comes in is copied.
      // Async, so that broken bytes reject instead of throwing when they are counted.
      consume: async (batch) => groups.consume(batch),
      drain: () => groups.drain(),
      shutdown: (deadline) => groups.shutdown(deadline),
    }
  },
})

function recordSent(instruments: Instruments<typeof telemetry>, batch: Batch, trigger: Trigger): void {
  instruments.sendSize.record(batch.itemCount)
  instruments.sendBytes.record(batch.byteLength)
  if (trigger === 'size') instruments.sizeTriggers.add(1)
  else if (trigger === 'timeout') instruments.timeoutTriggers.add(1)
}

const ACCEPTED = Promise.resolve()

interface GroupInstruments {
  readonly cardinality: Instruments<typeof telemetry>['cardinality']
  readonly refused: Counter
}

/** One batcher per combination of the values of `metadata_keys`. They are kept until shutdown. */
class BatcherGroups {
  readonly #keys: readonly string[]
  readonly #limit: number
  readonly #telemetry: GroupInstruments
  readonly #options: BatcherOptions
  readonly #batchers = new Map<string, Batcher>()
  #closed = false

  constructor(
    keys: readonly string[],
    limit: number,
    instruments: GroupInstruments,
    options: BatcherOptions,
  ) {
    this.#keys = keys.map((key) => key.toLowerCase())
    this.#limit = limit
    this.#telemetry = instruments
    this.#options = options
  }

  consume(batch: Batch): Promise<void> {
    if (batch.itemCount === 0) return ACCEPTED
    if (this.#closed) return Promise.reject(new ShutdownError('the batch processor is shut down'))
    const group = this.#groupOf(batch.context)
    let batcher = this.#batchers.get(group)
    if (batcher === undefined) {
      if (this.#keys.length > 0 && this.#limit > 0 && this.#batchers.size >= this.#limit) {
        this.#telemetry.refused.add(batch.itemCount)
        return Promise.reject(new DownstreamError('too many batcher metadata-value combinations'))
      }
      batcher = new Batcher({ ...this.#options, context: this.#contextOf(batch.context) })
      this.#batchers.set(group, batcher)
      this.#telemetry.cardinality.add(1)
    }
    return batcher.consume(batch)
  }

  /** A key that is not set and one that is set to nothing make different groups. */
  #groupOf(context: RequestContext): string {
    if (this.#keys.length === 0) return ''
    return JSON.stringify(this.#keys.map((key) => context.metadata.get(key) ?? null))
  }

  #contextOf(context: RequestContext): RequestContext {
    if (this.#keys.length === 0) return NO_CONTEXT
    const metadata = new Map<string, readonly string[]>()
    for (const key of this.#keys) {
      const values = context.metadata.get(key)
      if (values !== undefined) metadata.set(key, values)
    }
    return { metadata }
  }

  drain(): void {
    for (const batcher of this.#batchers.values()) batcher.drain()
  }

  async shutdown(deadline: AbortSignal): Promise<void> {
    this.#closed = true
    await Promise.all([...this.#batchers.values()].map((batcher) => batcher.shutdown(deadline)))
    this.#telemetry.cardinality.add(-this.#batchers.size)
    this.#batchers.clear()
  }
}
