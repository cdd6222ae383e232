/**
 * Protobuf wire format, writing side; import it from wire.ts.
 *
 * The buffer belongs to the writer until finish() gives it away; sizes are checked, so nothing is ever cut
 * off silently.
 */
export const VARINT = 0
export const FIXED64 = 1
export const LEN = 2
export const FIXED32 = 5

const EMPTY = new Uint8Array(0)
const SMALLEST = 256
const utf8 = new TextEncoder()
const scratch = new DataView(new ArrayBuffer(8))

/** Bytes that a number takes as a varint. Exact up to 2^53. */
export function varintLength(value: number): number {
  let length = 1
  while (value >= 128) {
    value /= 128
    length++
  }
  return length
}

/**
 * Writes a varint at `at` and returns the offset after it. The caller has made room; for edits that know
 * their size.
 */
export function putVarint(bytes: Uint8Array, at: number, value: number): number {
  while (value >= 128) {
    bytes[at++] = (value % 128) + 128
    value = Math.floor(value / 128)
  }
  bytes[at++] = value
  return at
}

/** Writes tag and length of a LEN field at `at` and returns the offset of its content. */
export function putLenHeader(bytes: Uint8Array, at: number, number: number, contentLength: number): number {
  return putVarint(bytes, putVarint(bytes, at, number * 8 + LEN), contentLength)
}

/**
 * Copies a range to `at` and returns the offset after it. Makes no view, so that it may be called per item.
 */
export function putRange(
  target: Uint8Array,
  at: number,
  source: Uint8Array,
  start: number,
  end: number,
): number {
  const count = end - start
  if (count <= 32) for (let index = start; index < end; index++) target[at++] = source[index]!
  else {
    copyBytes.call(source, target, at, start, end)
    at += count
  }
  return at
}

const copyBytes = Buffer.prototype.copy as (
  this: Uint8Array,
  target: Uint8Array,
  at: number,
  start: number,
  end: number,
) => number

/** Bytes that a LEN field takes, tag and length included. */
export function lenFieldLength(number: number, contentLength: number): number {
  return varintLength(number * 8) + varintLength(contentLength) + contentLength
}

/**
 * Writes a message into one growing buffer.
 *
 * Nested messages are written with begin() and end(): begin() leaves room for a length of the expected size,
 * and end() moves the content only if the guess was wrong. finish() gives the bytes away; the writer starts
 * anew.
 */
export class WireWriter {
  #bytes: Uint8Array = EMPTY
  #firstBytes: number
  #at = 0
  readonly #open: number[] = []

  /**
   * `sizeBytes` is the size that the first buffer gets; it is not made before the first write. `first` is used before any
   * other.
   */
  constructor(sizeBytes = SMALLEST, first: Uint8Array = EMPTY) {
    this.#firstBytes = sizeBytes
    this.#bytes = first
  }

  get length(): number {
    return this.#at
  }

  /** Bytes that can be held before the buffer grows. */
  get capacity(): number {
    return this.#bytes.length
  }

