/**
 * AnyValue: reading one where it lies, its text as the Go collector prints it, and conversion from and to JS
 * values.
 *
 * A ValueRef is made once and pointed at one value after the other; reading it allocates nothing until text()
 * or js() is asked for. The receiver has seen to it that an AnyValue holds at most one kind and nests at most
 * MAX_DEPTH deep; what comes from elsewhere is checked again here.
 */
import { WireError } from '../errors.ts'
import { ANY_VALUE, ARRAY_VALUE, KEY_VALUE, KEY_VALUE_LIST } from './fields.ts'
import { base64, doubleText, isArray, valueJson } from './value-json.ts'
import {
  FIXED64,
  FieldCursor,
  LEN,
  MAX_DEPTH,
  readDouble,
  readString,
  readVarint,
  readVarint64,
  VARINT,
  WireWriter,
} from './wire.ts'

/**
 * The kind of an AnyValue is the field number that holds it (ANY_VALUE.stringValue, ...), 0 when it is empty.
 */
export const EMPTY_VALUE = 0

/** An AnyValue in JS: ints are bigint, doubles number, an empty value is null, a kvlist an object. */
export type JsValue =
  | string
  | boolean
  | bigint
  | number
  | Uint8Array
  | null
  | readonly JsValue[]
  | { readonly [key: string]: JsValue }

/**
 * Levels of arrays and maps in a value that is written here. Each takes up to three messages, and around a
 * value there are up to eight, so that what is written passes the door of the next collector (MAX_DEPTH).
 */
const DEEPEST_VALUE = Math.floor((MAX_DEPTH - 8) / 3)

const inner = new FieldCursor()

export class ValueRef {
  bytes: Uint8Array = new Uint8Array(0)
  /** ANY_VALUE.stringValue and so on, or EMPTY_VALUE. */
  kind = EMPTY_VALUE
  /** What the kind holds: content of a string, bytes, array or kvlist; else the encoded scalar. */
  start = 0
  end = 0

  /** Points at the AnyValue whose content is this range. */
  read(bytes: Uint8Array, start: number, end: number): this {
    this.bytes = bytes
    // One string, shorter than 128 bytes: what most values are.
    const length = end - start - 2
    if (bytes[start] === 0x0a && length >= 0 && length < 128 && bytes[start + 1] === length) {
      this.kind = ANY_VALUE.stringValue
      this.start = start + 2
      this.end = end
      return this
    }
    this.kind = EMPTY_VALUE
    this.start = this.end = start
    inner.reset(bytes, start, end)
    while (inner.next()) {
      if (inner.wireType !== wireTypeOf(inner.number)) continue
      this.kind = inner.number
      this.start = inner.start
      this.end = inner.end
    }
    return this
  }

  clear(): this {
    this.kind = EMPTY_VALUE
    this.start = this.end = 0
    return this
  }

  /** The value as text: see valueText. */
  text(): string {
    return valueText(this.bytes, this.kind, this.start, this.end)
  }

  js(): JsValue {
    return toJs(this.bytes, this.kind, this.start, this.end, 0)
  }

  /** An int_value. */
  int(): bigint {
    return BigInt.asIntN(64, readVarint64(this.bytes, this.start))
  }

  bool(): boolean {
    return readVarint(this.bytes, this.start) !== 0
  }

  double(): number {
    return readDouble(this.bytes, this.start)
  }
}

/** Wire type of a kind; -1 for a field that is none. */
function wireTypeOf(kind: number): number {
  switch (kind) {
    case ANY_VALUE.stringValue:
    case ANY_VALUE.arrayValue:
    case ANY_VALUE.kvlistValue:
    case ANY_VALUE.bytesValue:
      return LEN
    case ANY_VALUE.boolValue:
    case ANY_VALUE.intValue:
      return VARINT
    case ANY_VALUE.doubleValue:
      return FIXED64
    default:
      return -1
  }
}

/**
 * The text of a value as the Go collector's AsString gives it: strings as they are, true and false, decimal
 * ints, the shortest double, standard base64, arrays and maps as compact JSON (sorted keys, HTML characters
 * escaped), an empty value as the empty string.
 */
export function valueText(bytes: Uint8Array, kind: number, start: number, end: number): string {
  switch (kind) {
    case ANY_VALUE.stringValue:
      return readString(bytes, start, end)
    case ANY_VALUE.boolValue:
      return readVarint(bytes, start) !== 0 ? 'true' : 'false'
    case ANY_VALUE.intValue:
      return intText(bytes, start, end)
    case ANY_VALUE.doubleValue:
      return doubleText(readDouble(bytes, start))
    case ANY_VALUE.bytesValue:
      return base64(bytes, start, end)
    case ANY_VALUE.arrayValue:
    case ANY_VALUE.kvlistValue:
      return valueJson(toJs(bytes, kind, start, end, 0)) ?? ''
    default:
      return ''
  }
}

