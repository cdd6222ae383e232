/**
 * The JSON line of a log record, written from its bytes: what nearly all records take. It gives up on a record that needs
 * more than that (an attribute that is a hint or becomes a label, a nested value, a key twice), which then goes the long
 * way over objects (record.ts, line.ts); both write the same line.
 */
import { ANY_VALUE, LOG_RECORD } from '../../otlp/fields.ts'
import { parts } from '../../otlp/nanos.ts'
import {
  FIXED32,
  FIXED64,
  LEN,
  putRange,
  readFixed32,
  readVarint,
  readVarint64,
  VARINT,
} from '../../otlp/wire.ts'
import type { EntryStore } from './entries.ts'
import { type FoundAttributes, type KeyShapes, MAX_ATTRIBUTES, textOf } from './key-shapes.ts'
import { putAscii, putDouble, putHex, putInteger, putString, putWords, type Text } from './line-text.ts'
import { readTime } from './record.ts'

const SAFE_VARINT = 7
/** A byte of a record becomes six at most; the names of the fields and the punctuation need this on top. */
const MOST_EXPANSION = 6
const NAMES_BYTES = 128
const NULL = textOf('null')
const TRUE = textOf('true')
const FALSE = textOf('false')
const BODY = textOf('"body":')
const TRACE = textOf('"traceid":')
const SPAN = textOf('"spanid":')
const SEVERITY = textOf('"severity":')
const FLAGS = textOf('"flags":')
const STRING_TAG = ANY_VALUE.stringValue * 8 + LEN
const BOOL_TAG = ANY_VALUE.boolValue * 8 + VARINT
const INT_TAG = ANY_VALUE.intValue * 8 + VARINT
const DOUBLE_TAG = ANY_VALUE.doubleValue * 8 + FIXED64
const KEY_TAG = 8 + LEN
const VALUE_TAG = 16 + LEN
const [COMMA, OPEN, CLOSE] = [0x2c, 0x7b, 0x7d]

/** What the lines of some records have in common. */
export interface PlainLines {
  readonly shapes: KeyShapes
  /** What they end with: resource and scope, and the closing brace. */
  readonly tail: Uint8Array
}

class Range {
  start = 0
  end = -1
}

export class PlainRecord implements FoundAttributes {
  severityNumber = 0
  count = 0
  readonly keyStarts = new Int32Array(MAX_ATTRIBUTES)
  readonly keyEnds = new Int32Array(MAX_ATTRIBUTES)
  readonly #valueEnds = new Int32Array(MAX_ATTRIBUTES)
  readonly #text = new Range()
  readonly #trace = new Range()
  readonly #span = new Range()
  readonly #body = new Range()
  #timeAt = -1
  #observedAt = -1
  #flags = 0
  #hash = 0

