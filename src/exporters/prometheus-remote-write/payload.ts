/**
 * What a TimeSeries holds beside its labels, encoded: one sample or native histogram, and exemplars.
 *
 * begin() encodes the times of a point once; value(), raw() and stale() put another value in front of them, so that
 * the series of a histogram point differ in 8 bytes only. Values are copied as bits: a stale marker is one NaN among
 * many, and a JavaScript number does not keep them apart.
 */
import { RW1_EXEMPLAR, RW1_HISTOGRAM, RW1_TIME_SERIES } from '../../net/wire-fields.ts'
import { readFixed64, WireWriter } from '../../otlp/wire.ts'
import { ByteArea } from '../../prometheus/byte-area.ts'
import type { ExemplarRecord } from '../../prometheus/exemplars.ts'
import {
  BucketLayout,
  DEFAULT_ZERO_THRESHOLD,
  type ExponentialReader,
  MAX_SCHEMA,
} from '../../prometheus/native.ts'
import { type PointReader, readCount, readMs } from '../../prometheus/points.ts'

/** The float64 with the bits 0x7ff0000000000002, little-endian: "no longer there". */
const STALE_BITS = Buffer.from([2, 0, 0, 0, 0, 0, 0xf0, 0x7f])
const STALE_AS_COUNT = 0n
/** Schema of native histograms with custom bucket bounds. */
const CUSTOM_BUCKETS = -53
/** Where the value of a sample begins: tag and length of the sample, tag of the value. */
const VALUE_AT = 3
const HISTOGRAM_START_TIMESTAMP = 17

interface Times {
  readonly bytes: Uint8Array
  readonly timeAt: number
  readonly startTimeAt: number
}

const double = new Float64Array(1)
const doubleBytes = new Uint8Array(double.buffer)

export class Payload {
  readonly area = new ByteArea(512)
  readonly #startTimestamps: boolean
  readonly #writer = new WireWriter(512)
  readonly #positive = new BucketLayout()
  readonly #negative = new BucketLayout()
  #sampleLength = 0
  #timeMs = 0
  #startMs = 0

  constructor(startTimestamps: boolean) {
    this.#startTimestamps = startTimestamps
  }

  /** `started`: a counter or histogram, whose start time remote write 2.0 tells. */
  begin(point: Times, started: boolean): void {
    const tells = started && this.#startTimestamps
    this.#begin(readMs(point.bytes, point.timeAt), tells ? readMs(point.bytes, point.startTimeAt) : 0)
  }

  /** A sample at the 8-byte time at this offset. */
  beginAt(bytes: Uint8Array, at: number): void {
    this.#begin(readMs(bytes, at), 0)
  }

