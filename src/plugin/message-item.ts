/**
 * What all friendly items have in common: a cursor on one encoded message that reads fields where they lie and remembers what was
 * set. One object is moved from item to item, so an item is valid until the next one comes: keep its values, not the item.
 *
 * What was not set is copied byte for byte, unknown fields included.
 */
import { type JsValue, ValueRef, writeAnyValue } from '../otlp/attributes.ts'
import {
  FIXED32,
  FIXED64,
  FieldCursor,
  LEN,
  readDouble,
  readFixed32,
  readFixed64,
  readString,
  readVarint,
  VARINT,
  WireWriter,
} from '../otlp/wire.ts'
import { Attributes } from './attributes.ts'

const EMPTY = new Uint8Array(0)
const HEX = /^([0-9a-fA-F]{2})*$/

/** What became of the messages of one repeated field: new content, null for dropped; undefined as it was. */
interface Nested {
  readonly edits: (Uint8Array | null | undefined)[]
  readonly added: Uint8Array[]
}

export class MessageItem {
  readonly attributes: Attributes
  /** The encoded message is bytes from start to end; nobody writes to them. */
  protected bytes: Uint8Array = EMPTY
  protected start = 0
  protected end = 0
  readonly #readOnly: boolean
  readonly #cursor = new FieldCursor()
  /** Whole fields, tag included, that replace those of the message; empty = taken away. */
  #fields: Map<number, Uint8Array> | undefined
  #nested: Map<number, Nested> | undefined
  #dropped = false

  constructor(readOnly = false) {
    this.#readOnly = readOnly
    this.attributes = new Attributes(readOnly)
  }

  /** For the cursor over items: puts this on another message. */
  point(bytes: Uint8Array, start: number, end: number, attributesField: number): void {
    this.bytes = bytes
    this.start = start
    this.end = end
    this.#fields = undefined
    this.#nested = undefined
    this.#dropped = false
    this.attributes.point(bytes, start, end, attributesField)
  }

  /** Takes the item out of the batch. */
  drop(): void {
    this.#check()
    this.#dropped = true
  }

  get dropped(): boolean {
    return this.#dropped
  }

  /** For the cursor over items. */
  get changed(): boolean {
    return this.#fields !== undefined || this.#nested !== undefined || this.attributes.changed
  }

  /** For the cursor over items: appends the whole message after the changes. */
  writeInto(output: WireWriter): void {
    if (this.#fields === undefined && this.#nested === undefined) {
      this.attributes.writeInto(output)
      return
    }
    let { bytes, start, end } = this
    if (this.attributes.changed) {
      const inner = new WireWriter(end - start + 256)
      this.attributes.writeInto(inner)
      bytes = inner.finish()
      start = 0
      end = bytes.length
    }
    this.#merge(output, bytes, start, end)
  }

  #merge(output: WireWriter, bytes: Uint8Array, start: number, end: number): void {
    const written = new Set<number>()
    const seen = new Map<number, number>()
    const fields = new FieldCursor(bytes, start, end)
    while (fields.next()) {
      const field = this.#fields?.get(fields.number)
      if (field !== undefined) {
        if (!written.has(fields.number)) output.raw(field)
        written.add(fields.number)
        continue
      }
      const nested = fields.wireType === LEN ? this.#nested?.get(fields.number) : undefined
      if (nested !== undefined) {
        const index = seen.get(fields.number) ?? 0
        seen.set(fields.number, index + 1)
        const edit = nested.edits[index]
        if (edit === null) continue
        if (edit !== undefined) {
          output.len(fields.number, edit)
          continue
        }
      }
      output.rawRange(bytes, fields.fieldStart, fields.end)
    }
    for (const [number, field] of this.#fields ?? []) if (!written.has(number)) output.raw(field)
    for (const [number, { added }] of this.#nested ?? []) for (const one of added) output.len(number, one)
  }

  #check(): void {
    if (this.#readOnly) throw new TypeError('read-only here; edit it in resources() or scopes()')
  }

  /** Puts the cursor on a singular field as it stands after the changes; false when it is not there. */
  #find(number: number, wireType: number): boolean {
    const field = this.#fields?.get(number)
    const cursor = this.#cursor
    if (field === undefined) cursor.reset(this.bytes, this.start, this.end)
    else cursor.reset(field)
    while (cursor.next()) if (cursor.number === number && cursor.wireType === wireType) return true
    return false
  }

  protected readText(number: number): string {
    const cursor = this.#cursor
    return this.#find(number, LEN) ? readString(cursor.bytes, cursor.start, cursor.end) : ''
  }

