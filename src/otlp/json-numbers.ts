/**
 * Integers of OTLP/JSON, read from a JsonText and written to its output in their protobuf form. They may stand in
 * quotes. None passes through a double: they are exact over all 64 bits.
 */
import { type JsonText, MINUS, QUOTE } from './json-text.ts'

const PLUS = 0x2b
const POINT = 0x2e
const ZERO = 0x30
const BACKSLASH = 0x5c
/** Longest number that is read at all. Nobody writes more, and BigInt is not linear. */
const LONGEST_NUMBER = 400
const EXPONENT_LIMIT = 400
const MASK_32 = 0xffffffffn

/** What readInteger() found: sign and magnitude, in two 32-bit halves. */
const found = { negative: false, high: 0, low: 0 }

/** An ASCII digit. */
export function isDigit(byte: number): boolean {
  return (byte - ZERO) >>> 0 <= 9
}

/** Four digits at once, or -1 if they are not. */
function fourDigits(word: number): number {
  if ((word & 0xf0f0f0f0) !== 0x30303030 || ((word + 0x06060606) & 0xf0f0f0f0) !== 0x30303030) return -1
  const pairs = ((word & 0x0f0f0f0f) * 10 + ((word & 0x0f0f0f0f) >>> 8)) & 0x00ff00ff
  return ((pairs & 0xff) * 100 + (pairs >>> 16)) | 0
}

/** Times of this era in nanoseconds are 19 digits in quotes. False, and nothing read, if it is anything else. */
function readTime(text: JsonText): boolean {
  const { source, view, at } = text
  const last = ((source[at + 17]! - ZERO) * 10 + source[at + 18]! - ZERO) * 10 + source[at + 19]! - ZERO
  if (source[at] !== QUOTE || source[at + 20] !== QUOTE) return false
  if (!isDigit(source[at + 17]!) || !isDigit(source[at + 18]!) || !isDigit(source[at + 19]!)) return false
  const first = fourDigits(view.getInt32(at + 1, true))
  const second = fourDigits(view.getInt32(at + 5, true))
  const third = fourDigits(view.getInt32(at + 9, true))
  const fourth = fourDigits(view.getInt32(at + 13, true))
  if ((first | second | third | fourth) < 0) return false
  text.at = at + 21
  // The first ten digits and the last nine.
  const head = (first * 10_000 + second) * 100 + Math.floor(third / 100)
  found.negative = false
  combine(head, (third % 100) * 10_000_000 + fourth * 1000 + last)
  return true
}

/** Puts head * 10^9 + tail into `found`, with head up to 11 digits. False if that is more than 64 bits. */
function combine(head: number, tail: number): boolean {
  // In steps of 16 bits, which a double holds exactly.
  const part = (head % 65536) * 1e9 + tail
  const upper = Math.floor(head / 65536) * 1e9 + Math.floor(part / 65536)
  const high = Math.floor(upper / 65536)
  found.high = high | 0
  found.low = ((upper % 65536) << 16) | (part % 65536)
  return high <= 0xffffffff
}

/** Reads an integer. Also `1.0` and `1e3`, which are integers in proto3 JSON. */
function readInteger(text: JsonText): void {
  const source = text.source
  let at = text.at
  const quoted = source[at] === QUOTE
  if (quoted) at++
  const sign = source[at]!
  found.negative = sign === MINUS
  if (sign === MINUS || (quoted && sign === PLUS)) at++
  if (!quoted && source[at] === ZERO && isDigit(source[at + 1]!)) text.fail('a number begins with 0', at)
  let stop = at
  while (isDigit(source[stop]!)) stop++
  if (stop === at && !(quoted && source[at] === BACKSLASH)) text.fail('expected an integer', at)
  while (source[at] === ZERO && stop - at > 1) at++
  const after = source[stop]!
  if (quoted ? after !== QUOTE : after === POINT || (after | 32) === 0x65) {
    readUnusualInteger(text)
    return
  }
  text.at = quoted ? stop + 1 : stop
  const count = stop - at
  if (count > 20) text.fail('an integer does not fit 64 bits', at)
  const split = count > 9 ? stop - 9 : at
  let head = 0
  for (; at < split; at++) head = head * 10 + (source[at]! - ZERO)
  let tail = 0
  for (; at < stop; at++) tail = tail * 10 + (source[at]! - ZERO)
  if (head === 0) {
    found.high = 0
    found.low = tail
    return
  }
  if (!combine(head, tail)) text.fail('an integer does not fit 64 bits', split)
}

