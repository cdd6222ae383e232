/**
 * Remembers the last decided traces by the low 8 bytes of their id, least recently asked for forgotten first.
 *
 * Entries are four words in a typed array, found through open addressing. Both arrays have room for the limit
 * from the start, which is address space only: growing them later would hold up the shard.
 */
import { randomInt } from 'node:crypto'
import { releaseUnmanaged, unmanagedBuffer } from '../../otlp/unmanaged.ts'

const KEY_LOW = 0
const KEY_HIGH = 1
const NEWER = 2
const OLDER = 3
const STRIDE = 4

export class DecisionCache {
  readonly #limit: number
  readonly #words: Int32Array
  readonly #slots: Int32Array
  #count = 0
  #newest = 0
  #oldest = 0
  readonly #m0 = randomInt(2 ** 31) * 2 + 1
  readonly #m1 = randomInt(2 ** 31) * 2 + 1

  constructor(limit: number) {
    this.#limit = limit
    this.#words = new Int32Array(unmanagedBuffer((limit + 1) * STRIDE * 4).buffer)
    this.#slots = new Int32Array(unmanagedBuffer(4 * 2 ** Math.ceil(Math.log2((limit + 1) * 2))).buffer)
  }

  /** It is not used any more. */
  dispose(): void {
    releaseUnmanaged(this.heldBytes)
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
}
