/**
 * How one field of an OTLP message is written in JSON and in protobuf, and a message as a set of such fields.
 * The tables themselves are in json-schema.ts.
 */
import { FIXED32, FIXED64, LEN, VARINT } from './wire.ts'

export const STRING = 0
/** Bytes that JSON shows in hex: trace and span ids. */
export const ID = 1
/** Bytes that JSON shows in base64. */
export const BYTES = 2
export const BOOL = 3
export const DOUBLE = 4
export const FIXED_64 = 5
export const SFIXED_64 = 6
export const INT_64 = 7
export const UINT_64 = 8
export const UINT_32 = 9
export const INT_32 = 10
export const FIXED_32 = 11
/** Zigzag. */
export const SINT_32 = 12
export const ENUM = 13
export const MESSAGE = 14

const WIRE_TYPES = [
  LEN,
  LEN,
  LEN,
  VARINT,
  FIXED64,
  FIXED64,
  FIXED64,
  VARINT,
  VARINT,
  VARINT,
  VARINT,
  FIXED32,
  VARINT,
  VARINT,
  LEN,
]

export interface FieldType {
  readonly kind: number
  readonly repeated?: boolean
  /** Its presence says something: a zero is kept (oneof members, `optional`). */
  readonly explicit?: boolean
  /** Members of a oneof have the same number here, from 1. */
  readonly oneof?: number
  readonly idBytes?: number
  readonly enumNames?: ReadonlyMap<string, number>
  readonly message?: MessageSchema
}

const utf8 = new TextEncoder()

export class JsonField {
  readonly name: string
  readonly number: number
  readonly kind: number
  /** Of one element, when it is repeated. */
  readonly wireType: number
  readonly repeated: boolean
  /** Repeated, and its elements share one LEN field. */
  readonly packed: boolean
  readonly explicit: boolean
  readonly oneof: number
  readonly idBytes: number
  readonly enumNames: ReadonlyMap<string, number>
  /** Undefined unless the kind is MESSAGE. */
  readonly message: MessageSchema | undefined
  /** One bit per field of the message, for sets of fields. */
  readonly bit: number
  /** Tag as it is written, at most two bytes: the second is 0 when there is none. */
  readonly tag: number
  readonly tag2: number
  /** `"name":` */
  readonly quoted: Uint8Array
  /** `name":` in little-endian words of four bytes, the last one under `mask`: what a compact key looks like. */
  readonly words: Int32Array
  readonly mask: number
  /** Bytes that the length of the last one took: where to begin writing the next. */
  room = 1
  /** The field that followed this one the last time. */
  next: JsonField | undefined

  constructor(name: string, number: number, type: FieldType, index: number) {
    this.name = name
    this.number = number
    this.kind = type.kind
    this.wireType = WIRE_TYPES[type.kind]!
    this.repeated = type.repeated ?? false
    this.packed = this.repeated && this.wireType !== LEN
    this.explicit = type.explicit ?? false
    this.oneof = type.oneof ?? 0
    this.idBytes = type.idBytes ?? 0
    this.enumNames = type.enumNames ?? new Map()
    this.message = type.message
    this.bit = 1 << index
    const tag = number * 8 + (this.packed ? LEN : this.wireType)
    this.tag = tag < 128 ? tag : (tag & 127) | 128
    this.tag2 = tag >>> 7
    this.quoted = utf8.encode(`"${name}":`)
    const rest = this.quoted.subarray(1)
    const padded = new Uint8Array(Math.ceil(rest.length / 4) * 4)
    padded.set(rest)
    const view = new DataView(padded.buffer)
    this.words = Int32Array.from({ length: padded.length / 4 }, (_, word) => view.getInt32(word * 4, true))
    this.mask = rest.length % 4 === 0 ? -1 : (1 << ((rest.length % 4) * 8)) - 1
  }
}

interface Name {
  readonly bytes: Uint8Array
  readonly field: JsonField
}

export class MessageSchema {
  readonly name: string
  readonly fields: JsonField[] = []
  /** By field number; OTLP has none over 16. */
  readonly byNumber: (JsonField | undefined)[] = []
  /** Where the search for the first key begins, and what stands in for the field before it. */
  readonly head = new JsonField('', 0, { kind: MESSAGE }, 0)
  readonly #names: Name[] = []

  constructor(name: string) {
    this.name = name
  }

  define(numbers: Readonly<Record<string, number>>, types: Readonly<Record<string, FieldType>>): this {
    for (const [name, type] of Object.entries(types)) {
      const field = new JsonField(name, numbers[name]!, type, this.fields.length)
      this.fields.push(field)
      this.byNumber[field.number] = field
      this.#names.push({ bytes: utf8.encode(name), field })
      const snake = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
      if (snake !== name) this.#names.push({ bytes: utf8.encode(snake), field })
    }
    this.fields.sort((a, b) => a.number - b.number)
    return this
  }

  /** The field whose JSON name, or name in the proto file, stands in this range. */
  find(bytes: Uint8Array, start: number, end: number): JsonField | undefined {
    const length = end - start
    for (const { bytes: name, field } of this.#names) {
      if (name.length !== length) continue
      let index = 0
      while (index < length && name[index] === bytes[start + index]) index++
      if (index === length) return field
    }
    return undefined
  }
}
