/**
 * Protobuf wire format: FieldCursor reads, WireWriter writes. The only file that touches bits.
 *
 * A cursor is a position in bytes that somebody else owns and nobody writes to. It allocates nothing per field,
 * and it checks every bound: a length that lies is a WireError, never a read past the end of the message.
 * 64-bit values are bigint or 8 raw bytes; only lengths, counts and small enums are numbers.
 */
import { WireError } from '../errors.ts'

export const VARINT = 0
export const FIXED64 = 1
export const LEN = 2
export const FIXED32 = 5

/** Nesting that a message may have, groups and AnyValue included (spec/reliability row 25). */
export const MAX_DEPTH = 100

const EMPTY = new Uint8Array(0)
const utf8 = new TextEncoder()

/**
 * Walks the fields of one message.
 *
 *     const cursor = new FieldCursor(bytes)
 *     while (cursor.next()) {
 *       if (cursor.number === SPAN.name) name = cursor.string()
 *     }
 *
 * After next(): `number` and `wireType` of the field, `fieldStart` where its tag begins, `start` and `end` the
 * range of its value (for LEN the content, else the encoded scalar). All offsets are into `bytes`.
 */
export class FieldCursor {
  bytes: Uint8Array
  number = 0
  wireType = 0
  fieldStart = 0
  start = 0
  end = 0
  #offset: number
  #limit: number

  constructor(bytes: Uint8Array = EMPTY, start = 0, end: number = bytes.length) {
    this.bytes = bytes
    this.#offset = start
    this.#limit = end
  }

  /** Puts the cursor before the first field of another message. */
  reset(bytes: Uint8Array, start = 0, end: number = bytes.length): this {
    this.bytes = bytes
    this.#offset = start
    this.#limit = end
    return this
  }

  /** Puts this cursor on the content of the field that `outer` stands on. */
  enter(outer: FieldCursor): this {
    if (outer.wireType !== LEN)
      throw new WireError(`field ${outer.number} is not a message`, outer.fieldStart)
    return this.reset(outer.bytes, outer.start, outer.end)
  }

  /** Moves to the next field. False at the end of the message. Throws WireError on broken framing. */
  next(): boolean {
    const bytes = this.bytes
    const limit = this.#limit
    let at = this.#offset
    if (at >= limit) return false
    this.fieldStart = at
    let tag = bytes[at++]!
    if (tag >= 128) {
      let shift = 7
      let byte: number
      tag &= 127
      do {
        if (at >= limit || shift > 28) throw new WireError('broken field tag', this.fieldStart)
        byte = bytes[at++]!
        tag |= (byte & 127) << shift
        shift += 7
      } while (byte >= 128)
      tag >>>= 0
    }
    this.number = tag >>> 3
    this.wireType = tag & 7
    if (this.number === 0) throw new WireError('field number 0', this.fieldStart)
    this.start = at
    switch (tag & 7) {
      case LEN: {
        if (at >= limit) throw new WireError('length is cut off', this.fieldStart)
        let length = bytes[at++]!
        if (length >= 128) {
          let shift = 7
          let byte: number
          length &= 127
          do {
            if (at >= limit || shift > 28) throw new WireError('broken length', this.fieldStart)
            byte = bytes[at++]!
            length |= (byte & 127) << shift
            shift += 7
          } while (byte >= 128)
          length >>>= 0
        }
        this.start = at
        at += length
        break
      }
      case VARINT: {
        const first = at
        while (true) {
          if (at >= limit || at - first >= 10) throw new WireError('broken varint', this.fieldStart)
          if (bytes[at++]! < 128) break
        }
        break
      }
      case FIXED64:
        at += 8
        break
      case FIXED32:
        at += 4
        break
      case 3:
        at = skipGroup(bytes, at, limit, this.number, 0)
        break
      default:
        throw new WireError(`wire type ${tag & 7}`, this.fieldStart)
    }
    if (at > limit) throw new WireError(`field ${this.number} runs past its message`, this.fieldStart)
    this.end = at
    this.#offset = at
    return true
  }

  /** Where the next field begins. */
  get offset(): number {
    return this.#offset
  }

  /** The value as a view on the bytes: content of a LEN field, or the encoded scalar. */
  value(): Uint8Array {
    return this.bytes.subarray(this.start, this.end)
  }

  /** Tag and value as a view on the bytes, to copy a field unchanged. */
  raw(): Uint8Array {
    return this.bytes.subarray(this.fieldStart, this.end)
  }

  /** A varint as a number; exact up to 2^53, for counts, enums and flags. A LEN field gives 0. */
  uint(): number {
    return this.wireType === VARINT
      ? readVarint(this.bytes, this.start)
      : this.wireType === FIXED32
        ? this.fixed32()
        : 0
  }

  /** A varint as an unsigned 64-bit integer. */
  uint64(): bigint {
    return readVarint64(this.bytes, this.start)
  }

  /** A varint as a signed 64-bit integer (int64, not zigzag). */
  int64(): bigint {
    return BigInt.asIntN(64, readVarint64(this.bytes, this.start))
  }

  fixed32(): number {
    return this.wireType === FIXED32 ? readFixed32(this.bytes, this.start) : 0
  }

