/**
 * Walks all items of a chunk, one after the other: spans, log records, or data points with the metric they
 * belong to.
 *
 *     const items = new ItemWalker()
 *     items.reset('metrics', chunk)
 *     while (items.next()) use(items.bytes, items.start, items.end, items.metricStart, ...)
 *
 * One walker serves any number of chunks, and nothing is allocated per item. A metric of a type that this
 * version does not know is shown as one `opaque` item, so that it can be passed on; it does not count.
 */
import type { Signal } from './batch.ts'
import {
  EXPONENTIAL_HISTOGRAM_DATA_POINT,
  HISTOGRAM_DATA_POINT,
  METRIC,
  NUMBER_DATA_POINT,
  SUMMARY_DATA_POINT,
} from './fields.ts'
import { ChunkWalker } from './walk.ts'
import { FieldCursor, LEN } from './wire.ts'

export class ItemWalker {
  bytes: Uint8Array = new Uint8Array(0)
  signal: Signal = 'traces'
  /** The item: where its tag begins, and its content. */
  fieldStart = 0
  start = 0
  end = 0
  /** The Resource*, Resource, Scope* and InstrumentationScope messages around the item. */
  readonly around: ChunkWalker = new ChunkWalker()
  /** The Metric around a data point, and its one data message: METRIC.gauge and so on. */
  metricStart = 0
  metricEnd = 0
  dataField = 0
  dataStart = 0
  dataEnd = 0
  /** A whole Metric whose data is absent or of an unknown type: to be passed on as it is. */
  opaque = false
  /** Change with every new Resource*, Scope* and Metric, and never repeat in one walker. */
  resourceNumber = 0
  scopeNumber = 0
  metricNumber = 0
  #inResource = false
  #inScope = false
  #inData = false
  readonly #metric = new FieldCursor()
  readonly #points = new FieldCursor()

  reset(signal: Signal, chunk: Uint8Array): this {
    this.signal = signal
    this.bytes = chunk
    this.around.reset(chunk)
    this.#inResource = this.#inScope = this.#inData = false
    return this
  }

  next(): boolean {
    const around = this.around
    while (true) {
      if (this.#inData) {
        if (this.#nextPoint()) return true
        this.#inData = false
      }
      if (this.#inScope) {
        if (around.nextItem()) {
          if (this.signal !== 'metrics' || !this.#openMetric()) {
            this.fieldStart = around.itemFieldStart
            this.start = around.itemStart
            this.end = around.itemEnd
            return true
          }
          continue
        }
        this.#inScope = false
      }
      if (this.#inResource) {
        if (around.nextScope()) {
          this.scopeNumber++
          this.#inScope = true
          continue
        }
        this.#inResource = false
      }
      if (!around.nextResource()) return false
      this.resourceNumber++
      this.#inResource = true
    }
  }

  #nextPoint(): boolean {
    const points = this.#points
    while (points.next()) {
      if (points.number !== 1 || points.wireType !== LEN) continue
      this.fieldStart = points.fieldStart
      this.start = points.start
      this.end = points.end
      return true
    }
    return false
  }

  /** False when the metric has no data that could be walked: it is an item of its own then. */
  #openMetric(): boolean {
    const { itemStart, itemEnd } = this.around
    const metric = this.#metric.reset(this.bytes, itemStart, itemEnd)
    this.metricNumber++
    this.metricStart = itemStart
    this.metricEnd = itemEnd
    this.opaque = true
    while (metric.next()) {
      if (!isData(metric.number) || metric.wireType !== LEN) continue
      this.dataField = metric.number
      this.dataStart = metric.start
      this.dataEnd = metric.end
      this.#points.enter(metric)
      this.#inData = true
      this.opaque = false
    }
    return !this.opaque
  }
}

/** The oneof of Metric that holds its data points. */
export function isData(field: number): boolean {
  return (
    field === METRIC.gauge ||
    field === METRIC.sum ||
    field === METRIC.histogram ||
    field === METRIC.exponentialHistogram ||
    field === METRIC.summary
  )
}

/** Where a data point in this data of a Metric has its attributes. */
export function attributesFieldOf(dataField: number): number {
  switch (dataField) {
    case METRIC.histogram:
      return HISTOGRAM_DATA_POINT.attributes
    case METRIC.exponentialHistogram:
      return EXPONENTIAL_HISTOGRAM_DATA_POINT.attributes
    case METRIC.summary:
      return SUMMARY_DATA_POINT.attributes
    default:
      return NUMBER_DATA_POINT.attributes
  }
}
