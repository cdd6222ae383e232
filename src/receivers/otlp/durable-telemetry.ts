/** What a receiver counts of requests in its log; the log itself counts, too (storage/telemetry.ts). */
import { counter, gauge } from '../../component/telemetry.ts'

export const durableTelemetry = {
  records: gauge('receiver_log_requests', '{request}', 'Stored requests that are not done with.'),
  bytes: gauge('receiver_log_bytes', 'By', 'Payload of stored requests that are not done with.'),
  oldestAge: gauge(
    'receiver_log_oldest_age',
    's',
    'Age of the oldest stored request that is not done with, since it came or was found at the start.',
    [],
    'max',
  ),
  waitingBytes: gauge('receiver_log_active_bytes', 'By', 'Payload handed on and not taken yet.'),
  recovered: counter('receiver_log_recovered_items', '{item}', 'Items found in the log at the start.'),
  replayed: counter('receiver_log_replayed_items', '{item}', 'Items read back from the log.'),
  retried: counter('receiver_log_retried_requests', '{request}', 'Stored requests to be handed on again.'),
  parked: counter('receiver_log_parked_items', '{item}', 'Items set aside after repeated crashes.'),
  droppedItems: counter(
    'receiver_log_dropped_items',
    '{item}',
    'Items of stored requests that were refused for good.',
    ['signal', 'reason'],
  ),
}
