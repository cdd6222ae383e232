/**
 * The 56-bit numbers of consistent probability sampling: randomness R and threshold T. An item is kept
 * when T <= R.
 *
 * A number is two halves of 28 bits, so that comparing and writing one makes no bigint. T = 0 keeps
 * everything and T = 2^56 (high half 2^28) nothing. As text R has 14 hex digits, and T has them without
 * the zeros at its end.
 */

export const HEX_DIGITS = 14
const HALF = 2 ** 28
const MOST = 2n ** 56n

export interface Threshold {
  readonly high: number
  readonly low: number
}

export const ALWAYS: Threshold = { high: 0, low: 0 }
export const NEVER: Threshold = { high: HALF, low: 0 }
/** The randomness that every threshold but NEVER lets through. */
export const MOST_RANDOM: Threshold = { high: HALF - 1, low: HALF - 1 }

export function thresholdOf(value: bigint): Threshold {
  return { high: Number(value >> 28n), low: Number(value & 0xfffffffn) }
}

/** The share that a threshold keeps. */
export function probabilityOf(high: number, low: number): number {
  return Number(MOST - ((BigInt(high) << 28n) | BigInt(low))) / 2 ** 56
}

const bits = new DataView(new ArrayBuffer(8))

/** The exponent that gives value = m * 2^e with 0.5 <= m < 1. */
function exponentOf(value: number): number {
  bits.setFloat64(0, value)
  return ((bits.getUint16(0) >>> 4) & 0x7ff) - 1022
}

/**
 * T for a probability, rounded to so many hex digits, plus one for each leading 0 or f. Undefined when
 * the probability is below 2^-56 or above 1.
 */
export function probabilityToThreshold(probability: number, precision: number): Threshold | undefined {
  if (!(probability >= 2 ** -56 && probability <= 1)) return undefined
  if (probability === 1) return ALWAYS
  const leading = Math.max(
    Math.trunc(exponentOf(probability) / -4),
    Math.trunc(exponentOf(1 - probability) / -4),
  )
  let threshold = MOST - BigInt(Math.round(probability * 2 ** 56))
  const shift = BigInt(4 * (HEX_DIGITS - Math.min(HEX_DIGITS, precision + leading)))
  if (shift > 0n) threshold = ((threshold + (1n << (shift - 1n))) >> shift) << shift
  return thresholdOf(threshold)
}

/** Reads hex digits, at most 14, as the leading ones of a number; false when there are others or none. */
export function readHex(
  bytes: Uint8Array,
  start: number,
  end: number,
  out: { high: number; low: number },
): boolean {
  if (end <= start || end - start > HEX_DIGITS) return false
  let high = 0
  let low = 0
  for (let index = 0; index < HEX_DIGITS; index++) {
    const digit = start + index < end ? hexDigit(bytes[start + index] ?? 0) : 0
    if (digit < 0) return false
    if (index < 7) high = high * 16 + digit
    else low = low * 16 + digit
  }
  out.high = high
  out.low = low
  return true
}

function hexDigit(byte: number): number {
  if (byte >= 48 && byte <= 57) return byte - 48
  const letter = byte | 32
  return letter >= 97 && letter <= 102 ? letter - 87 : -1
}

/** Writes 14 hex digits and returns the offset after them. */
export function writeRandomness(target: Uint8Array, at: number, high: number, low: number): number {
  for (let index = 0; index < 7; index++) {
    target[at + index] = hexChar((high >>> (24 - index * 4)) & 15)
    target[at + 7 + index] = hexChar((low >>> (24 - index * 4)) & 15)
  }
  return at + HEX_DIGITS
}

/** As writeRandomness, without the zeros at the end; at least one digit. */
export function writeThreshold(target: Uint8Array, at: number, high: number, low: number): number {
  let end = writeRandomness(target, at, high, low)
  while (end > at + 1 && target[end - 1] === 48) end--
  return end
}

function hexChar(digit: number): number {
  return digit < 10 ? 48 + digit : 87 + digit
}
