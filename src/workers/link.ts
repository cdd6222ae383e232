/**
 * The way from one shard to another: batches go over, acknowledgements come back.
 *
 * What is sent within one turn of the event loop travels as one message; payload lies in shared memory (arena.ts).
 * At most `CREDIT_BYTES` are under way to a peer; more waits, which is the backpressure. When the peer dies, everything that it
 * had not acknowledged fails retryably, and so does what is sent until it is back.
 */
import { isMarkedAsUntransferable, type MessagePort } from 'node:worker_threads'
import type { Consumer } from '../component/define.ts'
import { RetryableError, toError } from '../errors.ts'
import { Batch, NO_CONTEXT, type RequestContext, type Signal } from '../otlp/batch.ts'
import { Arena } from './arena.ts'
import { type PackedError, packError, unpackError } from './packed-error.ts'

/** Payload under way to one peer, taken and not yet acknowledged. */
export const CREDIT_BYTES = 32 * 1024 * 1024

/** Shared memory for payload under way, over all links of a shard; each has its part. What finds no room is transferred. */
const ARENAS_BYTES = 8 * 1024 * 1024

/** A chunk of a parcel: its bytes, or where they lie in the sender's arena. */
type ParcelChunk = Uint8Array | { readonly place: number; readonly length: number }

interface Parcel {
  readonly id: number
  readonly stage: string
  readonly signal: Signal
  readonly items: number
  readonly chunks: readonly ParcelChunk[]
  /** Undefined when nothing of it matters over there. */
  readonly context: PackedContext | undefined
}
interface PackedContext extends Omit<RequestContext, 'metadata'> {
  readonly metadata?: RequestContext['metadata']
}
interface Message {
  /** Comes before the first parcel that lies in it. */
  arena?: SharedArrayBuffer
  parcels?: Parcel[]
  acks?: number[]
  failures?: { id: number; error: PackedError }[]
}
interface Waiting {
  readonly resolve: () => void
  readonly reject: (error: Error) => void
  readonly bytes: number
  readonly chunks: readonly ParcelChunk[]
}

export interface LinkCounters {
  sent(items: number, bytes: number): void
}

export class Link {
  readonly #stages: (name: string) => Consumer | undefined
  readonly #counters: LinkCounters
  #port: MessagePort | undefined
  #outgoing: Message = {}
  #scheduled = false
  #nextId = 1
  #underWayBytes = 0
  /** Where payload for the peer lies, and where the peer's payload for this shard does. */
  #arena: Arena | undefined
  #peerArena: Uint8Array | undefined
  readonly #arenaBytes: number
  readonly #waiting = new Map<number, Waiting>()
  readonly #blocked: (() => void)[] = []

  /** `stages` finds the consumer that a parcel is addressed to. */
  constructor(stages: (name: string) => Consumer | undefined, counters: LinkCounters, shards = 2) {
    this.#stages = stages
    this.#counters = counters
    this.#arenaBytes = Math.floor(ARENAS_BYTES / Math.max(1, shards - 1))
  }

  get connected(): boolean {
    return this.#port !== undefined
  }

  get underWayBytes(): number {
    return this.#underWayBytes
  }

