/**
 * HPACK, writing (RFC 7541 sections 4.2 and 6). Fields are indexed when the caller says that they will come again; the table
 * follows what the peer allows, and a smaller one is announced in the next block.
 */
import { DynamicTable, ENTRY_BYTES, FIELD, STATIC_COUNT, STATIC_NAMES, STATIC_PAIRS } from './hpack-table.ts'
import { encodeHuffman, huffmanLength } from './huffman.ts'
import { DEFAULT_TABLE_BYTES } from './settings.ts'

/** How a field is written: into the table, past it, or so that nobody on the way may put it into one (section 7.1.3). */
export const INDEXING = { ADD: 0, NONE: 1, NEVER: 2 } as const

export class HpackEncoder {
  readonly #table = new DynamicTable(DEFAULT_TABLE_BYTES)
  /** The smallest limit since the last block; -1 when there was no change. */
  #smallest = -1

  get table(): DynamicTable {
    return this.#table
  }

  /** Changes when a block that was written before may no longer be right. */
  get version(): number {
    return this.#table.version
  }

  /** The peer's SETTINGS_HEADER_TABLE_SIZE. The table never grows over its default. */
  setLimit(peerBytes: number): void {
    const limit = Math.min(peerBytes, DEFAULT_TABLE_BYTES)
    if (limit === this.#table.limitBytes) return
    this.#smallest = this.#smallest < 0 ? limit : Math.min(this.#smallest, limit)
    this.#table.resize(limit)
  }

  /** Bytes that `field` takes at most. */
  static room(name: string, value: string): number {
    return name.length + value.length + 16
  }

  /** Bytes that `begin` takes at most. */
  static readonly BEGIN_ROOM = 12

  /** Starts a block: writes the size updates that are due. Gives the place after them. */
  begin(target: Uint8Array, at: number): number {
    if (this.#smallest < 0) return at
    const limit = this.#table.limitBytes
    if (this.#smallest < limit) at = putInteger(target, at, 0x20, 0x1f, this.#smallest)
    at = putInteger(target, at, 0x20, 0x1f, limit)
    this.#smallest = -1
    this.#table.version++ // The block must not be taken for one that can be sent again.
    return at
  }

  /** Writes one field; gives the place after it. Names in lower case, one byte a character. */
  field(target: Uint8Array, at: number, name: string, value: string, indexing: number): number {
    const known = indexing === INDEXING.NEVER ? 0 : this.#find(name, value)
    if (known > 0) return putInteger(target, at, 0x80, 0x7f, known)
    const nameIndex = STATIC_NAMES.get(name) ?? this.#findName(name)
    const adds =
      indexing === INDEXING.ADD && name.length + value.length + ENTRY_BYTES <= this.#table.limitBytes
    if (adds) at = putInteger(target, at, 0x40, 0x3f, nameIndex)
    else at = putInteger(target, at, indexing === INDEXING.NEVER ? 0x10 : 0, 0x0f, nameIndex)
    if (nameIndex === 0) at = putString(target, at, name)
    at = putString(target, at, value)
    if (adds) this.#table.add({ name, value, defect: FIELD.FINE })
    return at
  }

  #find(name: string, value: string): number {
    const fixed = STATIC_PAIRS.get(`${name}\n${value}`)
    if (fixed !== undefined) return fixed
    for (let index = 0; index < this.#table.count; index++) {
      const field = this.#table.get(index)!
      if (field.value === value && field.name === name) return STATIC_COUNT + 1 + index
    }
    return 0
  }

  #findName(name: string): number {
    for (let index = 0; index < this.#table.count; index++)
      if (this.#table.get(index)!.name === name) return STATIC_COUNT + 1 + index
    return 0
  }
}

function putInteger(target: Uint8Array, at: number, pattern: number, mask: number, value: number): number {
  if (value < mask) {
    target[at++] = pattern | value
    return at
  }
  target[at++] = pattern | mask
  let rest = value - mask
  for (; rest >= 128; rest = Math.floor(rest / 128)) target[at++] = (rest & 127) | 128
  target[at++] = rest
  return at
}

/** Huffman-coded when that is not longer. */
function putString(target: Uint8Array, at: number, text: string): number {
  const coded = huffmanLength(text)
  if (coded <= text.length && coded > 0)
    return encodeHuffman(text, target, putInteger(target, at, 0x80, 0x7f, coded))
  at = putInteger(target, at, 0, 0x7f, text.length)
  for (let index = 0; index < text.length; index++) target[at++] = text.charCodeAt(index)
  return at
}
