/**
 * A growing buffer of JSON text in UTF-8: strings, numbers and ids are written as bytes, straight from protobuf bytes. What comes
 * out is valid JSON whatever goes in.
 *
 * Up to PART_BYTES it grows by copying. Beyond that what is full is set aside as a part, so that a long text takes its own length
 * and no more: a request of a million empty spans is small, but its JSON is not.
 *
 * Longer than other files: every kind of value is written here.
 */
import { isUtf8 } from 'node:buffer'
import { BASE64, ESCAPES, HEX, HTML_ESCAPES } from './json-escapes.ts'
import { readFixed32 } from './wire.ts'

const BILLION = 1_000_000_000

/** What is full and at least so long is set aside. */
const PART_BYTES = 1024 * 1024
/** From here on the runtime copies faster than a loop. */
const LONG_BYTES = 64

const scratch = new DataView(new ArrayBuffer(8))

export class JsonBuffer {
  #bytes: Uint8Array
  #at = 0
  /** What comes before `#bytes`. */
  #parts: Uint8Array[] = []
  #partsLength = 0

  constructor(sizeBytes = 4096) {
    this.#bytes = Buffer.allocUnsafeSlow(sizeBytes)
  }

  get length(): number {
    return this.#partsLength + this.#at
  }

  /** What the bytes lie in: the first `length` of it, until the next write. */
  get bytes(): Uint8Array {
    if (this.#parts.length > 0) this.#join()
    return this.#bytes
  }

  /** The bytes written so far, as a view that the next write may change. */
  view(): Uint8Array {
    return this.bytes.subarray(0, this.#at)
  }

  /** A copy of the bytes in a buffer of just their size; this one starts anew. */
  take(): Uint8Array {
    const result = Buffer.allocUnsafeSlow(this.length)
    result.set(this.view())
    this.#at = 0
    return result
  }

  /** The same in parts, where it is long: a copy of the last one and the others as they are. */
  takeParts(): Uint8Array[] {
    const parts = this.#parts
    this.#parts = []
    this.#partsLength = 0
    parts.push(this.take())
    return parts
  }

  /** Starts anew; a buffer of more than `keepBytes` is given up. */
  clear(keepBytes = 4 * 1024 * 1024): void {
    this.truncate(0)
    if (this.#bytes.length > keepBytes) this.#bytes = Buffer.allocUnsafeSlow(4096)
  }

  /** Takes back all that was written since `length` was `mark`. */
  truncate(mark: number): void {
    while (mark < this.#partsLength) {
      this.#bytes = this.#parts.pop()! // The length is that of the parts.
      this.#partsLength -= this.#bytes.length
    }
    this.#at = mark - this.#partsLength
  }

  #reserve(count: number): void {
    if (this.#at + count > this.#bytes.length) this.#grow(count)
  }

  #grow(count: number): void {
    const written = this.#bytes.subarray(0, this.#at)
    if (this.#at >= PART_BYTES) {
      this.#parts.push(written)
      this.#partsLength += this.#at
      this.#at = 0
      this.#bytes = Buffer.allocUnsafeSlow(Math.max(count, PART_BYTES))
      return
    }
    const grown = Buffer.allocUnsafeSlow(Math.max(this.#at + count, this.#bytes.length * 2))
    grown.set(written)
    this.#bytes = grown
  }

  #join(): void {
    this.#bytes = Buffer.concat([...this.#parts, this.#bytes.subarray(0, this.#at)])
    this.#parts = []
    this.#partsLength = 0
    this.#at = this.#bytes.length
  }

  byte(value: number): void {
    this.#reserve(1)
    this.#bytes[this.#at++] = value
  }

  /** JSON text that is ready. */
  raw(text: Uint8Array): void {
    const length = text.length
    this.#reserve(length)
    const bytes = this.#bytes
    if (length > LONG_BYTES) {
      bytes.set(text, this.#at)
      this.#at += length
      return
    }
    let at = this.#at
    for (let index = 0; index < length; index++) bytes[at++] = text[index]!
    this.#at = at
  }

  /** ASCII that needs no escape. */
  ascii(text: string): void {
    this.#reserve(text.length)
    for (let index = 0; index < text.length; index++) this.#bytes[this.#at++] = text.charCodeAt(index)
  }

  /** A range of UTF-8 as a JSON string. What is not UTF-8 becomes U+FFFD. */
  string(source: Uint8Array, start: number, end: number): void {
    this.#string(source, start, end, ESCAPES)
  }

  /** The same as Go's encoder writes it: what could end a script in a page is escaped. */
  htmlSafeString(source: Uint8Array, start: number, end: number): void {
    this.#string(source, start, end, HTML_ESCAPES)
  }

  #string(source: Uint8Array, start: number, end: number, escapes: Uint8Array): void {
    this.#reserve(end - start + 2)
    const bytes = this.#bytes
    let at = this.#at
    bytes[at++] = 0x22
    let from = start
    while (from < end) {
      const byte = source[from]!
      if (escapes[byte] !== 0) break
      bytes[at++] = byte
      from++
    }
    this.#at = at
    if (from < end) this.#unusualString(source, from, end, escapes)
    this.byte(0x22)
  }

  #unusualString(source: Uint8Array, start: number, end: number, escapes: Uint8Array): void {
    const html = escapes === HTML_ESCAPES
    let checked = false // That the rest is UTF-8 as a whole.
    for (let at = start; at < end; at++) {
      this.#reserve(8)
      const byte = source[at]!
      const mark = escapes[byte]!
      if (mark === 2 && !checked) {
        const rest = source.subarray(at, end)
        if (!isUtf8(rest)) {
          const repaired = new TextEncoder().encode(new TextDecoder().decode(rest))
          this.#unusualString(repaired, 0, repaired.length, escapes)
          return
        }
        checked = true
      }
      if (mark === 0) this.#bytes[this.#at++] = byte
      else if (mark === 2) {
        // The line and paragraph separators, U+2028 and U+2029, are e2 80 a8 and e2 80 a9.
        if (html && byte === 0xe2 && source[at + 1] === 0x80 && (source[at + 2]! | 1) === 0xa9) {
          this.ascii(source[at + 2] === 0xa8 ? '\\u2028' : '\\u2029')
          at += 2
        } else this.#bytes[this.#at++] = byte
      } else {
        this.#bytes[this.#at++] = 0x5c
        if (mark !== 1) this.#bytes[this.#at++] = mark
        else {
          this.ascii('u00')
          this.#bytes[this.#at++] = HEX[byte >>> 4]!
          this.#bytes[this.#at++] = HEX[byte & 15]!
        }
      }
    }
  }

  hex(source: Uint8Array, start: number, end: number): void {
    this.#reserve((end - start) * 2 + 2)
    const bytes = this.#bytes
    let at = this.#at
    bytes[at++] = 0x22
    for (let index = start; index < end; index++) {
      const byte = source[index]!
      bytes[at++] = HEX[byte >>> 4]!
      bytes[at++] = HEX[byte & 15]!
    }
    bytes[at++] = 0x22
    this.#at = at
  }

  base64(source: Uint8Array, start: number, end: number): void {
    this.#reserve(Math.ceil((end - start) / 3) * 4 + 2)
    const bytes = this.#bytes
    let at = this.#at
    bytes[at++] = 0x22
    for (let index = start; index < end; index += 3) {
      const left = end - index
      const bits =
        (source[index]! << 16) |
        (left > 1 ? source[index + 1]! << 8 : 0) |
        (left > 2 ? source[index + 2]! : 0)
      bytes[at++] = BASE64[bits >>> 18]!
      bytes[at++] = BASE64[(bits >>> 12) & 63]!
      bytes[at++] = left > 1 ? BASE64[(bits >>> 6) & 63]! : 0x3d
      bytes[at++] = left > 2 ? BASE64[bits & 63]! : 0x3d
    }
    bytes[at++] = 0x22
    this.#at = at
  }

  /** An integer of up to 53 bits. */
  integer(value: number): void {
    this.#reserve(24)
    if (value < 0) {
      this.#bytes[this.#at++] = 0x2d
      value = -value
    }
    let width = 1
    for (let limit = 10; value >= limit; limit *= 10) width++
    this.#digits(value, width)
  }

  #digits(value: number, width: number): void {
    const bytes = this.#bytes
    this.#at += width
    let at = this.#at
    while (width-- > 0) {
      const rest = Math.floor(value / 10)
      bytes[--at] = 0x30 + value - rest * 10
      value = rest
    }
  }

  /** 64 bits, given as two halves, as a decimal number in quotes. */
  integer64(high: number, low: number, signed: boolean): void {
    this.#reserve(24)
    this.#bytes[this.#at++] = 0x22
    if (signed && high >> 31 !== 0) {
      this.#bytes[this.#at++] = 0x2d
      low = -low | 0
      high = (~high + (low === 0 ? 1 : 0)) | 0
    }
    // Long division by 10^9 in steps of 16 bits, which a double holds exactly.
    high >>>= 0
    low >>>= 0
    const first = Math.floor(high / BILLION)
    const second = (high - first * BILLION) * 65536 + (low >>> 16)
    const secondPart = Math.floor(second / BILLION)
    const third = (second - secondPart * BILLION) * 65536 + (low & 65535)
    const thirdPart = Math.floor(third / BILLION)
    const head = first * 4294967296 + secondPart * 65536 + thirdPart
    const tail = third - thirdPart * BILLION
    if (head === 0) this.integer(tail)
    else {
      this.integer(head)
      this.#digits(tail, 9)
    }
    this.#bytes[this.#at++] = 0x22
  }

  /** Eight little-endian bytes as a 64-bit integer. */
  fixed64(source: Uint8Array, at: number, signed: boolean): void {
    this.integer64(readFixed32(source, at + 4) | 0, readFixed32(source, at) | 0, signed)
  }

  /** Eight little-endian bytes as a double. Not-a-number and the infinities are strings. */
  double(source: Uint8Array, at: number): void {
    scratch.setUint32(0, readFixed32(source, at), true)
    scratch.setUint32(4, readFixed32(source, at + 4), true)
    const value = scratch.getFloat64(0, true)
    // With at most 15 digits in all, a decimal that gives this double is the shortest one.
    const millionths = Math.abs(value) * 1e6
    if (millionths < 1e15 && value !== 0) {
      const whole = Math.round(millionths)
      if (whole / 1e6 === Math.abs(value)) {
        this.#decimal(value < 0, whole)
        return
      }
    }
    if (Object.is(value, -0)) this.ascii('-0')
    else if (Number.isFinite(value)) this.ascii(String(value))
    else this.ascii(`"${value}"`)
  }

  #decimal(negative: boolean, millionths: number): void {
    if (negative) this.byte(0x2d)
    const whole = Math.floor(millionths / 1e6)
    this.integer(whole)
    let fraction = millionths - whole * 1e6
    if (fraction === 0) return
    let width = 6
    while (fraction % 10 === 0) {
      fraction /= 10
      width--
    }
    this.byte(0x2e)
    this.#reserve(6)
    this.#digits(fraction, width)
  }
}
