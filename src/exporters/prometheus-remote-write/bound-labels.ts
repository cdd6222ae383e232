/** The `le` labels of a list of bucket bounds, kept per distinct list, so that none is formatted per point. */
import { readDouble } from '../../otlp/wire.ts'
import { ByteArea } from '../../prometheus/byte-area.ts'
import { ByteMap } from '../../prometheus/byte-map.ts'
import { FixedLabel, LE } from '../../prometheus/labels.ts'
import { formatDecimal } from '../../prometheus/numbers.ts'
import type { PackedFixed64 } from '../../prometheus/points.ts'

/** Distinct lists whose labels are kept, and how long a list may be for that. */
const MAX_LISTS = 2048
const MAX_LIST_BYTES = 8 * 1024

export class BoundLabels {
  readonly infinity: FixedLabel
  readonly #lists = new ByteMap<FixedLabel[]>(MAX_LISTS, MAX_LIST_BYTES)
  readonly #scratch = new ByteArea(64)

  constructor() {
    this.infinity = new FixedLabel(this.#scratch, LE, '+Inf')
  }

  of(bounds: PackedFixed64): FixedLabel[] {
    const known = this.#lists.get(bounds.bytes, bounds.start, bounds.end)
    if (known) return known
    const made: FixedLabel[] = []
    for (let at = bounds.start; at < bounds.end; at += 8)
      made.push(new FixedLabel(this.#scratch, LE, formatDecimal(readDouble(bounds.bytes, at))))
    this.#lists.set(bounds.bytes, bounds.start, bounds.end, made)
    return made
  }
}