  protected readHex(number: number): string {
    if (!this.#find(number, LEN)) return ''
    const { bytes, start, end } = this.#cursor
    return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('hex')
  }

  protected readUint(number: number): number {
    return this.#find(number, VARINT) ? readVarint(this.#cursor.bytes, this.#cursor.start) : 0
  }

  protected readFixed32(number: number): number {
    return this.#find(number, FIXED32) ? readFixed32(this.#cursor.bytes, this.#cursor.start) : 0
  }

  protected readFixed64(number: number): bigint {
    return this.#find(number, FIXED64) ? readFixed64(this.#cursor.bytes, this.#cursor.start) : 0n
  }

  protected has(number: number, wireType: number): boolean {
    return this.#find(number, wireType)
  }

  protected readDouble(number: number): number {
    return this.#find(number, FIXED64) ? readDouble(this.#cursor.bytes, this.#cursor.start) : 0
  }

  protected readValue(number: number): ValueRef {
    const ref = new ValueRef()
    if (!this.#find(number, LEN)) return ref.clear()
    return ref.read(this.#cursor.bytes, this.#cursor.start, this.#cursor.end)
  }

  /** The content of a singular message field; empty when it is not there. */
  protected readMessage(number: number): Uint8Array {
    return this.#find(number, LEN) ? this.#cursor.value() : EMPTY
  }

  protected setField(number: number, write: (output: WireWriter) => void): void {
    this.#check()
    const output = new WireWriter(32)
    write(output)
    this.#fields ??= new Map()
    this.#fields.set(number, output.finish())
  }

  protected setText(number: number, text: string): void {
    if (typeof text !== 'string') throw new TypeError('expected a string')
    this.setField(number, (output) => void output.string(number, text))
  }

  /** An id: hex of `length` bytes, or an empty string. */
  protected setHex(number: number, hex: string, length: number): void {
    if (typeof hex !== 'string' || !HEX.test(hex) || (hex.length !== length * 2 && hex !== '')) {
      throw new TypeError(`expected ${length * 2} hexadecimal digits`)
    }
    this.setField(number, (output) => void output.len(number, Buffer.from(hex, 'hex')))
  }

  protected setUint(number: number, value: number): void {
    if (!Number.isInteger(value) || value < 0 || value > 0xffffffff) {
      throw new TypeError('expected a whole number from 0 to 4294967295')
    }
    this.setField(number, (output) => void output.uintField(number, value))
  }

  protected setFixed64(number: number, value: bigint): void {
    if (typeof value !== 'bigint') throw new TypeError('64-bit times and counts are bigint: 1n')
    this.setField(number, (output) => void output.fixed64Field(number, value))
  }

  protected setValue(number: number, value: JsValue): void {
    this.setField(number, (output) => void writeAnyValue(output.begin(number), value).end())
  }

  /** The messages of a repeated field, one after the other in `item`; what is done to it is kept. */
  protected *readNested<I extends MessageItem>(number: number, field: number, item: I): Generator<I> {
    const fields = new FieldCursor(this.bytes, this.start, this.end)
    let index = 0
    while (fields.next()) {
      if (fields.number !== number || fields.wireType !== LEN) continue
      const at = index++
      const edit = this.#nested?.get(number)?.edits[at]
      if (edit === null) continue
      if (edit === undefined) item.point(fields.bytes, fields.start, fields.end, field)
      else item.point(edit, 0, edit.length, field)
      try {
        yield item
      } finally {
        if (item.dropped) this.#nestedOf(number).edits[at] = null
        else if (item.changed) this.#nestedOf(number).edits[at] = encodeItem(item)
      }
    }
    const added = this.#nested?.get(number)?.added ?? []
    for (let at = 0; at < added.length; at++) {
      const content = added[at] ?? EMPTY
      item.point(content, 0, content.length, field)
      try {
        yield item
      } finally {
        if (item.dropped) added.splice(at--, 1)
        else if (item.changed) added[at] = encodeItem(item)
      }
    }
  }

  protected addNested(number: number, content: Uint8Array): void {
    this.#check()
    this.#nestedOf(number).added.push(content)
  }

  #nestedOf(number: number): Nested {
    this.#nested ??= new Map()
    let nested = this.#nested.get(number)
    if (nested === undefined) this.#nested.set(number, (nested = { edits: [], added: [] }))
    return nested
  }
}

function encodeItem(item: MessageItem): Uint8Array {
  const output = new WireWriter()
  item.writeInto(output)
  return output.take()
}
