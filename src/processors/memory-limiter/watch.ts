/**
 * Watches the memory ledger against two limits and says whether data is refused.
 *
 * A check every `check_interval` measures, collects garbage when it is over a limit and the last
 * collection is long enough ago, measures again, and refuses exactly while the use is at or above the
 * bound. Collections that free little (under 5 %, and still above the bound) make the gap between them
 * double. When it is known that much payload was let go since the last one, the next need not wait so long.
 *
 * The bound is the soft limit, or less where the program itself shows: ledger and rest together, which is
 * nearly the resident memory, may take half of what lies between the soft limit and the hard one. But half
 * of the soft limit is always there for the ledger, so that a small limit does not refuse for ever.
 *
 * Between checks every request reads the ledger, which is a read of shared memory: a
 * burst over the bound brings the next check forward, and one over the hard limit is refused at
 * once.
 *
 * The limiter instances of one id on one shard (one per pipeline) share a watch.
 */
import type { Clock, Timer } from '../../component/clock.ts'
import type { Host, MemoryLedger } from '../../component/host.ts'
import type { Logger } from '../../component/logger.ts'
import { RefusedError } from '../../errors.ts'
import { leftPayloadBytes } from '../../otlp/unmanaged.ts'
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
/** Payload let go since the last collection makes the next one worth it from this share of the use on. */
const LEFT_SHARE = 0.125
/** Even then they are this far apart, so that they cost some hundredths of the time at most. */
const LEFT_GAP_MS = 1000
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
  /** What the exporters had let go of at the last collection. */
  #leftBytes = 0
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
    if (used < this.#boundBytes()) return undefined
    if (this.#host.clock.monotonicMs() - this.#checkedAtMs >= EARLY_CHECK_GAP_MS) {
      this.check()
      return this.#refusing ? this.#error : undefined
    }
    return used >= this.limits.hardBytes ? this.#error : undefined
  }

  /** What the ledger may come to. */
  #boundBytes(): number {
    const { hardBytes, softBytes } = this.limits
    const room = (hardBytes + softBytes) / 2 - this.#host.memory.restBytes()
    return Math.min(softBytes, Math.max(room, softBytes / 2))
  }

  check(): void {
    const { clock, memory } = this.#host
    const nowMs = clock.monotonicMs()
    this.#checkedAtMs = nowMs
    const bound = this.#boundBytes()
    let used = memory.refresh()
    if (used >= bound && this.#mayCollect(used, nowMs)) used = this.#collect(memory, used, nowMs)
    if (used < bound) {
      this.#softGap.reset()
      this.#hardGap.reset()
    }
    this.#turn(used >= bound, used)
  }

  #mayCollect(used: number, nowMs: number): boolean {
    const { clock, shards } = this.#host
    const lastMs = collections.get(clock) ?? Number.NEGATIVE_INFINITY
    if (nowMs - lastMs < EARLY_CHECK_GAP_MS) return false
    const gap = used >= this.limits.hardBytes ? this.#hardGap : this.#softGap
    const sinceMs = nowMs - this.#collectedAtMs
    if (sinceMs >= gap.currentMs) return true
    // The ledger is that of all shards, what was let go that of this one.
    const left = (leftPayloadBytes() - this.#leftBytes) * shards
    return sinceMs >= LEFT_GAP_MS && left >= used * LEFT_SHARE
  }

  #collect(memory: MemoryLedger, before: number, nowMs: number): number {
    this.#collectedAtMs = nowMs
    this.#leftBytes = leftPayloadBytes()
    collections.set(this.#host.clock, nowMs)
    memory.collectGarbage()
    const used = memory.refresh()
    this.#logger.debug('Collected garbage.', { before_bytes: before, after_bytes: used })
    if (used >= this.#boundBytes() && before - used < before * EFFECTIVE_SHARE) {
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
    const fields = {
      used_bytes: used,
      rest_bytes: this.#host.memory.restBytes(),
      soft_limit_bytes: this.limits.softBytes,
    }
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
