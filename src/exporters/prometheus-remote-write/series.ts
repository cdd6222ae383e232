/**
 * The series of one batch, found by their full label set, as encoded TimeSeries of remote write 1.0.
 *
 * A series with one sample, which nearly all have, is written once, in its final form, at the end of `out`. Further
 * samples of a known series are kept aside, and their series are put together anew when the requests are cut: one
 * TimeSeries per identity, samples in the order of time, of several at one time the last. So each series is in
 * exactly one of the requests, and requests may be sent side by side.
 */

import { ByteArea } from '../../prometheus/byte-area.ts'
import type { LabelSet } from '../../prometheus/label-set.ts'
import type { FixedLabel } from '../../prometheus/labels.ts'
import { Packer } from './packer.ts'
import { SeriesFields } from './series-fields.ts'

const TIME_SERIES_TAG = 0x0a // WriteRequest.timeseries, and TimeSeries.labels: field 1, LEN.

/** How much of what follows the labels is looked at for repetitions: a sample. */
const PAYLOAD_BYTES = 40

/** One request: the message as a Snappy block, and how many series it holds. */
export interface WriteRequest {
  readonly block: Uint8Array
  readonly series: number
}

export class SeriesTable {
  readonly out = new ByteArea(64 * 1024)
  /** Number of series. */
  count = 0
  /** Number of samples, native histograms included. */
  samples = 0
  /** True when some series has more than one sample. */
  get hasMore(): boolean {
    return this.#moreCount > 0
  }

  /** Requests that are complete, while the series come. */
  readonly packed: WriteRequest[] = []
  readonly limitBytes: number
  readonly #packer: Packer | undefined
  #requestStart = 0
  #requestSeries = 0
  // The series before, for the packer: its labels, its gaps and the generation of its set.
  #lastLabels = 0
  #lastLabelsEnd = 0
  #lastName: FixedLabel | undefined
  #lastGeneration = -1

  #slots = new Int32Array(1024).fill(-1)
  #hashes = new Int32Array(512)
  #starts = new Int32Array(512)
  #labelsStarts = new Int32Array(512)
  #labelsEnds = new Int32Array(512)
  #metadata = new Int32Array(512)
  // By series, the first and the last of its further samples; -1 for none.
  #firstMore = new Int32Array(512)
  #lastMore = new Int32Array(512)
  /** Further samples of known series, as encoded fields. */
  readonly more = new ByteArea(1024)
  #moreCount = 0
  #moreEnds = new Int32Array(512)
  #moreNext = new Int32Array(512)

  /** `limitBytes`: where requests are cut. `pack`: those of the first version are compressed as they are written. */
  constructor(limitBytes: number, pack: boolean) {
    this.limitBytes = limitBytes
    if (pack) this.#packer = new Packer(this.out)
  }

