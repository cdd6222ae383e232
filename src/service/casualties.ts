/**
 * What the death of a shard costs, and how often it happens. Its counters go on in shared memory; what it held
 * in memory for senders that had been answered is lost, and counted here, so that the books close: accepted =
 * delivered + held + sampled out + dropped + lost.
 */
import { counter, gauge, type Meter, volatileItems } from '../component/telemetry.ts'
import type { Cause } from '../workers/pool.ts'
import type { MetricSource } from './metrics.ts'

const telemetry = {
  deaths: counter('shard_deaths', '{death}', 'Shards that died, by cause.', ['cause']),
  restarts: counter('shard_restarts', '{restart}', 'Shards that were started again.'),
  down: gauge('shards_down', '{shard}', 'Shards that do not run.'),
  lost: counter('lost_items', '{item}', 'Items that were only in the memory of a shard that died.'),
}

export class Casualties {
  readonly #own

  constructor(meter: Meter) {
    this.#own = meter.instruments(telemetry, {})
    this.#own.restarts.add(0) // Shown from the start, for alerts.
    this.#own.down.set(0)
  }

  /** Counts the death and what was lost in it, items by signal. A dead shard holds nothing any more. */
  died(cause: Cause, { table, series }: MetricSource): Record<string, number> {
    this.#own.deaths.with({ cause }).add(1)
    this.#own.down.add(1)
    const values = new Float64Array(table)
    const lost: Record<string, number> = {}
    for (const { slot, description, labels } of series) {
      if (description.kind !== 'gauge') continue
      const items = values[slot] ?? 0
      values[slot] = 0
      if (description.name !== volatileItems.name || items <= 0) continue
      this.#own.lost.with(labels).add(items)
      const signal = labels['otel_signal'] ?? ''
      lost[signal] = (lost[signal] ?? 0) + items
    }
    return lost
  }

  restarting(): void {
    this.#own.restarts.add(1)
  }

  isBack(): void {
    this.#own.down.add(-1)
  }
}
