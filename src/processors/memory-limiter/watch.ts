/**
 * Watches the memory ledger against two limits and says whether data is refused.
 *
 * A check every `check_interval` measures, collects garbage when it is over a limit and the last
 * collection is long enough ago, measures again, and refuses exactly while the use is at or above the
 * soft limit. Collections that free little (under 5 %, and still above the soft limit) make the gap
 * between them double. Between checks every request reads the ledger, which is a read of shared memory: a
 * burst over the soft limit brings the next check forward, and one over the hard limit is refused at
 * once.
 *
 * The limiter instances of one id on one shard (one per pipeline) share a watch.
 */
import type { Clock, Timer } from '../../component/clock.ts'
import type { Host, MemoryLedger } from '../../component/host.ts'
import type { Logger } from '../../component/logger.ts'
import { RefusedError } from '../../errors.ts'
import { type Config, type Limits, limitsOf } from './config.ts'

/** Checks that bursts bring forward are this far apart at least. */
const EARLY_CHECK_GAP_MS = 100
/** A collection that frees less than this share of the use was of no use. */
const EFFECTIVE_SHARE = 0.05
/**
 * A gap starts doubling from this share of the check interval, so that ticks a little early do not skip a
 * turn.
 */
const INTERVAL_SHARE = 0.95
const LEAST_RETRY_MS = 100
const MOST_RETRY_MS = 30_000

/**
 * When garbage was last collected in this thread, by any watch: limiters of several ids need not each do
 * it.
 */
const collections = new WeakMap<Clock, number>()

/** The gap between forced collections at one of the two limits. */
class CollectionGap {
  readonly #leastMs: number
  readonly #mostMs: number
  readonly #firstMs: number
  currentMs: number

  constructor(leastMs: number, mostMs: number, intervalMs: number) {
    this.#leastMs = leastMs
    this.#mostMs = mostMs
    this.#firstMs = Math.max(leastMs, intervalMs * INTERVAL_SHARE)
    this.currentMs = leastMs
  }

  grow(): void {
    if (this.#mostMs === 0) return
    this.currentMs = Math.min(Math.max(this.currentMs, this.#firstMs) * 2, this.#mostMs)
  }

  reset(): void {
    this.currentMs = this.#leastMs
  }
}

export class MemoryWatch {
  readonly limits: Limits
  readonly #host: Host
  readonly #logger: Logger
  readonly #intervalMs: number
  readonly #softGap: CollectionGap
  readonly #hardGap: CollectionGap
  /** Shared by all refusals: an error with its stack is dear when there is no memory. */
  readonly #error: RefusedError
  #refusing = false
  #collectedAtMs = Number.NEGATIVE_INFINITY
  #checkedAtMs = Number.NEGATIVE_INFINITY
  #users = 0
  #ticker: Timer | undefined

  constructor(config: Config, limits: Limits, host: Host, logger: Logger) {
    this.limits = limits
    this.#host = host
    this.#logger = logger
    this.#intervalMs = config.check_interval
    this.#softGap = new CollectionGap(
      config.min_gc_interval_when_soft_limited,
      config.max_gc_interval_when_soft_limited,
      config.check_interval,
    )
    this.#hardGap = new CollectionGap(
      config.min_gc_interval_when_hard_limited,
      config.max_gc_interval_when_hard_limited,
      config.check_interval,
    )
    const retryMs = Math.min(Math.max(config.check_interval, LEAST_RETRY_MS), MOST_RETRY_MS)
    this.#error = new RefusedError('data refused due to high memory usage', retryMs)
  }

  start(): void {
    if (this.#users++ > 0) return
    this.#logger.info('Memory limiter configured.', {
      limit_bytes: this.limits.hardBytes,
      soft_limit_bytes: this.limits.softBytes,
    })
    this.#ticker = this.#host.clock.every(this.#intervalMs, () => this.check())
  }

  stop(): void {
    if (--this.#users > 0) return
    this.#ticker?.cancel()
    this.#ticker = undefined
  }

  /** The error when data is refused now. Cheap: asked once or twice per request. */
  refusal(): RefusedError | undefined {
    if (this.#refusing) return this.#error
    const used = this.#host.memory.usedBytes()
    if (used < this.limits.softBytes) return undefined
    if (this.#host.clock.monotonicMs() - this.#checkedAtMs >= EARLY_CHECK_GAP_MS) {
      this.check()
      return this.#refusing ? this.#error : undefined
    }
    return used >= this.limits.hardBytes ? this.#error : undefined
  }

  check(): void {
    const { hardBytes, softBytes } = this.limits
    const { clock, memory } = this.#host
    const nowMs = clock.monotonicMs()
    this.#checkedAtMs = nowMs
    let used = memory.refresh()
    if (used >= softBytes) {
      const gap = used >= hardBytes ? this.#hardGap : this.#softGap
      const justNow = nowMs - (collections.get(clock) ?? Number.NEGATIVE_INFINITY) < EARLY_CHECK_GAP_MS
      if (!justNow && nowMs - this.#collectedAtMs >= gap.currentMs) used = this.#collect(memory, used, nowMs)
    }
    if (used < softBytes) {
      this.#softGap.reset()
      this.#hardGap.reset()
    }
    this.#turn(used >= softBytes, used)
  }

  #collect(memory: MemoryLedger, before: number, nowMs: number): number {
    this.#collectedAtMs = nowMs
    collections.set(this.#host.clock, nowMs)
    memory.collectGarbage()
    const used = memory.refresh()
    this.#logger.debug('Collected garbage.', { before_bytes: before, after_bytes: used })
    if (used >= this.limits.softBytes && before - used < before * EFFECTIVE_SHARE) {
      this.#softGap.grow()
      this.#hardGap.grow()
    } else {
      this.#softGap.reset()
      this.#hardGap.reset()
    }
    return used
  }

  #turn(refusing: boolean, used: number): void {
    if (refusing === this.#refusing) return
    this.#refusing = refusing
    const fields = { used_bytes: used, soft_limit_bytes: this.limits.softBytes }
    if (refusing) {
      this.#logger.warn('Memory usage is above soft limit. Refusing data.', fields)
      this.#host.reportStatus('recoverable_error', this.#error)
    } else {
      this.#logger.info('Memory usage back within limits. Resuming normal operation.', fields)
      this.#host.reportStatus('ok')
    }
  }
}

const watches = new WeakMap<Config, MemoryWatch>()

/**
 * The watch of this limiter on this shard. Its pipelines have the same config object, and so the same
 * watch; a reload makes another one.
 */
export function sharedWatch(config: Config, host: Host, logger: Logger): MemoryWatch {
  const known = watches.get(config)
  if (known !== undefined) return known
  const watch = new MemoryWatch(config, limitsOf(config), host, logger)
  watches.set(config, watch)
  return watch
}
