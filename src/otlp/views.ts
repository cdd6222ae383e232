/**
 * Convenient, read-only views on encoded messages, for user code, rare paths and tests; built-in paths use
 * cursors.
 *
 *     for (const group of resourceSpans(batch)) // traces.ts; metrics.ts and logs.ts are alike.
 *       for (const scope of group.scopes())
 *         for (const span of scope.spans()) span.attributes.get('http.route')
 *
 * A view is a byte range. It decodes what it is asked for, when it is asked, and keeps nothing but an index
 * of its fields, so a field that is read twice is decoded twice. Absent fields read as their defaults. Ids
 * are lower-case hex, times and other 64-bit integers bigint.
 */
import { AttributeCursor, attributesToJs, type JsValue, keyBytes, ValueRef } from './attributes.ts'
import { INSTRUMENTATION_SCOPE, RESOURCE } from './fields.ts'
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
  readVarint64,
  VARINT,
} from './wire.ts'

interface Place {
  readonly wireType: number
  readonly start: number
  readonly end: number
}

export type ViewClass<V> = new (bytes: Uint8Array, start: number, end: number) => V

/** A message. Subclasses give names to its fields; read*() read one by its number. */
export class MessageView {
  readonly bytes: Uint8Array
  readonly start: number
  readonly end: number
  #places: Map<number, Place> | undefined

  constructor(bytes: Uint8Array, start = 0, end: number = bytes.length) {
    this.bytes = bytes
    this.start = start
    this.end = end
  }

  get byteLength(): number {
    return this.end - this.start
  }

  /** The encoded content, as a view on the bytes of the batch: not to be written to. */
  encoded(): Uint8Array {
    return this.bytes.subarray(this.start, this.end)
  }

  /** A cursor before the first field, for what the view has no name for. */
  fields(): FieldCursor {
    return new FieldCursor(this.bytes, this.start, this.end)
  }

  has(number: number): boolean {
    return this.#placeOf(number) !== undefined
  }

  /**
   * Where the field is, or its last occurrence; undefined when it is absent or, with `wireType`, of another.
   */
  #placeOf(number: number, wireType = -1): Place | undefined {
    if (this.#places === undefined) {
      this.#places = new Map()
      const fields = this.fields()
      while (fields.next())
        this.#places.set(fields.number, { wireType: fields.wireType, start: fields.start, end: fields.end })
    }
    const place = this.#places.get(number)
    return place !== undefined && (wireType < 0 || place.wireType === wireType) ? place : undefined
  }

  readText(number: number): string {
    const place = this.#placeOf(number, LEN)
    return place === undefined ? '' : readString(this.bytes, place.start, place.end)
  }

  /** A bytes field as lower-case hex: ids. */
  readHex(number: number): string {
    const place = this.#placeOf(number, LEN)
    if (place === undefined) return ''
    const { buffer, byteOffset } = this.bytes
    return Buffer.from(buffer, byteOffset + place.start, place.end - place.start).toString('hex')
  }

  /** Enums, counts, bools and flags: a varint or fixed32. */
  readUint(number: number): number {
    const place = this.#placeOf(number)
    if (place?.wireType === VARINT) return readVarint(this.bytes, place.start)
    return place?.wireType === FIXED32 ? readFixed32(this.bytes, place.start) : 0
  }

  /** sint32: zigzag. */
  readSint(number: number): number {
    const value = this.readUint(number)
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2
  }

  readFixed64(number: number): bigint {
    const place = this.#placeOf(number, FIXED64)
    return place === undefined ? 0n : readFixed64(this.bytes, place.start)
  }

  readDouble(number: number): number {
    const place = this.#placeOf(number, FIXED64)
    return place === undefined ? 0 : readDouble(this.bytes, place.start)
  }

  /** A message in a singular field; an empty one when it is absent. */
  readMessage<V>(number: number, view: ViewClass<V>): V {
    const place = this.#placeOf(number, LEN)
    return place === undefined
      ? new view(this.bytes, this.end, this.end)
      : new view(this.bytes, place.start, place.end)
  }

  /** An AnyValue in a singular field. */
  readValue(number: number): JsValue {
    const place = this.#placeOf(number, LEN)
    return place === undefined ? null : new ValueRef().read(this.bytes, place.start, place.end).js()
  }

  *readMessages<V>(number: number, view: ViewClass<V>): Generator<V> {
    const fields = this.fields()
    while (fields.next())
      if (fields.number === number && fields.wireType === LEN)
        yield new view(this.bytes, fields.start, fields.end)
  }

  /** Repeated doubles, packed or not. */
  readDoubles(number: number): number[] {
    return this.#numbers(number, FIXED64, (at) => readDouble(this.bytes, at))
  }

  /** Repeated fixed64, packed or not. */
  readFixed64s(number: number): bigint[] {
    return this.#numbers(number, FIXED64, (at) => readFixed64(this.bytes, at))
  }

  /** Repeated uint64 varints, packed or not. */
  readUint64s(number: number): bigint[] {
    return this.#numbers(number, VARINT, (at) => readVarint64(this.bytes, at))
  }

  #numbers<N>(number: number, wireType: number, read: (at: number) => N): N[] {
    const numbers: N[] = []
    const fields = this.fields()
    while (fields.next()) {
      if (fields.number !== number) continue
      if (fields.wireType === wireType) numbers.push(read(fields.start))
      else if (fields.wireType === LEN)
        for (let at = fields.start; at < fields.end; at = afterNumber(this.bytes, at, fields.end, wireType))
          numbers.push(read(at))
    }
    return numbers
  }
}

