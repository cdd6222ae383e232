/** The friendly items of metrics: a metric as a whole, and a data point with the metric around it. message-item.ts says how they behave. */
import { METRIC, NUMBER_DATA_POINT } from '../otlp/fields.ts'
import { attributesFieldOf } from '../otlp/item-walker.ts'
import {
  type DataPointView,
  ExponentialHistogramDataPointView,
  HistogramDataPointView,
  type MetricType,
  MetricView,
  NumberDataPointView,
  SummaryDataPointView,
} from '../otlp/metrics.ts'
import { FIXED64 } from '../otlp/wire.ts'
import { InnerItem } from './items.ts'

/** A whole metric: to rename it, to change its unit, to drop it with all its points. */
export class Metric extends InnerItem {
  override point(bytes: Uint8Array, start: number, end: number): void {
    super.point(bytes, start, end, METRIC.metadata)
  }
  get name(): string {
    return this.readText(METRIC.name)
  }
  set name(name: string) {
    this.setText(METRIC.name, name)
  }
  get description(): string {
    return this.readText(METRIC.description)
  }
  set description(text: string) {
    this.setText(METRIC.description, text)
  }
  get unit(): string {
    return this.readText(METRIC.unit)
  }
  set unit(unit: string) {
    this.setText(METRIC.unit, unit)
  }
  /** Undefined for data of a type that this version does not know. */
  get type(): MetricType | undefined {
    return this.view().type
  }
  /** The metric as it came, with its data points, to read. */
  view(): MetricView {
    return new MetricView(this.bytes, this.start, this.end)
  }
}

const TYPE_OF: Readonly<Record<number, MetricType>> = {
  [METRIC.gauge]: 'gauge',
  [METRIC.sum]: 'sum',
  [METRIC.histogram]: 'histogram',
  [METRIC.exponentialHistogram]: 'exponentialHistogram',
  [METRIC.summary]: 'summary',
}

export class DataPoint extends InnerItem {
  #metricStart = 0
  #metricEnd = 0
  #dataField = 0

  /** For the cursor over items. */
  pointAt(bytes: Uint8Array, start: number, end: number, around: MetricPlace): void {
    this.#metricStart = around.metricStart
    this.#metricEnd = around.metricEnd
    this.#dataField = around.dataField
    this.point(bytes, start, end, attributesFieldOf(around.dataField))
  }
  /** The metric that this point belongs to: to read here, to edit in metrics(). */
  get metric(): MetricView {
    return new MetricView(this.bytes, this.#metricStart, this.#metricEnd)
  }
  get type(): MetricType {
    return TYPE_OF[this.#dataField] ?? 'gauge'
  }
  get startTimeUnixNano(): bigint {
    return this.readFixed64(NUMBER_DATA_POINT.startTimeUnixNano)
  }
  set startTimeUnixNano(time: bigint) {
    this.setFixed64(NUMBER_DATA_POINT.startTimeUnixNano, time)
  }
  get timeUnixNano(): bigint {
    return this.readFixed64(NUMBER_DATA_POINT.timeUnixNano)
  }
  set timeUnixNano(time: bigint) {
    this.setFixed64(NUMBER_DATA_POINT.timeUnixNano, time)
  }
  /** Of a gauge or a sum: ints are bigint, doubles number; undefined when there is none. */
  get value(): bigint | number | undefined {
    if (!this.#isNumber) return undefined
    const { asDouble, asInt } = NUMBER_DATA_POINT
    if (this.has(asInt, FIXED64)) return BigInt.asIntN(64, this.readFixed64(asInt))
    return this.has(asDouble, FIXED64) ? this.readDouble(asDouble) : undefined
  }
  set value(value: bigint | number) {
    if (!this.#isNumber) throw new TypeError(`a ${this.type} has no single value`)
    const { asDouble, asInt } = NUMBER_DATA_POINT
    const isInt = typeof value === 'bigint'
    if (!isInt && typeof value !== 'number') throw new TypeError('expected a number or a bigint')
    this.setField(asInt, (output) => void (isInt && output.fixed64Field(asInt, value)))
    this.setField(asDouble, (output) => void (isInt || output.doubleField(asDouble, value)))
  }
  get #isNumber(): boolean {
    return this.#dataField === METRIC.gauge || this.#dataField === METRIC.sum
  }
  /** The point as it came, to read buckets, sums, quantiles and exemplars; `type` tells which it is. */
  view(): DataPointView {
    const { bytes, start, end } = this
    switch (this.#dataField) {
      case METRIC.histogram:
        return new HistogramDataPointView(bytes, start, end)
      case METRIC.exponentialHistogram:
        return new ExponentialHistogramDataPointView(bytes, start, end)
      case METRIC.summary:
        return new SummaryDataPointView(bytes, start, end)
      default:
        return new NumberDataPointView(bytes, start, end)
    }
  }
}

/** Where the Metric around a point lies, and which data it holds (otlp/item-walker.ts). */
export interface MetricPlace {
  readonly metricStart: number
  readonly metricEnd: number
  readonly dataField: number
}
