/**
 * The attributes of one message (Resource, Span, LogRecord, a data point) under edit, as ranges of
 * encoded bytes.
 *
 *     list.load(chunk, spanStart, spanEnd, SPAN.attributes)
 *     list.put(list.find(key), keyValue)
 *     if (list.changed) output = list.writeTo(output, at)
 *
 * What is not touched is copied byte for byte and in its place, unknown fields included: a replaced
 * attribute stays where it was, a new one goes to the end of the message. A key that occurs twice means
 * its first occurrence, as in the Go collector's map. One list is reused for all messages, so nothing is
 * allocated per message.
 */
import { KEY_VALUE } from './fields.ts'
import {
  FieldCursor,
  LEN,
  lenFieldLength,
  putLenHeader,
  putRange,
  rangeEquals,
  varintLength,
  type WireWriter,
} from './wire.ts'

/**
 * Numbers per attribute. `field` is the range in the message; the others lie in `#from`: the KeyValue and
 * its parts.
 */
const FIELD_START = 0
const FIELD_END = 1
const CONTENT_START = 2
const CONTENT_END = 3
const KEY_START = 4
const KEY_END = 5
const VALUE_START = 6
const VALUE_END = 7
const STRIDE = 8

const INITIAL_ATTRIBUTES = 64
const SCRATCH_BYTES = 16 * 1024
/** A scratch buffer that one huge attribute made larger than this is not kept. */
const SCRATCH_KEPT_BYTES = 1024 * 1024
const EMPTY = new Uint8Array(0)

/** A KeyValue encoded ahead: its content, and where in it the AnyValue's content lies (at its end). */
export interface EncodedAttribute {
  readonly key: Uint8Array
  readonly content: Uint8Array
  readonly valueStart: number
}

/** `value` is the content of an AnyValue. */
export function encodeAttribute(key: Uint8Array, value: Uint8Array): EncodedAttribute {
  const content = Buffer.allocUnsafeSlow(attributeLength(key.length, value.length))
  const valueStart = writeAttribute(content, 0, key, value, 0, value.length) - value.length
  return { key, content, valueStart }
}

function attributeLength(keyLength: number, valueLength: number): number {
  return lenFieldLength(KEY_VALUE.key, keyLength) + lenFieldLength(KEY_VALUE.value, valueLength)
}

function writeAttribute(
  target: Uint8Array,
  at: number,
  key: Uint8Array,
  source: Uint8Array,
  start: number,
  end: number,
): number {
  at = putRange(target, putLenHeader(target, at, KEY_VALUE.key, key.length), key, 0, key.length)
  return putRange(target, putLenHeader(target, at, KEY_VALUE.value, end - start), source, start, end)
}

export class AttributeList {
  /** Attributes in the list, removed ones included: indexes run below it. */
  count = 0
  #source: Uint8Array = EMPTY
  #start = 0
  #end = 0
  #field = 0
  /** Attributes that came with the message; those above were added. */
  #loaded = 0
  #slots = new Int32Array(INITIAL_ATTRIBUTES * STRIDE)
  /** Whose bytes an attribute is made of: the source, or where its new KeyValue lies. Undefined = removed. */
  readonly #from: (Uint8Array | undefined)[] = []
  #scratch: Uint8Array = Buffer.allocUnsafeSlow(SCRATCH_BYTES)
  #scratchAt = 0
  #output: Uint8Array = EMPTY
  readonly #message = new FieldCursor()
  readonly #pair = new FieldCursor()

  /** Reads the attributes (field `field`) of the message whose content is this range. */
  load(source: Uint8Array, start: number, end: number, field: number): this {
    this.#source = source
    this.#start = start
    this.#end = end
    this.#field = field
    this.count = 0
    this.#scratchAt = 0
    if (this.#scratch.length > SCRATCH_KEPT_BYTES) this.#scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES)
    const message = this.#message.reset(source, start, end)
    while (message.next()) {
      if (message.number === field && message.wireType === LEN) this.#append(message)
    }
    this.#loaded = this.count
    return this
  }

  // message KeyValue { string key = 1; AnyValue value = 2; }
  #append(message: FieldCursor): void {
    const at = this.#newSlot(message.bytes)
    const slots = this.#slots
    slots[at + FIELD_START] = message.fieldStart
    slots[at + FIELD_END] = message.end
    slots[at + CONTENT_START] = message.start
    slots[at + CONTENT_END] = message.end
    slots[at + KEY_START] = slots[at + KEY_END] = message.end
    slots[at + VALUE_START] = slots[at + VALUE_END] = message.end
    const pair = this.#pair.enter(message)
    while (pair.next()) {
      if (pair.wireType !== LEN) continue
      if (pair.number === KEY_VALUE.key) {
        slots[at + KEY_START] = pair.start
        slots[at + KEY_END] = pair.end
      } else if (pair.number === KEY_VALUE.value) {
        slots[at + VALUE_START] = pair.start
        slots[at + VALUE_END] = pair.end
      }
    }
  }

