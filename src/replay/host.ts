/**
 * What an engine is given in a replay: one shard, a virtual clock, budgets and rates that follow it,
 * counters that can be read back.
 */
import type { Clock } from '../component/clock.ts'
import type { Budget, Host, RateBudget } from '../component/host.ts'
import { known, localBudget, localRate, localRecovery } from '../component/local-budgets.ts'
import type { Counter, Gauge, Histogram, Instruments, Meter, TelemetryTable } from '../component/telemetry.ts'

export function replayHost(clock: Clock): Host {
  const budgets = new Map<string, Budget>()
  const rates = new Map<string, RateBudget>()
  return {
    shard: 0,
    shards: 1,
    clock,
    memory: { usedBytes: () => 0, refresh: () => 0, restBytes: () => 0, collectGarbage() {} },
    recovery: localRecovery(),
    budget: (name, limit) => known(budgets, name, () => localBudget(limit)),
    rateBudget: (name, perSecond, burst) => known(rates, name, () => localRate(clock, perSecond, burst)),
    listen: () => Promise.reject(new Error('a replay does not listen')),
    gather: async () => [],
    answer() {},
    extension: () => undefined,
    reportStatus() {},
  }
}

class Reading implements Counter, Gauge, Histogram {
  value = 0
  readonly #labelled = new Map<string, Reading>()

  add(count: number): void {
    this.value += count
  }
  set(value: number): void {
    this.value = value
  }
  record(): void {
    this.value++
  }
  with(labels: Readonly<Record<string, string>>): Reading {
    return known(this.#labelled, JSON.stringify(Object.entries(labels).sort()), () => new Reading())
  }
}

/** Counters in plain memory. */
export class ReplayMeter implements Meter {
  readonly #readings = new Map<string, Reading>()

  instruments<T extends TelemetryTable>(table: T): Instruments<T> {
    const made: Record<string, Reading> = {}
    for (const [key, { name }] of Object.entries(table))
      made[key] = known(this.#readings, name, () => new Reading())
    return made as unknown as Instruments<T> // A reading is a counter, a gauge and a histogram.
  }

  read(name: string, labels?: Readonly<Record<string, string>>): number {
    const reading = this.#readings.get(name)
    return (labels === undefined ? reading : reading?.with(labels))?.value ?? 0
  }
}
