/**
 * Takes OTLP metrics into the store: cumulative points replace older ones, delta points add up.
 *
 * Which point wins follows the Go collector (spec: docs/exporters.md, prometheus): a point older than the one held is
 * ignored; delta sums add when their start is the time held, else begin anew; delta histograms do so too, and drop what
 * starts before that time. A point without a recorded value removes its series. The file is longer than
 * most because the types of points share one set of reusable readers.
 */
import {
  HISTOGRAM_DATA_POINT,
  METRIC,
  NUMBER_DATA_POINT,
  SUMMARY_DATA_POINT,
  VALUE_AT_QUANTILE,
} from '../../otlp/fields.ts'
import { ChunkWalker } from '../../otlp/walk.ts'
import { FieldCursor, LEN, readDouble, readFixed32 } from '../../otlp/wire.ts'
import { ByteArea } from '../../prometheus/byte-area.ts'
import { ByteMap } from '../../prometheus/byte-map.ts'
import { readExemplars } from '../../prometheus/exemplars.ts'
import {
  BaseCache,
  type BaseOptions,
  type LabelBase,
  type PreparedResource,
} from '../../prometheus/label-base.ts'
import { LabelSet } from '../../prometheus/label-set.ts'
import { LabelNames } from '../../prometheus/labels.ts'
import { CUMULATIVE, DELTA, MetricReader } from '../../prometheus/metric-reader.ts'
import { metricName, targetInfoName } from '../../prometheus/naming.ts'
import { ExponentialReader, MIN_SCHEMA } from '../../prometheus/native.ts'
import { PointReader, readCount, readSigned } from '../../prometheus/points.ts'
import type { FamilyStore, FamilyType, MetricFamily, Series } from './families.ts'

const MAX_NAMES = 16_384
const MAX_BOUNDS = 2048

export type DropReason =
  | 'name'
  | 'temporality'
  | 'type_conflict'
  | 'duplicate'
  | 'cardinality'
  | 'misaligned'
  | 'scale'

export interface AccumulatorOptions {
  readonly store: FamilyStore
  readonly base: BaseOptions
  readonly namespace: string
  readonly keepExemplars: boolean
  readonly nowMs: () => number
  readonly wallMs: () => number
  /** `detail` says what stood in the way, for the log. */
  readonly onDropped: (reason: DropReason, metric: string, points: number, detail?: string) => void
  readonly onHelpConflict: (family: MetricFamily, dropped: string) => void
}

interface Times {
  readonly bytes: Uint8Array
  readonly timeAt: number
  readonly startTimeAt: number
}

export class Accumulator {
  readonly #options: AccumulatorOptions
  readonly #bases: BaseCache
  readonly #set: LabelSet
  readonly #names = new ByteMap<{ readonly name: string; readonly raw: string }>(MAX_NAMES, 4096)
  readonly #key = new ByteArea(256)
  readonly #walker = new ChunkWalker()
  readonly #ahead = new FieldCursor()
  readonly #metric = new MetricReader()
  readonly #point = new PointReader()
  readonly #exponential = new ExponentialReader()
  readonly #data = new FieldCursor()
  readonly #bounds = new ByteMap<Float64Array>(MAX_BOUNDS, 8192)
  readonly #pair = new FieldCursor()
  readonly #targetName: string
  readonly #targets = new Map<string, Series>()
  #nowMs = 0
  // Of the metric at hand: which metric and scope it is, and whether its points are deltas.
  #owner = ''
  #delta = false
  #fresh = false

  constructor(options: AccumulatorOptions) {
    this.#options = options
    this.#bases = new BaseCache(options.base)
    this.#set = new LabelSet(new LabelNames(options.base.strategy, options.base.labelStyle))
    const { namespace, base } = options
    this.#targetName = targetInfoName({ namespace, strategy: base.strategy })
  }

  add(chunks: readonly Uint8Array[]): void {
    this.#nowMs = this.#options.nowMs()
    for (const chunk of chunks) this.#chunk(chunk)
  }

