/** The body of a push: protobuf in a snappy block, or JSON. */
import { encodeSnappyBlock } from '../../net/snappy.ts'
import { LOKI_ENTRY, LOKI_LABEL_PAIR, LOKI_PUSH_REQUEST, LOKI_STREAM } from '../../net/wire-fields.ts'
import { FieldCursor, WireWriter } from '../../otlp/wire.ts'
import { EntryCursor, type Ranges, type Stream } from './entries.ts'
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

function totalLength({ starts, ends }: Ranges): number {
  let length = 0
  for (let index = 0; index < starts.length; index++) length += ends[index]! - starts[index]!
  return length
}

// message Stream { string labels = 1; repeated Entry entries = 2; uint64 hash = 3; }
function writeStream(writer: WireWriter, stream: Stream, bytes: Uint8Array): void {
  writer.begin(LOKI_PUSH_REQUEST.streams, stream.name.length + totalLength(stream))
  writer.string(LOKI_STREAM.labels, stream.name)
  const { starts, ends } = stream.inOrder(bytes)
  for (let index = 0; index < starts.length; index++) writer.rawRange(bytes, starts[index]!, ends[index]!)
  writer.end()
}

/**
 * `{"streams":[{"stream":{...},"values":[["<nanoseconds>","line",{...}]]}]}`; the metadata is left out when
 * empty.
 */
export function jsonBody(push: Push): Uint8Array {
  const { bytes } = push.entries
  const streams = [...push.streams.values()].map((stream) => {
    const values = []
    const entries = new EntryCursor(stream.inOrder(bytes), bytes)
    while (entries.next()) values.push(jsonEntry(entries, bytes))
    return { stream: Object.fromEntries(stream.labels), values }
  })
  return Buffer.from(JSON.stringify({ streams }))
}

function jsonEntry({ seconds, nanos, contentStart, end }: EntryCursor, bytes: Uint8Array): unknown[] {
  const time = seconds === 0 ? String(nanos) : `${seconds}${String(nanos).padStart(9, '0')}`
  const entry = new FieldCursor(bytes, contentStart, end)
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
