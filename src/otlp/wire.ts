/**
 * Protobuf wire format: FieldCursor reads here, WireWriter writes in wire-writer.ts. The only files that
 * touch bits, with receive.ts.
 *
 * A cursor is a position in bytes that somebody else owns and nobody writes to. It allocates nothing per
 * field, and it checks every bound: a length that lies is a WireError, never a read past the end of the
 * message. 64-bit values are bigint or 8 raw bytes; only lengths, counts and small enums are numbers.
 */
import { WireError } from '../errors.ts'
import { FIXED32, FIXED64, LEN, VARINT } from './wire-writer.ts'

export {
  FIXED32,
  FIXED64,
  LEN,
  lenFieldLength,
  putLenHeader,
  putRange,
  putVarint,
  VARINT,
  varintLength,
  WireWriter,
} from './wire-writer.ts'

/** Nesting that a message may have, groups and AnyValue included (spec/reliability row 25). */
export const MAX_DEPTH = 100

const EMPTY = new Uint8Array(0)

/**
 * Walks the fields of one message.
 *
 *     const cursor = new FieldCursor(bytes)
 *     while (cursor.next()) {
 *       if (cursor.number === SPAN.name) name = cursor.string()
 *     }
 *
 * After next(): `number` and `wireType` of the field, `fieldStart` where its tag begins, `start` and `end`
 * the range of its value (for LEN the content, else the encoded scalar). All offsets are into `bytes`.
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
        if (shift === 28 && byte > 15) throw new WireError('field tag of more than 32 bits', this.fieldStart)
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
            if (shift === 28 && byte > 15) throw new WireError('length of more than 32 bits', this.fieldStart)
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

/**
 * Skips a group (wire types 3 and 4), which OTLP does not use but unknown fields may. Returns the offset
 * after it.
 */
function skipGroup(bytes: Uint8Array, at: number, limit: number, number: number, depth: number): number {
  if (depth > MAX_DEPTH) throw new WireError('groups nested too deeply', at)
  const inner = new FieldCursor()
  while (at < limit) {
    const wireType = bytes[at]! & 7
    if (wireType !== 3 && wireType !== 4) {
      inner.reset(bytes, at, limit).next()
      at = inner.offset
      continue
    }
    const start = at
    while (at < limit && bytes[at]! >= 128) at++
    if (++at > limit || at - start > 5) throw new WireError('broken field tag', start)
    const innerNumber = Math.floor(readVarint(bytes, start) / 8)
    if (wireType === 3) at = skipGroup(bytes, at, limit, innerNumber, depth + 1)
    else if (innerNumber === number) return at
    else throw new WireError('group end does not match', start)
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

/**
 * Reads UTF-8; bytes that are not UTF-8 become U+FFFD. Short ASCII, the common case, does not cross into C++.
 */
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
