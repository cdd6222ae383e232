/**
 * OTLP to Jaeger: one PostSpansRequest from the spans of one resource, as the exporter of the Go collector
 * made it.
 *
 * Encoded spans are read in place and the request is written straight from them; nothing is made per span.
 * Ids, texts and scalars are copied as bytes.
 */

import {
  JAEGER_BATCH,
  JAEGER_LOG,
  JAEGER_POST_SPANS_REQUEST,
  JAEGER_PROCESS,
  JAEGER_SPAN,
} from '../../net/wire-fields.ts'
import { AttributeCursor, findAttribute, keyBytes } from '../../otlp/attributes.ts'
import { INSTRUMENTATION_SCOPE, RESOURCE, SPAN, SPAN_EVENT, STATUS, STATUS_CODE } from '../../otlp/fields.ts'
import { ChunkWalker } from '../../otlp/walk.ts'
import { FIXED64, FieldCursor, LEN, WireWriter } from '../../otlp/wire.ts'
import { writeReferences } from './references.ts'
import { span } from './span-ranges.ts'
import { constantTag, writeDuration, writeRange, writeRangeTag, writeTag, writeTimestamp } from './tags.ts'

/** Of a resource without any attribute. One that has some, but no service.name, has an empty name. */
const NO_SERVICE_NAME = 'OTLPResourceNoServiceName'
const SERVICE_NAME = keyBytes('service.name')
const EVENT = keyBytes('event')
const TAGS = JAEGER_SPAN.tags
const KIND_TAGS = ['', 'internal', 'server', 'client', 'producer', 'consumer'].map((kind) =>
  kind === '' ? undefined : constantTag(TAGS, 'span.kind', kind),
)
const STATUS_OK = constantTag(TAGS, 'otel.status_code', 'OK')
const STATUS_ERROR = Buffer.concat([
  constantTag(TAGS, 'otel.status_code', 'ERROR'),
  constantTag(TAGS, 'error', true),
])

export interface PostSpans {
  readonly message: Uint8Array
  readonly spanCount: number
}

const walker = new ChunkWalker()
const attributes = new AttributeCursor()
const fields = new FieldCursor()
const inner = new FieldCursor()

/** The pieces are encoded requests, each with one ResourceSpans, all of the same resource. */
// message PostSpansRequest { Batch batch = 1; }
// message Batch { repeated Span spans = 1; Process process = 2; }
export function encodePostSpans(pieces: readonly Uint8Array[]): PostSpans {
  let length = 0
  for (const piece of pieces) length += piece.length
  const sizeBytes = length + (length >>> 1) + 1024
  const writer = new WireWriter(sizeBytes).begin(JAEGER_POST_SPANS_REQUEST.batch, sizeBytes)
  let spanCount = 0
  let hasProcess = false
  for (const piece of pieces) {
    walker.reset(piece)
    while (walker.nextResource()) {
      if (!hasProcess) writeProcess(writer, piece, walker.resourceStart, walker.resourceEnd)
      hasProcess = true
      while (walker.nextScope()) {
        let scope: Uint8Array | undefined // Known when the walker has passed it, at the first item.
        while (walker.nextItem()) {
          scope ??= scopeTags(piece, walker.scopeStart, walker.scopeEnd)
          writer.begin(JAEGER_BATCH.spans, walker.itemEnd - walker.itemStart + 128)
          span.read(piece, walker.itemStart, walker.itemEnd)
          writeSpan(writer, scope)
          writer.end()
          spanCount++
        }
      }
    }
  }
  return { message: writer.end().finish(), spanCount }
}

// message Process { string service_name = 1; repeated KeyValue tags = 2; }
function writeProcess(writer: WireWriter, bytes: Uint8Array, start: number, end: number): void {
  writer.begin(JAEGER_BATCH.process, end - start + 32)
  attributes.reset(bytes, start, end, RESOURCE.attributes)
  let count = 0
  let named = false
  while (attributes.next()) {
    count++
    if (!attributes.keyEquals(SERVICE_NAME)) writeTag(writer, JAEGER_PROCESS.tags, attributes)
    else if (!named) {
      writer.string(JAEGER_PROCESS.serviceName, attributes.value.text())
      named = true
    }
  }
  if (count === 0) writer.string(JAEGER_PROCESS.serviceName, NO_SERVICE_NAME)
  writer.end()
}

