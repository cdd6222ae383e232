/**
 * The attributes of an item as plugin authors see them: get, set, delete by key, decoded when asked for. Reading walks the
 * encoded bytes; the first write loads the list of ranges (otlp/attribute-list.ts), and only what changed is encoded anew.
 */

import { AttributeList, type EncodedAttribute, encodeAttribute } from '../otlp/attribute-list.ts'
import { AttributeCursor, type JsValue, jsToAnyValue, keyBytes, ValueRef } from '../otlp/attributes.ts'
import { readString, type WireWriter } from '../otlp/wire.ts'

/** Keys whose encoding is kept, each with the last value that was set under it. */
const KEPT_KEYS = 1000
/** Longer ones are encoded each time. */
const KEPT_TEXT = 256

interface KnownKey {
  readonly bytes: Uint8Array
  value: JsValue | undefined
  encoded: EncodedAttribute | undefined
}

const known = new Map<string, KnownKey>()

function knownKey(key: string): KnownKey {
  let found = known.get(key)
  if (found === undefined) {
    found = { bytes: keyBytes(key), value: undefined, encoded: undefined }
    if (known.size >= KEPT_KEYS) known.clear()
    if (key.length <= KEPT_TEXT) known.set(key, found)
  }
  return found
}

/** A constant that is set on every item is encoded once. */
function encode(key: KnownKey, value: JsValue): EncodedAttribute {
  if (key.encoded !== undefined && Object.is(key.value, value) && typeof value !== 'object')
    return key.encoded
  const encoded = encodeAttribute(key.bytes, jsToAnyValue(value))
  if (typeof value !== 'object' && !(typeof value === 'string' && value.length > KEPT_TEXT)) {
    key.value = value
    key.encoded = encoded
  }
  return encoded
}

export class Attributes implements Iterable<[string, JsValue]> {
  #bytes: Uint8Array = new Uint8Array(0)
  #start = 0
  #end = 0
  #field = 0
  #loaded = false
  #list: AttributeList | undefined
  readonly #readOnly: boolean
  readonly #cursor = new AttributeCursor()
  readonly #value = new ValueRef()

  constructor(readOnly = false) {
    this.#readOnly = readOnly
  }

  /** For the cursor over items: the message whose attributes these are now. */
  point(bytes: Uint8Array, start: number, end: number, field: number): void {
    this.#bytes = bytes
    this.#start = start
    this.#end = end
    this.#field = field
    this.#loaded = false
  }

  /** For the cursor over items: true when something differs from the bytes. */
  get changed(): boolean {
    return this.#loaded && this.#list?.changed === true
  }

  /** For the cursor over items: appends the whole message after the changes. */
  writeInto(output: WireWriter): void {
    this.#load().writeInto(output)
  }

  /** The value: ints are bigint, doubles number, null is an empty value; undefined when there is no such attribute. */
  get(key: string): JsValue | undefined {
    const value = this.#find(key)
    return value?.js()
  }

  /** The value as text, as the Go collector prints it. */
  text(key: string): string | undefined {
    return this.#find(key)?.text()
  }

  has(key: string): boolean {
    return this.#find(key) !== undefined
  }

  /** Adds or replaces. Whole numbers become ints. */
  set(key: string, value: JsValue): this {
    if (value === undefined) throw new TypeError(`attribute "${key}": undefined is no value; use delete()`)
    const list = this.#writable()
    const entry = knownKey(key)
    list.put(list.find(entry.bytes), encode(entry, value))
    return this
  }

  /** True when it was there. */
  delete(key: string): boolean {
    const list = this.#writable()
    const { bytes } = knownKey(key)
    let found = false
    for (let index = list.find(bytes); index >= 0; index = list.find(bytes)) {
      list.remove(index)
      found = true
    }
    return found
  }

  get size(): number {
    let size = 0
    const list = this.#load()
    for (let index = 0; index < list.count; index++) if (list.has(index)) size++
    return size
  }

  /** Setting and deleting while this goes on is allowed. */
  *keys(): Generator<string> {
    const list = this.#load()
    const keys: string[] = []
    for (let index = 0; index < list.count; index++) {
      if (list.has(index)) keys.push(readString(list.bytes(index), list.keyStart(index), list.keyEnd(index)))
    }
    yield* keys
  }

  *[Symbol.iterator](): Generator<[string, JsValue]> {
    for (const key of this.keys()) {
      const value = this.get(key)
      if (value !== undefined) yield [key, value]
    }
  }

  toRecord(): Record<string, JsValue> {
    return Object.fromEntries(this)
  }

  #find(key: string): ValueRef | undefined {
    const { bytes } = knownKey(key)
    if (!this.#loaded) {
      const cursor = this.#cursor.reset(this.#bytes, this.#start, this.#end, this.#field)
      return cursor.find(bytes) ? cursor.value : undefined
    }
    const list = this.#load()
    const index = list.find(bytes)
    if (index < 0) return undefined
    return this.#value.read(list.bytes(index), list.valueStart(index), list.valueEnd(index))
  }

  #writable(): AttributeList {
    if (this.#readOnly) {
      throw new TypeError('this resource or scope is read-only here; edit it in resources() or scopes()')
    }
    return this.#load()
  }

  #load(): AttributeList {
    this.#list ??= new AttributeList()
    if (!this.#loaded) {
      this.#list.load(this.#bytes, this.#start, this.#end, this.#field)
      this.#loaded = true
    }
    return this.#list
  }
}