  /**
   * Writes the line of the LogRecord in this range as an entry that is not closed yet. Returns where the line ends, or -1
   * when the record is not as simple as that.
   */
  write(
    source: Text,
    start: number,
    end: number,
    lines: PlainLines,
    store: EntryStore,
    nowMs: number,
  ): number {
    if (!this.#find(source.bytes, start, end)) return -1
    readTime(source.bytes, this.#timeAt, this.#observedAt, nowMs)
    const room = (end - start) * MOST_EXPANSION + lines.tail.length + NAMES_BYTES
    const begin = store.open(parts.seconds, parts.nanos, room)
    const out = store.bytes
    let at = begin
    out[at++] = OPEN
    at = this.#fields(store, at, source)
    if (at >= 0 && this.count > 0) at = this.#attributes(store, at, source, lines.shapes)
    if (at < 0) return -1
    const { tail } = lines
    if (tail.length === 1 && at > begin + 1) at-- // No comma before the brace.
    return putRange(out, at, tail, 0, tail.length)
  }

  /** Finds the fields of the record; false when it, or an attribute, is not of the common layout. */
  #find(bytes: Uint8Array, start: number, end: number): boolean {
    this.count = this.severityNumber = this.#flags = this.#hash = 0
    this.#timeAt = this.#observedAt = -1
    this.#text.end = this.#trace.end = this.#span.end = this.#body.end = -1
    let at = start
    while (at < end) {
      const tag = bytes[at++]!
      if ((tag & 7) === LEN && tag < 128) {
        let length = bytes[at++]!
        if (length >= 128) {
          length = readVarint(bytes, at - 1)
          at += lengthOfLength(length) - 1
        }
        const from = at
        at += length
        if (at > end || !this.#take(tag, bytes, from, at)) return false
        continue
      }
      switch (tag) {
        case LOG_RECORD.timeUnixNano * 8 + FIXED64:
          this.#timeAt = at
          at += 8
          break
        case LOG_RECORD.observedTimeUnixNano * 8 + FIXED64:
          this.#observedAt = at
          at += 8
          break
        case LOG_RECORD.severityNumber * 8 + VARINT:
          this.severityNumber = bytes[at++]!
          if (this.severityNumber >= 128) return false
          break
        case LOG_RECORD.flags * 8 + FIXED32:
          this.#flags = at + 4 <= end ? readFixed32(bytes, at) : 0
          at += 4
          break
        case LOG_RECORD.droppedAttributesCount * 8 + VARINT:
          while (bytes[at++]! >= 128);
          break
        default:
          return false
      }
    }
    return at === end
  }

  /** Keeps the range of a field; of one that comes twice, the later. */
  #take(tag: number, bytes: Uint8Array, start: number, end: number): boolean {
    switch (tag) {
      case LOG_RECORD.attributes * 8 + LEN:
        return this.#attribute(bytes, start, end)
      case LOG_RECORD.body * 8 + LEN:
        return keep(this.#body, start, end)
      case LOG_RECORD.severityText * 8 + LEN:
        return keep(this.#text, start, end)
      case LOG_RECORD.traceId * 8 + LEN:
        return keep(this.#trace, start, end)
      case LOG_RECORD.spanId * 8 + LEN:
        return keep(this.#span, start, end)
      default:
        return tag === LOG_RECORD.eventName * 8 + LEN
    }
  }

  /** Takes a KeyValue of the common layout: short key first, then the value. */
  #attribute(bytes: Uint8Array, start: number, end: number): boolean {
    const index = this.count
    if (index === MAX_ATTRIBUTES || end - start < 4 || bytes[start] !== KEY_TAG) return false
    const keyLength = bytes[start + 1]!
    const keyEnd = start + 2 + keyLength
    if (keyLength >= 128 || keyEnd + 2 > end || bytes[keyEnd] !== VALUE_TAG) return false
    const valueLength = readVarint(bytes, keyEnd + 1)
    if (keyEnd + 1 + lengthOfLength(valueLength) + valueLength !== end) return false
    this.keyStarts[index] = start + 2
    this.keyEnds[index] = keyEnd
    this.#valueEnds[index] = end
    this.#hash = (this.#hash * 5 + keyLength) | 0
    this.count = index + 1
    return true
  }

  /** Writes all but the attributes, each with a comma behind it. */
  #fields(target: Text, at: number, source: Text): number {
    const out = target.bytes
    const body = this.#body
    if (body.end > body.start) {
      at = putWords(target, at, BODY.view, 0, 7)
      at = putValue(target, at, source, body.start, body.end)
      if (at < 0) return -1
      out[at++] = COMMA
    }
    const { bytes } = source
    const trace = this.#trace
    if (hasId(bytes, trace)) {
      at = putHex(target, putWords(target, at, TRACE.view, 0, 10), bytes, trace.start, trace.end)
      out[at++] = COMMA
    }
    const span = this.#span
    if (hasId(bytes, span)) {
      at = putHex(target, putWords(target, at, SPAN.view, 0, 9), bytes, span.start, span.end)
      out[at++] = COMMA
    }
    const text = this.#text
    if (text.end > text.start) {
      at = putString(target, putWords(target, at, SEVERITY.view, 0, 11), source, text.start, text.end)
      out[at++] = COMMA
    }
    if (this.#flags !== 0) {
      at = putInteger(out, putWords(target, at, FLAGS.view, 0, 8), this.#flags)
      out[at++] = COMMA
    }
    return at
  }

  #attributes(target: Text, at: number, source: Text, shapes: KeyShapes): number {
    const shape = shapes.find(this, source, this.#hash)
    if (!shape.plain) return -1
    const { order, text, textEnds } = shape
    let from = 0
    for (let place = 0; place < this.count; place++) {
      const index = order[place]!
      const to = textEnds[place]!
      at = putWords(target, at, text.view, from, to)
      from = to
      const start = this.keyEnds[index]! + 1
      at = putValue(target, at, source, start + lengthOfVarint(source.bytes, start), this.#valueEnds[index]!)
      if (at < 0) return -1
    }
    target.bytes[at++] = CLOSE
    target.bytes[at++] = COMMA
    return at
  }
}

function keep(range: Range, start: number, end: number): true {
  range.start = start
  range.end = end
  return true
}

/** An id of zeros is none. */
function hasId(bytes: Uint8Array, range: Range): boolean {
  for (let at = range.start; at < range.end; at++) if (bytes[at] !== 0) return true
  return false
}

/** Writes an AnyValue that is a string, a number, a bool or empty; -1 for any other. */
function putValue(target: Text, at: number, source: Text, start: number, end: number): number {
  if (start === end) return putWords(target, at, NULL.view, 0, 4)
  const { bytes } = source
  const from = start + 1
  switch (bytes[start]) {
    case STRING_TAG: {
      const text = from + lengthOfVarint(bytes, from)
      if (text + readVarint(bytes, from) !== end) return -1
      return putString(target, at, source, text, end)
    }
    case INT_TAG:
      if (from + lengthOfVarint(bytes, from) !== end) return -1
      if (end - from <= SAFE_VARINT) return putInteger(target.bytes, at, readVarint(bytes, from))
      return putAscii(target.bytes, at, BigInt.asIntN(64, readVarint64(bytes, from)).toString())
    case BOOL_TAG:
      if (from + 1 !== end) return -1
      return bytes[from] === 0
        ? putWords(target, at, FALSE.view, 0, 5)
        : putWords(target, at, TRUE.view, 0, 4)
    case DOUBLE_TAG:
      return from + 8 === end ? putDouble(target.bytes, at, bytes, from) : -1
    default:
      return -1
  }
}

/** Bytes that the varint at this offset takes. */
function lengthOfVarint(bytes: Uint8Array, at: number): number {
  const start = at
  while (bytes[at]! >= 128) at++
  return at + 1 - start
}

function lengthOfLength(length: number): number {
  return length < 128 ? 1 : length < 16_384 ? 2 : length < 2_097_152 ? 3 : length < 268_435_456 ? 4 : 5
}
