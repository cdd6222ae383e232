/**
 * Remembers the last decided traces by the low 8 bytes of their id, least recently asked for forgotten first.
 *
 * Entries are four words in a typed array, found through open addressing; arrays grow by doubling up to the
 * limit.
 */
import { randomInt } from 'node:crypto'
import { doubled } from './trace-table.ts'

const KEY_LOW = 0
const KEY_HIGH = 1
const NEWER = 2
const OLDER = 3
const STRIDE = 4

export class DecisionCache {
  readonly #limit: number
  #words = new Int32Array(256 * STRIDE)
  #slots = new Int32Array(512)
  #count = 0
  #newest = 0
  #oldest = 0
  readonly #m0 = randomInt(2 ** 31) * 2 + 1
  readonly #m1 = randomInt(2 ** 31) * 2 + 1

  constructor(limit: number) {
    this.#limit = limit
  }

  get heldBytes(): number {
    return this.#words.byteLength + this.#slots.byteLength
  }

  /** True when the key is known; it becomes the newest. */
  has(low: number, high: number): boolean {
    const slot = this.#find(low, high)
    const entry = this.#slots[slot]!
    if (entry === 0) return false
    this.#unlink(entry)
    this.#link(entry)
    return true
  }

  put(low: number, high: number): void {
    if (this.has(low, high)) return
    let entry: number
    if (this.#count < this.#limit) {
      entry = ++this.#count
      if (entry * STRIDE >= this.#words.length) this.#words = doubled(this.#words)
      if (this.#count * 2 > this.#slots.length) this.#growSlots()
    } else {
      entry = this.#oldest
      this.#unlink(entry)
      this.#removeSlot(entry)
    }
    this.#words[entry * STRIDE + KEY_LOW] = low
    this.#words[entry * STRIDE + KEY_HIGH] = high
    this.#slots[this.#find(low, high)] = entry
    this.#link(entry)
  }

  /** The slot of the key, or the empty one where it belongs. */
  #find(low: number, high: number): number {
    const slots = this.#slots
    const words = this.#words
    const mask = slots.length - 1
    let slot = this.#home(low, high)
    while (true) {
      const at = slots[slot]! * STRIDE
      if (at === 0 || (words[at + KEY_LOW] === low && words[at + KEY_HIGH] === high)) return slot
      slot = (slot + 1) & mask
    }
  }

  #home(low: number, high: number): number {
    const sum = Math.imul(low, this.#m0) + Math.imul(high, this.#m1)
    return Math.imul((sum | 0) ^ (sum >>> 15), 0x9e3779b1) >>> (Math.clz32(this.#slots.length) + 1)
  }

  #homeOf(entry: number): number {
    return this.#home(this.#words[entry * STRIDE + KEY_LOW]!, this.#words[entry * STRIDE + KEY_HIGH]!)
  }

  #link(entry: number): void {
    const words = this.#words
    words[entry * STRIDE + OLDER] = this.#newest
    words[entry * STRIDE + NEWER] = 0
    if (this.#newest === 0) this.#oldest = entry
    else words[this.#newest * STRIDE + NEWER] = entry
    this.#newest = entry
  }

  #unlink(entry: number): void {
    const words = this.#words
    const newer = words[entry * STRIDE + NEWER]!
    const older = words[entry * STRIDE + OLDER]!
    if (newer === 0) this.#newest = older
    else words[newer * STRIDE + OLDER] = older
    if (older === 0) this.#oldest = newer
    else words[older * STRIDE + NEWER] = newer
  }

  #removeSlot(entry: number): void {
    const slots = this.#slots
    const mask = slots.length - 1
    let hole = this.#homeOf(entry)
    while (slots[hole] !== entry) hole = (hole + 1) & mask
    for (let slot = (hole + 1) & mask; slots[slot] !== 0; slot = (slot + 1) & mask) {
      const home = this.#homeOf(slots[slot]!)
      if (((slot - home) & mask) < ((slot - hole) & mask)) continue
      slots[hole] = slots[slot]!
      hole = slot
    }
    slots[hole] = 0
  }

  #growSlots(): void {
    const old = this.#slots
    this.#slots = new Int32Array(old.length * 2)
    const mask = this.#slots.length - 1
    for (const entry of old) {
      if (entry === 0) continue
      let slot = this.#homeOf(entry)
      while (this.#slots[slot] !== 0) slot = (slot + 1) & mask
      this.#slots[slot] = entry
    }
  }
}
