/**
 * The entries of one conversion, encoded as they go into a push, in one buffer that is kept from batch to batch. A
 * stream holds where its entries are, with their times, as numbers: nothing is allocated per entry.
 *
 * The bytes are valid until the next conversion begins; a push is encoded before that.
 */
import { LOKI_ENTRY, LOKI_LABEL_PAIR, LOKI_STREAM, TIMESTAMP } from '../../net/wire-fields.ts'
import { WireWriter } from '../../otlp/wire.ts'
import type { LabelPairs } from './labels.ts'

const FIRST_BYTES = 64 * 1024
/** A buffer that a large batch has blown up is given back. */
const KEEP_BYTES = 16 * 1024 * 1024
const NO_METADATA: LabelPairs = []

export class Stream {
  readonly labels: LabelPairs
  readonly name: string
  /** By entry: its range in the bytes of the store, and its time. */
  readonly starts: number[] = []
  readonly ends: number[] = []
  readonly seconds: number[] = []
  readonly nanos: number[] = []
  #sorted = true

  constructor(labels: LabelPairs, name: string) {
    this.labels = labels
    this.name = name
  }

  add(start: number, end: number, seconds: number, nanos: number): void {
    const index = this.starts.length
    if (index > 0 && this.#sorted) {
      const before = this.seconds[index - 1]!
      this.#sorted = before < seconds || (before === seconds && this.nanos[index - 1]! <= nanos)
    }
    this.starts.push(start)
    this.ends.push(end)
    this.seconds.push(seconds)
    this.nanos.push(nanos)
  }

  /** The indices of the entries in the order of time, those of one time as they came; undefined if they are so. */
  order(): number[] | undefined {
    if (this.#sorted) return undefined
    const { seconds, nanos } = this
    return Array.from(seconds, (_, index) => index).sort(
      (a, b) => seconds[a]! - seconds[b]! || nanos[a]! - nanos[b]!,
    )
  }
}

// message Entry { Timestamp timestamp = 1; string line = 2; repeated LabelPair structured_metadata = 3; }
// message LabelPair { string name = 1; string value = 2; }
// message Timestamp { int64 seconds = 1; int32 nanos = 2; }
export class EntryStore {
  #writer = new WireWriter(FIRST_BYTES)

  /** All entries so far: each is the field `entries` of a Stream, tag included. */
  get bytes(): Uint8Array {
    return this.#writer.view()
  }

  clear(): void {
    if (this.#writer.capacity > KEEP_BYTES) this.#writer = new WireWriter(FIRST_BYTES)
    this.#writer.truncate(0)
  }

  /** An entry whose line is the first `length` of these bytes. */
  add(stream: Stream, seconds: number, nanos: number, line: Uint8Array, length: number): void {
    const writer = this.#writer
    const start = writer.length
    this.#open(seconds, nanos, length)
    writer.tag(LOKI_ENTRY.line, 2).varint(length).rawRange(line, 0, length).end()
    stream.add(start, writer.length, seconds, nanos)
  }

  addText(stream: Stream, seconds: number, nanos: number, line: string, metadata = NO_METADATA): void {
    const writer = this.#writer
    const start = writer.length
    this.#open(seconds, nanos, line.length)
    writer.string(LOKI_ENTRY.line, line)
    for (const [name, value] of metadata) {
      writer.begin(LOKI_ENTRY.structuredMetadata, name.length + value.length)
      writer.string(LOKI_LABEL_PAIR.name, name).string(LOKI_LABEL_PAIR.value, value).end()
    }
    writer.end()
    stream.add(start, writer.length, seconds, nanos)
  }

  #open(seconds: number, nanos: number, lineLength: number): void {
    const writer = this.#writer
    writer.begin(LOKI_STREAM.entries, lineLength + 18).begin(LOKI_ENTRY.timestamp, 12)
    if (seconds > 0) writer.uintField(TIMESTAMP.seconds, seconds)
    if (nanos > 0) writer.uintField(TIMESTAMP.nanos, nanos)
    writer.end()
  }
}
