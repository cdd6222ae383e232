/**
 * OTLP metrics to series of remote write, from encoded bytes to encoded bytes.
 *
 * What cannot be expressed (delta temporality, empty metrics, names of which nothing is left, too coarse exponential
 * histograms) is counted and left out; the rest of the batch goes on. Nothing is allocated per data point, but for
 * exemplars. The file is longer than most because the five types of points share one set of reusable readers.
 */
import {
  EXPONENTIAL_HISTOGRAM_DATA_POINT,
  HISTOGRAM_DATA_POINT,
  METRIC,
  NUMBER_DATA_POINT,
  SUMMARY_DATA_POINT,
  VALUE_AT_QUANTILE,
} from '../../otlp/fields.ts'
import { ChunkWalker } from '../../otlp/walk.ts'
import { FieldCursor, LEN, readDouble } from '../../otlp/wire.ts'
import { ByteArea } from '../../prometheus/byte-area.ts'
import { ByteMap } from '../../prometheus/byte-map.ts'
import { type ExemplarRecord, readExemplars } from '../../prometheus/exemplars.ts'
import { BaseCache, type LabelBase, type PreparedResource } from '../../prometheus/label-base.ts'
import { LabelSet } from '../../prometheus/label-set.ts'
import { FixedLabel, LabelNames, LE, QUANTILE } from '../../prometheus/labels.ts'
import { CUMULATIVE, MetricReader } from '../../prometheus/metric-reader.ts'
import { ExponentialReader, MIN_SCHEMA } from '../../prometheus/native.ts'
import { formatDecimal } from '../../prometheus/numbers.ts'
import { compareTimes, PointReader, readCount, readSigned } from '../../prometheus/points.ts'
import { BoundLabels } from './bound-labels.ts'
import { type Family, FamilyCache, type FamilyOptions } from './families.ts'
import { AttributeRanges, KnownPoints } from './known-points.ts'
import { Payload } from './payload.ts'
import { SeriesTable } from './series.ts'

/** Distinct quantiles whose labels are kept. */
const MAX_QUANTILES = 2048

const NONE: ExemplarRecord[] = []
const ZERO = new Uint8Array(8)
/** Points of the next batch are kept when this one had so many samples a series. */
const REPEATED = 1.25

export type DropReason = 'temporality' | 'empty' | 'name' | 'scale' | 'type'

/** Called for what could not be translated: at most once a metric or, for a scale, a point. */
export type OnDropped = (reason: DropReason, metric: string, points: number) => void

export class Translator {
  readonly table: SeriesTable
  /** The metric families of the batch, in order of appearance; `table.metadataOf` counts in it. */
  readonly families: Family[] = []
  readonly #options: FamilyOptions
  readonly #onDropped: OnDropped
  readonly #bases: BaseCache
  readonly #set: LabelSet
  readonly #names: FamilyCache
  readonly #walker = new ChunkWalker()
  readonly #metric = new MetricReader()
  readonly #point = new PointReader()
  readonly #exponential = new ExponentialReader()
  readonly #data = new FieldCursor()
  readonly #quantile = new FieldCursor()
  readonly #inner = new FieldCursor()
  readonly #payload: Payload
  readonly #bounds = new BoundLabels()
  readonly #quantiles = new ByteMap<FixedLabel>(MAX_QUANTILES)
  readonly #scratch = new ByteArea(64)
  readonly #seen = new Map<Family, number>()
  // While batches repeat their points: the points of this one, and of the point at hand its next series, if it is known.
  readonly #known = new KnownPoints()
  readonly #attributes = new AttributeRanges()
  #repeats = false
  #base: LabelBase | undefined
  #next = -1
  #first = 0
  // The newest point of the resource at hand, for target_info.
  #newestBytes: Uint8Array | undefined
  #newestAt = -1

  constructor(options: FamilyOptions, limitBytes: number, onDropped: OnDropped) {
    this.table = new SeriesTable(limitBytes, !options.startTimestamps)
    this.#options = options
    this.#onDropped = onDropped
    this.#bases = new BaseCache(options.base)
    this.#set = new LabelSet(new LabelNames(options.base.strategy, options.base.labelStyle))
    this.#names = new FamilyCache(options)
    this.#payload = new Payload(options.startTimestamps)
  }