function afterNumber(bytes: Uint8Array, at: number, end: number, wireType: number): number {
  if (wireType === FIXED64) return at + 8
  while (at < end && bytes[at]! >= 128) at++
  return at + 1
}

/** The attributes of one message. */
export class AttributesView implements Iterable<[string, JsValue]> {
  readonly #message: MessageView
  readonly #field: number

  constructor(message: MessageView, field: number) {
    this.#message = message
    this.#field = field
  }

  #cursor(): AttributeCursor {
    const { bytes, start, end } = this.#message
    return new AttributeCursor().reset(bytes, start, end, this.#field)
  }

  /** The value, or undefined when there is no such attribute; null is an attribute with an empty value. */
  get(key: string): JsValue | undefined {
    const cursor = this.#cursor()
    return cursor.find(keyBytes(key)) ? cursor.value.js() : undefined
  }

  /** The value as text, as the Go collector prints it. */
  text(key: string): string | undefined {
    const cursor = this.#cursor()
    return cursor.find(keyBytes(key)) ? cursor.value.text() : undefined
  }

  has(key: string): boolean {
    return this.#cursor().find(keyBytes(key))
  }

  get size(): number {
    const cursor = this.#cursor()
    let size = 0
    while (cursor.next()) size++
    return size
  }

  *[Symbol.iterator](): Generator<[string, JsValue]> {
    const cursor = this.#cursor()
    while (cursor.next()) yield [cursor.key(), cursor.value.js()]
  }

  toRecord(): Record<string, JsValue> {
    const { bytes, start, end } = this.#message
    return attributesToJs(bytes, start, end, this.#field)
  }
}

export class ResourceView extends MessageView {
  get attributes(): AttributesView {
    return new AttributesView(this, RESOURCE.attributes)
  }
  get droppedAttributesCount(): number {
    return this.readUint(RESOURCE.droppedAttributesCount)
  }
}

export class ScopeView extends MessageView {
  get name(): string {
    return this.readText(INSTRUMENTATION_SCOPE.name)
  }
  get version(): string {
    return this.readText(INSTRUMENTATION_SCOPE.version)
  }
  get attributes(): AttributesView {
    return new AttributesView(this, INSTRUMENTATION_SCOPE.attributes)
  }
  get droppedAttributesCount(): number {
    return this.readUint(INSTRUMENTATION_SCOPE.droppedAttributesCount)
  }
}

/** A Scope* message; the outer shape is the same for all signals. */
export class ScopeGroupView extends MessageView {
  get scope(): ScopeView {
    return this.readMessage(1, ScopeView)
  }
  get schemaUrl(): string {
    return this.readText(3)
  }
}

/** A Resource* message. */
export class ResourceGroupView extends MessageView {
  get resource(): ResourceView {
    return this.readMessage(1, ResourceView)
  }
  get schemaUrl(): string {
    return this.readText(3)
  }
}
