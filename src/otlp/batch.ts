/**
 * The unit of data that flows through pipelines: encoded OTLP bytes of one signal.
 *
 * Invariants, kept by everything that makes a batch:
 * - Each chunk is by itself a valid Export*ServiceRequest: a run of whole `resource_*` fields (field 1). So
 *   chunks can be walked, dropped and joined one by one, and put end to end they encode the merged request.
 * - In a chunk no singular field occurs twice in a message, and of a oneof at most one member, at any depth:
 *   each Resource* message has at most one `resource`, each KeyValue one key. The receiver puts in order what
 *   is legal protobuf but not so (normalise.ts); checkChunk of receive.ts tells whether bytes from elsewhere
 *   are.
 * - The bytes are read-only for ever, from the moment a batch exists.
 */
import { countItems } from './count.ts'
import type { Delivery } from './delivery.ts'

export type Signal = 'traces' | 'metrics' | 'logs'
export const SIGNALS: readonly Signal[] = ['traces', 'metrics', 'logs']

/**
 * Where a batch came from. Kept by reference along the pipeline; batching keeps what `metadata_keys` lists.
 */
export interface RequestContext {
  /** Request headers or gRPC metadata, keys in lower case; only with `include_metadata`. */
  readonly metadata: ReadonlyMap<string, readonly string[]>
  /** Address of the peer, `host:port`. */
  readonly clientAddress?: string | undefined
  /** How it came in (`grpc`, `http`), for the label of the receiver's metrics. */
  readonly transport?: string | undefined
  /** What the server authenticator said of the caller. */
  readonly auth?: ReadonlyMap<string, string | readonly string[]> | undefined
  /** When the caller stops waiting, on the monotonic clock, in ms (Clock.monotonicMs). */
  readonly deadlineMs?: number | undefined
  /**
   * Its request lies in a durable log: who takes the batch into memory holds this until it is done with it.
   */
  readonly delivery?: Delivery | undefined
  /** The memory that the bytes lie in is used again when nobody holds this (Consumer.leases). */
  readonly lease?: Lease | undefined
}

export interface Lease {
  hold(): void
  release(): void
}

/** Shared by every context without metadata. */
export const NO_METADATA: ReadonlyMap<string, readonly string[]> = new Map()
export const NO_CONTEXT: RequestContext = { metadata: NO_METADATA }

export class Batch {
  readonly signal: Signal
  readonly chunks: readonly Uint8Array[]
  readonly byteLength: number
  readonly context: RequestContext
  #itemCount: number

  /** `itemCount` is passed by who has counted already; otherwise the chunks are walked on first use. */
  constructor(
    signal: Signal,
    chunks: readonly Uint8Array[],
    itemCount = -1,
    context: RequestContext = NO_CONTEXT,
  ) {
    this.signal = signal
    this.chunks = chunks
    this.#itemCount = itemCount
    this.context = context
    let bytes = 0
    for (const chunk of chunks) bytes += chunk.length
    this.byteLength = bytes
  }

  /** Spans, data points or log records. */
  get itemCount(): number {
    if (this.#itemCount < 0) {
      let count = 0
      for (const chunk of this.chunks) count += countItems(this.signal, chunk)
      this.#itemCount = count
    }
    return this.#itemCount
  }

  /** The same origin with other bytes. */
  with(chunks: readonly Uint8Array[], itemCount = -1): Batch {
    return new Batch(this.signal, chunks, itemCount, this.context)
  }

  withContext(context: RequestContext): Batch {
    return new Batch(this.signal, this.chunks, this.#itemCount, context)
  }

  /**
   * Joins the chunk lists and copies no byte. The batches must be of one signal; the context is the first
   * one's.
   */
  static concat(batches: readonly Batch[]): Batch {
    const first = batches[0]
    if (first === undefined) throw new RangeError('concat of no batches')
    if (batches.length === 1) return first
    const chunks: Uint8Array[] = []
    let items = 0
    for (const batch of batches) {
      for (const chunk of batch.chunks) chunks.push(chunk)
      items += batch.itemCount
    }
    return new Batch(first.signal, chunks, items, first.context)
  }

  /** All bytes in one array: the chunk itself when there is only one. */
  bytes(): Uint8Array {
    return this.chunks.length === 1 ? this.chunks[0]! : Buffer.concat(this.chunks)
  }

  /** All bytes in one buffer of their own, which can be moved to another thread. */
  ownBytes(): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(this.byteLength)
    let at = 0
    for (const chunk of this.chunks) {
      bytes.set(chunk, at)
      at += chunk.length
    }
    return bytes
  }

  /** The same batch in chunks of its own: nobody else writes to them, and no lease ends them. */
  copy(): Batch {
    const chunks = this.chunks.map((chunk) => new Uint8Array(chunk))
    const { context } = this
    const own = context.lease === undefined ? context : { ...context, lease: undefined }
    return new Batch(this.signal, chunks, this.itemCount, own)
  }
}