  #chunk(chunk: Uint8Array): void {
    const walker = this.#walker.reset(chunk)
    while (walker.nextResource()) {
      const resource = this.#bases.resource(chunk, walker.resourceStart, walker.resourceEnd)
      let any = false
      while (walker.nextScope()) {
        let base: LabelBase | undefined
        while (walker.nextItem()) {
          base ??= this.#bases.base(chunk, this.#withSchema(chunk), resource)
          this.#metric.read(chunk, walker.itemStart, walker.itemEnd)
          if (this.#metric.points === 0) continue
          any = true
          this.#takeMetric(chunk, base)
        }
      }
      if (any) this.#targetInfo(resource)
    }
  }

  /** The schema URL of a scope comes after its metrics. */
  #withSchema(chunk: Uint8Array): ChunkWalker {
    const walker = this.#walker
    const ahead = this.#ahead.reset(chunk, walker.scopesStart, walker.scopesEnd)
    while (ahead.next()) {
      if (ahead.number !== 3 || ahead.wireType !== LEN) continue
      walker.scopeSchemaStart = ahead.start
      walker.scopeSchemaEnd = ahead.end
    }
    return walker
  }

  #takeMetric(chunk: Uint8Array, base: LabelBase): void {
    const metric = this.#metric
    const { type, temporality } = metric
    const { onDropped } = this.#options
    if (type !== METRIC.gauge && type !== METRIC.summary) {
      const additive = type !== METRIC.sum || metric.monotonic
      if (temporality !== CUMULATIVE && !(temporality === DELTA && additive))
        return void onDropped('temporality', metric.name(), metric.points)
    }
    const { name, raw } = this.#name()
    if (name === '') return void onDropped('name', metric.name(), metric.points)
    this.#owner = this.#options.base.scope === 'none' ? `${base.scope}\0${raw}` : raw
    this.#delta = temporality === DELTA
    const family = this.#family(name)
    if (family === undefined) return
    const data = this.#data.reset(chunk, metric.dataStart, metric.dataEnd)
    while (data.next()) {
      if (data.number !== 1 || data.wireType !== LEN) continue
      this.#set.begin(base, chunk)
      if (type === METRIC.histogram) this.#histogram(data, family)
      else if (type === METRIC.exponentialHistogram) this.#exponentialPoint(data, family)
      else if (type === METRIC.summary) this.#summary(data, family)
      else this.#number(data, family)
    }
  }

  #name(): { readonly name: string; readonly raw: string } {
    const metric = this.#metric
    const key = this.#key
    key.length = 0
    key.byte(metric.type * 2 + (metric.monotonic ? 1 : 0))
    key.varint(metric.nameEnd - metric.nameStart)
    key.copy(metric.bytes, metric.nameStart, metric.nameEnd)
    key.copy(metric.bytes, metric.unitStart, metric.unitEnd)
    const known = this.#names.get(key.bytes, 0, key.length)
    if (known !== undefined) return known
    const { namespace, base } = this.#options
    const naming = { namespace, strategy: base.strategy }
    const raw = metric.name()
    const made = { name: metricName(raw, metric.unit(), metric.kind, naming), raw }
    this.#names.set(key.bytes, 0, key.length, made)
    return made
  }

  #type(): FamilyType {
    const metric = this.#metric
    if (metric.type === METRIC.sum) return metric.monotonic ? 'counter' : 'gauge'
    if (metric.type === METRIC.gauge) return metric.typeHint === 'unknown' ? 'untyped' : 'gauge'
    return metric.type === METRIC.summary ? 'summary' : 'histogram'
  }

  /** The first type and the first help that a name comes with stay, until the family is forgotten. */
  #family(name: string): MetricFamily | undefined {
    const metric = this.#metric
    const { store, wallMs, onDropped, onHelpConflict } = this.#options
    const type = this.#type()
    const help = metric.help()
    const family = store.family(name, type, help, this.#nowMs, wallMs())
    if (family.type !== type) {
      onDropped('type_conflict', metric.name(), metric.points, `${name} is a ${family.type}, not a ${type}`)
      return undefined
    }
    family.seenMs = this.#nowMs
    if (family.help !== help) onHelpConflict(family, help)
    return family
  }

  /**
   * The series for the set at hand. Undefined when the point is not to be taken: it is gone, older than what is
   * held, of another owner, or one series too many. `#fresh` tells whether the series is new.
   */
  #series(point: Times & { readonly stale: boolean }, family: MetricFamily): Series | undefined {
    this.#set.finish(undefined)
    const { store, onDropped } = this.#options
    const metric = this.#metric
    let series = store.find(family, this.#set)
    if (series !== undefined && series.owner !== this.#owner) {
      onDropped('duplicate', metric.name(), 1, `${family.name} has these labels from another metric or scope`)
      return undefined
    }
    if (point.stale) {
      if (series) store.remove(series)
      return undefined
    }
    this.#fresh = series === undefined
    if (series === undefined) {
      series = store.add(family, this.#set, this.#owner)
      if (series === undefined) onDropped('cardinality', metric.name(), 1)
      return series
    }
    return compare(point, point.timeAt, series.timeHigh, series.timeLow) < 0 ? undefined : series
  }

  /** Notes the times of the point that the series now has. A running sum keeps when it began. */
  #stamp(series: Series, point: Times, keepStart: boolean): void {
    const { bytes, timeAt, startTimeAt } = point
    series.updatedMs = this.#nowMs
    series.timeHigh = timeAt < 0 ? 0 : readFixed32(bytes, timeAt + 4)
    series.timeLow = timeAt < 0 ? 0 : readFixed32(bytes, timeAt)
    if (keepStart) return
    series.startHigh = startTimeAt < 0 ? 0 : readFixed32(bytes, startTimeAt + 4)
    series.startLow = startTimeAt < 0 ? 0 : readFixed32(bytes, startTimeAt)
  }

  #number(data: FieldCursor, family: MetricFamily): void {
    const point = this.#point
    point.number(data.bytes, data.start, data.end, this.#set)
    const series = this.#series(point, family)
    if (series === undefined) return
    const { bytes, valueAt } = point
    let value = 0
    if (valueAt >= 0) value = point.valueIsDouble ? readDouble(bytes, valueAt) : readSigned(bytes, valueAt)
    const adds =
      !this.#fresh && this.#delta && compare(point, point.startTimeAt, series.timeHigh, series.timeLow) === 0
    series.value = adds ? series.value + value : value
    this.#stamp(series, point, adds)
    if (family.type === 'counter') this.#exemplars(series, NUMBER_DATA_POINT.exemplars, point)
  }

  #exemplars(series: Series, field: number, point: PointReader): void {
    if (!this.#options.keepExemplars) return
    series.exemplars = point.exemplars === 0 ? [] : readExemplars(point.bytes, point.start, point.end, field)
  }

  /** True when the delta point continues what is held; undefined when it is to be dropped. */
  #continues(series: Series, point: Times): boolean | undefined {
    if (this.#fresh || !this.#delta) return false
    const order = compare(point, point.startTimeAt, series.timeHigh, series.timeLow)
    if (order >= 0) return order === 0
    const { onDropped } = this.#options
    onDropped('misaligned', this.#metric.name(), 1, 'a delta histogram starts before the end of the last one')
    return undefined
  }

  #histogram(data: FieldCursor, family: MetricFamily): void {
    const point = this.#point
    point.histogram(data.bytes, data.start, data.end, this.#set)
    const series = this.#series(point, family)
    if (series === undefined) return
    const continues = this.#continues(series, point)
    if (continues === undefined) return
    const { bytes, buckets } = point
    const bounds = this.#boundsOf()
    const counts = new Float64Array(Math.min(buckets.count, bounds.length + 1))
    for (let index = 0; index < counts.length; index++)
      counts[index] = readCount(buckets.bytes, buckets.start + index * 8)
    const count = readCount(bytes, point.countAt)
    const sum = point.sumAt < 0 ? 0 : readDouble(bytes, point.sumAt)
    const held = series.histogram
    const adds = continues && held !== undefined && sameNumbers(held.bounds, bounds)
    if (adds && held.counts.length === counts.length) {
      for (let index = 0; index < counts.length; index++)
        held.counts[index] = held.counts[index]! + counts[index]!
    } else series.histogram = { bounds, counts }
    series.value = adds ? series.value + sum : sum
    series.count = adds ? series.count + count : count
    this.#stamp(series, point, adds)
    this.#exemplars(series, HISTOGRAM_DATA_POINT.exemplars, point)
  }

  #boundsOf(): Float64Array {
    const { bounds } = this.#point
    const known = this.#bounds.get(bounds.bytes, bounds.start, bounds.end)
    if (known) return known
    const made = new Float64Array(bounds.count)
    for (let index = 0; index < made.length; index++)
      made[index] = readDouble(bounds.bytes, bounds.start + index * 8)
    this.#bounds.set(bounds.bytes, bounds.start, bounds.end, made)
    return made
  }

  /** Text cannot show native buckets: count, sum and the +Inf bucket are what the Go collector shows too. */
  #exponentialPoint(data: FieldCursor, family: MetricFamily): void {
    const point = this.#exponential
    point.read(data.bytes, data.start, data.end, this.#set)
    if (point.scale < MIN_SCHEMA) {
      this.#options.onDropped('scale', this.#metric.name(), 1)
      return
    }
    const series = this.#series(point, family)
    if (series === undefined) return
    const adds = this.#continues(series, point)
    if (adds === undefined) return
    const count = readCount(point.bytes, point.countAt)
    const sum = point.sumAt < 0 ? 0 : readDouble(point.bytes, point.sumAt)
    series.histogram = undefined
    series.value = adds ? series.value + sum : sum
    series.count = adds ? series.count + count : count
    this.#stamp(series, point, adds)
  }

  #summary(data: FieldCursor, family: MetricFamily): void {
    const point = this.#point
    point.summary(data.bytes, data.start, data.end, this.#set)
    const series = this.#series(point, family)
    if (series === undefined) return
    const { bytes } = point
    const quantiles = new Float64Array(point.quantiles * 2)
    let at = 0
    const fields = this.#ahead.reset(bytes, point.start, point.end)
    const pair = this.#pair
    while (fields.next()) {
      if (fields.number !== SUMMARY_DATA_POINT.quantileValues || fields.wireType !== LEN) continue
      pair.enter(fields)
      while (pair.next()) {
        if (pair.number === VALUE_AT_QUANTILE.quantile) quantiles[at] = pair.double()
        else if (pair.number === VALUE_AT_QUANTILE.value) quantiles[at + 1] = pair.double()
      }
      at += 2
    }
    series.quantiles = quantiles
    series.value = point.sumAt < 0 ? 0 : readDouble(bytes, point.sumAt)
    series.count = readCount(bytes, point.countAt)
    this.#stamp(series, point, false)
  }

  #targetInfo(resource: PreparedResource): void {
    if (resource.target === undefined) return
    const { store, wallMs } = this.#options
    const family = store.family(this.#targetName, 'gauge', 'Target metadata', this.#nowMs, wallMs())
    if (family.type !== 'gauge') return
    family.seenMs = this.#nowMs
    this.#set.begin(resource.target, NOTHING)
    this.#set.finish(undefined)
    const owner = `${resource.job}\0${resource.instance}`
    let series = store.find(family, this.#set)
    const before = this.#targets.get(owner)
    // One target_info a target: other attributes replace the former ones.
    if (before !== undefined && before !== series) store.remove(before)
    series ??= store.add(family, this.#set, owner)
    if (series === undefined) {
      this.#options.onDropped('cardinality', this.#targetName, 1)
      return
    }
    series.value = 1
    series.updatedMs = this.#nowMs
    if (before !== series) this.#targets.set(owner, series)
    if (this.#targets.size > family.series.size * 2 + 16) this.#forgetTargets(family)
  }

  #forgetTargets(family: MetricFamily): void {
    for (const [owner, series] of this.#targets) if (!family.series.has(series)) this.#targets.delete(owner)
  }
}

const NOTHING = new Uint8Array(0)

function sameNumbers(left: Float64Array, right: Float64Array): boolean {
  if (left === right) return true
  return left.length === right.length && left.every((value, index) => value === right[index])
}

/** The order of the 8-byte time at this offset and one in two halves. Absent is 0. */
function compare(point: { readonly bytes: Uint8Array }, at: number, high: number, low: number): number {
  const pointHigh = at < 0 ? 0 : readFixed32(point.bytes, at + 4)
  return pointHigh !== high ? pointHigh - high : (at < 0 ? 0 : readFixed32(point.bytes, at)) - low
}
