/** Reads one Metric without its points: ranges in the encoded bytes, and what kind of data it has. */
import { GAUGE, HISTOGRAM, KEY_VALUE, METRIC, SUM } from '../otlp/fields.ts'
import { FieldCursor, LEN, readString } from '../otlp/wire.ts'
import type { MetricKind } from './naming.ts'

export const DELTA = 1
export const CUMULATIVE = 2

/** One Metric, without its points. */
export class MetricReader {
  bytes: Uint8Array = new Uint8Array(0)
  nameStart = 0
  nameEnd = 0
  helpStart = 0
  helpEnd = 0
  unitStart = 0
  unitEnd = 0
  /** METRIC.gauge, sum, histogram, exponentialHistogram or summary; 0 when there is no data. */
  type = 0
  dataStart = 0
  dataEnd = 0
  temporality = 0
  monotonic = false
  points = 0
  /** Metadata `prometheus.type`: unknown, info, stateset. */
  typeHint = ''
  readonly #cursor = new FieldCursor()
  readonly #inner = new FieldCursor()

  read(bytes: Uint8Array, start: number, end: number): void {
    this.bytes = bytes
    this.nameStart = this.nameEnd = this.helpStart = this.helpEnd = this.unitStart = this.unitEnd = start
    this.type = 0
    this.typeHint = ''
    const cursor = this.#cursor.reset(bytes, start, end)
    while (cursor.next()) {
      if (cursor.wireType !== LEN) continue
      switch (cursor.number) {
        case METRIC.name:
          this.nameStart = cursor.start
          this.nameEnd = cursor.end
          break
        case METRIC.description:
          this.helpStart = cursor.start
          this.helpEnd = cursor.end
          break
        case METRIC.unit:
          this.unitStart = cursor.start
          this.unitEnd = cursor.end
          break
        case METRIC.gauge:
        case METRIC.sum:
        case METRIC.histogram:
        case METRIC.exponentialHistogram:
        case METRIC.summary:
          this.type = cursor.number
          this.dataStart = cursor.start
          this.dataEnd = cursor.end
          break
        case METRIC.metadata:
          this.#readHint(cursor)
          break
      }
    }
    this.#readData()
  }

  #readHint(metadata: FieldCursor): void {
    const pair = this.#inner.enter(metadata)
    let key = ''
    let valueStart = 0
    let valueEnd = 0
    while (pair.next()) {
      if (pair.number === KEY_VALUE.key) key = pair.string()
      else if (pair.number === KEY_VALUE.value && pair.wireType === LEN) {
        valueStart = pair.start
        valueEnd = pair.end
      }
    }
    if (key !== 'prometheus.type') return
    const value = this.#inner.reset(metadata.bytes, valueStart, valueEnd)
    while (value.next()) if (value.number === 1) this.typeHint = value.string()
  }

  /** Temporality and monotonicity come after the points on the wire. */
  #readData(): void {
    this.temporality = 0
    this.monotonic = false
    this.points = 0
    if (this.type === 0) return
    const data = this.#inner.reset(this.bytes, this.dataStart, this.dataEnd)
    const hasTemporality = this.type !== METRIC.gauge && this.type !== METRIC.summary
    while (data.next()) {
      if (data.number === GAUGE.dataPoints && data.wireType === LEN) this.points++
      else if (hasTemporality && data.number === HISTOGRAM.aggregationTemporality)
        this.temporality = data.uint()
      else if (this.type === METRIC.sum && data.number === SUM.isMonotonic) this.monotonic = data.uint() !== 0
    }
  }

  get kind(): MetricKind {
    if (this.type === METRIC.gauge) return 'gauge'
    if (this.type === METRIC.summary) return 'summary'
    if (this.type === METRIC.sum) return this.monotonic ? 'counter' : 'up_down_counter'
    return 'histogram'
  }

  name(): string {
    return readString(this.bytes, this.nameStart, this.nameEnd)
  }
  help(): string {
    return readString(this.bytes, this.helpStart, this.helpEnd)
  }
  unit(): string {
    return readString(this.bytes, this.unitStart, this.unitEnd)
  }
}
