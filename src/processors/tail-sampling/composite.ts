/**
 * The `composite` policy: the first sub-policy that samples decides, within its share of spans per clock
 * second.
 *
 * The counters are budgets that all shards share. Each shard gives back what it took as soon as it sees that
 * the second is over: at the next trace or the next tick.
 */
import type { Budget, Host } from '../../component/host.ts'
import type { AnyPolicy } from './config.ts'
import type { Evaluator } from './policies.ts'
import type { TraceStore } from './trace-store.ts'
import { NOT_SAMPLED, SAMPLED, SPAN_COUNT } from './trace-table.ts'

interface Share {
  readonly evaluator: Evaluator
  readonly budget: Budget
  taken: number
}

export function composite(
  policy: AnyPolicy,
  evaluators: readonly Evaluator[],
  host: Host,
  path: string,
): Evaluator {
  const total = policy.composite?.max_total_spans_per_second ?? 0
  const subs = policy.composite?.composite_sub_policy ?? []
  const percents = new Map<string, number>()
  for (const { policy: name, percent } of policy.composite?.rate_allocation ?? []) percents.set(name, percent)
  const shares = evaluators.map((evaluator, index): Share => {
    const percent = percents.get(subs[index]?.name ?? '') ?? 0
    const share = Math.trunc(percent > 0 ? (percent / 100) * total : total / evaluators.length)
    const budget = host.budget(`second/${path}/${index}`, Math.min(share, total))
    return { evaluator, budget, taken: 0 }
  })
  return new Composite(shares, host)
}

class Composite implements Evaluator {
  readonly #shares: readonly Share[]
  readonly #host: Host
  #second = -1

  constructor(shares: readonly Share[], host: Host) {
    this.#shares = shares
    this.#host = host
  }

  evaluate(store: TraceStore, trace: number): number {
    this.#startSecond()
    for (const share of this.#shares) {
      if (share.evaluator.evaluate(store, trace) !== SAMPLED) continue
      const spans = store.traces.words[store.traces.at(trace) + SPAN_COUNT]!
      if (!share.budget.tryTake(spans)) return NOT_SAMPLED
      share.taken += spans
      return SAMPLED
    }
    return NOT_SAMPLED
  }

  /** The second of the wall clock, which all shards agree on. */
  #startSecond(): void {
    const second = Math.floor(this.#host.clock.wallMs() / 1000)
    if (second === this.#second) return
    this.#second = second
    this.close()
  }

  tick(): void {
    this.#startSecond()
  }

  close(): void {
    for (const share of this.#shares) {
      if (share.taken > 0) share.budget.give(share.taken)
      share.taken = 0
    }
  }
}
