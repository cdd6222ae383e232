/** The body of a push: protobuf in a snappy block, or JSON. */
import { encodeSnappyBlock } from '../../net/snappy.ts'
import {
  LOKI_ENTRY,
  LOKI_LABEL_PAIR,
  LOKI_PUSH_REQUEST,
  LOKI_STREAM,
  TIMESTAMP,
} from '../../net/wire-fields.ts'
import { WireWriter } from '../../otlp/wire.ts'
import type { Push, Stream } from './streams.ts'

export function protobufBody(push: Push): Uint8Array {
  return encodeSnappyBlock(encodePush(push))
}

// message PushRequest { repeated Stream streams = 1; }
export function encodePush(push: Push): Uint8Array {
  const writer = new WireWriter(64 * 1024)
  for (const stream of push.streams.values()) writeStream(writer, stream)
  return writer.finish()
}

// message Stream { string labels = 1; repeated Entry entries = 2; uint64 hash = 3; }
// message Entry { Timestamp timestamp = 1; string line = 2; repeated LabelPair structured_metadata = 3; }
// message LabelPair { string name = 1; string value = 2; }
// message Timestamp { int64 seconds = 1; int32 nanos = 2; }
function writeStream(writer: WireWriter, stream: Stream): void {
  writer.begin(LOKI_PUSH_REQUEST.streams, stream.entries.length * 256).string(LOKI_STREAM.labels, stream.name)
  for (const entry of stream.entries) {
    writer.begin(LOKI_STREAM.entries, entry.line.length + 32).begin(LOKI_ENTRY.timestamp, 12)
    if (entry.seconds > 0) writer.uintField(TIMESTAMP.seconds, entry.seconds)
    if (entry.nanos > 0) writer.uintField(TIMESTAMP.nanos, entry.nanos)
    writer.end().string(LOKI_ENTRY.line, entry.line)
    for (const [name, value] of entry.metadata) {
      writer.begin(LOKI_ENTRY.structuredMetadata, name.length + value.length)
      writer.string(LOKI_LABEL_PAIR.name, name).string(LOKI_LABEL_PAIR.value, value).end()
    }
    writer.end()
  }
  writer.end()
}

/**
 * `{"streams":[{"stream":{...},"values":[["<nanoseconds>","line",{...}]]}]}`; the metadata is left out when
 * empty.
 */
export function jsonBody(push: Push): Uint8Array {
  const streams = [...push.streams.values()].map((stream) => ({
    stream: Object.fromEntries(stream.labels),
    values: stream.entries.map((entry) => {
      const nanos = String(entry.nanos)
      const time = entry.seconds === 0 ? nanos : `${entry.seconds}${nanos.padStart(9, '0')}`
      return entry.metadata.length === 0
        ? [time, entry.line]
        : [time, entry.line, Object.fromEntries(entry.metadata)]
    }),
  }))
  return Buffer.from(JSON.stringify({ streams }))
}
