/**
 * `tail_sampling` processor: holds the spans of a trace for a while, then keeps or discards the trace as a
 * whole.
 *
 *     processors:
 *       tail_sampling:
 *         decision_wait: 10s
 *         policies:
 *           - { name: errors, type: status_code, status_code: { status_codes: [ERROR] } }
 *           - { name: some, type: probabilistic, probabilistic: { sampling_percentage: 10 } }
 *
 * Invariant: spans taken = held + sent on + sampled out + dropped and counted. The caller is not held:
 * acknowledged spans live in memory until their trace is decided. docs/tail-sampling.md has the rules and the
 * limits.
 */
import { defineProcessor } from '../../component/define.ts'
import { config } from './config.ts'
import { Engine } from './engine.ts'
import { telemetry } from './telemetry.ts'

export default defineProcessor({
  type: 'tail_sampling',
  stability: 'beta',
  summary: 'Keeps or discards traces as a whole, after they are complete',
  signals: ['traces'],
  capabilities: { mutatesData: false },
  affinity: 'trace',
  takesIntoMemory: 'always',
  config,
  telemetry,
  create({ id, config, host, logger, telemetry, next, pipeline }) {
    const stage = `processors/${id}/${pipeline}`
    const engine = new Engine(id, config, host, logger, telemetry, next, undefined, stage)
    return {
      consume: async (batch) => void (await engine.consume(batch, false)),
      consumeOwned: (batch) => engine.consume(batch, true),
      releases: true, // Spans and headers are copied into the store.
      start: async () => engine.start(),
      shutdown: (deadline) => engine.shutdown(deadline),
    }
  },
})
