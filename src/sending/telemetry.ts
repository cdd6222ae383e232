/**
 * Own metrics of every exporter, under the Collector's names. Final outcomes are counted, after the retries;
 * what a backend reports as a partial success counts as sent.
 */
import { type CounterDescription, counter, gauge, histogram, volatileItems } from '../component/telemetry.ts'
import type { Signal } from '../otlp/batch.ts'

const ITEMS: Readonly<Record<Signal, readonly [suffix: string, unit: string]>> = {
  traces: ['spans', '{spans}'],
  metrics: ['metric_points', '{datapoints}'],
  logs: ['log_records', '{records}'],
}

/** Only at level detailed. */
const ERROR_LABELS = ['error_type', 'error_permanent']

/** The metrics of level basic; the names of the counters depend on the signal. */
export function sendingTelemetry(signal: Signal) {
  const [suffix, unit] = ITEMS[signal]
  const items = (name: string, help: string, labels: readonly string[] = []): CounterDescription =>
    counter(`exporter_${name}_${suffix}`, unit, help, labels)
  return {
    sent: items('sent', 'Items delivered to the destination.'),
    sendFailed: items('send_failed', 'Items that could not be delivered, after all retries.', ERROR_LABELS),
    enqueueFailed: items('enqueue_failed', 'Items refused because they could not enter the sending queue.'),
    queueSize: gauge('exporter_queue_size', '', 'What the sending queue holds, in flight included.', [
      'data_type',
    ]),
    queueCapacity: gauge('exporter_queue_capacity', '', 'Limit of the sending queue.', ['data_type'], 'max'),
    inFlight: gauge(
      'exporter_in_flight_requests',
      '{requests}',
      'Requests being sent or waiting to be retried.',
      ['data_type'],
    ),
    volatile: volatileItems,
  } as const
}

const ITEM_BUCKETS = [
  10, 25, 50, 75, 100, 250, 500, 750, 1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000, 10_000, 20_000,
  30_000, 50_000, 100_000,
]
const BYTE_BUCKETS = [
  128, 512, 2048, 8192, 16_384, 65_536, 131_072, 262_144, 524_288, 1_048_576, 2_097_152, 4_194_304, 8_388_608,
  16_777_216,
]

/** The metrics of level detailed. */
export const detailedTelemetry = {
  sendSize: histogram('exporter_queue_batch_send_size', '{unit}', 'Items of a sent request.', ITEM_BUCKETS),
  sendBytes: histogram(
    'exporter_queue_batch_send_size_bytes',
    'By',
    'Bytes of a sent request.',
    BYTE_BUCKETS,
  ),
  enqueueSize: histogram('exporter_enqueue_size', '{unit}', 'Items of an enqueued request.', ITEM_BUCKETS),
  enqueueBytes: histogram('exporter_enqueue_size_bytes', 'By', 'Bytes of an enqueued request.', BYTE_BUCKETS),
} as const