/** `1.0`, `12e3`, digits written as escapes: by way of text, exactly. */
function readUnusualInteger(text: JsonText): void {
  const start = text.at
  const number = numberText(text)
  const match = /^([-+]?)(\d+)(?:\.(\d+))?(?:[eE]([-+]?\d+))?$/.exec(number)
  if (!match || number.length > LONGEST_NUMBER) text.fail('expected an integer', start)
  const [, sign, whole = '', fraction = '', exponent = '0'] = match
  const shift = Number(exponent) - fraction.length
  if (Math.abs(shift) > EXPONENT_LIMIT) text.fail('an integer does not fit 64 bits', start)
  let value = BigInt(whole + fraction)
  if (shift >= 0) value *= 10n ** BigInt(shift)
  else {
    const scale = 10n ** BigInt(-shift)
    if (value % scale !== 0n) text.fail('expected an integer', start)
    value /= scale
  }
  if (value >> 64n !== 0n) text.fail('an integer does not fit 64 bits', start)
  found.negative = sign === '-'
  found.high = Number(value >> 32n) | 0
  found.low = Number(value & MASK_32) | 0
}

/** The number that begins here, in quotes or not, as text. */
export function numberText(text: JsonText): string {
  const source = text.source
  if (source[text.at] === QUOTE) {
    text.token()
    return text.tokenText()
  }
  const start = text.at
  let byte = source[start]!
  while (isDigit(byte) || byte === MINUS || byte === PLUS || byte === POINT || (byte | 32) === 0x65)
    byte = source[++text.at]!
  return Buffer.from(source.subarray(start, text.at)).toString('latin1')
}

/** Puts the two's complement into `found`, where the high half then tells the sign. */
function applySign(): void {
  if (!found.negative) return
  found.low = -found.low | 0
  found.high = (~found.high + (found.low === 0 ? 1 : 0)) | 0
}

function writeHalves(text: JsonText): void {
  text.outputView.setInt32(text.put, found.low, true)
  text.outputView.setInt32(text.put + 4, found.high, true)
  text.put += 8
}

function writeVarint(text: JsonText): void {
  const output = text.output
  let { low, high } = found
  let put = text.put
  while (high !== 0 || low >>> 0 > 127) {
    output[put++] = (low & 127) | 128
    low = (low >>> 7) | (high << 25)
    high >>>= 7
  }
  output[put++] = low
  text.put = put
}

function isZero(): boolean {
  return (found.low | found.high) === 0
}

function unsigned(text: JsonText, start: number): void {
  if (found.negative && !isZero()) text.fail('expected an unsigned integer', start)
}

function signed(text: JsonText, start: number): void {
  // 2^63 itself is only there with a minus.
  if (found.high < 0 && !(found.negative && found.high === -0x80000000 && found.low === 0))
    text.fail('an integer does not fit 63 bits and a sign', start)
  applySign()
}

/** Each of these reads one number and writes its value without a tag. False when it is zero. */

export function fixed64(text: JsonText): boolean {
  const start = text.at
  if (!readTime(text)) {
    readInteger(text)
    unsigned(text, start)
  }
  writeHalves(text)
  return !isZero()
}

export function sfixed64(text: JsonText): boolean {
  const start = text.at
  readInteger(text)
  signed(text, start)
  writeHalves(text)
  return !isZero()
}

export function uint64(text: JsonText): boolean {
  const start = text.at
  readInteger(text)
  unsigned(text, start)
  writeVarint(text)
  return !isZero()
}

export function int64(text: JsonText): boolean {
  const start = text.at
  readInteger(text)
  signed(text, start)
  writeVarint(text)
  return !isZero()
}

export function uint32(text: JsonText): boolean {
  const start = text.at
  readInteger(text)
  unsigned(text, start)
  if (found.high !== 0) text.fail('an integer does not fit 32 bits', start)
  writeVarint(text)
  return !isZero()
}

export function fixed32(text: JsonText): boolean {
  const start = text.at
  readInteger(text)
  unsigned(text, start)
  if (found.high !== 0) text.fail('an integer does not fit 32 bits', start)
  text.outputView.setInt32(text.put, found.low, true)
  text.put += 4
  return !isZero()
}

/** int32 and enums by number. */
export function int32(text: JsonText): boolean {
  signed32(text)
  writeVarint(text)
  return !isZero()
}

/** Zigzag. */
export function sint32(text: JsonText): boolean {
  signed32(text)
  found.low = (found.low << 1) ^ (found.low >> 31)
  found.high = 0
  writeVarint(text)
  return !isZero()
}

function signed32(text: JsonText): void {
  const start = text.at
  readInteger(text)
  signed(text, start)
  if (found.high !== found.low >> 31) text.fail('an integer does not fit 32 bits', start)
}

/** Writes an enum value that was given by name. */
export function enumNumber(text: JsonText, value: number): boolean {
  found.high = value >> 31
  found.low = value
  writeVarint(text)
  return value !== 0
}
