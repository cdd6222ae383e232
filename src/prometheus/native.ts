/**
 * Exponential histograms as native ones: bucket index + 1 (upper instead of lower bound), scale at most 8, counts as
 * spans and deltas. Scales below -4 cannot be expressed.
 */
import { BUCKETS, EXPONENTIAL_HISTOGRAM_DATA_POINT as POINT } from '../otlp/fields.ts'
import { FIXED64, FieldCursor, LEN, readVarint } from '../otlp/wire.ts'
import type { AttributeTaker } from './points.ts'

export const MIN_SCHEMA = -4
export const MAX_SCHEMA = 8
/** Width of the zero bucket where the sender gives none. */
export const DEFAULT_ZERO_THRESHOLD = 1e-128
/** Buckets of one side that are read; SDKs keep 160. */
const MAX_BUCKETS = 65_536
/** Gaps of so many empty buckets are filled with zeros rather than opening a new span. */
const FILLED_GAP = 2

export class ExponentialSide {
  offset = 0
  readonly counts: number[] = []

  clear(): void {
    this.offset = 0
    this.counts.length = 0
  }

  read(bytes: Uint8Array, start: number, end: number): void {
    const cursor = new FieldCursor(bytes, start, end)
    while (cursor.next()) {
      if (cursor.number === BUCKETS.offset) this.offset = zigzag(cursor.uint())
      else if (cursor.number === BUCKETS.bucketCounts) {
        if (cursor.wireType !== LEN) this.#push(cursor.uint())
        else for (let at = cursor.start; at < cursor.end; ) at = this.#pushFrom(bytes, at, cursor.end)
      }
    }
  }

  #pushFrom(bytes: Uint8Array, at: number, end: number): number {
    this.#push(readVarint(bytes, at))
    while (at < end && bytes[at]! >= 128) at++
    return at + 1
  }

  #push(count: number): void {
    if (this.counts.length < MAX_BUCKETS) this.counts.push(count)
  }
}

function zigzag(value: number): number {
  return value % 2 === 0 ? value / 2 : -(value + 1) / 2
}

export class ExponentialReader {
  bytes: Uint8Array = new Uint8Array(0)
  start = 0
  end = 0
  timeAt = -1
  startTimeAt = -1
  stale = false
  countAt = -1
  sumAt = -1
  scale = 0
  zeroCountAt = -1
  zeroThreshold = 0
  exemplars = 0
  readonly positive = new ExponentialSide()
  readonly negative = new ExponentialSide()
  readonly #cursor = new FieldCursor()

  read(bytes: Uint8Array, start: number, end: number, attributes: AttributeTaker): void {
    this.bytes = bytes
    this.start = start
    this.end = end
    this.timeAt = this.startTimeAt = this.countAt = this.sumAt = this.zeroCountAt = -1
    this.stale = false
    this.scale = this.zeroThreshold = this.exemplars = 0
    this.positive.clear()
    this.negative.clear()
    const cursor = this.#cursor.reset(bytes, start, end)
    while (cursor.next()) {
      if (cursor.wireType === FIXED64) this.#fixed(cursor)
      else if (cursor.wireType === LEN) {
        if (cursor.number === POINT.attributes) attributes.add(cursor.start, cursor.end)
        else if (cursor.number === POINT.positive) this.positive.read(bytes, cursor.start, cursor.end)
        else if (cursor.number === POINT.negative) this.negative.read(bytes, cursor.start, cursor.end)
        else if (cursor.number === POINT.exemplars) this.exemplars++
      } else if (cursor.number === POINT.scale) this.scale = zigzag(cursor.uint())
      else if (cursor.number === POINT.flags) this.stale = (cursor.uint() & 1) !== 0
    }
  }

  #fixed(cursor: FieldCursor): void {
    switch (cursor.number) {
      case POINT.startTimeUnixNano:
        this.startTimeAt = cursor.start
        break
      case POINT.timeUnixNano:
        this.timeAt = cursor.start
        break
      case POINT.count:
        this.countAt = cursor.start
        break
      case POINT.sum:
        this.sumAt = cursor.start
        break
      case POINT.zeroCount:
        this.zeroCountAt = cursor.start
        break
      case POINT.zeroThreshold:
        this.zeroThreshold = cursor.double()
        break
    }
  }
}

/** Buckets as native histograms write them: spans of neighbours, counts as differences. */
export class BucketLayout {
  readonly offsets: number[] = []
  readonly lengths: number[] = []
  readonly deltas: number[] = []
  #previous = 0
  #nextIndex = 0

  clear(): void {
    this.offsets.length = this.lengths.length = this.deltas.length = 0
    this.#previous = 0
    this.#nextIndex = 0
  }

  /** Lays out one side whose buckets are `shift` steps finer than the schema. */
  fromExponential(side: ExponentialSide, shift: number): this {
    this.clear()
    const { offset, counts } = side
    let index = 0
    let sum = 0
    for (let at = 0; at < counts.length; at++) {
      const target = Math.floor((offset + at) / 2 ** shift) + 1
      if (at > 0 && target !== index) {
        this.add(index, sum)
        sum = 0
      }
      index = target
      sum += counts[at]!
    }
    if (counts.length > 0) this.add(index, sum)
    return this
  }

  /** Appends a bucket; empty ones are left out and come back where the gap is small. Indices must rise. */
  add(index: number, count: number): void {
    if (count === 0) return
    const gap = index - this.#nextIndex
    if (this.offsets.length === 0 || gap > FILLED_GAP) {
      this.offsets.push(this.offsets.length === 0 ? index : gap)
      this.lengths.push(0)
    } else for (let filled = 0; filled < gap; filled++) this.#push(0)
    this.#push(count)
    this.#nextIndex = index + 1
  }

  #push(count: number): void {
    const last = this.lengths.length - 1
    this.lengths[last] = this.lengths[last]! + 1
    this.deltas.push(count - this.#previous)
    this.#previous = count
  }
}
