/**
 * A scrape as OTLP: one ResourceMetrics for each job and instance, which is one for each target unless labels
 * are honored.
 *
 * A group that was not in this scrape but tracked in the one before goes out once more, as a point without a
 * recorded value, and is forgotten. Nothing is made per data point: groups are written into one buffer field
 * by field.
 */
import {
  EXPORT_METRICS_SERVICE_REQUEST,
  HISTOGRAM,
  HISTOGRAM_DATA_POINT,
  METRIC,
  NUMBER_DATA_POINT,
  RESOURCE_METRICS,
  SCOPE_METRICS,
  SUM,
  SUMMARY,
  SUMMARY_DATA_POINT,
  VALUE_AT_QUANTILE,
} from '../../otlp/fields.ts'
import { FIXED64, WireWriter } from '../../otlp/wire.ts'
import { nanosOf } from './exemplars.ts'
import type { Family, Group } from './families.ts'
import type { ScrapeState } from './scrape-state.ts'

const CUMULATIVE = 2
/** DataPointFlags: no value was recorded. */
const STALE = 1
const TWO_32 = 2 ** 32

export interface EncodedScrape {
  readonly bytes: Uint8Array
  readonly points: number
}

/** Ends the scrape that begin() of the state opened. Undefined when there is nothing to send. */
export class ScrapeEncoder {
  readonly #state: ScrapeState
  readonly #writer = new WireWriter()
  readonly #time = new Uint8Array(8)
  readonly #eight = new Uint8Array(8)
  readonly #view = new DataView(this.#eight.buffer)
  #points = 0

  constructor(state: ScrapeState) {
    this.#state = state
  }

