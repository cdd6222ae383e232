/** Views on metrics and their data points; views.ts says how views behave. */
import type { Batch } from './batch.ts'
import {
  BUCKETS,
  EXEMPLAR,
  EXPONENTIAL_HISTOGRAM_DATA_POINT,
  HISTOGRAM_DATA_POINT,
  METRIC,
  NUMBER_DATA_POINT,
  RESOURCE_METRICS,
  SCOPE_METRICS,
  SUM,
  SUMMARY_DATA_POINT,
  VALUE_AT_QUANTILE,
} from './fields.ts'
import { AttributesView, MessageView, ResourceGroupView, ScopeGroupView } from './views.ts'

export function* resourceMetrics(batch: Batch): Generator<ResourceMetricsView> {
  for (const chunk of batch.chunks) yield* new MessageView(chunk).readMessages(1, ResourceMetricsView)
}

export class ResourceMetricsView extends ResourceGroupView {
  scopes(): Generator<ScopeMetricsView> {
    return this.readMessages(RESOURCE_METRICS.scopeMetrics, ScopeMetricsView)
  }
}

export class ScopeMetricsView extends ScopeGroupView {
  metrics(): Generator<MetricView> {
    return this.readMessages(SCOPE_METRICS.metrics, MetricView)
  }
}

export type MetricType = 'gauge' | 'sum' | 'histogram' | 'exponentialHistogram' | 'summary'

export type DataPointView =
  | NumberDataPointView
  | HistogramDataPointView
  | ExponentialHistogramDataPointView
  | SummaryDataPointView

const TYPES: readonly MetricType[] = ['gauge', 'sum', 'histogram', 'exponentialHistogram', 'summary']

export class MetricView extends MessageView {
  get name(): string {
    return this.readText(METRIC.name)
  }
  get description(): string {
    return this.readText(METRIC.description)
  }
  get unit(): string {
    return this.readText(METRIC.unit)
  }
  get metadata(): AttributesView {
    return new AttributesView(this, METRIC.metadata)
  }
  /** Undefined when there is no data, or of a type that this version does not know. */
  get type(): MetricType | undefined {
    return TYPES.find((type) => this.has(METRIC[type]))
  }
  #data(): MessageView {
    return this.readMessage(METRIC[this.type ?? 'gauge'], MessageView)
  }
  /** AGGREGATION_TEMPORALITY of fields.ts; 0 for gauges and summaries. */
  get aggregationTemporality(): number {
    return this.#data().readUint(SUM.aggregationTemporality)
  }
  get isMonotonic(): boolean {
    return this.type === 'sum' && this.#data().readUint(SUM.isMonotonic) !== 0
  }
  *dataPoints(): Generator<DataPointView> {
    const data = this.#data()
    switch (this.type) {
      case 'gauge':
      case 'sum':
        yield* data.readMessages(1, NumberDataPointView)
        break
      case 'histogram':
        yield* data.readMessages(1, HistogramDataPointView)
        break
      case 'exponentialHistogram':
        yield* data.readMessages(1, ExponentialHistogramDataPointView)
        break
      case 'summary':
        yield* data.readMessages(1, SummaryDataPointView)
    }
  }
}

/** What all data points have, at the same numbers. */
class PointView extends MessageView {
  get startTimeUnixNano(): bigint {
    return this.readFixed64(NUMBER_DATA_POINT.startTimeUnixNano)
  }
  get timeUnixNano(): bigint {
    return this.readFixed64(NUMBER_DATA_POINT.timeUnixNano)
  }
}

/** as_int is a bigint, as_double a number; undefined when neither is there. */
function numberOf(view: MessageView, asDouble: number, asInt: number): bigint | number | undefined {
  if (view.has(asInt)) return BigInt.asIntN(64, view.readFixed64(asInt))
  return view.has(asDouble) ? view.readDouble(asDouble) : undefined
}

function optionalDouble(view: MessageView, number: number): number | undefined {
  return view.has(number) ? view.readDouble(number) : undefined
}

export class NumberDataPointView extends PointView {
  readonly type = 'number'
  get value(): bigint | number | undefined {
    return numberOf(this, NUMBER_DATA_POINT.asDouble, NUMBER_DATA_POINT.asInt)
  }
  get attributes(): AttributesView {
    return new AttributesView(this, NUMBER_DATA_POINT.attributes)
  }
  get flags(): number {
    return this.readUint(NUMBER_DATA_POINT.flags)
  }
  exemplars(): Generator<ExemplarView> {
    return this.readMessages(NUMBER_DATA_POINT.exemplars, ExemplarView)
  }
}

