/**
 * Attributes where they lie: reading and finding them in an encoded list of KeyValue without decoding the
 * rest.
 *
 * Every message with attributes holds them as a repeated field: RESOURCE.attributes, SPAN.attributes and so
 * on. An AttributeCursor is made once (per component, not per item) and pointed at one message after the
 * other:
 *
 *     const attributes = new AttributeCursor()
 *     const METHOD = keyBytes('http.request.method')
 *
 *     attributes.reset(chunk, spanStart, spanEnd, SPAN.attributes) // The content of the span.
 *     if (attributes.find(METHOD)) text = attributes.value.text()
 *
 *     attributes.reset(chunk, spanStart, spanEnd, SPAN.attributes)
 *     while (attributes.next()) record[attributes.key()] = attributes.value.js()
 *
 * A key that occurs twice is found at its first place; next() shows both.
 */
import { WireError } from '../errors.ts'
import { type JsValue, ValueRef, writeAnyValue } from './any-value.ts'
import { ANY_VALUE, KEY_VALUE } from './fields.ts'
import { FieldCursor, LEN, rangeEquals, readString, WireWriter } from './wire.ts'

export {
  anyValueText,
  anyValueToJs,
  EMPTY_VALUE,
  type JsValue,
  jsToAnyValue,
  ValueRef,
  valueText,
  writeAnyValue,
} from './any-value.ts'
export { doubleText, valueJson } from './value-json.ts'

const encoder = new TextEncoder()

/** A key to search for, encoded once. */
export function keyBytes(key: string): Uint8Array {
  return encoder.encode(key)
}

export class AttributeCursor {
  bytes: Uint8Array = new Uint8Array(0)
  /** The whole field, tag included: what to copy to keep the attribute, and to leave out to remove it. */
  fieldStart = 0
  fieldEnd = 0
  keyStart = 0
  keyEnd = 0
  /** The value: its kind and what it holds. */
  readonly value: ValueRef = new ValueRef()
  /** The content of the AnyValue message; start = end when it is empty or absent. */
  valueStart = 0
  valueEnd = 0
  #number = 0
  #limit = 0
  readonly #fields = new FieldCursor()
  readonly #pair = new FieldCursor()

  /** Puts the cursor before the first attribute of the message whose content is `start` to `end`. */
  reset(bytes: Uint8Array, start: number, end: number, attributesField: number): this {
    this.bytes = bytes
    this.fieldEnd = start
    this.#limit = end
    this.#number = attributesField
    return this
  }

  /** Moves to the next attribute; false at the end. */
  next(): boolean {
    const fields = this.#fields.reset(this.bytes, this.fieldEnd, this.#limit)
    while (fields.next()) {
      if (fields.number !== this.#number || fields.wireType !== LEN) continue
      this.#open(fields.fieldStart, fields.start, fields.end)
      return true
    }
    this.fieldEnd = this.#limit
    return false
  }

  /** Moves to the next attribute with this key, starting behind the current one; false if there is none. */
  find(key: Uint8Array): boolean {
    const bytes = this.bytes
    const limit = this.#limit
    const tag = this.#number < 16 ? this.#number * 8 + LEN : -1
    const keyLength = key.length < 128 ? key.length : -1
    let at = this.fieldEnd
    while (at < limit) {
      const length = bytes[at + 1]!
      // An attribute shorter than 128 bytes that begins with its key: the common case needs no cursor.
      const end = at + 2 + length
      if (bytes[at] === tag && length < 128 && length >= 2 && bytes[at + 2] === 0x0a && end <= limit) {
        const ownLength = bytes[at + 3]!
        if (ownLength < 128) {
          if (ownLength === keyLength && rangeEquals(bytes, at + 4, at + 4 + keyLength, key)) {
            this.#open(at, at + 2, end)
            return true
          }
          at = end
          continue
        }
      }
      at = this.#step(at)
      if (this.fieldStart < 0) continue
      if (rangeEquals(bytes, this.keyStart, this.keyEnd, key)) return true
    }
    this.fieldEnd = limit
    return false
  }

  /**
   * Reads the field at `at` the general way; fieldStart is -1 if it is no attribute. Returns the offset after
   * it.
   */
  #step(at: number): number {
    const fields = this.#fields.reset(this.bytes, at, this.#limit)
    fields.next()
    if (fields.number === this.#number && fields.wireType === LEN)
      this.#open(fields.fieldStart, fields.start, fields.end)
    else this.fieldStart = -1
    return fields.end
  }

  // message KeyValue { string key = 1; AnyValue value = 2; }
  #open(fieldStart: number, start: number, end: number): void {
    const bytes = this.bytes
    this.fieldStart = fieldStart
    this.fieldEnd = end
    if (end - start >= 4 && bytes[start] === 0x0a && bytes[start + 1]! < 128) {
      const middle = start + 2 + bytes[start + 1]!
      const length = end - middle - 2
      if (length >= 0 && length < 128 && bytes[middle] === 0x12 && bytes[middle + 1] === length) {
        this.keyStart = start + 2
        this.keyEnd = middle
        this.valueStart = middle + 2
        this.valueEnd = end
        this.value.read(bytes, middle + 2, end)
        return
      }
    }
    this.keyStart = this.keyEnd = this.valueStart = this.valueEnd = start
    const pair = this.#pair.reset(bytes, start, end)
    while (pair.next()) {
      if (pair.wireType !== LEN) continue
      if (pair.number === KEY_VALUE.key) {
        this.keyStart = pair.start
        this.keyEnd = pair.end
      } else if (pair.number === KEY_VALUE.value) {
        this.valueStart = pair.start
        this.valueEnd = pair.end
      }
    }
    this.value.read(bytes, this.valueStart, this.valueEnd)
  }

