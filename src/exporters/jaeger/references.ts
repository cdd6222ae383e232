/** References of a Jaeger span: its parent and its links. */

import { JAEGER_SPAN, JAEGER_SPAN_REF, JAEGER_SPAN_REF_TYPE as REF_TYPE } from '../../net/wire-fields.ts'
import { AttributeCursor, findAttribute, keyBytes } from '../../otlp/attributes.ts'
import { SPAN, SPAN_LINK } from '../../otlp/fields.ts'
import { FieldCursor, LEN, rangeEquals, type WireWriter } from '../../otlp/wire.ts'
import { span } from './span-ranges.ts'
import { writeRange } from './tags.ts'

const REF_TYPE_KEY = keyBytes('opentracing.ref_type')
const CHILD_OF = keyBytes('child_of')

const attributes = new AttributeCursor()
const fields = new FieldCursor()
const inner = new FieldCursor()

/** An id of zeros is none. */
function isZero(bytes: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; at++) if (bytes[at] !== 0) return false
  return true
}

/**
 * The parent first: servers take the first CHILD_OF for it. A link to the parent only says of which kind it
 * is.
 */
export function writeReferences(writer: WireWriter): void {
  const { bytes } = span
  const hasParent = !isZero(bytes, span.parentStart, span.parentEnd)
  if (hasParent) {
    const type = span.links > 0 ? parentType() : REF_TYPE.childOf
    const { traceIdStart, traceIdEnd, parentStart, parentEnd } = span
    writeReference(writer, traceIdStart, traceIdEnd, parentStart, parentEnd, type)
  }
  if (span.links === 0) return
  fields.reset(bytes, span.start, span.end)
  while (fields.next()) {
    if (fields.number !== SPAN.links || fields.wireType !== LEN) continue
    link.read()
    if (hasParent && link.isParent()) continue
    writeReference(writer, link.traceIdStart, link.traceIdEnd, link.spanIdStart, link.spanIdEnd, link.type())
  }
}

function parentType(): number {
  let type: number = REF_TYPE.childOf
  fields.reset(span.bytes, span.start, span.end)
  while (fields.next()) {
    if (fields.number !== SPAN.links || fields.wireType !== LEN) continue
    link.read()
    if (link.isParent()) type = link.type()
  }
  return type
}

/** The link that `fields` stands on. */
const link = {
  start: 0,
  end: 0,
  traceIdStart: 0,
  traceIdEnd: 0,
  spanIdStart: 0,
  spanIdEnd: 0,

  read(): void {
    this.start = fields.start
    this.end = fields.end
    this.traceIdStart = this.traceIdEnd = this.spanIdStart = this.spanIdEnd = fields.start
    inner.enter(fields)
    while (inner.next()) {
      if (inner.wireType !== LEN) continue
      if (inner.number === SPAN_LINK.traceId) {
        this.traceIdStart = inner.start
        this.traceIdEnd = inner.end
      } else if (inner.number === SPAN_LINK.spanId) {
        this.spanIdStart = inner.start
        this.spanIdEnd = inner.end
      }
    }
  },

  isParent(): boolean {
    const { bytes, traceIdStart, traceIdEnd, parentStart, parentEnd } = span
    return (
      equalRanges(bytes, this.traceIdStart, this.traceIdEnd, traceIdStart, traceIdEnd) &&
      equalRanges(bytes, this.spanIdStart, this.spanIdEnd, parentStart, parentEnd)
    )
  },

  type(): number {
    const { bytes } = span
    const found = findAttribute(bytes, this.start, this.end, SPAN_LINK.attributes, REF_TYPE_KEY, attributes)
    const { start, end } = attributes.value
    return found && rangeEquals(bytes, start, end, CHILD_OF) ? REF_TYPE.childOf : REF_TYPE.followsFrom
  },
}

function equalRanges(
  bytes: Uint8Array,
  start: number,
  end: number,
  otherStart: number,
  otherEnd: number,
): boolean {
  if (end - start !== otherEnd - otherStart) return false
  for (let at = start; at < end; at++) if (bytes[at] !== bytes[otherStart + at - start]) return false
  return true
}

// message SpanRef { bytes trace_id = 1; bytes span_id = 2; SpanRefType ref_type = 3; }
function writeReference(
  writer: WireWriter,
  traceStart: number,
  traceEnd: number,
  idStart: number,
  idEnd: number,
  type: number,
): void {
  writer.begin(JAEGER_SPAN.references, 32)
  writeRange(writer, JAEGER_SPAN_REF.traceId, span.bytes, traceStart, traceEnd)
  writeRange(writer, JAEGER_SPAN_REF.spanId, span.bytes, idStart, idEnd)
  if (type !== REF_TYPE.childOf) writer.uintField(JAEGER_SPAN_REF.refType, type)
  writer.end()
}