  clear(): void {
    this.out.clear()
    this.packed.length = 0
    this.#requestStart = this.#requestSeries = 0
    this.#lastGeneration = -1
    this.#packer?.begin(0)
    this.more.clear()
    this.count = this.samples = this.#moreCount = 0
    if (this.#slots.length > 1 << 18) this.#slots = new Int32Array(1024)
    this.#slots.fill(-1)
  }

  /**
   * Adds a sample, native histogram and exemplars (`payload`: encoded fields of TimeSeries) to the series with this
   * label set. `metadata` is a number of the caller's, kept with the series.
   */
  add(
    set: LabelSet,
    name: FixedLabel,
    extra: FixedLabel | undefined,
    payload: ByteArea,
    metadata: number,
  ): void {
    const out = this.out
    const labels = set.area
    const extraLength = extra === undefined ? 0 : extra.bytes.length
    const labelsLength = labels.length + name.bytes.length + extraLength
    const length = labelsLength + payload.length
    const start = out.length
    out.reserve(length + 12)
    out.bytes[start] = TIME_SERIES_TAG
    out.length = start + 1
    out.varint(length)
    const labelsStart = out.length
    out.copy(labels.bytes, 0, set.nameAt)
    out.copy(name.bytes, 0, name.bytes.length)
    if (extra === undefined) out.copy(labels.bytes, set.nameAt, labels.length)
    else {
      out.copy(labels.bytes, set.nameAt, set.extraAt)
      out.copy(extra.bytes, 0, extraLength)
      out.copy(labels.bytes, set.extraAt, labels.length)
    }
    const hash = (set.hash + name.hash + (extra === undefined ? 0 : extra.hash)) | 0
    const known = this.#find(hash, labelsStart, labelsLength)
    if (known >= 0) {
      out.length = start
      this.addTo(known, payload)
      return
    }
    this.samples++
    out.copy(payload.bytes, 0, payload.length)
    this.#insert(hash, start, labelsStart, labelsLength, metadata)
    if (this.#packer) this.#pack(this.#packer, set, name, extra, start)
  }

  /** Adds a sample to a series that is in the table. */
  addTo(series: number, payload: ByteArea): void {
    this.samples++
    const entry = this.#moreCount++
    if (entry === this.#moreEnds.length) {
      this.#moreEnds = doubled(this.#moreEnds)
      this.#moreNext = doubled(this.#moreNext)
    }
    this.more.copy(payload.bytes, 0, payload.length)
    this.#moreEnds[entry] = this.more.length
    this.#moreNext[entry] = -1
    if (this.#firstMore[series]! < 0) this.#firstMore[series] = entry
    else this.#moreNext[this.#lastMore[series]!] = entry
    this.#lastMore[series] = entry
  }

  /** Tells the packer what the new series has in common with the one before; begins a new request in time. */
  #pack(packer: Packer, set: LabelSet, name: FixedLabel, extra: FixedLabel | undefined, start: number): void {
    const end = this.out.length
    const index = this.count - 1
    const labels = this.#labelsStarts[index]!
    const labelsEnd = this.#labelsEnds[index]!
    if (this.#requestSeries > 0 && end - this.#requestStart >= this.limitBytes) {
      this.#completeRequest(packer, start)
    } else if (this.#requestSeries > 0) {
      const afterBack = labelsEnd - this.#lastLabelsEnd
      if (this.#lastGeneration !== set.generation)
        packer.labels(labels, labelsEnd, this.#lastLabels, this.#lastLabelsEnd)
      else this.#packGaps(packer, set, name, extra, labels, afterBack)
      // Times mostly stay, values mostly do not.
      packer.same(labelsEnd, Math.min(end, labelsEnd + PAYLOAD_BYTES), afterBack)
    }
    this.#requestSeries++
    this.#lastLabels = labels
    this.#lastLabelsEnd = labelsEnd
    this.#lastName = name
    this.#lastGeneration = set.generation
  }

  /** The series before is of the same point: only the labels in the gaps differ. */
  #packGaps(
    packer: Packer,
    set: LabelSet,
    name: FixedLabel,
    extra: FixedLabel | undefined,
    labels: number,
    lastBack: number,
  ): void {
    const firstBack = labels - this.#lastLabels
    const nameAt = labels + set.nameAt
    const nameEnd = nameAt + name.bytes.length
    const nameBack = firstBack + name.bytes.length - (this.#lastName?.bytes.length ?? 0)
    const extraAt = nameEnd + set.extraAt - set.nameAt
    const extraEnd = extraAt + (extra?.bytes.length ?? 0)
    if (name === this.#lastName) packer.copy(labels, extraAt, firstBack)
    else {
      packer.copy(labels, nameAt, firstBack)
      packer.copy(nameEnd, extraAt, nameBack)
    }
    packer.copy(extraEnd, extraEnd + set.length - set.extraAt, lastBack)
  }

  #completeRequest(packer: Packer, end: number): void {
    this.packed.push({ block: packer.finish(end), series: this.#requestSeries })
    packer.begin(end)
    this.#requestStart = end
    this.#requestSeries = 0
  }

  /** Completes the last request. Only while no series has more than one sample are `packed` the requests. */
  finish(): void {
    if (this.#packer && this.#requestSeries > 0) this.#completeRequest(this.#packer, this.out.length)
  }

  #find(hash: number, labelsStart: number, labelsLength: number): number {
    const slots = this.#slots
    const mask = slots.length - 1
    const bytes = this.out.bytes
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const index = slots[slot]!
      if (index < 0) return -1
      if (this.#hashes[index] !== hash) continue
      const start = this.#labelsStarts[index]!
      if (this.#labelsEnds[index]! - start !== labelsLength) continue
      // Label sets are long, and a batch of several exports finds every series again: the runtime compares faster.
      if (bytes.compare(bytes, labelsStart, labelsStart + labelsLength, start, start + labelsLength) === 0)
        return index
    }
  }

  #insert(hash: number, start: number, labelsStart: number, labelsLength: number, metadata: number): void {
    const index = this.count++
    if (index === this.#hashes.length) this.#grow()
    this.#hashes[index] = hash
    this.#starts[index] = start
    this.#labelsStarts[index] = labelsStart
    this.#labelsEnds[index] = labelsStart + labelsLength
    this.#metadata[index] = metadata
    this.#firstMore[index] = -1
    this.#place(index, hash)
  }

  #place(index: number, hash: number): void {
    const mask = this.#slots.length - 1
    let slot = hash & mask
    while (this.#slots[slot]! >= 0) slot = (slot + 1) & mask
    this.#slots[slot] = index
  }

  #grow(): void {
    this.#hashes = doubled(this.#hashes)
    this.#starts = doubled(this.#starts)
    this.#labelsStarts = doubled(this.#labelsStarts)
    this.#labelsEnds = doubled(this.#labelsEnds)
    this.#metadata = doubled(this.#metadata)
    this.#firstMore = doubled(this.#firstMore)
    this.#lastMore = doubled(this.#lastMore)
    if (this.#slots.length >= this.#hashes.length * 2) return
    this.#slots = new Int32Array(this.#hashes.length * 2).fill(-1)
    for (let index = 0; index < this.count - 1; index++) this.#place(index, this.#hashes[index]!)
  }

  metadataOf(index: number): number {
    return this.#metadata[index]!
  }

  /** The labels of a series: encoded Label fields in `out`. */
  labelsStart(index: number): number {
    return this.#labelsStarts[index]!
  }
  labelsEnd(index: number): number {
    return this.#labelsEnds[index]!
  }
  /** The whole TimeSeries field of a series with one sample, in `out`. */
  start(index: number): number {
    return this.#starts[index]!
  }
  end(index: number): number {
    return index + 1 < this.count ? this.#starts[index + 1]! : this.out.length
  }

  /** Further samples of a series, in the order in which they came: the first, then one after the other; -1 ends them. */
  firstMore(index: number): number {
    return this.#firstMore[index]!
  }
  nextMore(entry: number): number {
    return this.#moreNext[entry]!
  }
  /** Where the fields of a further sample are in `more`. */
  moreStart(entry: number): number {
    return entry === 0 ? 0 : this.#moreEnds[entry - 1]!
  }
  moreEnd(entry: number): number {
    return this.#moreEnds[entry]!
  }

  /** What belongs to a series beside its labels, sorted: ranges of encoded fields. Undefined for one with one sample. */
  fieldsOf(index: number): SeriesFields | undefined {
    if (this.#firstMore[index]! < 0) return undefined
    const fields = new SeriesFields()
    fields.read(this.out.bytes, this.#labelsEnds[index]!, this.end(index))
    for (let entry = this.#firstMore[index]!; entry >= 0; entry = this.#moreNext[entry]!)
      fields.read(this.more.bytes, this.moreStart(entry), this.moreEnd(entry))
    fields.sort()
    return fields
  }
}

function doubled(list: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  const grown = new Int32Array(list.length * 2)
  grown.set(list)
  return grown
}
