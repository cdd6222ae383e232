/**
 * `probabilistic_sampler` processor: keeps a share of spans or log records, the same ones on every collector.
 *
 *     processors:
 *       probabilistic_sampler:
 *         sampling_percentage: 15
 *         mode: proportional
 *
 * Each item is judged by itself, without state. What is kept says how it was sampled: spans in their
 * tracestate (`ot=rv:...;th:...`), log records in the attributes sampling.randomness and
 * sampling.threshold. A batch of which nothing is left is a success and goes no further.
 */

import { defineProcessor } from '../../component/define.ts'
import type { Logger } from '../../component/logger.ts'
import { type Counter, counter } from '../../component/telemetry.ts'
import { mapItems } from '../../otlp/edit.ts'
import { config } from './config.ts'
import { LogJudge } from './logs.ts'
import { ATTRIBUTE, POLICIES, Sampler } from './sampler.ts'
import { SpanJudge } from './spans.ts'

const LABELS = ['policy', 'sampled']

const telemetry = {
  traces: counter('processor_probabilistic_sampler_count_traces_sampled', '{spans}', 'Spans judged.', LABELS),
  logs: counter(
    'processor_probabilistic_sampler_count_logs_sampled',
    '{records}',
    'Log records judged.',
    LABELS,
  ),
}

export default defineProcessor({
  type: 'probabilistic_sampler',
  signals: ['traces', 'logs'],
  stability: 'beta',
  summary: 'Keeps a share of spans or log records by trace id, the same ones on every collector.',
  capabilities: { mutatesData: false },
  config,
  telemetry,
  create({ config, telemetry, logger, signal, next }) {
    if (signal === 'logs' && config.attribute_source === 'record' && config.from_attribute === '')
      logger.warn('attribute_source is record, but from_attribute is not set: no record can be judged.')
    const sampler = new Sampler(config)
    const judge = signal === 'logs' ? new LogJudge(sampler, config) : new SpanJudge(sampler)
    const tally = new Tally(telemetry[signal === 'logs' ? 'logs' : 'traces'], config.from_attribute, logger)
    return {
      async consume(batch) {
        const kept = mapItems(batch, (items, output) => {
          const verdict = judge.edit(items, output)
          tally.add(sampler)
          return verdict
        })
        tally.publish()
        if (kept.itemCount > 0) await next.consume(kept)
      },
    }
  },
})

/** Counts the decisions of a batch, and adds them to the counters once. */
class Tally {
  readonly #counter: Counter
  readonly #logger: Logger
  readonly #names: readonly string[]
  /** By policy: those dropped, those kept. */
  readonly #counts = new Float64Array((POLICIES.length + 1) * 2)
  readonly #bound: (Counter | undefined)[] = []
  #unusable = 0

  constructor(counter: Counter, attribute: string, logger: Logger) {
    this.#counter = counter
    this.#logger = logger
    this.#names = [...POLICIES.slice(0, ATTRIBUTE), attribute]
  }

  add({ policy, sampled, usable }: Sampler): void {
    const index = policy * 2 + (sampled ? 1 : 0)
    this.#counts[index] = (this.#counts[index] ?? 0) + 1
    if (!usable) this.#unusable++
  }

  publish(): void {
    for (const [index, count] of this.#counts.entries()) {
      if (count === 0) continue
      const policy = this.#names[index >> 1] ?? ''
      this.#bound[index] ??= this.#counter.with({ policy, sampled: index & 1 ? 'true' : 'false' })
      this.#bound[index].add(count)
    }
    this.#counts.fill(0)
    if (this.#unusable > 0)
      this.#logger.debug('Items could not be judged by their randomness.', { items: this.#unusable })
    this.#unusable = 0
  }
}