export class HistogramDataPointView extends PointView {
  readonly type = 'histogram'
  get count(): bigint {
    return this.readFixed64(HISTOGRAM_DATA_POINT.count)
  }
  get sum(): number | undefined {
    return optionalDouble(this, HISTOGRAM_DATA_POINT.sum)
  }
  get min(): number | undefined {
    return optionalDouble(this, HISTOGRAM_DATA_POINT.min)
  }
  get max(): number | undefined {
    return optionalDouble(this, HISTOGRAM_DATA_POINT.max)
  }
  get bucketCounts(): bigint[] {
    return this.readFixed64s(HISTOGRAM_DATA_POINT.bucketCounts)
  }
  get explicitBounds(): number[] {
    return this.readDoubles(HISTOGRAM_DATA_POINT.explicitBounds)
  }
  get attributes(): AttributesView {
    return new AttributesView(this, HISTOGRAM_DATA_POINT.attributes)
  }
  get flags(): number {
    return this.readUint(HISTOGRAM_DATA_POINT.flags)
  }
  exemplars(): Generator<ExemplarView> {
    return this.readMessages(HISTOGRAM_DATA_POINT.exemplars, ExemplarView)
  }
}

export class ExponentialHistogramDataPointView extends PointView {
  readonly type = 'exponentialHistogram'
  get count(): bigint {
    return this.readFixed64(EXPONENTIAL_HISTOGRAM_DATA_POINT.count)
  }
  get sum(): number | undefined {
    return optionalDouble(this, EXPONENTIAL_HISTOGRAM_DATA_POINT.sum)
  }
  get min(): number | undefined {
    return optionalDouble(this, EXPONENTIAL_HISTOGRAM_DATA_POINT.min)
  }
  get max(): number | undefined {
    return optionalDouble(this, EXPONENTIAL_HISTOGRAM_DATA_POINT.max)
  }
  get scale(): number {
    return this.readSint(EXPONENTIAL_HISTOGRAM_DATA_POINT.scale)
  }
  get zeroCount(): bigint {
    return this.readFixed64(EXPONENTIAL_HISTOGRAM_DATA_POINT.zeroCount)
  }
  get zeroThreshold(): number {
    return this.readDouble(EXPONENTIAL_HISTOGRAM_DATA_POINT.zeroThreshold)
  }
  get positive(): BucketsView {
    return this.readMessage(EXPONENTIAL_HISTOGRAM_DATA_POINT.positive, BucketsView)
  }
  get negative(): BucketsView {
    return this.readMessage(EXPONENTIAL_HISTOGRAM_DATA_POINT.negative, BucketsView)
  }
  get attributes(): AttributesView {
    return new AttributesView(this, EXPONENTIAL_HISTOGRAM_DATA_POINT.attributes)
  }
  get flags(): number {
    return this.readUint(EXPONENTIAL_HISTOGRAM_DATA_POINT.flags)
  }
  exemplars(): Generator<ExemplarView> {
    return this.readMessages(EXPONENTIAL_HISTOGRAM_DATA_POINT.exemplars, ExemplarView)
  }
}

export class BucketsView extends MessageView {
  get offset(): number {
    return this.readSint(BUCKETS.offset)
  }
  get bucketCounts(): bigint[] {
    return this.readUint64s(BUCKETS.bucketCounts)
  }
}

export class SummaryDataPointView extends PointView {
  readonly type = 'summary'
  get count(): bigint {
    return this.readFixed64(SUMMARY_DATA_POINT.count)
  }
  get sum(): number {
    return this.readDouble(SUMMARY_DATA_POINT.sum)
  }
  quantileValues(): Generator<QuantileView> {
    return this.readMessages(SUMMARY_DATA_POINT.quantileValues, QuantileView)
  }
  get attributes(): AttributesView {
    return new AttributesView(this, SUMMARY_DATA_POINT.attributes)
  }
  get flags(): number {
    return this.readUint(SUMMARY_DATA_POINT.flags)
  }
}

export class QuantileView extends MessageView {
  get quantile(): number {
    return this.readDouble(VALUE_AT_QUANTILE.quantile)
  }
  get value(): number {
    return this.readDouble(VALUE_AT_QUANTILE.value)
  }
}

export class ExemplarView extends MessageView {
  get timeUnixNano(): bigint {
    return this.readFixed64(EXEMPLAR.timeUnixNano)
  }
  get value(): bigint | number | undefined {
    return numberOf(this, EXEMPLAR.asDouble, EXEMPLAR.asInt)
  }
  get traceId(): string {
    return this.readHex(EXEMPLAR.traceId)
  }
  get spanId(): string {
    return this.readHex(EXEMPLAR.spanId)
  }
  get filteredAttributes(): AttributesView {
    return new AttributesView(this, EXEMPLAR.filteredAttributes)
  }
}