  key(): string {
    return readString(this.bytes, this.keyStart, this.keyEnd)
  }

  keyEquals(key: Uint8Array): boolean {
    return rangeEquals(this.bytes, this.keyStart, this.keyEnd, key)
  }

  /** Tag, length and content of the attribute, as a view. */
  raw(): Uint8Array {
    return this.bytes.subarray(this.fieldStart, this.fieldEnd)
  }
}

/**
 * Finds an attribute in the message whose content is `start` to `end`. True when it is there; `out` then
 * stands on it.
 */
export function findAttribute(
  bytes: Uint8Array,
  start: number,
  end: number,
  attributesField: number,
  key: Uint8Array,
  out: AttributeCursor,
): boolean {
  return out.reset(bytes, start, end, attributesField).find(key)
}

/**
 * The text of the attribute that the cursor stands on, as the Go collector prints it (any-value.ts,
 * valueText).
 */
export function attributeText(attribute: AttributeCursor): string {
  return attribute.value.text()
}

/**
 * All attributes of a message as a JS record; of a key that occurs twice the last. For rare paths and tests.
 */
export function attributesToJs(
  bytes: Uint8Array,
  start: number,
  end: number,
  attributesField: number,
): Record<string, JsValue> {
  const cursor = new AttributeCursor().reset(bytes, start, end, attributesField)
  const pairs: [string, JsValue][] = []
  while (cursor.next()) pairs.push([cursor.key(), cursor.value.js()])
  return Object.fromEntries(pairs)
}

/**
 * Encodes the content of a KeyValue; write it with `writer.len(SPAN.attributes, encodeAttribute(key,
 * value))`.
 */
export function encodeAttribute(key: string, value: JsValue): Uint8Array {
  const writer = new WireWriter(key.length + 64)
  writer.string(KEY_VALUE.key, key).begin(KEY_VALUE.value, 64)
  return writeAnyValue(writer, value).end().finish()
}

/** Appends an attribute as the field `attributesField` of the message being written. */
export function writeAttribute(
  writer: WireWriter,
  attributesField: number,
  key: string,
  value: JsValue,
): WireWriter {
  writer.begin(attributesField, 64).string(KEY_VALUE.key, key).begin(KEY_VALUE.value, 32)
  return writeAnyValue(writer, value).end().end()
}

/** Appends an attribute with a string, both parts already encoded as UTF-8. */
export function writeStringAttribute(
  writer: WireWriter,
  attributesField: number,
  key: Uint8Array,
  text: Uint8Array,
): WireWriter {
  writer.begin(attributesField, key.length + text.length + 6).len(KEY_VALUE.key, key)
  return writer
    .begin(KEY_VALUE.value, text.length + 2)
    .len(ANY_VALUE.stringValue, text)
    .end()
    .end()
}

/** The content of the KeyValue with the same value and another key. */
export function renameAttribute(attribute: AttributeCursor, key: string): Uint8Array {
  const writer = new WireWriter(key.length + attribute.valueEnd - attribute.valueStart + 16)
  const { bytes, valueStart, valueEnd } = attribute
  if (valueEnd < valueStart) throw new WireError('an attribute without a value', valueStart)
  writer.string(KEY_VALUE.key, key).begin(KEY_VALUE.value, valueEnd - valueStart)
  return writer.rawRange(bytes, valueStart, valueEnd).end().finish()
}
