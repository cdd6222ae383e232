/**
 * A bounded cache from byte strings to values, looked up by a range of somebody else's bytes: a hit allocates nothing.
 * When it is full it starts anew, which costs a recomputation of what is still in use and bounds the memory.
 */
import { Buffer } from 'node:buffer'
import { hashRange, sameBytes } from './byte-area.ts'

export class ByteMap<V> {
  readonly #limit: number
  readonly #keyLimitBytes: number
  readonly #totalLimitBytes: number
  #totalBytes = 0
  #slots: Int32Array
  #keys: Uint8Array[] = []
  #hashes: number[] = []
  #values: V[] = []

  /** Keys longer than `keyLimitBytes` are not kept, and of all of them together no more than `totalLimitBytes`. */
  constructor(limit: number, keyLimitBytes = 1024, totalLimitBytes = Number.POSITIVE_INFINITY) {
    this.#limit = limit
    this.#keyLimitBytes = keyLimitBytes
    this.#totalLimitBytes = totalLimitBytes
    this.#slots = new Int32Array(64).fill(-1)
  }

  get size(): number {
    return this.#keys.length
  }

  get(bytes: Uint8Array, start: number, end: number): V | undefined {
    const hash = hashRange(bytes, start, end)
    const mask = this.#slots.length - 1
    const length = end - start
    for (let slot = (hash ^ (hash >>> 15)) & mask; ; slot = (slot + 1) & mask) {
      const index = this.#slots[slot]!
      if (index < 0) return undefined
      const key = this.#keys[index]!
      if (this.#hashes[index] === hash && key.length === length && sameBytes(key, 0, bytes, start, length))
        return this.#values[index]
    }
  }

  set(bytes: Uint8Array, start: number, end: number, value: V): void {
    if (end - start > this.#keyLimitBytes) return
    if (this.#keys.length >= this.#limit || this.#totalBytes + end - start > this.#totalLimitBytes) {
      this.#totalBytes = 0
      this.#keys = []
      this.#hashes = []
      this.#values = []
      this.#slots.fill(-1)
    }
    const hash = hashRange(bytes, start, end)
    const key = Buffer.allocUnsafeSlow(end - start)
    for (let index = start; index < end; index++) key[index - start] = bytes[index]!
    this.#totalBytes += key.length
    this.#keys.push(key)
    this.#hashes.push(hash)
    this.#values.push(value)
    if (this.#keys.length * 2 > this.#slots.length) {
      this.#slots = new Int32Array(this.#slots.length * 2).fill(-1)
      for (let index = 0; index < this.#keys.length; index++) this.#place(index)
    } else this.#place(this.#keys.length - 1)
  }

  #place(index: number): void {
    const hash = this.#hashes[index]!
    const mask = this.#slots.length - 1
    let slot = (hash ^ (hash >>> 15)) & mask
    while (this.#slots[slot]! >= 0) slot = (slot + 1) & mask
    this.#slots[slot] = index
  }
}
