/**
 * The JSON line of a log record, written from its bytes: what nearly all records take. It gives up on a record that needs
 * more than that (an attribute that is a hint or becomes a label, a nested value, a key twice), which then goes the long
 * way over objects (record.ts, line.ts); both write the same line.
 */
import { ANY_VALUE, LOG_RECORD } from '../../otlp/fields.ts'
import { JsonBuffer } from '../../otlp/json-buffer.ts'
import { parts } from '../../otlp/nanos.ts'
import { FIXED64, FieldCursor, LEN, rangeEquals, readVarint, readVarint64, VARINT } from '../../otlp/wire.ts'
import { readTime } from './record.ts'

/** Records with more attributes go the long way. */
const MAX_ATTRIBUTES = 64
const SAFE_VARINT = 7
const TRUE = Buffer.from('true')
const FALSE = Buffer.from('false')
const NULL = Buffer.from('null')
const BODY = Buffer.from('"body":')
const TRACE = Buffer.from('"traceid":')
const SPAN = Buffer.from('"spanid":')
const SEVERITY = Buffer.from('"severity":')
const FLAGS = Buffer.from('"flags":')
const ATTRIBUTES = Buffer.from('"attributes":{')
const STRING_TAG = ANY_VALUE.stringValue * 8 + LEN
const BOOL_TAG = ANY_VALUE.boolValue * 8 + VARINT
const INT_TAG = ANY_VALUE.intValue * 8 + VARINT
const DOUBLE_TAG = ANY_VALUE.doubleValue * 8 + FIXED64
const [COMMA, OPEN, CLOSE, COLON] = [0x2c, 0x7b, 0x7d, 0x3a]

/** Keys of attributes that say more than themselves. */
export class SpecialKeys {
  readonly #keys: readonly Uint8Array[]
  /** A bit for each length, up to 31. */
  #lengths = 0

