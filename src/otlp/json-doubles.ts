/**
 * Doubles of OTLP/JSON, read from a JsonText and written to its output. They may stand in quotes, and three words may.
 */
import { isDigit, numberText } from './json-numbers.ts'
import { COMMA, type JsonText, MINUS, QUOTE } from './json-text.ts'

const POINT = 0x2e
const ZERO = 0x30

/** Powers of ten that a double holds exactly. */
const POWERS = Float64Array.from({ length: 23 }, (_, exponent) => Number(`1e${exponent}`))

/** A double. False when it is zero, but not when it is minus zero. */
export function double(text: JsonText): boolean {
  const value = readDouble(text)
  text.outputView.setFloat64(text.put, value, true)
  text.put += 8
  return value !== 0 || Object.is(value, -0)
}

/**
 * Up to 15 digits and a power of ten up to 22 are exact as doubles, and so one multiplication or division rounds
 * correctly. Anything longer is left to the runtime.
 */
function readDouble(text: JsonText): number {
  const source = text.source
  const start = text.at
  let at = start
  const quoted = source[at] === QUOTE
  if (quoted) at++
  const negative = source[at] === MINUS
  if (negative) at++
  const first = at
  let mantissa = 0
  while (isDigit(source[at]!)) mantissa = mantissa * 10 + (source[at++]! - ZERO)
  let digits = at - first
  if (digits === 0 || (digits > 1 && source[first] === ZERO)) return readUnusualDouble(text)
  let exponent = 0
  if (source[at] === POINT) {
    const point = ++at
    while (isDigit(source[at]!)) mantissa = mantissa * 10 + (source[at++]! - ZERO)
    exponent = point - at
    digits -= exponent
  }
  const after = source[at]!
  const ends = quoted ? after === QUOTE : after <= 0x20 || after === COMMA || after === 0x7d || after === 0x5d
  if (!ends || source[at - 1] === POINT) return readUnusualDouble(text)
  text.at = quoted ? at + 1 : at
  if (digits > 15 || exponent < -22)
    return finite(text, source.toString('latin1', first, at), start, negative)
  if (exponent !== 0) mantissa /= POWERS[-exponent]!
  return negative ? -mantissa : mantissa
}

function readUnusualDouble(text: JsonText): number {
  const start = text.at
  const quoted = text.source[start] === QUOTE
  const number = numberText(text)
  if (quoted) {
    if (number === 'NaN') return Number.NaN
    if (number === 'Infinity') return Number.POSITIVE_INFINITY
    if (number === '-Infinity') return Number.NEGATIVE_INFINITY
  }
  const grammar = quoted
    ? /^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$/
    : /^-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?$/
  if (!grammar.test(number)) text.fail('expected a number', start)
  return finite(text, number, start, false)
}

function finite(text: JsonText, number: string, start: number, negative: boolean): number {
  const value = Number(number)
  if (!Number.isFinite(value)) text.fail('a number does not fit a double', start)
  return negative ? -value : value
}
