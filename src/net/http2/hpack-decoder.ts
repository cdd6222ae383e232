/**
 * HPACK, reading (RFC 7541 sections 3 and 6). A block must be decoded whole and in order, also one that is refused, since
 * it changes the dynamic table for the blocks after it. What is broken is a COMPRESSION_ERROR of the connection.
 */
import { ConnectionError, ERROR } from './frames.ts'
import { DynamicTable, ENTRY_BYTES, FIELD, type Field, STATIC_COUNT, STATIC_FIELDS } from './hpack-table.ts'
import { decodeHuffman } from './huffman.ts'
import { DEFAULT_TABLE_BYTES } from './settings.ts'

/** Names in lower case, tchar of RFC 9110 (pseudo-headers are told apart by their caller). */
const NAME = /^:?[a-z0-9!#$%&'*+.^_`|~-]+$/
/** NUL, CR, LF anywhere, blanks at an end (RFC 9113 section 8.2.1). */
const BAD_VALUE = /[\0\r\n]|^[ \t]|[ \t]$/
/** An index or a length of more than this is no honest one. */
const MAX_INTEGER = 2 ** 28
/** A list of this many times its limit is made to be one. */
const BOMB = 16

export class HpackDecoder {
  readonly #table: DynamicTable
  readonly #maxTableBytes: number
  #bytes: Uint8Array = EMPTY
  #at = 0
  #end = 0

  /** `maxTableBytes` is the SETTINGS_HEADER_TABLE_SIZE that was sent to the peer. */
  constructor(maxTableBytes = DEFAULT_TABLE_BYTES) {
    this.#maxTableBytes = maxTableBytes
    this.#table = new DynamicTable(maxTableBytes)
  }

  /** Changes with the dynamic table: the same bytes mean the same fields as long as it stays. */
  get version(): number {
    return this.#table.version
  }

  get table(): DynamicTable {
    return this.#table
  }

  /**
   * Appends the fields between `start` and `end` to `fields`. Gives the size of the list as RFC 9113 section 6.5.2 counts
   * it; past `limitBytes` of it fields are read but no longer kept, and past BOMB times that the connection ends.
   */
  decode(bytes: Uint8Array, start: number, end: number, limitBytes: number, fields: Field[]): number {
    this.#bytes = bytes
    this.#at = start
    this.#end = end
    let size = 0
    let mayResize = true
    while (this.#at < this.#end) {
      const first = bytes[this.#at]!
      let field: Field
      if (first >= 0x80) {
        // Indexed field: 1xxxxxxx.
        field = this.#lookUp(this.#integer(0x7f))
      } else if (first >= 0x40) {
        // Literal with incremental indexing: 01xxxxxx.
        field = this.#literal(0x3f)
        this.#table.add(field)
      } else if (first >= 0x20) {
        // Size update: 001xxxxx, only before the first field (RFC 7541 section 4.2).
        const limit = this.#integer(0x1f)
        if (!mayResize || limit > this.#maxTableBytes) throw broken('size update')
        this.#table.resize(limit)
        continue
      } else {
        // Literal without indexing, 0000xxxx, and never indexed, 0001xxxx: the same to a reader that sends nothing on.
        field = this.#literal(0x0f)
      }
      mayResize = false
      size += field.name.length + field.value.length + ENTRY_BYTES
      if (size <= limitBytes) fields.push(field)
      else if (size > BOMB * limitBytes)
        throw new ConnectionError(ERROR.ENHANCE_YOUR_CALM, 'header list is a bomb', 'flood_headers')
    }
    this.#bytes = EMPTY
    return size
  }

  #lookUp(index: number): Field {
    const field = index <= STATIC_COUNT ? STATIC_FIELDS[index - 1] : this.#table.get(index - STATIC_COUNT - 1)
    if (field === undefined) throw broken('index')
    return field
  }

  #literal(mask: number): Field {
    const index = this.#integer(mask)
    let name: string
    let defect: number = FIELD.FINE
    if (index === 0) {
      name = this.#string()
      if (!NAME.test(name)) defect = FIELD.BAD_NAME
    } else {
      const named = this.#lookUp(index)
      name = named.name
      if (named.defect === FIELD.BAD_NAME) defect = FIELD.BAD_NAME
    }
    const value = this.#string()
    if (defect === FIELD.FINE && BAD_VALUE.test(value)) defect = FIELD.BAD_VALUE
    return { name, value, defect }
  }

  /** RFC 7541 section 5.1: a prefix whose bits are `mask`, then 7 bits a byte. */
  #integer(mask: number): number {
    const bytes = this.#bytes
    let value = bytes[this.#at++]! & mask
    if (value < mask) return value
    for (let scale = 1; ; scale *= 128) {
      if (this.#at >= this.#end) throw broken('integer')
      const byte = bytes[this.#at++]!
      value += (byte & 127) * scale
      if (value > MAX_INTEGER || scale > MAX_INTEGER) throw broken('integer')
      if (byte < 128) return value
    }
  }

  /** RFC 7541 section 5.2. */
  #string(): string {
    if (this.#at >= this.#end) throw broken('string')
    const coded = this.#bytes[this.#at]! >= 0x80
    const length = this.#integer(0x7f)
    const start = this.#at
    const end = start + length
    if (end > this.#end) throw broken('string')
    this.#at = end
    return coded ? decodeHuffman(this.#bytes, start, end) : latin1(this.#bytes, start, end)
  }
}

const EMPTY = new Uint8Array(0)

function latin1(bytes: Uint8Array, start: number, end: number): string {
  const buffer = Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return buffer.toString('latin1', start, end)
}

function broken(what: string): ConnectionError {
  return new ConnectionError(ERROR.COMPRESSION_ERROR, `broken header block: ${what}`)
}