  #newSlot(from: Uint8Array): number {
    const at = this.count * STRIDE
    if (at === this.#slots.length) {
      const grown = new Int32Array(this.#slots.length * 2)
      grown.set(this.#slots)
      this.#slots = grown
    }
    this.#from[this.count] = from
    this.count++
    return at
  }

  /** Index of the first attribute with this key; -1 when there is none. */
  find(key: Uint8Array): number {
    const slots = this.#slots
    const length = key.length
    for (let index = 0, at = 0; index < this.count; index++, at += STRIDE) {
      const start = slots[at + KEY_START]!
      if (slots[at + KEY_END]! - start !== length) continue
      const from = this.#from[index]
      if (from !== undefined && rangeEquals(from, start, start + length, key)) return index
    }
    return -1
  }

  /** False for an attribute that was removed. */
  has(index: number): boolean {
    return this.#from[index] !== undefined
  }

  /** The bytes that the ranges of this attribute refer to. */
  bytes(index: number): Uint8Array {
    return this.#from[index] ?? EMPTY
  }
  keyStart(index: number): number {
    return this.#slots[index * STRIDE + KEY_START]!
  }
  keyEnd(index: number): number {
    return this.#slots[index * STRIDE + KEY_END]!
  }
  /** Content of the AnyValue; start = end when it is empty. */
  valueStart(index: number): number {
    return this.#slots[index * STRIDE + VALUE_START]!
  }
  valueEnd(index: number): number {
    return this.#slots[index * STRIDE + VALUE_END]!
  }

  remove(index: number): void {
    this.#from[index] = undefined
  }

  /** Replaces the attribute at `index`, or adds one when it is -1. The bytes must stay as they are. */
  put(index: number, attribute: EncodedAttribute): void {
    const { key, content, valueStart } = attribute
    if (index >= 0 && this.#valueEquals(index, content, valueStart, content.length)) return
    this.#place(index, content, 0, content.length, key.length, valueStart)
  }

  /** As put(), with the content of an AnyValue that is copied now. */
  putValue(index: number, key: Uint8Array, source: Uint8Array, start: number, end: number): void {
    if (index >= 0 && this.#valueEquals(index, source, start, end)) return
    const length = attributeLength(key.length, end - start)
    const at = this.#reserve(length)
    const contentEnd = writeAttribute(this.#scratch, at, key, source, start, end)
    this.#scratchAt = contentEnd
    this.#place(index, this.#scratch, at, contentEnd, key.length, contentEnd - (end - start))
  }

  #valueEquals(index: number, other: Uint8Array, start: number, end: number): boolean {
    const from = this.#from[index]
    const at = index * STRIDE
    const first = this.#slots[at + VALUE_START]!
    const length = end - start
    if (from === undefined || this.#slots[at + VALUE_END]! - first !== length) return false
    for (let offset = 0; offset < length; offset++)
      if (from[first + offset] !== other[start + offset]) return false
    return true
  }

  /** Room in the scratch buffer. Attributes that lie in an outgrown buffer keep it. */
  #reserve(length: number): number {
    if (this.#scratchAt + length > this.#scratch.length) {
      this.#scratch = Buffer.allocUnsafeSlow(Math.max(SCRATCH_BYTES, length * 2))
      this.#scratchAt = 0
    }
    return this.#scratchAt
  }

  #place(
    index: number,
    from: Uint8Array,
    start: number,
    end: number,
    keyLength: number,
    value: number,
  ): void {
    const added = index < 0
    const at = added ? this.#newSlot(from) : index * STRIDE
    if (!added) this.#from[index] = from
    const slots = this.#slots
    slots[at + CONTENT_START] = start
    slots[at + CONTENT_END] = end
    // The key is the first field, with a tag of one byte.
    const keyStart = start + 1 + varintLength(keyLength)
    slots[at + KEY_START] = keyStart
    slots[at + KEY_END] = keyStart + keyLength
    slots[at + VALUE_START] = value
    slots[at + VALUE_END] = end
  }

  /** True when writeTo() gives other bytes than were loaded. */
  get changed(): boolean {
    for (let index = 0; index < this.#loaded; index++) if (this.#from[index] !== this.#source) return true
    for (let index = this.#loaded; index < this.count; index++) if (this.has(index)) return true
    return false
  }

  /** Length of the message's content after the edits. */
  get encodedLength(): number {
    const slots = this.#slots
    let length = this.#end - this.#start
    for (let index = 0, at = 0; index < this.count; index++, at += STRIDE) {
      const from = this.#from[index]
      if (index < this.#loaded) {
        if (from === this.#source) continue
        length -= slots[at + FIELD_END]! - slots[at + FIELD_START]!
      }
      if (from !== undefined)
        length += lenFieldLength(this.#field, slots[at + CONTENT_END]! - slots[at + CONTENT_START]!)
    }
    return length
  }

  /** Writes the content of the message after the edits; returns the offset after it. */
  writeTo(target: Uint8Array, at: number): number {
    const slots = this.#slots
    let copied = this.#start
    for (let index = 0; index < this.count; index++) {
      const slot = index * STRIDE
      const from = this.#from[index]
      if (index < this.#loaded) {
        if (from === this.#source) continue
        at = putRange(target, at, this.#source, copied, slots[slot + FIELD_START]!)
        copied = slots[slot + FIELD_END]!
      } else if (index === this.#loaded) {
        at = putRange(target, at, this.#source, copied, this.#end)
        copied = this.#end
      }
      if (from === undefined) continue
      const start = slots[slot + CONTENT_START]!
      const end = slots[slot + CONTENT_END]!
      at = putRange(target, putLenHeader(target, at, this.#field, end - start), from, start, end)
    }
    return putRange(target, at, this.#source, copied, this.#end)
  }

  /** As writeTo(), into a writer. */
  writeInto(writer: WireWriter): void {
    const length = this.encodedLength
    if (length > this.#output.length) this.#output = Buffer.allocUnsafeSlow(length * 2)
    writer.rawRange(this.#output, 0, this.writeTo(this.#output, 0))
  }
}