  #begin(timeMs: number, startMs: number): void {
    this.#timeMs = timeMs
    this.#startMs = startMs
    const area = this.area
    area.length = 0
    area.reserve(64)
    area.length = VALUE_AT + 8
    const bytes = area.bytes
    bytes[0] = (RW1_TIME_SERIES.samples << 3) | 2
    bytes[2] = 0x09 // Sample.value: field 1, 8 bytes.
    area.byte(0x10) // Sample.timestamp: field 2, varint.
    area.varint(timeMs)
    if (startMs > 0) {
      area.byte(0x18) // Sample.start_timestamp of 2.0: field 3, varint.
      area.varint(startMs)
    }
    area.bytes[1] = area.length - 2
    this.#sampleLength = area.length
  }

  /** A sample of this value. Drops exemplars added before. */
  value(value: number): void {
    double[0] = value
    this.raw(doubleBytes, 0)
  }

  /** A sample with the 8 bytes at this offset as value. */
  raw(source: Uint8Array, at: number): void {
    const bytes = this.area.bytes
    for (let index = 0; index < 8; index++) bytes[VALUE_AT + index] = source[at + index]!
    this.area.length = this.#sampleLength
  }

  stale(): void {
    this.raw(STALE_BITS, 0)
  }

  exemplar(exemplar: ExemplarRecord): void {
    const writer = this.#writer.truncate(0)
    writer.begin(RW1_TIME_SERIES.exemplars, 120)
    const labels = new Map([...exemplar.attributes, ...exemplar.ids])
    for (const [name, value] of [...labels].sort(byName)) {
      writer.begin(RW1_EXEMPLAR.labels, 60).string(1, name).string(2, value).end()
    }
    writer.doubleField(RW1_EXEMPLAR.value, exemplar.value)
    writer.uintField(RW1_EXEMPLAR.timestamp, exemplar.timeMs)
    writer.end()
    this.area.all(writer.view())
  }

  /** A native histogram in place of a sample. A stale one has the marker as sum, count 0 and no buckets. */
  exponential(point: ExponentialReader): void {
    const schema = Math.min(point.scale, MAX_SCHEMA)
    const shift = Math.min(point.scale - schema, 40)
    const { stale } = point
    this.#native(point, stale, schema, point.zeroThreshold || DEFAULT_ZERO_THRESHOLD, (writer) => {
      const zeroCount = stale || point.zeroCountAt < 0 ? 0n : readFixed64(point.bytes, point.zeroCountAt)
      writer.int64Field(RW1_HISTOGRAM.zeroCountInt, zeroCount)
      if (stale) return
      const negative = this.#negative.fromExponential(point.negative, shift)
      writeSide(writer, negative, RW1_HISTOGRAM.negativeSpans, RW1_HISTOGRAM.negativeDeltas)
      const positive = this.#positive.fromExponential(point.positive, shift)
      writeSide(writer, positive, RW1_HISTOGRAM.positiveSpans, RW1_HISTOGRAM.positiveDeltas)
    })
  }

  /** An explicit histogram as native one with custom bounds. False when its bounds do not rise, as they must. */
  customHistogram(point: PointReader): boolean {
    const { bounds, buckets } = point
    const limits: number[] = []
    for (let index = 0; index < bounds.count; index++) {
      const limit = new DataView(bounds.bytes.buffer, bounds.bytes.byteOffset).getFloat64(
        bounds.start + index * 8,
        true,
      )
      if (!Number.isFinite(limit) || (index > 0 && !(limit > limits[index - 1]!))) return false
      limits.push(limit)
    }
    this.#native(point, point.stale, CUSTOM_BUCKETS, 0, (writer) => {
      if (!point.stale) {
        const layout = this.#positive
        layout.clear()
        for (let index = 0; index < buckets.count; index++)
          layout.add(index, readCount(buckets.bytes, buckets.start + index * 8))
        writeSide(writer, layout, RW1_HISTOGRAM.positiveSpans, RW1_HISTOGRAM.positiveDeltas)
      }
      if (limits.length === 0) return
      writer.begin(RW1_HISTOGRAM.customValues, limits.length * 8)
      for (const limit of limits) writer.double(limit)
      writer.end()
    })
    return true
  }

  #native(
    point: { readonly bytes: Uint8Array; readonly countAt: number; readonly sumAt: number },
    stale: boolean,
    schema: number,
    zeroThreshold: number,
    writeBuckets: (writer: WireWriter) => void,
  ): void {
    const writer = this.#writer.truncate(0)
    writer.begin(RW1_TIME_SERIES.histograms, 300)
    const count = stale || point.countAt < 0 ? STALE_AS_COUNT : readFixed64(point.bytes, point.countAt)
    writer.int64Field(RW1_HISTOGRAM.countInt, count)
    if (stale) writer.tag(RW1_HISTOGRAM.sum, 1).raw(STALE_BITS)
    else if (point.sumAt >= 0)
      writer.tag(RW1_HISTOGRAM.sum, 1).rawRange(point.bytes, point.sumAt, point.sumAt + 8)
    writer.sintField(RW1_HISTOGRAM.schema, schema)
    writer.doubleField(RW1_HISTOGRAM.zeroThreshold, zeroThreshold)
    writeBuckets(writer)
    writer.uintField(RW1_HISTOGRAM.timestamp, this.#timeMs)
    if (this.#startMs > 0) writer.uintField(HISTOGRAM_START_TIMESTAMP, this.#startMs)
    writer.end()
    this.area.length = 0
    this.area.all(writer.view())
  }
}

function writeSide(writer: WireWriter, layout: BucketLayout, spans: number, deltas: number): void {
  if (layout.offsets.length === 0) return
  for (let index = 0; index < layout.offsets.length; index++) {
    writer.begin(spans, 8)
    writer.sintField(1, layout.offsets[index]!).uintField(2, layout.lengths[index]!)
    writer.end()
  }
  writer.begin(deltas, layout.deltas.length)
  for (const delta of layout.deltas) writer.varint(delta < 0 ? -delta * 2 - 1 : delta * 2)
  writer.end()
}

function byName(left: readonly [string, string], right: readonly [string, string]): number {
  return Buffer.compare(Buffer.from(left[0]), Buffer.from(right[0]))
}
