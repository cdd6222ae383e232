/**
 * The traces of one shard: a record of words per trace in one typed array, found by trace id through open
 * addressing.
 *
 * Records are numbered from 1; 0 means none. Two lists run through the records: by age (for eviction) and one
 * per second of the decision ring. A record that is freed is used again. A record is STRIDE * 4 bytes, and at
 * least two slots of 4 bytes in the hash table, which has room from the start for what num_traces allows:
 * filling a larger one takes time at once.
 */
import { randomInt } from 'node:crypto'
import { GrowingWords, releaseUnmanaged, unmanagedBuffer } from '../../otlp/unmanaged.ts'
import type { SpanFacts } from './span-facts.ts'

/** Words of a record. */
export const ID = 0 // 4 words
export const FIRST_SPAN = 4
export const LAST_SPAN = 5
export const SPAN_COUNT = 6
export const BYTES = 7 // Encoded size, headers included: once per message that brought spans.
export const START_LOW = 8 // Earliest start of a span.
export const START_HIGH = 9
export const END_LOW = 10 // Latest end of a span.
export const END_HIGH = 11
export const FLAGS = 12
export const DUE = 13 // Tick of the decision; once decided, the second in which that was.
export const RING_NEXT = 14
export const RING_PREVIOUS = 15
export const AGE_NEXT = 16
export const AGE_PREVIOUS = 17
export const ARRIVED = 18 // Second of arrival.
export const LAST_MESSAGE = 19 // Number of the ScopeSpans that brought the last span.
export const STAGED = 20 // span-ingest: the record that collects the spans of the message being read.
const STRIDE = 21

/** FLAGS: the state in the low bits, then what was seen. */
export const STATE_MASK = 7
export const FREE = 0
export const PENDING = 1
export const SAMPLED = 2
export const NOT_SAMPLED = 3
export const DROPPED = 4
/** Status codes seen: UNSET_SEEN << code. */
export const UNSET_SEEN = 8
export const FLAG_SAMPLED_SEEN = 64

const LEAST_SLOTS_BITS = 11
/** Room for two million traces. */
const MOST_SLOTS_BITS = 22

export class TraceTable {
  readonly #memory = new GrowingWords()
  words = this.#memory.words
  #slots: Int32Array
  #shift: number
  #used = 1
  #free = 0
  #hash = 0
  readonly #m0 = randomInt(2 ** 31) * 2 + 1
  readonly #m1 = randomInt(2 ** 31) * 2 + 1
  readonly #m2 = randomInt(2 ** 31) * 2 + 1
  readonly #m3 = randomInt(2 ** 31) * 2 + 1
  /** Traces that can be found, decided ones included. */
  count = 0
  oldest = 0
  #youngest = 0

  /** `expected` traces; more find room too. */
  constructor(expected: number) {
    const bits = Math.ceil(Math.log2(Math.max(1, expected) * 2))
    this.#shift = 32 - Math.min(MOST_SLOTS_BITS, Math.max(LEAST_SLOTS_BITS, bits))
    this.#slots = new Int32Array(unmanagedBuffer(4 << (32 - this.#shift)).buffer)
  }