  constructor(keys: Iterable<string>) {
    this.#keys = Array.from(keys, (key) => Buffer.from(key))
    for (const key of this.#keys) this.#lengths |= 1 << (key.length & 31)
  }

  has(bytes: Uint8Array, start: number, end: number): boolean {
    if ((this.#lengths & (1 << ((end - start) & 31))) === 0) return false
    for (const key of this.#keys) if (rangeEquals(bytes, start, end, key)) return true
    return false
  }
}

interface Range {
  start: number
  end: number
}

export class PlainRecord {
  /** The line of the last record that was read. */
  readonly line = new JsonBuffer()
  severityNumber = 0
  seconds = 0
  nanos = 0
  readonly #fields = new FieldCursor()
  readonly #text: Range = { start: 0, end: -1 }
  readonly #trace: Range = { start: 0, end: -1 }
  readonly #span: Range = { start: 0, end: -1 }
  readonly #body: Range = { start: 0, end: -1 }
  #timeAt = -1
  #observedAt = -1
  #flags = 0
  #bytes: Uint8Array = new Uint8Array(0)
  #count = 0
  // The attributes, by number, and their numbers in the order of their keys.
  readonly #keyStarts = new Int32Array(MAX_ATTRIBUTES)
  readonly #keyEnds = new Int32Array(MAX_ATTRIBUTES)
  readonly #valueEnds = new Int32Array(MAX_ATTRIBUTES)
  readonly #order = new Uint8Array(MAX_ATTRIBUTES)

  /**
   * Reads the LogRecord in this range. `tail` is what the line ends with: resource and scope, and the closing brace. False
   * when it is not as simple as that.
   */
  read(
    bytes: Uint8Array,
    start: number,
    end: number,
    special: SpecialKeys,
    tail: Uint8Array,
    nowMs: number,
  ): boolean {
    this.#bytes = bytes
    if (!this.#find(start, end, special)) return false
    const { line } = this
    line.clear()
    line.byte(OPEN)
    if (this.#body.end > this.#body.start) {
      line.raw(BODY)
      if (!this.#value(this.#body.start, this.#body.end)) return false
      line.byte(COMMA)
    }
    this.#id(TRACE, this.#trace)
    this.#id(SPAN, this.#span)
    if (this.#text.end > this.#text.start) {
      line.raw(SEVERITY)
      line.htmlSafeString(bytes, this.#text.start, this.#text.end)
      line.byte(COMMA)
    }
    if (this.#flags !== 0) {
      line.raw(FLAGS)
      line.integer(this.#flags)
      line.byte(COMMA)
    }
    if (this.#count > 0 && !this.#attributes()) return false
    if (tail.length === 1 && line.length > 1) line.truncate(line.length - 1)
    line.raw(tail)
    readTime(bytes, this.#timeAt, this.#observedAt, nowMs)
    this.seconds = parts.seconds
    this.nanos = parts.nanos
    return true
  }

  /** Finds the fields of the record; false when an attribute is not a plain one. */
  #find(start: number, end: number, special: SpecialKeys): boolean {
    const fields = this.#fields.reset(this.#bytes, start, end)
    this.#count = this.severityNumber = this.#flags = 0
    this.#timeAt = this.#observedAt = -1
    this.#text.end = this.#trace.end = this.#span.end = this.#body.end = -1
    while (fields.next()) {
      switch (fields.number) {
        case LOG_RECORD.timeUnixNano:
          if (fields.wireType === FIXED64) this.#timeAt = fields.start
          break
        case LOG_RECORD.observedTimeUnixNano:
          if (fields.wireType === FIXED64) this.#observedAt = fields.start
          break
        case LOG_RECORD.severityNumber:
          this.severityNumber = fields.uint()
          break
        case LOG_RECORD.flags:
          this.#flags = fields.fixed32()
          break
        case LOG_RECORD.severityText:
          this.#take(this.#text)
          break
        case LOG_RECORD.traceId:
          this.#take(this.#trace)
          break
        case LOG_RECORD.spanId:
          this.#take(this.#span)
          break
        case LOG_RECORD.body:
          if (fields.wireType === LEN) this.#take(this.#body)
          break
        case LOG_RECORD.attributes:
          if (fields.wireType === LEN && !this.#attribute(fields.start, fields.end, special)) return false
          break
      }
    }
    return true
  }

  /** Keeps the range of the field at hand, of a later one of the same number again; none if it is no LEN field. */
  #take(range: Range): void {
    const fields = this.#fields
    range.start = fields.start
    range.end = fields.wireType === LEN ? fields.end : -1
  }

  /** Takes a KeyValue of the common layout: short key first, then the value. */
  #attribute(start: number, end: number, special: SpecialKeys): boolean {
    const bytes = this.#bytes
    const index = this.#count
    const keyLength = bytes[start + 1]!
    const keyStart = start + 2
    const keyEnd = keyStart + keyLength
    if (index === MAX_ATTRIBUTES || end - start < 4 || bytes[start] !== 0x0a || keyLength >= 128) return false
    if (keyEnd + 2 > end || bytes[keyEnd] !== 0x12) return false
    const valueLength = readVarint(bytes, keyEnd + 1)
    if (keyEnd + 1 + lengthOfLength(valueLength) + valueLength !== end) return false
    if (special.has(bytes, keyStart, keyEnd)) return false
    this.#keyStarts[index] = keyStart
    this.#keyEnds[index] = keyEnd
    this.#valueEnds[index] = end
    this.#count++
    // Into its place among those before; mostly they come in one order, and often in this one.
    const order = this.#order
    let at = index
    while (at > 0) {
      const compared = this.#compareKeys(order[at - 1]!, index)
      if (compared === 0) return false
      if (compared < 0) break
      order[at] = order[at - 1]!
      at--
    }
    order[at] = index
    return true
  }

  #compareKeys(left: number, right: number): number {
    const bytes = this.#bytes
    let leftAt = this.#keyStarts[left]!
    let rightAt = this.#keyStarts[right]!
    const leftLength = this.#keyEnds[left]! - leftAt
    const rightLength = this.#keyEnds[right]! - rightAt
    const stop = leftAt + Math.min(leftLength, rightLength)
    while (leftAt < stop) {
      const order = bytes[leftAt++]! - bytes[rightAt++]!
      if (order !== 0) return order
    }
    return leftLength - rightLength
  }

  #attributes(): boolean {
    const { line } = this
    line.raw(ATTRIBUTES)
    for (let at = 0; at < this.#count; at++) {
      const index = this.#order[at]!
      const keyEnd = this.#keyEnds[index]!
      const valueEnd = this.#valueEnds[index]!
      if (at > 0) line.byte(COMMA)
      line.htmlSafeString(this.#bytes, this.#keyStarts[index]!, keyEnd)
      line.byte(COLON)
      if (!this.#value(keyEnd + 1 + lengthOfVarint(this.#bytes, keyEnd + 1), valueEnd)) return false
    }
    line.byte(CLOSE)
    line.byte(COMMA)
    return true
  }

  /** Writes an AnyValue that is a string, a number, a bool or empty. */
  #value(start: number, end: number): boolean {
    const { line } = this
    const bytes = this.#bytes
    if (start === end) {
      line.raw(NULL)
      return true
    }
    const at = start + 1
    switch (bytes[start]) {
      case STRING_TAG: {
        const length = readVarint(bytes, at)
        const from = at + lengthOfVarint(bytes, at)
        if (from + length !== end) return false
        line.htmlSafeString(bytes, from, end)
        return true
      }
      case INT_TAG:
        if (at + lengthOfVarint(bytes, at) !== end) return false
        if (end - at <= SAFE_VARINT) line.integer(readVarint(bytes, at))
        else line.ascii(BigInt.asIntN(64, readVarint64(bytes, at)).toString())
        return true
      case BOOL_TAG:
        if (at + 1 !== end) return false
        line.raw(bytes[at] === 0 ? FALSE : TRUE)
        return true
      case DOUBLE_TAG:
        if (at + 8 !== end) return false
        line.double(bytes, at)
        return true
      default:
        return false
    }
  }

  #id(name: Uint8Array, range: Range): void {
    const bytes = this.#bytes
    let any = 0
    for (let at = range.start; at < range.end; at++) any |= bytes[at]!
    if (any === 0) return
    this.line.raw(name)
    this.line.hex(bytes, range.start, range.end)
    this.line.byte(COMMA)
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