  #reserve(count: number): void {
    const needed = this.#at + count
    if (needed <= this.#bytes.length) return
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.#bytes.length * 2, this.#firstBytes))
    if (this.#at > 0) grown.set(this.#bytes.subarray(0, this.#at))
    this.#bytes = grown
  }

  varint(value: number): this {
    this.#reserve(10)
    const bytes = this.#bytes
    let at = this.#at
    while (value >= 128) {
      bytes[at++] = (value % 128) + 128
      value = Math.floor(value / 128)
    }
    bytes[at++] = value
    this.#at = at
    return this
  }

  varint64(value: bigint): this {
    this.#reserve(10)
    let rest = BigInt.asUintN(64, value)
    while (rest >= 128n) {
      this.#bytes[this.#at++] = Number(rest & 127n) + 128
      rest >>= 7n
    }
    this.#bytes[this.#at++] = Number(rest)
    return this
  }

  tag(number: number, wireType: number): this {
    return this.varint(number * 8 + wireType)
  }

  /** A varint field: uint, bool and enum. Negative numbers take the ten bytes of int64. */
  uintField(number: number, value: number): this {
    this.tag(number, VARINT)
    return value < 0 ? this.varint64(BigInt(value)) : this.varint(value)
  }

  int64Field(number: number, value: bigint): this {
    return this.tag(number, VARINT).varint64(value)
  }

  /** sint32 and sint64 in the safe range: zigzag. */
  sintField(number: number, value: number): this {
    return this.tag(number, VARINT).varint(value < 0 ? -value * 2 - 1 : value * 2)
  }

  fixed32Field(number: number, value: number): this {
    this.tag(number, FIXED32).#reserve(4)
    const bytes = this.#bytes
    bytes[this.#at++] = value & 255
    bytes[this.#at++] = (value >>> 8) & 255
    bytes[this.#at++] = (value >>> 16) & 255
    bytes[this.#at++] = value >>> 24
    return this
  }

  fixed64(value: bigint): this {
    this.#reserve(8)
    new DataView(this.#bytes.buffer, this.#bytes.byteOffset).setBigUint64(
      this.#at,
      BigInt.asUintN(64, value),
      true,
    )
    this.#at += 8
    return this
  }

  fixed64Field(number: number, value: bigint): this {
    return this.tag(number, FIXED64).fixed64(value)
  }

  double(value: number): this {
    this.#reserve(8)
    scratch.setFloat64(0, value, true)
    for (let index = 0; index < 8; index++) this.#bytes[this.#at++] = scratch.getUint8(index)
    return this
  }

  doubleField(number: number, value: number): this {
    return this.tag(number, FIXED64).double(value)
  }

  /** A LEN field with this content. */
  len(number: number, content: Uint8Array): this {
    return this.tag(number, LEN).varint(content.length).raw(content)
  }

  string(number: number, text: string): this {
    this.tag(number, LEN)
    const length = text.length
    if (length < 43) {
      // At most 126 bytes of UTF-8, so the length takes one byte and can be filled in afterwards.
      this.#reserve(1 + length * 3)
      const { written } = utf8.encodeInto(text, this.#bytes.subarray(this.#at + 1))
      this.#bytes[this.#at] = written
      this.#at += 1 + written
      return this
    }
    const size = Buffer.byteLength(text)
    this.varint(size).#reserve(size)
    utf8.encodeInto(text, this.#bytes.subarray(this.#at, this.#at + size))
    this.#at += size
    return this
  }

  /** Bytes as they are: whole fields copied from another message. */
  raw(content: Uint8Array): this {
    this.#reserve(content.length)
    this.#bytes.set(content, this.#at)
    this.#at += content.length
    return this
  }

  /** Copies a range of other bytes. */
  rawRange(source: Uint8Array, start: number, end: number): this {
    const count = end - start
    this.#reserve(count)
    this.#at = putRange(this.#bytes, this.#at, source, start, end)
    return this
  }

  /** Opens a nested message whose content will take about `expectedLength` bytes. */
  begin(number: number, expectedLength = 0): this {
    this.tag(number, LEN)
    const room = varintLength(expectedLength)
    this.#reserve(room)
    this.#at += room
    this.#open.push(this.#at, room)
    return this
  }

  /** Closes the message that the last begin() opened. */
  end(): this {
    const room = this.#open.pop() ?? 0
    const start = this.#open.pop() ?? 0
    const length = this.#at - start
    const needed = varintLength(length)
    if (needed !== room) {
      if (needed > room) this.#reserve(needed - room)
      this.#bytes.copyWithin(start + needed - room, start, start + length)
    }
    // The room is there: nothing may grow now, since growing keeps only what lies before #at.
    const bytes = this.#bytes
    let at = start - room
    let rest = length
    while (rest >= 128) {
      bytes[at++] = (rest % 128) + 128
      rest = Math.floor(rest / 128)
    }
    bytes[at++] = rest
    this.#at = at + length
    return this
  }

  /** Takes back all that was written since `length` was `mark`. Open messages must lie before the mark. */
  truncate(mark: number): this {
    this.#at = mark
    return this
  }

  /** The bytes written so far, as a view that the next write may change. */
  view(): Uint8Array {
    return this.#bytes.subarray(0, this.#at)
  }

  /** Gives the bytes to the caller, who owns them from now on; the writer begins with a new buffer. */
  finish(): Uint8Array {
    const result = this.#bytes.subarray(0, this.#at)
    this.#bytes = EMPTY
    this.#firstBytes = SMALLEST
    this.#at = 0
    return result
  }

  /** A copy of the bytes in a buffer of just their size; the writer keeps its own buffer and starts anew. */
  take(): Uint8Array {
    const result = Buffer.allocUnsafeSlow(this.#at)
    result.set(this.#bytes.subarray(0, this.#at))
    this.#at = 0
    return result
  }
}