  /** Nothing is held any more, and nothing will be. */
  dispose(): void {
    releaseUnmanaged(this.#slots.byteLength)
    this.#slots = new Int32Array(0)
    this.#memory.release()
  }

  get heldBytes(): number {
    return this.words.byteLength + this.#slots.byteLength
  }

  /** Index of the first word of a record. */
  at(trace: number): number {
    return trace * STRIDE
  }

  state(trace: number): number {
    return this.words[trace * STRIDE + FLAGS]! & STATE_MASK
  }

  setState(trace: number, state: number): void {
    const at = trace * STRIDE + FLAGS
    this.words[at] = (this.words[at]! & ~STATE_MASK) | state
  }

  /** The trace of this span, or 0. */
  find(span: SpanFacts): number {
    const words = this.words
    const slots = this.#slots
    const mask = slots.length - 1
    this.#hash = this.#hashOf(span.id0, span.id1, span.id2, span.id3)
    let slot = this.#hash >>> this.#shift
    while (true) {
      const trace = slots[slot]!
      if (trace === 0) return 0
      const at = trace * STRIDE
      if (
        words[at] === span.id0 &&
        words[at + 1] === span.id1 &&
        words[at + 2] === span.id2 &&
        words[at + 3] === span.id3
      )
        return trace
      slot = (slot + 1) & mask
    }
  }

  /** Adds the trace of this span, which find() did not find just before, as the youngest. */
  insert(span: SpanFacts): number {
    const trace = this.allocate()
    if ((this.count + 1) * 2 > this.#slots.length) this.#growSlots()
    const slots = this.#slots
    const mask = slots.length - 1
    let slot = this.#hash >>> this.#shift
    while (slots[slot] !== 0) slot = (slot + 1) & mask
    slots[slot] = trace
    const words = this.words
    const at = trace * STRIDE
    words[at] = span.id0
    words[at + 1] = span.id1
    words[at + 2] = span.id2
    words[at + 3] = span.id3
    words[at + AGE_PREVIOUS] = this.#youngest
    if (this.#youngest === 0) this.oldest = trace
    else words[this.#youngest * STRIDE + AGE_NEXT] = trace
    this.#youngest = trace
    this.count++
    return trace
  }

  /** Forgets a trace that was inserted and frees its record. */
  remove(trace: number): void {
    const words = this.words
    const at = trace * STRIDE
    const next = words[at + AGE_NEXT]!
    const previous = words[at + AGE_PREVIOUS]!
    if (next === 0) this.#youngest = previous
    else words[next * STRIDE + AGE_PREVIOUS] = previous
    if (previous === 0) this.oldest = next
    else words[previous * STRIDE + AGE_NEXT] = next
    this.#removeSlot(trace)
    this.count--
    this.release(trace)
  }

  /** A record in state PENDING with all other words zero, not to be found by id. */
  allocate(): number {
    let trace = this.#free
    if (trace !== 0) this.#free = this.words[trace * STRIDE]!
    else {
      trace = this.#used++
      this.words = this.#memory.ensure((trace + 1) * STRIDE)
    }
    const at = trace * STRIDE
    this.words.fill(0, at, at + STRIDE)
    this.words[at + FLAGS] = PENDING
    return trace
  }

  /** Frees a record that no list and no slot refers to. */
  release(trace: number): void {
    this.words[trace * STRIDE + FLAGS] = FREE
    this.words[trace * STRIDE] = this.#free
    this.#free = trace
  }

  /**
   * Multilinear hashing with secret multipliers: prepared ids cannot pile up in one place. High bits are
   * used.
   */
  #hashOf(id0: number, id1: number, id2: number, id3: number): number {
    const sum =
      Math.imul(id0, this.#m0) +
      Math.imul(id1, this.#m1) +
      Math.imul(id2, this.#m2) +
      Math.imul(id3, this.#m3)
    const mixed = (sum | 0) ^ (sum >>> 15)
    return Math.imul(mixed, 0x9e3779b1)
  }

  #home(trace: number): number {
    const words = this.words
    const at = trace * STRIDE
    return this.#hashOf(words[at]!, words[at + 1]!, words[at + 2]!, words[at + 3]!) >>> this.#shift
  }

  /** Deletion with backward shift: no tombstones, so probes stay short however often traces come and go. */
  #removeSlot(trace: number): void {
    const slots = this.#slots
    const mask = slots.length - 1
    let hole = this.#home(trace)
    while (slots[hole] !== trace) hole = (hole + 1) & mask
    let slot = hole
    while (true) {
      slot = (slot + 1) & mask
      const other = slots[slot]!
      if (other === 0) break
      const home = this.#home(other)
      if (((slot - home) & mask) >= ((slot - hole) & mask)) {
        slots[hole] = other
        hole = slot
      }
    }
    slots[hole] = 0
  }

  #growSlots(): void {
    const old = this.#slots
    this.#slots = new Int32Array(unmanagedBuffer(old.byteLength * 2).buffer)
    releaseUnmanaged(old.byteLength)
    this.#shift--
    const mask = this.#slots.length - 1
    for (const trace of old) {
      if (trace === 0) continue
      let slot = this.#home(trace)
      while (this.#slots[slot] !== 0) slot = (slot + 1) & mask
      this.#slots[slot] = trace
    }
  }
}

export function doubled(words: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  const grown = new Int32Array(words.length * 2)
  grown.set(words)
  return grown
}
