/**
 * The way from one shard to another: batches go over, acknowledgements come back.
 *
 * What is sent within one turn of the event loop travels as one message whose buffers are transferred, not copied.
 * At most `CREDIT_BYTES` are under way to a peer; more waits, which is the backpressure. When the peer dies, everything that it
 * had not acknowledged fails retryably, and so does what is sent until it is back.
 */
import { isMarkedAsUntransferable, type MessagePort } from 'node:worker_threads'
import type { Consumer } from '../component/define.ts'
import { RetryableError, toError } from '../errors.ts'
import { Batch, NO_CONTEXT, type RequestContext, type Signal } from '../otlp/batch.ts'
import { adoptPayload, takePayload } from '../otlp/payload-pool.ts'
import { type PackedError, packError, unpackError } from './packed-error.ts'

/** Payload under way to one peer, taken and not yet acknowledged. */
export const CREDIT_BYTES = 32 * 1024 * 1024

interface Parcel {
  readonly id: number
  readonly stage: string
  readonly signal: Signal
  readonly items: number
  readonly chunks: readonly Uint8Array[]
  /** Undefined when nothing of it matters over there. */
  readonly context: PackedContext | undefined
  /** The buffers are from the sender's pool and come back with the acknowledgement, if the stage lets go of them. */
  readonly lent: boolean
}
interface PackedContext extends Omit<RequestContext, 'metadata'> {
  readonly metadata?: RequestContext['metadata']
}
interface Message {
  parcels?: Parcel[]
  acks?: number[]
  returns?: ArrayBuffer[]
  failures?: { id: number; error: PackedError }[]
}
interface Waiting {
  readonly resolve: () => void
  readonly reject: (error: Error) => void
  readonly bytes: number
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
  readonly #waiting = new Map<number, Waiting>()
  readonly #blocked: (() => void)[] = []

  /** `stages` finds the consumer that a parcel is addressed to. */
  constructor(stages: (name: string) => Consumer | undefined, counters: LinkCounters) {
    this.#stages = stages
    this.#counters = counters
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
   * With `transfer` the buffers under the chunks are given away: nobody else may use them. Buffers that cannot change threads
   * (those of Node's pools and of native modules) are copied all the same. With `lent` they are of this thread's payload pool,
   * and come back to it when the stage over there lets go of them.
   */
  async send(stage: string, batch: Batch, transfer: boolean, lent = false): Promise<void> {
    const bytes = batch.byteLength
    while (this.#underWayBytes > 0 && this.#underWayBytes + bytes > CREDIT_BYTES) {
      await new Promise<void>((resolve) => void this.#blocked.push(resolve))
    }
    if (this.#port === undefined) {
      throw new RetryableError('a shard is restarting', { retryAfterMs: 1000 })
    }
    const id = this.#nextId++
    const context = packContext(batch.context)
    const chunks = batch.chunks.map((chunk) =>
      transfer && canTransfer(chunk) ? chunk : copyBytes(chunk, lent),
    )
    const parcels = (this.#outgoing.parcels ??= [])
    parcels.push({ id, stage, signal: batch.signal, items: batch.itemCount, chunks, context, lent })
    this.#underWayBytes += bytes
    this.#counters.sent(batch.itemCount, bytes)
    this.#schedule()
    return new Promise((resolve, reject) => void this.#waiting.set(id, { resolve, reject, bytes }))
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
    for (const parcel of message.parcels ?? []) this.#deliver(parcel)
    for (const buffer of message.returns ?? []) adoptPayload(buffer)
    for (const id of message.acks ?? []) this.#settle(id)?.resolve()
    for (const { id, error } of message.failures ?? []) this.#settle(id)?.reject(unpackError(error))
  }

  #deliver(parcel: Parcel): void {
    const port = this.#port
    const stage = this.#stages(parcel.stage)
    const { signal, chunks, items, lent } = parcel
    const batch = new Batch(signal, chunks, items, unpackContext(parcel.context))
    const releases = lent && stage?.releases === true
    const done =
      stage === undefined
        ? Promise.reject(new RetryableError('the configuration is changing', { retryAfterMs: 1000 }))
        : stage.consume(batch)
    done.then(
      () => {
        if (this.#port !== port) return
        ;(this.#outgoing.acks ??= []).push(parcel.id)
        if (releases) this.#giveBack(chunks)
        this.#schedule()
      },
      (error: unknown) => {
        if (this.#port !== port) return
        ;(this.#outgoing.failures ??= []).push({ id: parcel.id, error: packError(toError(error)) })
        this.#schedule()
      },
    )
  }

  #giveBack(chunks: readonly Uint8Array[]): void {
    const returns = (this.#outgoing.returns ??= [])
    for (const { buffer } of chunks) {
      if (buffer instanceof ArrayBuffer && !returns.includes(buffer)) returns.push(buffer)
    }
  }

  #settle(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id)
    if (waiting === undefined) return undefined
    this.#waiting.delete(id)
    this.#underWayBytes -= waiting.bytes
    for (const wake of this.#blocked.splice(0)) wake()
    return waiting
  }
}

/** A copy in a buffer of its own. Buffer.slice would be a view, and a clone would take the whole buffer along. */
function copyBytes(chunk: Uint8Array, pooled: boolean): Uint8Array {
  const copy = pooled ? takePayload(chunk.length).subarray(0, chunk.length) : new Uint8Array(chunk.length)
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
  const buffers = new Set<ArrayBuffer>(message.returns)
  for (const parcel of message.parcels ?? []) {
    for (const chunk of parcel.chunks) if (chunk.buffer instanceof ArrayBuffer) buffers.add(chunk.buffer)
  }
  return [...buffers]
}
