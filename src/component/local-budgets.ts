/**
 * Budgets of one thread: where there are no shards to share them with (replays, tests). Those of a running collector
 * lie in shared memory (workers/shared.ts).
 */
import type { Clock } from './clock.ts'
import type { Budget, RateBudget } from './host.ts'
import { Recovery } from './recovery.ts'

export function localBudget(limit: number): Budget {
  let used = 0
  return {
    limit,
    used: () => used,
    tryTake(count) {
      if (used + count > limit) return false
      used += count
      return true
    },
    take(count) {
      used += count
    },
    give(count) {
      used -= count
    },
  }
}

/** Of one shard. */
export function localRecovery(): Recovery {
  const limit = Number.POSITIVE_INFINITY
  return new Recovery(1, localBudget(limit), localBudget(limit))
}

export function localRate(clock: Clock, perSecond: number, burst: number): RateBudget {
  let tokens = burst
  let lastMs = clock.monotonicMs()
  return {
    tryTake(count) {
      const nowMs = clock.monotonicMs()
      tokens = Math.min(burst, tokens + ((nowMs - lastMs) / 1000) * perSecond)
      lastMs = nowMs
      if (tokens < count) return false
      tokens -= count
      return true
    },
  }
}

/** What `make` makes, once for each name. */
export function known<T>(map: Map<string, T>, name: string, make: () => T): T {
  let found = map.get(name)
  if (found === undefined) {
    found = make()
    map.set(name, found)
  }
  return found
}