  /** 8 bytes, little-endian, as an unsigned 64-bit integer (times, counts). */
  fixed64(): bigint {
    return this.wireType === FIXED64 ? readFixed64(this.bytes, this.start) : 0n
  }

  double(): number {
    return this.wireType === FIXED64 ? readDouble(this.bytes, this.start) : 0
  }

  string(): string {
    return this.wireType === LEN ? readString(this.bytes, this.start, this.end) : ''
  }
}

/** Skips a group (wire types 3 and 4), which OTLP does not use but unknown fields may. Returns the offset after it. */
function skipGroup(bytes: Uint8Array, at: number, limit: number, number: number, depth: number): number {
  if (depth > MAX_DEPTH) throw new WireError('groups nested too deeply', at)
  const inner = new FieldCursor(bytes, at, limit)
  while (at < limit) {
    const tag = readVarint(bytes, at)
    if ((tag & 7) === 4) {
      if (tag >>> 3 !== number) throw new WireError('group end does not match', at)
      return at + varintLength(tag)
    }
    if ((tag & 7) === 3) {
      at = skipGroup(bytes, at + varintLength(tag), limit, tag >>> 3, depth + 1)
    } else {
      inner.reset(bytes, at, limit)
      inner.next()
      at = inner.offset
    }
  }
  throw new WireError('group without an end', at)
}

/** A varint as a number, exact up to 2^53. The caller has checked the bounds. */
export function readVarint(bytes: Uint8Array, at: number): number {
  let byte = bytes[at++]!
  if (byte < 128) return byte
  let value = byte & 127
  let scale = 128
  for (let count = 1; count < 10; count++) {
    byte = bytes[at++] ?? 0
    value += (byte & 127) * scale
    if (byte < 128) return value
    scale *= 128
  }
  return value
}

export function readVarint64(bytes: Uint8Array, at: number): bigint {
  let low = 0
  let high = 0
  for (let shift = 0; shift < 70; shift += 7) {
    const byte = bytes[at++] ?? 0
    const part = byte & 127
    if (shift < 28) low |= part << shift
    else if (shift === 28) {
      low |= (part & 15) << 28
      high = part >>> 4
    } else if (shift < 63) high |= part << (shift - 32)
    else high |= (part & 1) << 31
    if (byte < 128) break
  }
  return (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0)
}

export function readFixed32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0
}

export function readFixed64(bytes: Uint8Array, at: number): bigint {
  return (BigInt(readFixed32(bytes, at + 4)) << 32n) | BigInt(readFixed32(bytes, at))
}

const scratch = new DataView(new ArrayBuffer(8))

export function readDouble(bytes: Uint8Array, at: number): number {
  scratch.setUint32(0, readFixed32(bytes, at), true)
  scratch.setUint32(4, readFixed32(bytes, at + 4), true)
  return scratch.getFloat64(0, true)
}

/** Reads UTF-8; bytes that are not UTF-8 become U+FFFD. Short ASCII, the common case, does not cross into C++. */
export function readString(bytes: Uint8Array, start: number, end: number): string {
  const length = end - start
  if (length === 0) return ''
  if (length <= 12) {
    let text = ''
    let at = start
    for (; at < end; at++) {
      const byte = bytes[at]!
      if (byte >= 128) break
      text += String.fromCharCode(byte)
    }
    if (at === end) return text
  }
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, length).toString('utf8')
}

/** True when the range holds exactly these bytes. */
export function rangeEquals(bytes: Uint8Array, start: number, end: number, other: Uint8Array): boolean {
  const length = end - start
  if (length !== other.length) return false
  for (let index = 0; index < length; index++) if (bytes[start + index] !== other[index]) return false
  return true
}

/** Bytes that a number takes as a varint. Exact up to 2^53. */
export function varintLength(value: number): number {
  let length = 1
  while (value >= 128) {
    value /= 128
    length++
  }
  return length
}

/** Writes a varint at `at` and returns the offset after it. The caller has made room; for edits that know their size. */
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

/** Copies a range to `at` and returns the offset after it. Makes no view, so that it may be called per item. */
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
 * Nested messages are written with begin() and end(): begin() leaves room for a length of the expected size, and
 * end() moves the content only if the guess was wrong. finish() gives the bytes away; the writer starts anew.
 */
export class WireWriter {
  #bytes: Uint8Array
  #at = 0
  readonly #open: number[] = []

  constructor(sizeBytes = 256) {
    this.#bytes = Buffer.allocUnsafeSlow(sizeBytes)
  }

  get length(): number {
    return this.#at
  }

  #reserve(count: number): void {
    const needed = this.#at + count
    if (needed <= this.#bytes.length) return
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.#bytes.length * 2))
    grown.set(this.#bytes.subarray(0, this.#at))
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
    const target = this.#bytes
    let at = this.#at
    if (count <= 32) for (let index = start; index < end; index++) target[at++] = source[index]!
    else target.set(source.subarray(start, end), at)
    this.#at += count
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
      this.#reserve(Math.max(0, needed - room))
      this.#bytes.copyWithin(start + needed - room, start, start + length)
    }
    this.#at = start - room
    this.varint(length)
    this.#at += length
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
    this.#bytes = Buffer.allocUnsafeSlow(256)
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
