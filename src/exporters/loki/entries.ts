/**
 * The entries of one conversion, encoded as they go into a push, in one buffer that is kept from batch to batch. A
 * stream holds where its entries are as pieces: entries that lie side by side in the order of time. Nothing is allocated per
 * entry.
 *
 * The bytes are valid until the next conversion begins; a push is encoded before that.
 */
import { LOKI_ENTRY, LOKI_LABEL_PAIR, LOKI_STREAM, TIMESTAMP } from '../../net/wire-fields.ts'
import { FieldCursor, LEN, putVarint, readVarint, VARINT, varintLength, WireWriter } from '../../otlp/wire.ts'
import type { LabelPairs } from './labels.ts'

const FIRST_BYTES = 64 * 1024
/** A buffer that a large batch has blown up is given back. */
const KEEP_BYTES = 16 * 1024 * 1024
/** What words that are written whole may take beyond what was asked for. */
const SLACK_BYTES = 16
const NO_METADATA: LabelPairs = []

/** Ranges in the bytes of the store. */
export interface Ranges {
  readonly starts: readonly number[]
  readonly ends: readonly number[]
}

export class Stream implements Ranges {
  readonly labels: LabelPairs
  readonly name: string
  /** By piece: its range, the time of its first entry and that of its last. */
  readonly starts: number[] = []
  readonly ends: number[] = []
  readonly #firstSeconds: number[] = []
  readonly #firstNanos: number[] = []
  readonly #lastSeconds: number[] = []
  readonly #lastNanos: number[] = []
  #seconds = 0
  #nanos = 0
  #sorted = true

  constructor(labels: LabelPairs, name: string) {
    this.labels = labels
    this.name = name
  }

  add(start: number, end: number, seconds: number, nanos: number): void {
    const last = this.ends.length - 1
    const later = this.#seconds < seconds || (this.#seconds === seconds && this.#nanos <= nanos)
    this.#seconds = seconds
    this.#nanos = nanos
    if (later && last >= 0 && this.ends[last] === start) {
      this.ends[last] = end
      this.#lastSeconds[last] = seconds
      this.#lastNanos[last] = nanos
      return
    }
    if (!later && last >= 0) this.#sorted = false
    this.starts.push(start)
    this.ends.push(end)
    this.#firstSeconds.push(seconds)
    this.#firstNanos.push(nanos)
    this.#lastSeconds.push(seconds)
    this.#lastNanos.push(nanos)
  }

