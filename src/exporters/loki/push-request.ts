/** The body of a push: protobuf in a snappy block, or JSON. */
import { encodeSnappyBlock } from '../../net/snappy.ts'
import { LOKI_ENTRY, LOKI_LABEL_PAIR, LOKI_PUSH_REQUEST, LOKI_STREAM } from '../../net/wire-fields.ts'
import { FieldCursor, WireWriter } from '../../otlp/wire.ts'
import type { Stream } from './entries.ts'
import type { Push } from './streams.ts'

/** What is compressed is not kept, so it is put together in one buffer for all; a large one is given back. */
let shared = new WireWriter(64 * 1024)
const KEEP_BYTES = 16 * 1024 * 1024

export function protobufBody(push: Push): Uint8Array {
  writePush(shared, push)
  const block = encodeSnappyBlock(shared.view())
  shared.truncate(0)
  if (shared.capacity > KEEP_BYTES) shared = new WireWriter(64 * 1024)
  return block
}

export function encodePush(push: Push): Uint8Array {
  const writer = new WireWriter(64 * 1024)
  writePush(writer, push)
  return writer.finish()
}

// message PushRequest { repeated Stream streams = 1; }
function writePush(writer: WireWriter, push: Push): void {
  const { bytes } = push.entries
  for (const stream of push.streams.values()) writeStream(writer, stream, bytes)
}

function entriesLength(stream: Stream): number {
  const { starts, ends } = stream
  let length = 0
  for (let index = 0; index < starts.length; index++) length += ends[index]! - starts[index]!
  return length
}

// message Stream { string labels = 1; repeated Entry entries = 2; uint64 hash = 3; }
function writeStream(writer: WireWriter, stream: Stream, bytes: Uint8Array): void {
  const { starts, ends } = stream
  writer.begin(LOKI_PUSH_REQUEST.streams, stream.name.length + entriesLength(stream))
  writer.string(LOKI_STREAM.labels, stream.name)
  const order = stream.order()
  for (let index = 0; index < starts.length; index++) {
    if (order) {
      const entry = order[index]!
      writer.rawRange(bytes, starts[entry]!, ends[entry]!)
      continue
    }
    // Neighbours go in one piece.
    const start = starts[index]!
    while (index + 1 < starts.length && starts[index + 1] === ends[index]) index++
    writer.rawRange(bytes, start, ends[index]!)
  }
  writer.end()
}

/**
 * `{"streams":[{"stream":{...},"values":[["<nanoseconds>","line",{...}]]}]}`; the metadata is left out when
 * empty.
 */
export function jsonBody(push: Push): Uint8Array {
  const { bytes } = push.entries
  const streams = [...push.streams.values()].map((stream) => {
    const order = stream.order()
    return {
      stream: Object.fromEntries(stream.labels),
      values: stream.starts.map((_, index) => jsonEntry(stream, order?.[index] ?? index, bytes)),
    }
  })
  return Buffer.from(JSON.stringify({ streams }))
}

function jsonEntry(stream: Stream, index: number, bytes: Uint8Array): unknown[] {
  const seconds = stream.seconds[index]!
  const nanos = String(stream.nanos[index])
  const time = seconds === 0 ? nanos : `${seconds}${nanos.padStart(9, '0')}`
  const field = new FieldCursor(bytes, stream.starts[index]!, stream.ends[index]!)
  field.next()
  const entry = new FieldCursor(bytes, field.start, field.end)
  let line = ''
  const metadata: [string, string][] = []
  while (entry.next()) {
    if (entry.number === LOKI_ENTRY.line) line = entry.string()
    else if (entry.number === LOKI_ENTRY.structuredMetadata) {
      const pair = new FieldCursor(bytes, entry.start, entry.end)
      let name = ''
      let value = ''
      while (pair.next()) {
        if (pair.number === LOKI_LABEL_PAIR.name) name = pair.string()
        else if (pair.number === LOKI_LABEL_PAIR.value) value = pair.string()
      }
      metadata.push([name, value])
    }
  }
  return metadata.length === 0 ? [time, line] : [time, line, Object.fromEntries(metadata)]
}