/** The text of an AnyValue message, for example the body of a log record. */
export function anyValueText(bytes: Uint8Array, start: number, end: number): string {
  return new ValueRef().read(bytes, start, end).text()
}

/** Up to seven bytes of varint are below 2^53 and positive, and need no bigint. */
function intText(bytes: Uint8Array, start: number, end: number): string {
  return end - start <= 7
    ? String(readVarint(bytes, start))
    : BigInt.asIntN(64, readVarint64(bytes, start)).toString()
}

/** The AnyValue whose content is this range, as a JS value. */
export function anyValueToJs(bytes: Uint8Array, start = 0, end: number = bytes.length): JsValue {
  return new ValueRef().read(bytes, start, end).js()
}

function toJs(bytes: Uint8Array, kind: number, start: number, end: number, depth: number): JsValue {
  switch (kind) {
    case ANY_VALUE.stringValue:
      return readString(bytes, start, end)
    case ANY_VALUE.boolValue:
      return readVarint(bytes, start) !== 0
    case ANY_VALUE.intValue:
      return BigInt.asIntN(64, readVarint64(bytes, start))
    case ANY_VALUE.doubleValue:
      return readDouble(bytes, start)
    case ANY_VALUE.bytesValue:
      return new Uint8Array(bytes.subarray(start, end)) // A copy: slice() of a Buffer is none.
    case ANY_VALUE.arrayValue:
      return arrayToJs(bytes, start, end, depth)
    case ANY_VALUE.kvlistValue:
      return Object.fromEntries(pairsToJs(bytes, start, end, depth))
    default:
      return null
  }
}

function arrayToJs(bytes: Uint8Array, start: number, end: number, depth: number): JsValue[] {
  if (depth > MAX_DEPTH) throw new WireError('values nested too deeply', start)
  const values: JsValue[] = []
  const cursor = new FieldCursor(bytes, start, end)
  const ref = new ValueRef()
  while (cursor.next()) {
    if (cursor.number !== ARRAY_VALUE.values || cursor.wireType !== LEN) continue
    ref.read(bytes, cursor.start, cursor.end)
    values.push(toJs(bytes, ref.kind, ref.start, ref.end, depth + 1))
  }
  return values
}

function pairsToJs(bytes: Uint8Array, start: number, end: number, depth: number): [string, JsValue][] {
  if (depth > MAX_DEPTH) throw new WireError('values nested too deeply', start)
  const pairs: [string, JsValue][] = []
  const list = new FieldCursor(bytes, start, end)
  const pair = new FieldCursor()
  const ref = new ValueRef()
  while (list.next()) {
    if (list.number !== KEY_VALUE_LIST.values || list.wireType !== LEN) continue
    let key = ''
    let value: JsValue = null
    pair.enter(list)
    while (pair.next()) {
      if (pair.wireType !== LEN) continue
      if (pair.number === KEY_VALUE.key) key = pair.string()
      else if (pair.number === KEY_VALUE.value) {
        ref.read(bytes, pair.start, pair.end)
        value = toJs(bytes, ref.kind, ref.start, ref.end, depth + 1)
      }
    }
    pairs.push([key, value])
  }
  return pairs
}

/**
 * Encodes the content of an AnyValue. Whole numbers become ints, as in the OpenTelemetry SDK for JavaScript.
 */
export function jsToAnyValue(value: JsValue): Uint8Array {
  return writeAnyValue(new WireWriter(64), value).finish()
}

/** Appends the content of an AnyValue: the one field that holds it, or nothing for null. */
export function writeAnyValue(writer: WireWriter, value: JsValue, depth = 0): WireWriter {
  if (depth > DEEPEST_VALUE) throw new RangeError('a value is nested too deeply, or contains itself')
  switch (typeof value) {
    case 'string':
      return writer.string(ANY_VALUE.stringValue, value)
    case 'boolean':
      return writer.uintField(ANY_VALUE.boolValue, value ? 1 : 0)
    case 'bigint':
      return writer.int64Field(ANY_VALUE.intValue, value)
    case 'number':
      return Number.isSafeInteger(value) && !Object.is(value, -0)
        ? writer.int64Field(ANY_VALUE.intValue, BigInt(value))
        : writer.doubleField(ANY_VALUE.doubleValue, value)
  }
  if (value === null) return writer
  if (value instanceof Uint8Array) return writer.len(ANY_VALUE.bytesValue, value)
  if (isArray(value)) {
    writer.begin(ANY_VALUE.arrayValue, value.length * 8)
    for (const entry of value) writeAnyValue(writer.begin(ARRAY_VALUE.values), entry, depth + 1).end()
    return writer.end()
  }
  writer.begin(ANY_VALUE.kvlistValue, 127)
  for (const [key, entry] of Object.entries(value)) {
    writer.begin(KEY_VALUE_LIST.values, 64).string(KEY_VALUE.key, key).begin(KEY_VALUE.value)
    writeAnyValue(writer, entry, depth + 1)
      .end()
      .end()
  }
  return writer.end()
}
