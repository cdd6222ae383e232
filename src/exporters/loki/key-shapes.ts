/**
 * What follows from the keys of a record's attributes, in the order in which they come: whether all of them are plain, the
 * order of the attributes in the line, and the text of the keys. Most records have the keys of one before them, so that is
 * found by comparing bytes instead of made again.
 *
 * A shape that is met for the first time takes the place of another one: no memory grows with the records.
 */
import { rangeEquals } from '../../otlp/wire.ts'
import { putString, putWords, type Text } from './line-text.ts'

/** Records with more attributes, or longer keys, go the long way. */
export const MAX_ATTRIBUTES = 64
const MAX_KEY_BYTES = 4096
const SHAPES = 16
const SLACK_BYTES = 8
const FIRST = textOf('"attributes":{')
const [COMMA, COLON] = [0x2c, 0x3a]

/** Attributes as they were found: their number, and where the keys and values of each are. */
export interface FoundAttributes {
  readonly count: number
  readonly keyStarts: Int32Array
  readonly keyEnds: Int32Array
}

/** Keys of attributes that say more than themselves. */
export class SpecialKeys {
  readonly #keys: readonly Uint8Array[]

  constructor(keys: Iterable<string>) {
    this.#keys = Array.from(keys, (key) => Buffer.from(key))
  }

  has(bytes: Uint8Array, start: number, end: number): boolean {
    for (const key of this.#keys) if (rangeEquals(bytes, start, end, key)) return true
    return false
  }
}

class KeyShape {
  /** All keys are plain ones, and none comes twice. */
  plain = false
  /** By place in the line: the number of the attribute, and the end of the text before its value. */
  readonly order = new Uint8Array(MAX_ATTRIBUTES)
  readonly textEnds = new Int32Array(MAX_ATTRIBUTES)
  text: Text = textOf('')
  #keys: Text = textOf('')
  readonly #lengths = new Int32Array(MAX_ATTRIBUTES)
  #count = -1

  is(found: FoundAttributes, source: Text): boolean {
    const { count, keyStarts, keyEnds } = found
    if (count !== this.#count) return false
    const { bytes, view } = source
    const keys = this.#keys
    const lengths = this.#lengths
    let own = 0
    for (let index = 0; index < count; index++) {
      let at = keyStarts[index]!
      const end = keyEnds[index]!
      if (end - at !== lengths[index]) return false
      for (; at + 4 <= end; at += 4, own += 4)
        if (view.getInt32(at, true) !== keys.view.getInt32(own, true)) return false
      for (; at < end; at++, own++) if (bytes[at] !== keys.bytes[own]) return false
    }
    return true
  }

  make(found: FoundAttributes, source: Text, special: SpecialKeys): void {
    const { count, keyStarts, keyEnds } = found
    const { bytes } = source
    let total = 0
    this.#count = -1
    this.plain = true
    for (let index = 0; index < count; index++) {
      total += keyEnds[index]! - keyStarts[index]!
      if (total > MAX_KEY_BYTES || special.has(bytes, keyStarts[index]!, keyEnds[index]!)) this.plain = false
    }
    if (total > MAX_KEY_BYTES) return
    this.#count = count
    this.#keep(found, bytes, total)
    if (!this.plain) return
    this.#sort(found, bytes)
    if (this.plain) this.#write(found, source, total)
  }

  #keep({ count, keyStarts, keyEnds }: FoundAttributes, bytes: Uint8Array, total: number): void {
    if (this.#keys.bytes.length < total + SLACK_BYTES) this.#keys = emptyText(total * 2)
    let at = 0
    for (let index = 0; index < count; index++) {
      const length = keyEnds[index]! - keyStarts[index]!
      this.#lengths[index] = length
      for (let from = 0; from < length; from++) this.#keys.bytes[at++] = bytes[keyStarts[index]! + from]!
    }
  }

  /** Each into its place among those before. */
  #sort(found: FoundAttributes, bytes: Uint8Array): void {
    const { order } = this
    for (let index = 0; index < found.count; index++) {
      let at = index
      while (at > 0) {
        const compared = compareKeys(found, bytes, order[at - 1]!, index)
        if (compared === 0) this.plain = false
        if (compared <= 0) break
        order[at] = order[at - 1]!
        at--
      }
      order[at] = index
    }
  }

  #write({ count, keyStarts, keyEnds }: FoundAttributes, source: Text, total: number): void {
    // A byte of a key becomes six at most; then quotes, colon and comma.
    const room = FIRST.bytes.length + total * 6 + count * 4 + SLACK_BYTES
    if (this.text.bytes.length < room) this.text = emptyText(room * 2)
    const { text } = this
    let at = putWords(text, 0, FIRST.view, 0, FIRST.bytes.length - SLACK_BYTES)
    for (let place = 0; place < count; place++) {
      const index = this.order[place]!
      if (place > 0) text.bytes[at++] = COMMA
      at = putString(text, at, source, keyStarts[index]!, keyEnds[index]!)
      text.bytes[at++] = COLON
      this.textEnds[place] = at
    }
  }
}

function compareKeys(found: FoundAttributes, bytes: Uint8Array, left: number, right: number): number {
  const leftStart = found.keyStarts[left]!
  const rightStart = found.keyStarts[right]!
  const leftLength = found.keyEnds[left]! - leftStart
  const rightLength = found.keyEnds[right]! - rightStart
  const length = Math.min(leftLength, rightLength)
  for (let index = 0; index < length; index++) {
    const order = bytes[leftStart + index]! - bytes[rightStart + index]!
    if (order !== 0) return order
  }
  return leftLength - rightLength
}

/** The shapes of records with the same special keys. */
export class KeyShapes {
  readonly #special: SpecialKeys
  readonly #shapes: (KeyShape | undefined)[] = new Array<KeyShape | undefined>(SHAPES)

  constructor(special: SpecialKeys) {
    this.#special = special
  }

  /** `hash` follows from the lengths of the keys. */
  find(found: FoundAttributes, source: Text, hash: number): KeyShape {
    const place = hash & (SHAPES - 1)
    let shape = this.#shapes[place]
    if (shape === undefined) shape = this.#shapes[place] = new KeyShape()
    if (!shape.is(found, source)) shape.make(found, source, this.#special)
    return shape
  }
}

/** Text with bytes behind it that may be read. */
export function textOf(text: string): Text {
  const target = emptyText(Buffer.byteLength(text))
  target.bytes.set(Buffer.from(text))
  return target
}

function emptyText(sizeBytes: number): Text {
  const bytes = Buffer.alloc(sizeBytes + SLACK_BYTES)
  return { bytes, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength) }
}