// message InstrumentationScope { string name = 1; string version = 2; ... }
function scopeTags(bytes: Uint8Array, start: number, end: number): Uint8Array {
  const writer = new WireWriter(64)
  fields.reset(bytes, start, end)
  while (fields.next()) {
    if (fields.wireType !== LEN || fields.start === fields.end) continue
    if (fields.number === INSTRUMENTATION_SCOPE.name)
      writeRangeTag(writer, TAGS, 'otel.scope.name', bytes, fields.start, fields.end)
    else if (fields.number === INSTRUMENTATION_SCOPE.version)
      writeRangeTag(writer, TAGS, 'otel.scope.version', bytes, fields.start, fields.end)
  }
  return writer.finish()
}

// message Span { bytes trace_id = 1; bytes span_id = 2; string operation_name = 3;
//   repeated SpanRef references = 4; uint32 flags = 5; Timestamp start_time = 6; Duration duration = 7;
//   repeated KeyValue tags = 8; repeated Log logs = 9; ... }
function writeSpan(writer: WireWriter, scope: Uint8Array): void {
  const { bytes } = span
  writeRange(writer, JAEGER_SPAN.traceId, bytes, span.traceIdStart, span.traceIdEnd)
  writeRange(writer, JAEGER_SPAN.spanId, bytes, span.spanIdStart, span.spanIdEnd)
  writeRange(writer, JAEGER_SPAN.operationName, bytes, span.nameStart, span.nameEnd)
  writeReferences(writer)
  writeTimestamp(writer, JAEGER_SPAN.startTime, bytes, span.startTimeAt)
  writeDuration(writer, JAEGER_SPAN.duration, bytes, span.startTimeAt, span.endTimeAt)
  writer.raw(scope)
  attributes.reset(bytes, span.start, span.end, SPAN.attributes)
  while (attributes.next()) writeTag(writer, TAGS, attributes)
  const kind = KIND_TAGS[span.kind]
  if (kind) writer.raw(kind)
  writeStatus(writer)
  if (span.stateEnd > span.stateStart)
    writeRangeTag(writer, TAGS, 'w3c.tracestate', bytes, span.stateStart, span.stateEnd)
  if (span.events > 0) writeLogs(writer)
}

// message Status { string message = 2; StatusCode code = 3; }
function writeStatus(writer: WireWriter): void {
  const { bytes, statusStart, statusEnd } = span
  if (statusStart === statusEnd) return
  let code = 0
  let messageStart = 0
  let messageEnd = 0
  fields.reset(bytes, statusStart, statusEnd)
  while (fields.next()) {
    if (fields.number === STATUS.code) code = fields.uint()
    else if (fields.number === STATUS.message && fields.wireType === LEN) {
      messageStart = fields.start
      messageEnd = fields.end
    }
  }
  if (code === STATUS_CODE.ok) writer.raw(STATUS_OK)
  else if (code === STATUS_CODE.error) writer.raw(STATUS_ERROR)
  if (messageEnd > messageStart)
    writeRangeTag(writer, TAGS, 'otel.status_description', bytes, messageStart, messageEnd)
}

// message Log { Timestamp timestamp = 1; repeated KeyValue fields = 2; }
function writeLogs(writer: WireWriter): void {
  const { bytes } = span
  fields.reset(bytes, span.start, span.end)
  while (fields.next()) {
    if (fields.number !== SPAN.events || fields.wireType !== LEN) continue
    const { start, end } = fields
    let timeAt = -1
    let nameStart = 0
    let nameEnd = 0
    inner.enter(fields)
    while (inner.next()) {
      if (inner.number === SPAN_EVENT.timeUnixNano && inner.wireType === FIXED64) timeAt = inner.start
      else if (inner.number === SPAN_EVENT.name && inner.wireType === LEN) {
        nameStart = inner.start
        nameEnd = inner.end
      }
    }
    writer.begin(JAEGER_SPAN.logs, end - start + 16)
    writeTimestamp(writer, JAEGER_LOG.timestamp, bytes, timeAt)
    if (nameEnd > nameStart && !findAttribute(bytes, start, end, SPAN_EVENT.attributes, EVENT, attributes))
      writeRangeTag(writer, JAEGER_LOG.fields, 'event', bytes, nameStart, nameEnd)
    attributes.reset(bytes, start, end, SPAN_EVENT.attributes)
    while (attributes.next()) writeTag(writer, JAEGER_LOG.fields, attributes)
    writer.end()
  }
}