  connect(port: MessagePort): void {
    this.disconnect()
    this.#port = port
    port.on('message', (message: Message) => this.#receive(message))
    port.on('close', () => {
      if (this.#port === port) this.disconnect()
    })
  }

  /** The peer is gone: what it had is to be sent again by the senders. */
  disconnect(): void {
    const port = this.#port
    this.#port = undefined
    this.#outgoing = {}
    this.#arena = undefined
    this.#peerArena = undefined
    port?.close()
    const lost = [...this.#waiting.values()]
    this.#waiting.clear()
    this.#underWayBytes = 0
    for (const waiting of lost) {
      waiting.reject(new RetryableError('the shard that had this data is gone', { retryAfterMs: 1000 }))
    }
    for (const wake of this.#blocked.splice(0)) wake()
  }

  /**
   * Hands a batch to a stage of the peer. Resolves when that stage has taken it, and rejects with its error.
   * The bytes are copied before this returns for the first time, unless `transfer` gives away the buffers under the chunks: nobody
   * else may use them then. Buffers that cannot change threads (of Node's pools, of native modules) are copied all the same.
   */
  async send(stage: string, batch: Batch, transfer: boolean): Promise<void> {
    const bytes = batch.byteLength
    while (this.#underWayBytes > 0 && this.#underWayBytes + bytes > CREDIT_BYTES) {
      await new Promise<void>((resolve) => void this.#blocked.push(resolve))
    }
    if (this.#port === undefined) {
      throw new RetryableError('a shard is restarting', { retryAfterMs: 1000 })
    }
    const id = this.#nextId++
    const chunks = batch.chunks.map((chunk) => this.#pack(chunk, transfer))
    const parcels = (this.#outgoing.parcels ??= [])
    const { signal, itemCount: items } = batch
    parcels.push({ id, stage, signal, items, chunks, context: packContext(batch.context) })
    this.#underWayBytes += bytes
    this.#counters.sent(items, bytes)
    this.#schedule()
    return new Promise((resolve, reject) => void this.#waiting.set(id, { resolve, reject, bytes, chunks }))
  }

  #pack(chunk: Uint8Array, transfer: boolean): ParcelChunk {
    if (transfer && canTransfer(chunk)) return chunk
    if (this.#arena === undefined) {
      this.#arena = new Arena(this.#arenaBytes)
      this.#outgoing.arena = this.#arena.memory
    }
    const at = this.#arena.put(chunk)
    return at < 0 ? copyBytes(chunk) : { place: at, length: chunk.length }
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      const message = this.#outgoing
      this.#outgoing = {}
      this.#port?.postMessage(message, buffersOf(message))
    })
  }

  #receive(message: Message): void {
    if (message.arena !== undefined) this.#peerArena = new Uint8Array(message.arena)
    for (const parcel of message.parcels ?? []) this.#deliver(parcel)
    for (const id of message.acks ?? []) this.#settle(id)?.resolve()
    for (const { id, error } of message.failures ?? []) this.#settle(id)?.reject(unpackError(error))
  }

  #deliver(parcel: Parcel): void {
    const port = this.#port
    const stage = this.#stages(parcel.stage)
    // A stage that may keep the bytes gets its own; the others read them where they lie, until they have settled.
    const keeps = stage?.releases !== true
    const chunks = parcel.chunks.map((chunk) => this.#unpack(chunk, keeps))
    const batch = new Batch(parcel.signal, chunks, parcel.items, unpackContext(parcel.context))
    const done =
      stage === undefined
        ? Promise.reject(new RetryableError('the configuration is changing', { retryAfterMs: 1000 }))
        : stage.consume(batch)
    done.then(
      () => {
        if (this.#port !== port) return
        ;(this.#outgoing.acks ??= []).push(parcel.id)
        this.#schedule()
      },
      (error: unknown) => {
        if (this.#port !== port) return
        ;(this.#outgoing.failures ??= []).push({ id: parcel.id, error: packError(toError(error)) })
        this.#schedule()
      },
    )
  }

  #unpack(chunk: ParcelChunk, keeps: boolean): Uint8Array {
    if (chunk instanceof Uint8Array) return chunk
    const arena = this.#peerArena
    if (arena === undefined) throw new RangeError('a parcel came before its memory')
    const bytes = arena.subarray(chunk.place, chunk.place + chunk.length)
    return keeps ? copyBytes(bytes) : bytes
  }

  #settle(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id)
    if (waiting === undefined) return undefined
    this.#waiting.delete(id)
    this.#underWayBytes -= waiting.bytes
    for (const chunk of waiting.chunks) if ('place' in chunk) this.#arena?.free(chunk.place)
    for (const wake of this.#blocked.splice(0)) wake()
    return waiting
  }
}

/** A copy in a buffer of its own. Buffer.slice would be a view, and a clone would take the whole buffer along. */
function copyBytes(chunk: Uint8Array): Uint8Array {
  const copy = new Uint8Array(chunk.length)
  copy.set(chunk)
  return copy
}

/** Cloning costs by the key: what is empty stays here. */
function packContext(context: RequestContext): PackedContext | undefined {
  if (context === NO_CONTEXT) return undefined
  if (context.metadata.size > 0) return context
  const { metadata: _empty, ...rest } = context
  return rest
}

function unpackContext(packed: PackedContext | undefined): RequestContext {
  if (packed === undefined) return NO_CONTEXT
  return { ...packed, metadata: packed.metadata ?? NO_CONTEXT.metadata }
}

/** Transferring another kind of buffer throws, long after the sender was told that its data is under way. */
function canTransfer({ buffer }: Uint8Array): boolean {
  return buffer instanceof ArrayBuffer && !isMarkedAsUntransferable(buffer)
}

/** The distinct buffers under the chunks: they change owner with the message. */
function buffersOf(message: Message): ArrayBuffer[] {
  const buffers = new Set<ArrayBuffer>()
  for (const parcel of message.parcels ?? []) {
    for (const chunk of parcel.chunks) {
      if (chunk instanceof Uint8Array && chunk.buffer instanceof ArrayBuffer) buffers.add(chunk.buffer)
    }
  }
  return [...buffers]
}