  /** The ranges of the entries in the order of time, those of one time as they came. */
  inOrder(bytes: Uint8Array): Ranges {
    if (this.#sorted) return this
    const order = sortedByTime(this.#firstSeconds, this.#firstNanos)
    for (let index = 1; index < order.length; index++)
      if (!this.#follows(order[index - 1]!, order[index]!)) return entriesInOrder(this, bytes)
    return pick(this, order)
  }

  /** No entry of the first piece belongs behind one of the second. */
  #follows(first: number, second: number): boolean {
    const order =
      this.#firstSeconds[second]! - this.#lastSeconds[first]! ||
      this.#firstNanos[second]! - this.#lastNanos[first]!
    return order > 0 || (order === 0 && first < second)
  }
}

function sortedByTime(seconds: readonly number[], nanos: readonly number[]): number[] {
  return Array.from(seconds, (_, index) => index).sort(
    (a, b) => seconds[a]! - seconds[b]! || nanos[a]! - nanos[b]!,
  )
}

function pick({ starts, ends }: Ranges, order: readonly number[]): Ranges {
  return { starts: order.map((index) => starts[index]!), ends: order.map((index) => ends[index]!) }
}

/** Pieces that overlap in time are taken apart. */
function entriesInOrder(ranges: Ranges, bytes: Uint8Array): Ranges {
  const starts: number[] = []
  const ends: number[] = []
  const seconds: number[] = []
  const nanos: number[] = []
  const entries = new EntryCursor(ranges, bytes)
  while (entries.next()) {
    starts.push(entries.start)
    ends.push(entries.end)
    seconds.push(entries.seconds)
    nanos.push(entries.nanos)
  }
  return pick({ starts, ends }, sortedByTime(seconds, nanos))
}

/** Walks the entries in these ranges. */
export class EntryCursor {
  /** The whole field, tag included. */
  start = 0
  end = 0
  seconds = 0
  nanos = 0
  /** The content of the Entry. */
  contentStart = 0
  readonly #ranges: Ranges
  readonly #bytes: Uint8Array
  readonly #entries = new FieldCursor()
  readonly #fields = new FieldCursor()
  #next = 0

  constructor(ranges: Ranges, bytes: Uint8Array) {
    this.#ranges = ranges
    this.#bytes = bytes
  }

  next(): boolean {
    const { starts, ends } = this.#ranges
    const entries = this.#entries
    while (!entries.next()) {
      if (this.#next === starts.length) return false
      entries.reset(this.#bytes, starts[this.#next]!, ends[this.#next]!)
      this.#next++
    }
    this.start = entries.fieldStart
    this.end = entries.end
    this.contentStart = entries.start
    this.#readTime(entries)
    return true
  }

  #readTime(entry: FieldCursor): void {
    this.seconds = this.nanos = 0
    const fields = this.#fields.enter(entry)
    if (!fields.next() || fields.number !== LOKI_ENTRY.timestamp) return
    const { start, end } = fields
    fields.reset(this.#bytes, start, end)
    while (fields.next()) {
      if (fields.number === TIMESTAMP.seconds) this.seconds = readVarint(this.#bytes, fields.start)
      else if (fields.number === TIMESTAMP.nanos) this.nanos = readVarint(this.#bytes, fields.start)
    }
  }
}

const ENTRY_TAG = LOKI_STREAM.entries * 8 + LEN
const TIMESTAMP_TAG = LOKI_ENTRY.timestamp * 8 + LEN
const LINE_TAG = LOKI_ENTRY.line * 8 + LEN
const SECONDS_TAG = TIMESTAMP.seconds * 8 + VARINT
const NANOS_TAG = TIMESTAMP.nanos * 8 + VARINT
/** Tags, two lengths of up to five bytes, and a time of up to 13. */
const HEADER_BYTES = 32
/** The room that the two lengths of an entry with a line of 128 to 16,000 bytes take. */
const LENGTH_BYTES = 2

// message Entry { Timestamp timestamp = 1; string line = 2; repeated LabelPair structured_metadata = 3; }
// message LabelPair { string name = 1; string value = 2; }
// message Timestamp { int64 seconds = 1; int32 nanos = 2; }
export class EntryStore {
  /** All entries so far are its first `length` bytes: each is the field `entries` of a Stream, tag included. */
  bytes: Uint8Array = Buffer.allocUnsafeSlow(FIRST_BYTES)
  /** On the same bytes. */
  view: DataView = viewOf(this.bytes)
  length = 0
  #start = 0
  #seconds = 0
  #nanos = 0
  #timeBytes = 0
  #writer = new WireWriter()

  clear(): void {
    this.length = 0
    if (this.#writer.capacity > KEEP_BYTES) this.#writer = new WireWriter()
    if (this.bytes.length <= KEEP_BYTES) return
    this.bytes = Buffer.allocUnsafeSlow(FIRST_BYTES)
    this.view = viewOf(this.bytes)
  }

  /** Begins an entry: makes room for a line of up to `lineBytes` and returns where it goes. */
  open(seconds: number, nanos: number, lineBytes: number): number {
    this.#reserve(lineBytes + HEADER_BYTES)
    this.#start = this.length
    this.#seconds = seconds
    this.#nanos = nanos
    this.#timeBytes = (seconds > 0 ? 1 + varintBytes(seconds) : 0) + (nanos > 0 ? 1 + varintBytes(nanos) : 0)
    return this.length + 4 + 2 * LENGTH_BYTES + this.#timeBytes
  }

  /** Ends the entry with the line that was written from where open() said to `end`. An entry not ended never was. */
  close(stream: Stream, end: number): void {
    const { bytes } = this
    const start = this.#start
    const seconds = this.#seconds
    const nanos = this.#nanos
    const timeBytes = this.#timeBytes
    const lineStart = start + 4 + 2 * LENGTH_BYTES + timeBytes
    const length = end - lineStart
    const lengthBytes = varintBytes(length)
    const content = 3 + timeBytes + lengthBytes + length
    const shift = lengthBytes + varintBytes(content) - 2 * LENGTH_BYTES
    if (shift !== 0) bytes.copyWithin(lineStart + shift, lineStart, end)
    bytes[start] = ENTRY_TAG
    let at = putNumber(bytes, start + 1, content)
    bytes[at++] = TIMESTAMP_TAG
    bytes[at++] = timeBytes
    if (seconds > 0) {
      bytes[at++] = SECONDS_TAG
      at = putNumber(bytes, at, seconds)
    }
    if (nanos > 0) {
      bytes[at++] = NANOS_TAG
      at = putNumber(bytes, at, nanos)
    }
    bytes[at++] = LINE_TAG
    putNumber(bytes, at, length)
    this.length = end + shift
    stream.add(start, this.length, seconds, nanos)
  }

  addText(stream: Stream, seconds: number, nanos: number, line: string, metadata = NO_METADATA): void {
    const writer = this.#writer
    writer.truncate(0)
    writer.begin(LOKI_STREAM.entries, line.length + 18).begin(LOKI_ENTRY.timestamp, 12)
    if (seconds > 0) writer.uintField(TIMESTAMP.seconds, seconds)
    if (nanos > 0) writer.uintField(TIMESTAMP.nanos, nanos)
    writer.end().string(LOKI_ENTRY.line, line)
    for (const [name, value] of metadata) {
      writer.begin(LOKI_ENTRY.structuredMetadata, name.length + value.length)
      writer.string(LOKI_LABEL_PAIR.name, name).string(LOKI_LABEL_PAIR.value, value).end()
    }
    writer.end()
    this.#reserve(writer.length)
    const start = this.length
    this.bytes.set(writer.view(), start)
    this.length = start + writer.length
    stream.add(start, this.length, seconds, nanos)
  }

  #reserve(count: number): void {
    const needed = this.length + count + SLACK_BYTES
    if (needed <= this.bytes.length) return
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.bytes.length * 2))
    grown.set(this.bytes.subarray(0, this.length))
    this.bytes = grown
    this.view = viewOf(grown)
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** As varintLength, without a division for what is below 2^35. */
function varintBytes(value: number): number {
  if (value < 0x80) return 1
  if (value < 0x4000) return 2
  if (value < 0x200000) return 3
  if (value < 0x10000000) return 4
  return value < 0x800000000 ? 5 : varintLength(value)
}

/** As putVarint, without a division for what is below 2^31. */
function putNumber(bytes: Uint8Array, at: number, value: number): number {
  if (value > 0x7fffffff) return putVarint(bytes, at, value)
  let rest = value | 0
  while (rest >= 128) {
    bytes[at++] = (rest & 127) | 128
    rest >>>= 7
  }
  bytes[at++] = rest
  return at
}