  encode(): EncodedScrape | undefined {
    const state = this.#state
    const writer = this.#writer
    new DataView(this.#time.buffer).setBigUint64(0, BigInt(state.timeMs) * 1_000_000n, true)
    this.#points = 0
    for (const [key, resource] of state.resources) {
      const mark = writer.length
      const before = this.#points
      writer.begin(EXPORT_METRICS_SERVICE_REQUEST.resourceMetrics, 16384)
      resource.write(writer)
      const infos = resource.scopeInfo()
      for (const [scopeId, scope] of resource.scopes) {
        const scopeMark = writer.length
        const beforeScope = this.#points
        writer.begin(RESOURCE_METRICS.scopeMetrics, 16384)
        scope.write(writer, infos?.get(scope.identity))
        for (const [familyId, family] of scope.families) {
          this.#family(family)
          if (family.groups.size === 0) scope.families.delete(familyId)
        }
        writer.end()
        if (this.#points === beforeScope) writer.truncate(scopeMark)
        if (scope.families.size === 0) resource.scopes.delete(scopeId)
      }
      writer.end()
      if (this.#points === before) writer.truncate(mark)
      if (resource.scopes.size > 0) continue
      resource.removed = true
      state.resources.delete(key)
    }
    if (this.#points === 0) return undefined
    return { bytes: writer.finish(), points: this.#points }
  }

  // message Metric { ...; oneof data { Gauge gauge = 5; Sum sum = 7; Histogram histogram = 9; Summary summary
  // = 11; } }
  #family(family: Family): void {
    const { scrape } = this.#state
    const writer = this.#writer
    const mark = writer.length
    const before = this.#points
    writer.begin(SCOPE_METRICS.metrics, 256).raw(family.header).begin(METRIC[family.kind], 256)
    for (const group of family.groups.values()) {
      const live = group.live === scrape
      if (live || group.tracked === scrape - 1) this.#point(family, group, !live)
      if (live) continue
      group.removed = true
      family.groups.delete(group.key)
    }
    if (family.kind === 'sum') {
      writer.uintField(SUM.aggregationTemporality, CUMULATIVE)
      if (family.monotonic) writer.uintField(SUM.isMonotonic, 1)
    } else if (family.kind === 'histogram') writer.uintField(HISTOGRAM.aggregationTemporality, CUMULATIVE)
    writer.end().end()
    if (this.#points === before) writer.truncate(mark)
  }

  #point(family: Family, group: Group, stale: boolean): void {
    if (family.kind === 'histogram') {
      if (group.hasCount) this.#histogram(group, stale)
    } else if (family.kind === 'summary') {
      if (group.hasCount) this.#summary(group, stale)
    } else this.#number(group, stale, family.kind === 'sum')
  }

  /** Start and time. The numbers of these fields are the same in all points. */
  #times(group: Group, stale: boolean, created: boolean): void {
    const writer = this.#writer
    if (created && !stale) {
      const start = nanosOf(group.createdSeconds)
      if (start > 0n) writer.fixed64Field(NUMBER_DATA_POINT.startTimeUnixNano, start)
    }
    const ms = stale ? undefined : group.timestampMs
    if (ms === undefined) writer.tag(NUMBER_DATA_POINT.timeUnixNano, FIXED64).raw(this.#time)
    else writer.fixed64Field(NUMBER_DATA_POINT.timeUnixNano, BigInt(Math.max(0, ms)) * 1_000_000n)
  }

  // message NumberDataPoint { fixed64 start = 2, time = 3; double as_double = 4; exemplars = 5; attributes =
  // 7; flags = 8; }
  #number(group: Group, stale: boolean, isSum: boolean): void {
    const writer = this.#writer.begin(SUM.dataPoints, 64)
    this.#points++
    this.#times(group, stale, isSum)
    if (stale) writer.uintField(NUMBER_DATA_POINT.flags, STALE)
    else {
      writer.doubleField(NUMBER_DATA_POINT.asDouble, group.value)
      this.#state.exemplars.write(writer, NUMBER_DATA_POINT.exemplars, group)
    }
    writer.raw(group.attributes).end()
  }

  // message HistogramDataPoint { start = 2; time = 3; fixed64 count = 4; double sum = 5; repeated fixed64
  // bucket_counts = 6; repeated double explicit_bounds = 7; exemplars = 8; attributes = 9; flags = 10; ... }
  #histogram(group: Group, stale: boolean): void {
    const writer = this.#writer.begin(HISTOGRAM.dataPoints, 256)
    this.#points++
    this.#times(group, stale, true)
    if (stale) writer.uintField(HISTOGRAM_DATA_POINT.flags, STALE)
    else {
      writer.tag(HISTOGRAM_DATA_POINT.count, FIXED64)
      this.#unsigned(group.count)
      if (group.hasSum) writer.doubleField(HISTOGRAM_DATA_POINT.sum, group.sum)
    }
    group.sortParts()
    let bounds = group.parts
    // The last bound is +Inf: OTLP leaves it out, its bucket is what is left of the count.
    while (bounds > 0 && group.bounds[bounds - 1] === Infinity) bounds--
    writer.begin(HISTOGRAM_DATA_POINT.bucketCounts, (bounds + 1) * 8)
    let below = 0
    for (let index = 0; index <= bounds; index++) {
      const cumulated = index < bounds ? group.counts[index]! : group.count
      this.#unsigned(stale ? 0 : cumulated - below)
      below = cumulated
    }
    writer.end()
    if (bounds > 0) {
      writer.begin(HISTOGRAM_DATA_POINT.explicitBounds, bounds * 8)
      for (let index = 0; index < bounds; index++) writer.double(group.bounds[index]!)
      writer.end()
    }
    if (!stale) this.#state.exemplars.write(writer, HISTOGRAM_DATA_POINT.exemplars, group)
    writer.raw(group.attributes).end()
  }

  // message SummaryDataPoint { start = 2; time = 3; fixed64 count = 4; double sum = 5; quantile_values = 6;
  // attributes = 7; flags = 8; }
  #summary(group: Group, stale: boolean): void {
    const writer = this.#writer.begin(SUMMARY.dataPoints, 128)
    this.#points++
    this.#times(group, stale, true)
    if (stale) writer.uintField(SUMMARY_DATA_POINT.flags, STALE)
    else {
      writer.tag(SUMMARY_DATA_POINT.count, FIXED64)
      this.#unsigned(group.count)
      if (group.hasSum) writer.doubleField(SUMMARY_DATA_POINT.sum, group.sum)
    }
    group.sortParts()
    for (let index = 0; index < group.parts; index++) {
      writer.begin(SUMMARY_DATA_POINT.quantileValues, 18)
      writer.doubleField(VALUE_AT_QUANTILE.quantile, group.bounds[index]!)
      if (!stale) writer.doubleField(VALUE_AT_QUANTILE.value, group.counts[index]!)
      writer.end()
    }
    writer.raw(group.attributes).end()
  }

  /** A count, which text has as a float, as 8 bytes. Below 0 and no number count as 0. */
  #unsigned(value: number): void {
    const whole = value > 0 ? Math.min(Math.trunc(value), 2 ** 63) : 0
    this.#view.setUint32(0, whole % TWO_32, true)
    this.#view.setUint32(4, Math.floor(whole / TWO_32), true)
    this.#writer.raw(this.#eight)
  }
}
