/**
 * The hash of the `probabilistic` policy: FNV-1a, 64 bits, over the salt and then the trace id, bit for bit
 * as the Go collector computes it, so that several instances and both collectors keep the same traces.
 */

/** Prime of FNV-1a 64: 2^40 + 0x1b3. */
const PRIME_LOW = 0x1b3
const OFFSET_HIGH = 0xcbf29ce4
const OFFSET_LOW = 0x84222325
const DEFAULT_SALT = 'default-hash-seed'

export class TraceIdHash {
  high = OFFSET_HIGH
  low = OFFSET_LOW

  constructor(salt: string) {
    for (const byte of new TextEncoder().encode(salt === '' ? DEFAULT_SALT : salt)) this.#add(byte)
  }

  #add(byte: number): void {
    const low = (this.low ^ byte) >>> 0
    const product = low * PRIME_LOW
    this.high = (this.high * PRIME_LOW + Math.floor(product / 2 ** 32) + low * 256) % 2 ** 32
    this.low = product % 2 ** 32
  }

  /** Hash of a trace id given as four little-endian words, left in `high` and `low` of `result`. */
  ofTraceId(words: Int32Array, at: number, result: { high: number; low: number }): void {
    let high = this.high
    let low = this.low
    for (let index = 0; index < 4; index++) {
      const word = words[at + index]!
      for (let shift = 0; shift < 32; shift += 8) {
        low = (low ^ ((word >>> shift) & 255)) >>> 0
        const product = low * PRIME_LOW
        high = (Math.imul(high, PRIME_LOW) + Math.floor(product / 2 ** 32) + (low << 8)) >>> 0
        low = product >>> 0
      }
    }
    result.high = high
    result.low = low
  }
}

/**
 * floor((2^64 - 1) * percentage / 100), computed as Go's big.Float does: the quotient as a double, the
 * product rounded to 64 significant bits, half to even, then cut.
 */
export function hashThreshold(percentage: number): bigint {
  const largest = 2n ** 64n - 1n
  const ratio = percentage / 100
  if (!(ratio > 0)) return 0n
  if (ratio >= 1) return largest
  const bits = new DataView(new ArrayBuffer(8))
  bits.setFloat64(0, ratio)
  const encoded = bits.getBigUint64(0)
  const exponentBits = Number((encoded >> 52n) & 0x7ffn)
  const fraction = encoded & (2n ** 52n - 1n)
  const mantissa = exponentBits === 0 ? fraction : fraction | (1n << 52n)
  let exponent = Math.max(exponentBits, 1) - 1075
  let product = largest * mantissa
  const excess = product.toString(2).length - 64
  if (excess > 0) {
    const rest = product & ((1n << BigInt(excess)) - 1n)
    const half = 1n << BigInt(excess - 1)
    product >>= BigInt(excess)
    exponent += excess
    if (rest > half || (rest === half && (product & 1n) === 1n)) product++
  }
  return exponent >= 0 ? product << BigInt(exponent) : product >> BigInt(-exponent)
}
