/**
 * Reads data points into one reusable record, straight from the encoded bytes. Times, counts
 * and values stay ranges or raw bytes in the chunk until they are written out; nothing is allocated per point.
 */

import { WireError } from '../errors.ts'
import { HISTOGRAM_DATA_POINT, NUMBER_DATA_POINT, SUMMARY_DATA_POINT } from '../otlp/fields.ts'
import { FIXED64, FieldCursor, LEN, readFixed32 } from '../otlp/wire.ts'
import { ByteArea } from './byte-area.ts'

/** Who takes the attributes of a point, one KeyValue content after the other. */
export interface AttributeTaker {
  add(start: number, end: number): void
}

const NO_RECORDED_VALUE = 1

/** A repeated field of 8-byte values: packed in one piece as a rule, in several or unpacked if a sender likes. */
export class PackedFixed64 {
  bytes: Uint8Array = new Uint8Array(0)
  start = 0
  /** Number of values. */
  count = 0
  readonly #joined = new ByteArea(64)

  clear(): void {
    this.count = 0
  }

  add(field: FieldCursor): void {
    const values = (field.end - field.start) >>> 3
    if (values * 8 !== field.end - field.start) throw new WireError('packed values are cut off', field.start)
    if (this.count === 0) {
      this.bytes = field.bytes
      this.start = field.start
    } else {
      const joined = this.#joined
      if (this.bytes !== joined.bytes || this.start !== 0) {
        joined.length = 0
        joined.copy(this.bytes, this.start, this.start + this.count * 8)
      }
      joined.copy(field.bytes, field.start, field.end)
      this.bytes = joined.bytes
      this.start = 0
    }
    this.count += values
  }

  get end(): number {
    return this.start + this.count * 8
  }
}

/** One data point of any type but exponential histograms. Offsets of -1 mean absent. */
export class PointReader {
  bytes: Uint8Array = new Uint8Array(0)
  /** 8 bytes each, little-endian nanoseconds. */
  timeAt = -1
  startTimeAt = -1
  stale = false
  /** Number points: where the 8 bytes are, and whether they are a double. */
  valueAt = -1
  valueIsDouble = false
  countAt = -1
  sumAt = -1
  readonly buckets = new PackedFixed64()
  readonly bounds = new PackedFixed64()
  exemplars = 0
  quantiles = 0
  start = 0
  end = 0
  readonly #cursor = new FieldCursor()