  /** Forgets the previous batch and translates this one into `table`. */
  translate(chunks: readonly Uint8Array[]): void {
    // The classic series of 1.0: other forms make other series of a point.
    const simple = !this.#options.startTimestamps && !this.#options.customBuckets
    this.#repeats = simple && this.table.samples > this.table.count * REPEATED
    this.table.clear()
    this.families.length = 0
    this.#seen.clear()
    for (const chunk of chunks) this.#chunk(chunk)
    this.#known.clear()
  }

  #chunk(chunk: Uint8Array): void {
    const walker = this.#walker.reset(chunk)
    while (walker.nextResource()) {
      const resource = this.#bases.resource(chunk, walker.resourceStart, walker.resourceEnd)
      this.#newestBytes = undefined
      this.#newestAt = -1
      while (walker.nextScope()) {
        let base: LabelBase | undefined
        while (walker.nextItem()) {
          base ??= this.#bases.base(chunk, walker, resource)
          this.#metric.read(chunk, walker.itemStart, walker.itemEnd)
          this.#translateMetric(chunk, base)
        }
      }
      this.#targetInfo(resource)
    }
  }

  #translateMetric(chunk: Uint8Array, base: LabelBase): void {
    const metric = this.#metric
    if (metric.type === 0 || metric.points === 0) {
      this.#drop(metric.type === 0 ? 'type' : 'empty', 0)
      return
    }
    const cumulative = metric.type === METRIC.gauge || metric.type === METRIC.summary
    if (!cumulative && metric.temporality !== CUMULATIVE) {
      this.#noteTimes(chunk)
      this.#drop('temporality', metric.points)
      return
    }
    const family = this.#names.get(metric)
    if (family.name === '') {
      this.#noteTimes(chunk)
      this.#drop('name', metric.points)
      return
    }
    const metadata = this.#number(family)
    const data = this.#data.reset(chunk, metric.dataStart, metric.dataEnd)
    while (data.next()) {
      if (data.number !== 1 || data.wireType !== LEN) continue
      this.#base = base
      this.#next = -1
      switch (metric.type) {
        case METRIC.gauge:
        case METRIC.sum:
          this.#numberPoint(data, family, metadata)
          break
        case METRIC.histogram:
          this.#histogramPoint(data, family, metadata)
          break
        case METRIC.exponentialHistogram:
          this.#exponentialPoint(data, family, metadata)
          break
        case METRIC.summary:
          this.#summaryPoint(data, family, metadata)
          break
      }
    }
  }

  #drop(reason: DropReason, points: number): void {
    this.#onDropped(reason, this.#metric.name(), points)
  }

  #number(family: Family): number {
    let number = this.#seen.get(family)
    if (number === undefined) {
      number = this.families.push(family) - 1
      this.#seen.set(family, number)
    }
    return number
  }

  #newest(bytes: Uint8Array, at: number): void {
    if (at < 0) return
    const known = this.#newestBytes
    if (known !== undefined && compareTimes(known, this.#newestAt, bytes, at) >= 0) return
    this.#newestBytes = bytes
    this.#newestAt = at
  }

  /** Also points that cannot be sent tell that the target lives. */
  #noteTimes(chunk: Uint8Array): void {
    const metric = this.#metric
    const exponential = metric.type === METRIC.exponentialHistogram
    const field = exponential ? EXPONENTIAL_HISTOGRAM_DATA_POINT.timeUnixNano : NUMBER_DATA_POINT.timeUnixNano
    const data = this.#data.reset(chunk, metric.dataStart, metric.dataEnd)
    while (data.next()) {
      if (data.number !== 1 || data.wireType !== LEN) continue
      const point = this.#quantile.enter(data)
      while (point.next())
        if (point.number === field && point.wireType === 1) this.#newest(chunk, point.start)
    }
  }

  /** True when the series of the point at hand are in the table; else its labels go into the set. */
  #find(family: Family, labels: readonly FixedLabel[] | undefined, series: number): boolean {
    const attributes = this.#attributes
    const source = this.#point.bytes
    const base = this.#base! // Set before any point is read.
    if (this.#repeats && attributes.together) {
      this.#next = this.#known.find(source, attributes, base, family, labels, series)
      if (this.#next >= 0) return true
    }
    this.#first = this.table.count
    this.#set.begin(base, source)
    for (let index = 0; index < attributes.count; index++)
      this.#set.add(attributes.starts[index]!, attributes.ends[index]!)
    return false
  }

  #add(name: FixedLabel, extra: FixedLabel | undefined, metadata: number): void {
    if (this.#next >= 0) this.table.addTo(this.#next++, this.#payload.area)
    else this.table.add(this.#set, name, extra, this.#payload.area, metadata)
  }

  /** Keeps the point at hand for later, if all its series were new. */
  #keep(family: Family, labels: readonly FixedLabel[] | undefined, series: number): void {
    if (this.#next >= 0 || !this.#repeats || !this.#attributes.together) return
    if (this.table.count !== this.#first + series) return
    this.#known.add(this.#point.bytes, this.#attributes, this.#base!, family, labels, series, this.#first)
  }

  #numberPoint(data: FieldCursor, family: Family, metadata: number): void {
    const point = this.#point
    point.number(data.bytes, data.start, data.end, this.#attributes.clear())
    this.#newest(point.bytes, point.timeAt)
    if (!this.#find(family, undefined, 1)) this.#set.finish(undefined)
    const payload = this.#payload
    const counter = this.#metric.monotonic && this.#metric.type === METRIC.sum
    payload.begin(point, counter)
    if (point.stale) payload.stale()
    else if (point.valueAt < 0) payload.value(0)
    else if (point.valueIsDouble) payload.raw(point.bytes, point.valueAt)
    else payload.value(readSigned(point.bytes, point.valueAt))
    if (counter && point.exemplars > 0) {
      for (const exemplar of readExemplars(point.bytes, point.start, point.end, NUMBER_DATA_POINT.exemplars))
        payload.exemplar(exemplar)
    }
    this.#add(family.plain, undefined, metadata)
    this.#keep(family, undefined, 1)
  }

  #histogramPoint(data: FieldCursor, family: Family, metadata: number): void {
    const point = this.#point
    point.histogram(data.bytes, data.start, data.end, this.#attributes.clear())
    this.#newest(point.bytes, point.timeAt)
    const { buckets } = point
    const labels = this.#bounds.of(point.bounds)
    const bounded = Math.min(point.bounds.count, buckets.count)
    const series = bounded + (point.sumAt >= 0 ? 3 : 2)
    const set = this.#set
    const known = this.#find(family, labels, series)
    if (!known) set.finish(LE)
    const payload = this.#payload
    const exemplars =
      point.exemplars === 0
        ? NONE
        : readExemplars(point.bytes, point.start, point.end, HISTOGRAM_DATA_POINT.exemplars)
    payload.begin(point, true)
    if (this.#options.customBuckets) {
      if (payload.customHistogram(point)) {
        for (const exemplar of exemplars) payload.exemplar(exemplar)
        this.#add(family.plain, undefined, metadata)
      }
      if (!this.#options.classicToo) return
      payload.begin(point, true)
    }
    const { stale } = point
    // A label `le` of the point itself stays where it is not in the way.
    const displaced = !known && set.displaced
    if (displaced) set.finish(undefined)
    if (point.sumAt >= 0) {
      if (stale) payload.stale()
      else payload.raw(point.bytes, point.sumAt)
      this.#add(family.sum, undefined, metadata)
    }
    const total = readCount(point.bytes, point.countAt)
    if (stale) payload.stale()
    else payload.value(total)
    this.#add(family.count, undefined, metadata)
    if (displaced) set.finish(LE)
    let sum = 0
    let taken = 0
    for (let index = 0; index < bounded; index++) {
      sum += readCount(buckets.bytes, buckets.start + index * 8)
      if (stale) payload.stale()
      else payload.value(sum)
      if (taken < exemplars.length) taken += this.#attach(exemplars, this.#bound(index), taken)
      this.#add(family.bucket, labels[index], metadata)
    }
    if (stale) payload.stale()
    else payload.value(total)
    if (taken < exemplars.length) this.#attach(exemplars, Number.POSITIVE_INFINITY, taken)
    this.#add(family.bucket, this.#bounds.infinity, metadata)
    this.#keep(family, labels, series)
  }

  #bound(index: number): number {
    const { bounds } = this.#point
    return readDouble(bounds.bytes, bounds.start + index * 8)
  }

  /** Gives each exemplar to the first bucket that holds its value. `taken` have been given; they lead the list. */
  #attach(exemplars: ExemplarRecord[], bound: number, taken: number): number {
    let given = 0
    for (let index = taken; index < exemplars.length; index++) {
      const exemplar = exemplars[index]!
      if (!(exemplar.value <= bound) && bound !== Number.POSITIVE_INFINITY) continue
      this.#payload.exemplar(exemplar)
      exemplars[index] = exemplars[taken + given]!
      exemplars[taken + given] = exemplar
      given++
    }
    return given
  }

  #exponentialPoint(data: FieldCursor, family: Family, metadata: number): void {
    const point = this.#exponential
    this.#set.begin(this.#base!, data.bytes)
    point.read(data.bytes, data.start, data.end, this.#set)
    this.#newest(point.bytes, point.timeAt)
    if (point.scale < MIN_SCHEMA) {
      this.#drop('scale', 1)
      return
    }
    this.#set.finish(undefined)
    const payload = this.#payload
    payload.begin(point, true)
    payload.exponential(point)
    if (point.exemplars > 0) {
      const field = EXPONENTIAL_HISTOGRAM_DATA_POINT.exemplars
      for (const exemplar of readExemplars(point.bytes, point.start, point.end, field))
        payload.exemplar(exemplar)
    }
    this.table.add(this.#set, family.plain, undefined, payload.area, metadata)
  }

  #summaryPoint(data: FieldCursor, family: Family, metadata: number): void {
    const point = this.#point
    this.#set.begin(this.#base!, data.bytes)
    point.summary(data.bytes, data.start, data.end, this.#set)
    this.#newest(point.bytes, point.timeAt)
    this.#set.finish(QUANTILE)
    const { table } = this
    const payload = this.#payload
    payload.begin(point, true)
    const { stale, bytes } = point
    const { displaced } = this.#set
    if (displaced) this.#set.finish(undefined)
    if (stale) payload.stale()
    else if (point.sumAt >= 0) payload.raw(bytes, point.sumAt)
    else payload.value(0)
    table.add(this.#set, family.sum, undefined, payload.area, metadata)
    if (stale) payload.stale()
    else payload.value(readCount(bytes, point.countAt))
    table.add(this.#set, family.count, undefined, payload.area, metadata)
    if (displaced) this.#set.finish(QUANTILE)
    const fields = this.#quantile.reset(bytes, point.start, point.end)
    while (fields.next()) {
      if (fields.number !== SUMMARY_DATA_POINT.quantileValues || fields.wireType !== LEN) continue
      const label = this.#quantileValue(bytes, fields.start, fields.end, stale)
      table.add(this.#set, family.plain, label, payload.area, metadata)
    }
  }

  /** Puts the value into the payload and returns the label. Absent fields are zero. */
  #quantileValue(bytes: Uint8Array, start: number, end: number, stale: boolean): FixedLabel {
    const cursor = this.#inner.reset(bytes, start, end)
    let quantileAt = -1
    let valueAt = -1
    while (cursor.next()) {
      if (cursor.wireType !== 1) continue
      if (cursor.number === VALUE_AT_QUANTILE.quantile) quantileAt = cursor.start
      else if (cursor.number === VALUE_AT_QUANTILE.value) valueAt = cursor.start
    }
    if (stale) this.#payload.stale()
    else if (valueAt >= 0) this.#payload.raw(bytes, valueAt)
    else this.#payload.value(0)
    const source = quantileAt < 0 ? ZERO : bytes
    const at = Math.max(quantileAt, 0)
    const known = this.#quantiles.get(source, at, at + 8)
    if (known) return known
    const made = new FixedLabel(this.#scratch, QUANTILE, formatDecimal(readDouble(source, at)))
    this.#quantiles.set(source, at, at + 8, made)
    return made
  }

  #targetInfo(resource: PreparedResource): void {
    const bytes = this.#newestBytes
    if (!this.#options.targetInfo || resource.target === undefined || bytes === undefined) return
    if (compareTimes(bytes, this.#newestAt, ZERO, 0) === 0) return
    this.#set.begin(resource.target, bytes)
    this.#set.finish(undefined)
    this.#payload.beginAt(bytes, this.#newestAt)
    this.#payload.value(1)
    const family = this.#names.target
    this.table.add(this.#set, family.plain, undefined, this.#payload.area, this.#number(family))
  }
}
