/**
 * A growing run of bytes that is written at the end and read anywhere: what the series of a batch are put together
 * in. It is kept from batch to batch and never handed out; who wants to keep bytes copies them.
 *
 * `bytes` changes when the area grows, so it is read again after every write.
 */
import { Buffer } from 'node:buffer'
import { randomInt } from 'node:crypto'

/** Below this a loop is cheaper than crossing into the runtime's copy. */
const SHORT_COPY = 40
/** A larger area is given back when it was mostly empty so many times in a row. */
const KEEP_BYTES = 4 * 1024 * 1024
const PATIENCE = 64

const double = new Float64Array(1)
const doubleBytes = new Uint8Array(double.buffer)

export class ByteArea {
  bytes: Buffer
  length = 0
  readonly #initialBytes: number
  #unused = 0

  constructor(initialBytes = 1024) {
    this.#initialBytes = initialBytes
    this.bytes = Buffer.allocUnsafeSlow(initialBytes)
  }

  /**
   * Empties the area. Memory that one large batch has taken is given back, but not while batches need it: fresh memory is
   * faulted in page by page, which costs more than filling it.
   */
  clear(): void {
    const capacity = this.bytes.length
    if (capacity <= KEEP_BYTES || this.length > capacity / 4) this.#unused = 0
    else if (++this.#unused >= PATIENCE) {
      this.#unused = 0
      this.bytes = Buffer.allocUnsafeSlow(this.#initialBytes)
    }
    this.length = 0
  }

  reserve(count: number): void {
    const needed = this.length + count
    if (needed <= this.bytes.length) return
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.bytes.length * 2))
    this.bytes.copy(grown, 0, 0, this.length)
    this.bytes = grown
  }

  byte(value: number): void {
    if (this.length === this.bytes.length) this.reserve(1)
    this.bytes[this.length++] = value
  }

  varint(value: number): void {
    this.reserve(10)
    const bytes = this.bytes
    let at = this.length
    while (value >= 128) {
      bytes[at++] = (value % 128) + 128
      value = Math.floor(value / 128)
    }
    bytes[at++] = value
    this.length = at
  }

  /** A double as 8 bytes, little-endian. */
  double(value: number): void {
    this.reserve(8)
    double[0] = value
    const bytes = this.bytes
    const at = this.length
    for (let index = 0; index < 8; index++) bytes[at + index] = doubleBytes[index]!
    this.length = at + 8
  }

  copy(source: Uint8Array, start: number, end: number): void {
    const count = end - start
    this.reserve(count)
    const target = this.bytes
    let at = this.length
    this.length = at + count
    if (count <= SHORT_COPY) for (let index = start; index < end; index++) target[at++] = source[index]!
    else Buffer.prototype.copy.call(source, target, at, start, end)
  }

  all(source: Uint8Array): void {
    this.copy(source, 0, source.length)
  }

  utf8(text: string): void {
    const size = Buffer.byteLength(text)
    this.reserve(size)
    this.length += this.bytes.write(text, this.length, 'utf8')
  }

  /** The range as bytes of its own. */
  slice(start: number, end: number): Buffer {
    const made = Buffer.allocUnsafeSlow(end - start)
    this.bytes.copy(made, 0, start, end)
    return made
  }
}

/** True when two ranges hold the same bytes. */
export function sameBytes(
  left: Uint8Array,
  leftStart: number,
  right: Uint8Array,
  rightStart: number,
  count: number,
): boolean {
  for (let index = 0; index < count; index++) {
    if (left[leftStart + index] !== right[rightStart + index]) return false
  }
  return true
}

/** Spreads a 32-bit value over all its bits, so that sums of hashes stay well mixed. */
export function mix(hash: number): number {
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return hash ^ (hash >>> 16)
}

/** Differs per process, so that nobody can send names that all fall into one slot. */
export const HASH_SEED = randomInt(2 ** 32) | 0

export function hashRange(bytes: Uint8Array, start: number, end: number, seed: number = HASH_SEED): number {
  let hash = seed
  for (let index = start; index < end; index++) hash = Math.imul(hash ^ bytes[index]!, 0x01000193)
  return hash
}
