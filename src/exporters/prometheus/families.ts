/**
 * What the pull exporter holds: metric families, and in each its series with the newest point.
 *
 * A series is found by family and encoded labels without allocating. It lives until nothing has come for it within the
 * expiration, or until the sender says that it is gone. All series of the process share one budget.
 */
import type { Budget } from '../../component/host.ts'
import { mix, sameBytes } from '../../prometheus/byte-area.ts'
import type { ExemplarRecord } from '../../prometheus/exemplars.ts'
import type { LabelSet } from '../../prometheus/label-set.ts'

export type FamilyType = 'counter' | 'gauge' | 'untyped' | 'histogram' | 'summary'

export interface MetricFamily {
  readonly name: string
  readonly type: FamilyType
  readonly help: string
  /** Wall clock, for deciding which shard knew the name first. */
  readonly sinceMs: number
  readonly series: Set<Series>
  readonly hash: number
  seenMs: number
}

/** Buckets of a histogram: bounds are shared between all series that have the same. */
export interface HistogramState {
  bounds: Float64Array
  /** Not cumulative, one more than bounds; empty when the sender gives no buckets. */
  counts: Float64Array
}

export class Series {
  readonly family: MetricFamily
  /** Encoded labels (prometheus/labels.ts). */
  readonly labels: Buffer
  readonly hash: number
  /** Which metric and scope it came from, where labels do not tell. */
  readonly owner: string
  updatedMs = 0
  // Nanoseconds, in two halves.
  timeHigh = 0
  timeLow = 0
  startHigh = 0
  startLow = 0
  /** The value, or the sum. */
  value = 0
  /** A histogram without sum has none to show. */
  hasSum = true
  count = 0
  histogram: HistogramState | undefined
  /** Quantile and value in turn. */
  quantiles: Float64Array | undefined
  exemplars: readonly ExemplarRecord[] = []

  constructor(family: MetricFamily, labels: Buffer, hash: number, owner: string) {
    this.family = family
    this.labels = labels
    this.hash = hash
    this.owner = owner
  }
}

const EMPTY = -1
const DELETED = -2

export class FamilyStore {
  readonly families = new Map<string, MetricFamily>()
  readonly #budget: Budget
  #slots = new Int32Array(1024).fill(EMPTY)
  #used = 0
  #entries: (Series | undefined)[] = []
  readonly #free: number[] = []

  constructor(budget: Budget) {
    this.#budget = budget
  }

  get seriesCount(): number {
    return this.#entries.length - this.#free.length
  }

  /** The family with this name; made when it is new. Whether its type fits is for the caller to see. */
  family(name: string, type: FamilyType, help: string, nowMs: number, wallMs: number): MetricFamily {
    let family = this.families.get(name)
    if (family === undefined) {
      let hash = 0
      for (let index = 0; index < name.length; index++) hash = Math.imul(hash, 31) + name.charCodeAt(index)
      family = { name, type, help, sinceMs: wallMs, series: new Set(), hash: mix(hash), seenMs: nowMs }
      this.families.set(name, family)
    }
    return family
  }

  find(family: MetricFamily, set: LabelSet): Series | undefined {
    const hash = (set.hash + family.hash) | 0
    const mask = this.#slots.length - 1
    for (let slot = mix(hash) & mask; ; slot = (slot + 1) & mask) {
      const index = this.#slots[slot]!
      if (index === EMPTY) return undefined
      if (index === DELETED) continue
      const series = this.#entries[index]!
      if (series.hash !== hash || series.family !== family || series.labels.length !== set.length) continue
      if (sameBytes(series.labels, 0, set.area.bytes, 0, set.length)) return series
    }
  }

  /** Undefined when the budget of the process is used up. The set must not be known. */
  add(family: MetricFamily, set: LabelSet, owner: string): Series | undefined {
    if (!this.#budget.tryTake(1)) return undefined
    if ((this.#used + 1) * 2 > this.#slots.length) this.#rehash()
    const hash = (set.hash + family.hash) | 0
    const series = new Series(family, set.area.slice(0, set.length), hash, owner)
    const index = this.#free.pop() ?? this.#entries.length
    this.#entries[index] = series
    this.#place(index, hash)
    family.series.add(series)
    return series
  }

  #place(index: number, hash: number): void {
    const mask = this.#slots.length - 1
    let slot = mix(hash) & mask
    while (this.#slots[slot]! >= 0) slot = (slot + 1) & mask
    if (this.#slots[slot] === EMPTY) this.#used++
    this.#slots[slot] = index
  }

  #rehash(): void {
    let size = 1024
    while (size < this.seriesCount * 4) size *= 2
    this.#slots = new Int32Array(size).fill(EMPTY)
    this.#used = 0
    this.#entries.forEach((series, index) => {
      if (series) this.#place(index, series.hash)
    })
  }

  remove(series: Series): void {
    const mask = this.#slots.length - 1
    for (let slot = mix(series.hash) & mask; ; slot = (slot + 1) & mask) {
      const index = this.#slots[slot]!
      if (index === EMPTY) return
      if (index < 0 || this.#entries[index] !== series) continue
      this.#slots[slot] = DELETED
      this.#entries[index] = undefined
      this.#free.push(index)
      series.family.series.delete(series)
      this.#budget.give(1)
      return
    }
  }

  /** Forgets series and families for which nothing has come since `beforeMs`. */
  expire(beforeMs: number): void {
    for (const family of this.families.values()) {
      for (const series of family.series) if (series.updatedMs < beforeMs) this.remove(series)
      if (family.series.size === 0 && family.seenMs < beforeMs) this.families.delete(family.name)
    }
  }

  clear(): void {
    this.expire(Number.POSITIVE_INFINITY)
  }
}
