/**
 * Group commit: what waits to be written goes into the file in one write, and nobody is answered before it is there.
 * Chunks are written from where they lie; nothing is joined or copied.
 */
import {
  type CLOSED,
  checksumOf,
  DATA,
  encodeHead,
  HEADER_BYTES,
  type NOTE,
  pack,
  STATE,
  type StateChange,
  toRanges,
} from './record.ts'
import { Place, type Segment } from './segment.ts'

const MAX_GROUP_BYTES = 8 * 1024 * 1024
const MAX_GROUP_BUFFERS = 1000

/** A record that waits to be written. */
export interface Waiting {
  readonly type: typeof DATA | typeof NOTE | typeof CLOSED
  readonly metadata: Uint8Array
  readonly chunks: readonly Uint8Array[]
  readonly byteLength: number
  readonly items: number
  readonly order: number
  readonly holder: unknown
  /** A copy (compaction): the record that moves here. */
  readonly moving: Place | undefined
  readonly resolve: (place: Place | undefined) => void
  readonly reject: (error: Error) => void
}

export function fileBytesOf({ metadata, byteLength }: Waiting): number {
  return HEADER_BYTES + metadata.length + byteLength
}

/** Takes what goes in one write off the list: one record at least. */
export function takeGroup(list: Waiting[]): Waiting[] {
  let bytes = 0
  let buffers = 0
  let count = 0
  for (const waiting of list) {
    bytes += fileBytesOf(waiting)
    buffers += 1 + waiting.chunks.length
    if (count > 0 && (bytes > MAX_GROUP_BYTES || buffers > MAX_GROUP_BUFFERS)) break
    count++
  }
  return list.splice(0, count)
}

export interface EncodedGroup {
  readonly buffers: readonly Uint8Array[]
  readonly byteLength: number
  /** One per waiting record, undefined for those that are no batch. They count from the moment the write has ended. */
  readonly places: readonly (Place | undefined)[]
  /** Batches in it. */
  readonly count: number
}

export function encodeGroup(
  waiting: readonly Waiting[],
  state: StateChange | undefined,
  segment: Segment,
  order: number,
): EncodedGroup {
  const buffers: Uint8Array[] = []
  const places: (Place | undefined)[] = []
  let { end: offset, count: sequence } = segment
  for (const record of waiting) {
    const { type, metadata, chunks, byteLength, items } = record
    const length = metadata.length + byteLength
    const checksum = checksumOf([metadata, ...chunks])
    const header = {
      type,
      length,
      metadataLength: metadata.length,
      items,
      sequence,
      order: record.order,
      checksum,
    }
    buffers.push(encodeHead(header, metadata, segment.seed))
    for (const chunk of chunks) if (chunk.length > 0) buffers.push(chunk)
    const at = { sequence, offset, order: record.order }
    places.push(type === DATA ? new Place(segment, at, { length, items, byteLength }) : undefined)
    if (type === DATA) sequence++
    offset += HEADER_BYTES + length
  }
  if (state) {
    const payload = pack(state)
    const { length } = payload
    const checksum = checksumOf([payload])
    const header = { type: STATE, length, metadataLength: length, items: 0, sequence, order, checksum }
    // In front of the others: CLOSED is the last record of a file.
    const head = encodeHead({ ...header, sequence: segment.count }, payload, segment.seed)
    buffers.unshift(head)
    for (const place of places) if (place) place.offset += head.length
    offset += head.length
  }
  return { buffers, byteLength: offset - segment.end, places, count: sequence - segment.count }
}

/** What has changed since the last write: released records, and files to be removed. */
export class Changes {
  readonly #released = new Map<Segment, number[]>()
  readonly #begun = new Map<Segment, number[]>()
  readonly #cleared = new Map<Segment, number[]>()
  readonly removing = new Set<Segment>()

  get empty(): boolean {
    const { size } = this.removing
    return this.#released.size === 0 && this.#begun.size === 0 && this.#cleared.size === 0 && size === 0
  }

  release(segment: Segment, sequence: number): void {
    addTo(this.#released, segment, [sequence])
  }

  begin(segment: Segment, sequence: number): void {
    addTo(this.#begun, segment, [sequence])
  }

  clear(segment: Segment, sequence: number): void {
    addTo(this.#cleared, segment, [sequence])
  }

  /** A file that is removed needs no releases. */
  remove(segment: Segment): void {
    this.forget(segment)
    this.removing.add(segment)
  }

  forget(segment: Segment): void {
    this.#released.delete(segment)
    this.#begun.delete(segment)
    this.#cleared.delete(segment)
    this.removing.delete(segment)
  }

  /** Takes all of it. */
  take(): Changes {
    const taken = new Changes()
    taken.add(this)
    this.#released.clear()
    this.#begun.clear()
    this.#cleared.clear()
    this.removing.clear()
    return taken
  }

  /** Gives back what could not be written. */
  add(other: Changes): void {
    for (const [segment, sequences] of other.#released) addTo(this.#released, segment, sequences)
    for (const [segment, sequences] of other.#begun) addTo(this.#begun, segment, sequences)
    for (const [segment, sequences] of other.#cleared) addTo(this.#cleared, segment, sequences)
    for (const segment of other.removing) this.remove(segment)
  }

  encode(): StateChange {
    const removed = [...this.removing].map(({ incarnation, number }) => [incarnation, number] as const)
    const released = rangesOf(this.#released)
    return {
      ...{ released, removed },
      ...(this.#begun.size > 0 && { begun: rangesOf(this.#begun) }),
      ...(this.#cleared.size > 0 && { cleared: rangesOf(this.#cleared) }),
    }
  }
}

function addTo(map: Map<Segment, number[]>, segment: Segment, sequences: readonly number[]): void {
  const known = map.get(segment)
  if (known) known.push(...sequences)
  else map.set(segment, [...sequences])
}

function rangesOf(map: ReadonlyMap<Segment, readonly number[]>): StateChange['released'] {
  return [...map].map(([{ incarnation, number }, sequences]) => [incarnation, number, toRanges(sequences)])
}
