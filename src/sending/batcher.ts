/**
 * Batching in the sending queue (`sending_queue.batch`): joins requests until min_size is reached or
 * flush_timeout has passed, and splits what is over max_size. With `partition.metadata_keys` each combination
 * of values has its own batch.
 *
 * A request is done only when every batch that holds a part of it is; until then it keeps its place in the
 * queue. So all that waits here is within queue_size.
 */
import type { Clock, Timer } from '../component/clock.ts'
import type { QueueBatchSettings } from '../component/define.ts'
import { Batch, NO_CONTEXT, type RequestContext } from '../otlp/batch.ts'
import { splitBatch, splitByBytes } from '../otlp/split.ts'
import { sizeOf } from './queue.ts'

/** A request that has a place in the queue. */
export interface Entry {
  readonly batch: Batch
  readonly size: number
  /** How many unfinished batches hold a part of it, plus one while a part waits for its batch. */
  parts: number
  error: Error | undefined
  /** Told when an attempt with a part of it has ended, however. */
  readonly attempted?: (() => void) | undefined
  /** Told when the last part has ended. */
  readonly done: (entry: Entry) => void
}

/** What is sent as one request, and whose data it holds. */
export interface Job {
  readonly batch: Batch
  readonly entries: readonly Entry[]
}

export function finishPart(entry: Entry, error: Error | undefined): void {
  entry.error ??= error
  if (--entry.parts === 0) entry.done(entry)
}

/** An entry and how many of its items are still in the partition. Owners are in the order of the items. */
interface Owner {
  readonly entry: Entry
  items: number
}

interface Partition {
  readonly key: string
  readonly context: RequestContext
  batches: Batch[]
  owners: Owner[]
  size: number
  timer: Timer | undefined
}

/**
 * Combinations of metadata values that are filled at a time; over it the one that waits longest is sent
 * early.
 */
const MAX_PARTITIONS = 10_000

export class Batcher {
  readonly #settings: QueueBatchSettings
  readonly #clock: Clock
  readonly #emit: (job: Job) => void
  readonly #partitions = new Map<string, Partition>()

  constructor(settings: QueueBatchSettings, clock: Clock, emit: (job: Job) => void) {
    this.#settings = settings
    this.#clock = clock
    this.#emit = emit
  }

  /** Partitions that hold data now. */
  get partitionCount(): number {
    return this.#partitions.size
  }

  add(entry: Entry): void {
    const partition = this.#partition(entry.batch.context)
    entry.parts++
    partition.batches.push(entry.batch)
    partition.owners.push({ entry, items: entry.batch.itemCount })
    partition.size += sizeOf(entry.batch, this.#settings.sizer)
    const { minSize, maxSize } = this.#settings
    if (maxSize > 0 && partition.size > maxSize) this.#sendPieces(partition)
    if (partition.size > 0 && partition.size >= minSize) this.#send(partition)
    if (partition.size === 0) this.#remove(partition)
  }

  /** Sends what waits, however little. */
  flush(): void {
    for (const partition of [...this.#partitions.values()]) this.#flush(partition)
  }

  #partition(context: RequestContext): Partition {
    const { metadataKeys, flushTimeoutMs } = this.#settings
    const metadata = new Map<string, readonly string[]>()
    for (const key of metadataKeys) {
      const values = context.metadata.get(key)
      if (values) metadata.set(key, values)
    }
    const key = metadata.size === 0 ? '' : JSON.stringify([...metadata])
    const known = this.#partitions.get(key)
    if (known) return known
    if (this.#partitions.size >= MAX_PARTITIONS)
      for (const oldest of this.#partitions.values()) {
        this.#flush(oldest)
        break
      }
    const made: Partition = {
      key,
      // Requests of several callers become one: only what they have in common stays.
      context: metadata.size === 0 ? NO_CONTEXT : { metadata },
      batches: [],
      owners: [],
      size: 0,
      timer: undefined,
    }
    made.timer = this.#clock.after(flushTimeoutMs, () => this.#flush(made))
    this.#partitions.set(key, made)
    return made
  }

  #flush(partition: Partition): void {
    this.#remove(partition)
    if (partition.batches.length > 0) this.#send(partition)
  }

  /** A partition without data is forgotten; so idle ones cost nothing. */
  #remove(partition: Partition): void {
    partition.timer?.cancel()
    this.#partitions.delete(partition.key)
  }

  /** Sends all but the last piece, which goes on filling up. */
  #sendPieces(partition: Partition): void {
    const pieces = this.#pieces(Batch.concat(partition.batches))
    const last = pieces.pop()
    for (const piece of pieces) this.#emitPiece(partition, piece)
    partition.batches = last ? [last] : []
    partition.size = last ? sizeOf(last, this.#settings.sizer) : 0
  }

  #send(partition: Partition): void {
    this.#emitPiece(partition, Batch.concat(partition.batches))
    partition.batches = []
    partition.size = 0
  }

  #emitPiece(partition: Partition, piece: Batch): void {
    const entries: Entry[] = []
    const finished: Entry[] = []
    let left = piece.itemCount
    while (left > 0) {
      const owner = partition.owners[0]
      if (!owner) break
      const taken = Math.min(left, owner.items)
      owner.items -= taken
      left -= taken
      owner.entry.parts++
      entries.push(owner.entry)
      if (owner.items > 0) continue
      partition.owners.shift()
      finished.push(owner.entry)
    }
    this.#emit({ batch: piece.withContext(partition.context), entries })
    for (const entry of finished) finishPart(entry, undefined)
  }

  /** Pieces of at most max_size. A single item over max_size bytes is a piece of its own. */
  #pieces(batch: Batch): Batch[] {
    const { sizer, maxSize } = this.#settings
    return sizer === 'items' ? splitBatch(batch, maxSize) : splitByBytes(batch, maxSize)
  }
}