  #begin(bytes: Uint8Array, start: number, end: number): FieldCursor {
    this.bytes = bytes
    this.start = start
    this.end = end
    this.timeAt = this.startTimeAt = this.valueAt = this.countAt = this.sumAt = -1
    this.buckets.clear()
    this.bounds.clear()
    this.stale = false
    this.exemplars = this.quantiles = 0
    return this.#cursor.reset(bytes, start, end)
  }

  number(bytes: Uint8Array, start: number, end: number, attributes: AttributeTaker): void {
    const cursor = this.#begin(bytes, start, end)
    while (cursor.next()) {
      switch (cursor.number) {
        case NUMBER_DATA_POINT.attributes:
          if (cursor.wireType === LEN) attributes.add(cursor.start, cursor.end)
          break
        case NUMBER_DATA_POINT.timeUnixNano:
          if (cursor.wireType === FIXED64) this.timeAt = cursor.start
          break
        case NUMBER_DATA_POINT.startTimeUnixNano:
          if (cursor.wireType === FIXED64) this.startTimeAt = cursor.start
          break
        case NUMBER_DATA_POINT.asDouble:
        case NUMBER_DATA_POINT.asInt:
          if (cursor.wireType !== FIXED64) break
          this.valueAt = cursor.start
          this.valueIsDouble = cursor.number === NUMBER_DATA_POINT.asDouble
          break
        case NUMBER_DATA_POINT.flags:
          this.stale = (cursor.uint() & NO_RECORDED_VALUE) !== 0
          break
        case NUMBER_DATA_POINT.exemplars:
          this.exemplars++
          break
      }
    }
  }

  histogram(bytes: Uint8Array, start: number, end: number, attributes: AttributeTaker): void {
    const cursor = this.#begin(bytes, start, end)
    while (cursor.next()) {
      switch (cursor.number) {
        case HISTOGRAM_DATA_POINT.attributes:
          if (cursor.wireType === LEN) attributes.add(cursor.start, cursor.end)
          break
        case HISTOGRAM_DATA_POINT.timeUnixNano:
          if (cursor.wireType === FIXED64) this.timeAt = cursor.start
          break
        case HISTOGRAM_DATA_POINT.startTimeUnixNano:
          if (cursor.wireType === FIXED64) this.startTimeAt = cursor.start
          break
        case HISTOGRAM_DATA_POINT.count:
          if (cursor.wireType === FIXED64) this.countAt = cursor.start
          break
        case HISTOGRAM_DATA_POINT.sum:
          if (cursor.wireType === FIXED64) this.sumAt = cursor.start
          break
        case HISTOGRAM_DATA_POINT.bucketCounts:
          this.buckets.add(cursor)
          break
        case HISTOGRAM_DATA_POINT.explicitBounds:
          this.bounds.add(cursor)
          break
        case HISTOGRAM_DATA_POINT.flags:
          this.stale = (cursor.uint() & NO_RECORDED_VALUE) !== 0
          break
        case HISTOGRAM_DATA_POINT.exemplars:
          this.exemplars++
          break
      }
    }
  }

  summary(bytes: Uint8Array, start: number, end: number, attributes: AttributeTaker): void {
    const cursor = this.#begin(bytes, start, end)
    while (cursor.next()) {
      switch (cursor.number) {
        case SUMMARY_DATA_POINT.attributes:
          if (cursor.wireType === LEN) attributes.add(cursor.start, cursor.end)
          break
        case SUMMARY_DATA_POINT.timeUnixNano:
          if (cursor.wireType === FIXED64) this.timeAt = cursor.start
          break
        case SUMMARY_DATA_POINT.startTimeUnixNano:
          if (cursor.wireType === FIXED64) this.startTimeAt = cursor.start
          break
        case SUMMARY_DATA_POINT.count:
          if (cursor.wireType === FIXED64) this.countAt = cursor.start
          break
        case SUMMARY_DATA_POINT.sum:
          if (cursor.wireType === FIXED64) this.sumAt = cursor.start
          break
        case SUMMARY_DATA_POINT.quantileValues:
          this.quantiles++
          break
        case SUMMARY_DATA_POINT.flags:
          this.stale = (cursor.uint() & NO_RECORDED_VALUE) !== 0
          break
      }
    }
  }
}

/** An unsigned 64-bit count as a double, rounded once. */
export function readCount(bytes: Uint8Array, at: number): number {
  return at < 0 ? 0 : readFixed32(bytes, at + 4) * 4294967296 + readFixed32(bytes, at)
}

/** A signed 64-bit integer as a double, rounded once. */
export function readSigned(bytes: Uint8Array, at: number): number {
  return (readFixed32(bytes, at + 4) | 0) * 4294967296 + readFixed32(bytes, at)
}

/** Nanoseconds to whole milliseconds, exact for all 64 bits: both halves stay below 2^53. 0 when absent. */
export function readMs(bytes: Uint8Array, at: number): number {
  if (at < 0) return 0
  const high = readFixed32(bytes, at + 4)
  const rest = high * 967_296 + readFixed32(bytes, at) // 2^32 = 4294 * 10^6 + 967296
  let ms = Math.floor(rest / 1e6)
  if (ms * 1e6 > rest) ms--
  return high * 4294 + ms
}

/** Compares two 8-byte times. */
export function compareTimes(left: Uint8Array, leftAt: number, right: Uint8Array, rightAt: number): number {
  const high =
    (leftAt < 0 ? 0 : readFixed32(left, leftAt + 4)) - (rightAt < 0 ? 0 : readFixed32(right, rightAt + 4))
  if (high !== 0) return high
  return (leftAt < 0 ? 0 : readFixed32(left, leftAt)) - (rightAt < 0 ? 0 : readFixed32(right, rightAt))
}
