/**
 * JSON text written to where the caller has made room: each function takes where to write and returns the offset behind it.
 * Words are written whole, so up to three bytes beyond what is meant may be overwritten, and three beyond a range read.
 *
 * The same text comes from json-buffer.ts; these are for the bytes that every record has.
 */
import { JsonBuffer } from '../../otlp/json-buffer.ts'
import { HEX, HTML_ESCAPES } from '../../otlp/json-escapes.ts'

const HIGH_BITS = 0x80808080 | 0
const ONES = 0x01010101
const [QUOTE, BACKSLASH, MINUS, ZERO] = [0x22, 0x5c, 0x2d, 0x30]

/** The two digits of a byte, the first one in the low half. */
const HEX_PAIRS = Uint16Array.from({ length: 256 }, (_, byte) => HEX[byte >>> 4]! + HEX[byte & 15]! * 256)

const rare = new JsonBuffer()

/** Bytes with a view on them: `view` covers the same bytes. */
export interface Text {
  readonly bytes: Uint8Array
  readonly view: DataView
}

/** Copies a range whose source has three bytes more. */
export function putWords(target: Text, at: number, source: DataView, start: number, end: number): number {
  const { view } = target
  const shift = at - start
  for (let from = start; from < end; from += 4) view.setInt32(from + shift, source.getInt32(from, true), true)
  return end + shift
}

/** A range of UTF-8 as a JSON string, with the escapes that Go's encoder writes. What is not UTF-8 becomes U+FFFD. */
export function putString(target: Text, at: number, source: Text, start: number, end: number): number {
  const { bytes: out, view: outView } = target
  const { bytes, view } = source
  const begin = at
  const lastWord = end - 4
  let from = start
  out[at++] = QUOTE
  while (from < end) {
    // Four bytes at a time until one of them is none to be copied: the masks have a high bit set for a quote or an
    // ampersand, which differ in one bit, for an angle bracket of either kind, a backslash, a control character, UTF-8.
    while (from <= lastWord) {
      const word = view.getInt32(from, true)
      const quote = (word & 0xfbfbfbfb) ^ 0x22222222
      const angle = (word | 0x02020202) ^ 0x3e3e3e3e
      const slash = word ^ 0x5c5c5c5c
      const found =
        ((quote - ONES) & ~quote) |
        ((angle - ONES) & ~angle) |
        ((slash - ONES) & ~slash) |
        ((word - 0x20202020) & ~word) |
        word
      if ((found & HIGH_BITS) !== 0) break
      outView.setInt32(at, word, true)
      at += 4
      from += 4
    }
    const stop = Math.min(from + 4, end)
    while (from < stop) {
      const byte = bytes[from++]!
      const mark = HTML_ESCAPES[byte]!
      if (mark === 0) out[at++] = byte
      else if (mark === 2) return putRare(out, begin, bytes, start, end)
      else at = putEscape(target, at, byte, mark)
    }
  }
  out[at++] = QUOTE
  return at
}

function putEscape({ bytes: out, view }: Text, at: number, byte: number, mark: number): number {
  out[at++] = BACKSLASH
  if (mark !== 1) {
    out[at++] = mark
    return at
  }
  out[at++] = 0x75
  out[at++] = ZERO
  out[at++] = ZERO
  view.setUint16(at, HEX_PAIRS[byte]!, true)
  return at + 2
}

function putRare(out: Uint8Array, at: number, bytes: Uint8Array, start: number, end: number): number {
  rare.clear()
  rare.htmlSafeString(bytes, start, end)
  out.set(rare.view(), at)
  return at + rare.length
}

/** The eight bytes at `start` as a number. */
export function putDouble(out: Uint8Array, at: number, bytes: Uint8Array, start: number): number {
  rare.clear()
  rare.double(bytes, start)
  out.set(rare.view(), at)
  return at + rare.length
}

/** Bytes as hexadecimal digits in quotes. */
export function putHex(target: Text, at: number, source: Uint8Array, start: number, end: number): number {
  const { bytes: out, view } = target
  out[at++] = QUOTE
  for (let from = start; from < end; from++) {
    view.setUint16(at, HEX_PAIRS[source[from]!]!, true)
    at += 2
  }
  out[at++] = QUOTE
  return at
}

/** An integer of up to 53 bits. */
export function putInteger(out: Uint8Array, at: number, value: number): number {
  if (value < 0) {
    out[at++] = MINUS
    value = -value
  }
  if (value > 0x7fffffff) {
    const high = Math.floor(value / 1e9)
    return putDigits(out, putInteger(out, at, high), value - high * 1e9, 9)
  }
  let width = 1
  for (let limit = 10; value >= limit; limit *= 10) width++
  return putDigits(out, at, value, width)
}

function putDigits(out: Uint8Array, at: number, value: number, width: number): number {
  const end = at + width
  let rest = value | 0
  for (let place = end - 1; place >= at; place--) {
    const next = (rest / 10) | 0
    out[place] = ZERO + rest - next * 10
    rest = next
  }
  return end
}

/** ASCII that needs no escape. */
export function putAscii(out: Uint8Array, at: number, text: string): number {
  for (let index = 0; index < text.length; index++) out[at++] = text.charCodeAt(index)
  return at
}
