/**
 * Points whose series are in the table already. A batch that joins several exports of the same service has every point
 * several times: with the same attributes, byte for byte, under the same resource and metric. Its series are those of the
 * time before, one after the other, so that no label has to be put together again.
 *
 * Used only while batches repeat themselves: where they do not, it would cost and gain nothing.
 */
import { hashRange, mix, sameBytes } from '../../prometheus/byte-area.ts'
import type { LabelBase } from '../../prometheus/label-base.ts'
import type { FixedLabel } from '../../prometheus/labels.ts'
import type { Family } from './families.ts'

/** Points that are known at a time; further ones go the usual way. */
const MAX_POINTS = 65_536
/** Tag and length of an attribute: if no more lies between two of them, nothing else does. */
const MAX_HEADER_BYTES = 3

/** The attributes of one point, as ranges, in their order. */
export class AttributeRanges {
  readonly starts: number[] = []
  readonly ends: number[] = []
  count = 0
  /** Nothing lies between them. */
  together = true

  clear(): this {
    this.count = 0
    this.together = true
    return this
  }

  add(start: number, end: number): void {
    const index = this.count++
    if (index > 0 && start - this.ends[index - 1]! > MAX_HEADER_BYTES) this.together = false
    this.starts[index] = start
    this.ends[index] = end
  }
}

export class KnownPoints {
  #count = 0
  #slots = new Int32Array(1024).fill(-1)
  readonly #hashes: number[] = []
  readonly #starts: number[] = []
  readonly #ends: number[] = []
  readonly #firsts: number[] = []
  /** How many series the point has made. */
  readonly #series: number[] = []
  readonly #sources: Uint8Array[] = []
  readonly #bases: LabelBase[] = []
  readonly #families: Family[] = []
  readonly #labels: (readonly FixedLabel[] | undefined)[] = []
  #hash = 0

  clear(): void {
    if (this.#count === 0) return
    this.#count = 0
    this.#slots.fill(-1)
    // The arrays keep their memory, and what they refer to is let go.
    this.#sources.length = this.#bases.length = this.#families.length = this.#labels.length = 0
  }

  /**
   * The first of the series of an equal point, -1 if there is none. `labels` are those of its buckets, `series` is how many
   * it makes.
   */
  find(
    source: Uint8Array,
    attributes: AttributeRanges,
    base: LabelBase,
    family: Family,
    labels: readonly FixedLabel[] | undefined,
    series: number,
  ): number {
    const start = attributes.count === 0 ? 0 : attributes.starts[0]!
    const end = attributes.count === 0 ? 0 : attributes.ends[attributes.count - 1]!
    const hash = mix(hashRange(source, start, end, (base.hash + family.plain.hash) | 0))
    this.#hash = hash
    const mask = this.#slots.length - 1
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const point = this.#slots[slot]!
      if (point < 0) return -1
      if (this.#hashes[point] !== hash || this.#series[point] !== series) continue
      if (this.#bases[point] !== base || this.#families[point] !== family || this.#labels[point] !== labels)
        continue
      const from = this.#starts[point]!
      if (this.#ends[point]! - from !== end - start) continue
      if (sameBytes(this.#sources[point]!, from, source, start, end - start)) return this.#firsts[point]!
    }
  }

  /** Keeps the point that find() has just not found. */
  add(
    source: Uint8Array,
    attributes: AttributeRanges,
    base: LabelBase,
    family: Family,
    labels: readonly FixedLabel[] | undefined,
    series: number,
    first: number,
  ): void {
    if (this.#count === MAX_POINTS) return
    const point = this.#count++
    this.#hashes[point] = this.#hash
    this.#starts[point] = attributes.count === 0 ? 0 : attributes.starts[0]!
    this.#ends[point] = attributes.count === 0 ? 0 : attributes.ends[attributes.count - 1]!
    this.#firsts[point] = first
    this.#series[point] = series
    this.#sources[point] = source
    this.#bases[point] = base
    this.#families[point] = family
    this.#labels[point] = labels
    if (this.#count * 2 > this.#slots.length) {
      this.#slots = new Int32Array(this.#slots.length * 2).fill(-1)
      for (let index = 0; index < this.#count; index++) this.#place(index)
    } else this.#place(point)
  }

  #place(point: number): void {
    const mask = this.#slots.length - 1
    let slot = this.#hashes[point]! & mask
    while (this.#slots[slot]! >= 0) slot = (slot + 1) & mask
    this.#slots[slot] = point
  }
}
