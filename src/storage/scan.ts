/**
 * Reads a segment from its beginning to its end, record by record, each with its checksum checked. Where no record is, it looks
 * for the next header that vouches for itself, and says which bytes it left out.
 *
 * Memory: one window, or one record if that is larger.
 */

import type { OpenFile } from './files.ts'
import { checksumOf, DATA, decodeHeader, HEADER_BYTES, MAGIC_BYTES, type RecordHeader } from './record.ts'

/** Large, since each read is a wait on a machine that is busy. */
const WINDOW_BYTES = 4 * 1024 * 1024

export type Finding =
  /** `payload` is valid until the visit ends. */
  | {
      readonly kind: 'record'
      readonly header: RecordHeader
      readonly offset: number
      readonly payload: Buffer
    }
  /** Bytes that are no record; `tail` when nothing follows. */
  | { readonly kind: 'damage'; readonly offset: number; readonly bytes: number; readonly tail: boolean }
  /** The header of a batch is whole, its payload is not. It lies in the damage that follows. */
  | { readonly kind: 'lost'; readonly header: RecordHeader; readonly torn: boolean }

export async function scan(
  file: OpenFile,
  seed: number,
  start: number,
  visit: (finding: Finding) => void,
): Promise<void> {
  const size = await file.size()
  const window = new Window(file, size)
  let offset = start
  let damageFrom = -1
  while (offset < size) {
    const bytes = window.known(offset, HEADER_BYTES) ?? (await window.at(offset, HEADER_BYTES))
    const header = decodeHeader(bytes, 0, seed)
    const whole = header && offset + HEADER_BYTES + header.length <= size
    if (header && whole) {
      const from = offset + HEADER_BYTES
      const payload = window.known(from, header.length) ?? (await window.at(from, header.length))
      if (payload.length === header.length && checksumOf([payload]) === header.checksum) {
        if (damageFrom >= 0)
          visit({ kind: 'damage', offset: damageFrom, bytes: offset - damageFrom, tail: false })
        damageFrom = -1
        visit({ kind: 'record', header, offset, payload })
        offset += HEADER_BYTES + header.length
        continue
      }
    }
    if (damageFrom < 0) damageFrom = offset
    if (header?.type === DATA) visit({ kind: 'lost', header, torn: !whole })
    offset = await nextHeader(window, offset + (header ? HEADER_BYTES : 1), size, seed)
  }
  if (damageFrom >= 0) visit({ kind: 'damage', offset: damageFrom, bytes: size - damageFrom, tail: true })
}

async function nextHeader(window: Window, from: number, size: number, seed: number): Promise<number> {
  let offset = from
  while (size - offset >= HEADER_BYTES) {
    const bytes = window.rest(offset) ?? (await window.at(offset, Math.min(size - offset, WINDOW_BYTES)))
    if (bytes.length < HEADER_BYTES) return size
    for (let at = bytes.indexOf(MAGIC_BYTES); at >= 0; at = bytes.indexOf(MAGIC_BYTES, at + 1)) {
      if (bytes.length - at < HEADER_BYTES) break
      if (decodeHeader(bytes, at, seed)) return offset + at
    }
    offset += bytes.length - HEADER_BYTES + 1
  }
  return size
}

/** A view of the file that moves forward, in memory that it uses again. */
class Window {
  readonly #file: OpenFile
  #memory: Buffer
  #bytes: Buffer = Buffer.alloc(0)
  #offset = 0

  constructor(file: OpenFile, size: number) {
    this.#file = file
    this.#memory = Buffer.allocUnsafeSlow(Math.min(size, WINDOW_BYTES))
  }

  /** The bytes, if they need not be read. */
  known(offset: number, length: number): Buffer | undefined {
    const from = offset - this.#offset
    if (from < 0 || from + length > this.#bytes.length) return undefined
    return this.#bytes.subarray(from, from + length)
  }

  /** What need not be read from there on, if a header fits. */
  rest(offset: number): Buffer | undefined {
    const from = offset - this.#offset
    return from < 0 || from + HEADER_BYTES > this.#bytes.length ? undefined : this.#bytes.subarray(from)
  }

  /** Shorter than `length` only at the end of the file. */
  async at(offset: number, length: number): Promise<Buffer> {
    const known = this.known(offset, length)
    if (known) return known
    if (length > this.#memory.length) this.#memory = Buffer.allocUnsafeSlow(length)
    this.#bytes = await this.#file.read(this.#memory.length, offset, this.#memory)
    this.#offset = offset
    return this.#bytes.subarray(0, length)
  }
}
