/**
 * `memory_limiter` processor: refuses data, retryably, while the process uses too much memory.
 *
 *     processors:
 *       memory_limiter:
 *         check_interval: 1s
 *         limit_mib: 512
 *         spike_limit_mib: 128
 *
 * It holds nothing itself. Refusal starts at the soft limit (limit - spike limit) and ends below it. It
 * steers by the ledger of all shards: payload bytes held, plus heap and external memory; what the process
 * takes beside that counts from halfway between soft limit and limit on (watch.ts). As the first
 * processor of a pipeline it also answers before a request body is read; such requests are counted by
 * themselves (refused_requests), since nobody knows their items.
 */
import { defineProcessor } from '../../component/define.ts'
import { counter } from '../../component/telemetry.ts'
import type { Signal } from '../../otlp/batch.ts'
import { config } from './config.ts'
import { sharedWatch } from './watch.ts'

const telemetry = {
  acceptedTraces: counter('processor_memory_limiter_accepted_spans', '{spans}', 'Spans let through.'),
  acceptedMetrics: counter(
    'processor_memory_limiter_accepted_metric_points',
    '{datapoints}',
    'Data points let through.',
  ),
  acceptedLogs: counter(
    'processor_memory_limiter_accepted_log_records',
    '{records}',
    'Log records let through.',
  ),
  refusedTraces: counter('processor_memory_limiter_refused_spans', '{spans}', 'Spans refused.'),
  refusedMetrics: counter(
    'processor_memory_limiter_refused_metric_points',
    '{datapoints}',
    'Data points refused.',
  ),
  refusedLogs: counter('processor_memory_limiter_refused_log_records', '{records}', 'Log records refused.'),
  refusedRequests: counter(
    'processor_memory_limiter_refused_requests',
    '{requests}',
    'Requests refused as a whole, before their body was read: their items are not counted.',
    ['signal'],
  ),
}

const ACCEPTED = { traces: 'acceptedTraces', metrics: 'acceptedMetrics', logs: 'acceptedLogs' } as const
const REFUSED = { traces: 'refusedTraces', metrics: 'refusedMetrics', logs: 'refusedLogs' } as const
const SIGNALS: readonly Signal[] = ['traces', 'metrics', 'logs']

export default defineProcessor({
  type: 'memory_limiter',
  signals: SIGNALS,
  stability: 'stable',
  summary: 'Refuses data, retryably, while the process uses too much memory.',
  capabilities: { mutatesData: false },
  config,
  telemetry,
  create({ config, telemetry, logger, host, signal, next }) {
    const watch = sharedWatch(config, host, logger)
    const accepted = telemetry[ACCEPTED[signal]]
    const refused = telemetry[REFUSED[signal]]
    const refusedUnread = telemetry.refusedRequests.with({ signal })
    let started = false
    return {
      releases: next.releases === true,
      async start() {
        started = true
        watch.start()
      },
      // Async, so that broken bytes reject instead of throwing when they are counted.
      async consume(batch) {
        const error = watch.refusal()
        if (error !== undefined) {
          refused.add(batch.itemCount)
          throw error
        }
        accepted.add(batch.itemCount)
        return next.consume(batch)
      },
      refusal() {
        const error = watch.refusal()
        if (error !== undefined) refusedUnread.add(1)
        return error
      },
      async shutdown() {
        if (!started) return
        started = false
        watch.stop()
      },
    }
  },
})
