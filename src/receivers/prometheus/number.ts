/**
 * Numbers of the text formats, straight from bytes. Usual values (up to 15 digits) make no string: whole
 * number and power of ten are both exact there, so one multiplication or division rounds correctly. The rest
 * goes through Number().
 */
const POWERS_OF_TEN = Array.from({ length: 23 }, (_, exponent) => 10 ** exponent)
const DECIMAL = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/
const SPECIAL = /^(?:nan|[+-]?inf(?:inity)?)$/i
/** Longer than any double is ever written. */
const MAX_DIGITS = 1100

/** Undefined when it is no number. */
export function parseNumber(bytes: Uint8Array, start: number, end: number): number | undefined {
  let at = start
  const first = bytes[at]
  const negative = first === 0x2d
  if (negative || first === 0x2b) at++
  let mantissa = 0
  let digits = 0
  let exponent = 0
  let seen = false
  let point = false
  for (; at < end; at++) {
    const byte = bytes[at]!
    if (byte >= 0x30 && byte <= 0x39) {
      seen = true
      if (digits > 0 || byte !== 0x30) digits++
      if (digits > 15) return parseSlowly(bytes, start, end)
      mantissa = mantissa * 10 + byte - 0x30
      if (point) exponent--
    } else if (byte === 0x2e && !point) point = true
    else break
  }
  if (!seen) return parseSlowly(bytes, start, end)
  if (at < end) {
    const byte = bytes[at]!
    if (byte !== 0x65 && byte !== 0x45) return undefined
    const written = parseExponent(bytes, at + 1, end)
    if (written === undefined) return undefined
    exponent += written
  }
  if (exponent < -22 || exponent > 22) return parseSlowly(bytes, start, end)
  const size = exponent < 0 ? mantissa / POWERS_OF_TEN[-exponent]! : mantissa * POWERS_OF_TEN[exponent]!
  return negative ? -size : size
}

function parseExponent(bytes: Uint8Array, at: number, end: number): number | undefined {
  const sign = bytes[at] === 0x2d ? -1 : 1
  if (bytes[at] === 0x2d || bytes[at] === 0x2b) at++
  if (at >= end) return undefined
  let value = 0
  for (; at < end; at++) {
    const digit = bytes[at]! - 0x30
    if (digit < 0 || digit > 9) return undefined
    value = Math.min(value * 10 + digit, 100_000)
  }
  return sign * value
}

function parseSlowly(bytes: Uint8Array, start: number, end: number): number | undefined {
  if (end - start > MAX_DIGITS || end <= start) return undefined
  const text = Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('latin1')
  if (DECIMAL.test(text)) {
    const value = Number(text)
    return Number.isFinite(value) ? value : undefined
  }
  if (!SPECIAL.test(text)) return undefined
  if (/^nan$/i.test(text)) return Number.NaN
  return text.startsWith('-') ? -Infinity : Infinity
}

/** A decimal integer that a JS number holds exactly; undefined when it is none. */
export function parseInteger(bytes: Uint8Array, start: number, end: number): number | undefined {
  const negative = bytes[start] === 0x2d
  let at = negative || bytes[start] === 0x2b ? start + 1 : start
  if (at >= end || end - at > 16) return undefined
  let value = 0
  for (; at < end; at++) {
    const digit = bytes[at]! - 0x30
    if (digit < 0 || digit > 9) return undefined
    value = value * 10 + digit
  }
  if (value > Number.MAX_SAFE_INTEGER) return undefined
  return negative ? -value : value
}
