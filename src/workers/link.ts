/**
 * The way from one shard to another: batches go over, acknowledgements come back.
 *
 * Payload lies in shared memory (arena.ts), and so do the notes about it (mailbox.ts), unless a batch is out
 * of the ordinary: of several chunks, with metadata, or more than there is room for. Then it travels in a
 * message, one for all of a turn of the event loop. At most `CREDIT_BYTES` are under way to a peer; more
 * waits, which is the backpressure. When the peer dies, everything that it had not acknowledged fails
 * retryably, and so does what is sent until it is back; what nobody would send again waits (kept.ts).
 */
import type { MessagePort } from 'node:worker_threads'
import type { Consumer } from '../component/define.ts'
import { RefusedError, toError } from '../errors.ts'
import { Batch, NO_CONTEXT, NO_METADATA, SIGNALS } from '../otlp/batch.ts'
import type { Delivery } from '../otlp/delivery.ts'
import { Arena } from './arena.ts'
import { Kept, PeerDownError } from './kept.ts'
import { LinkDeliveries } from './link-deliveries.ts'
import { MAILBOX_BYTES, Mailbox, type TakeRecord } from './mailbox.ts'
import { packError, unpackError } from './packed-error.ts'
import {
  buffersOf,
  canTransfer,
  copyBytes,
  isEmpty,
  isPlain,
  type Message,
  type Parcel,
  type ParcelChunk,
  packContext,
  unpackContext,
  type Waiting,
} from './parcel.ts'

/** Payload under way to one peer, taken and not yet acknowledged. */
export const CREDIT_BYTES = 32 * 1024 * 1024
/** Callers that may wait for credit. */
export const MOST_BLOCKED = 10_000

/**
 * Shared memory for payload under way, over all links of a shard; each has its part. What finds no room is
 * transferred.
 */
const ARENAS_BYTES = 8 * 1024 * 1024

/**
 * Kinds of records. A parcel has: stage number, delivery or not, signal and ownership in one word; items;
 * place; length; and of its delivery the journal, else the deadline (0 = none): nobody waits for what lies in
 * a log.
 */
const PARCEL = 1
/** Items taken. */
const ACK = 2
/** Records that are read at a time: what they bring about, acknowledgements above all, happens in between. */
const MOST_RECORDS = 16
/** Waking a peer costs 20 microseconds here and there: for so many parcels at a time, and when the turn ends. */
const PARCELS_A_RING = 3
/** How often a shard that waits for acknowledgements looks in vain before it asks to be woken. */
const VAIN_LOOKS = 4
/** A message that only wakes. */
const BELL = 0

export interface LinkCounters {
  sent(items: number, bytes: number): void
}

export class Link {
  readonly #stages: (name: string) => Consumer | undefined
  readonly #counters: LinkCounters
  #port: MessagePort | undefined
  #outgoing: Message = {}
  #scheduled = false
  /** Something came a moment ago: look again at the next turn, instead of being woken by a message. */
  #awake = false
  #vainLooks = 0
  /** Parcels that the peer, if it sleeps, has not been woken for. */
  #unheard = 0
  #nextId = 1
  #underWayBytes = 0
  /** Parcels in messages that are not acknowledged: until they are, what follows must not overtake them. */
  #messagesUnderWay = 0
  #outbox: Mailbox | undefined
  #inbox: Mailbox | undefined
  /** Where payload for the peer lies, and where the peer's payload for this shard does. */
  #arena: Arena | undefined
  #peerArena: Uint8Array | undefined
  readonly #arenaBytes: number
  /** Numbers of the stages over there; negative until the peer has heard of them. */
  #stageNumbers = new Map<string, number>()
  #peerStages: string[] = []
  readonly #waiting = new Map<number, Waiting>()
  readonly #blocked: (() => void)[] = []
  readonly #kept = new Kept()
  readonly #deliveries = new LinkDeliveries(() => {
    this.#schedule()
    return this.#outgoing
  })

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
    return this.#underWayBytes + this.#kept.bytes
  }

  /** Callers that wait for credit. */
  get blocked(): number {
    return this.#blocked.length
  }

  connect(port: MessagePort): void {
    this.disconnect()
    this.#port = port
    const memory = new SharedArrayBuffer(MAILBOX_BYTES + this.#arenaBytes)
    this.#outbox = new Mailbox(memory)
    this.#arena = new Arena(memory, MAILBOX_BYTES)
    this.#outgoing.memory = memory
    this.#schedule()
    port.on('message', (message: Message | typeof BELL) => this.#receive(message))
    port.on('close', () => {
      if (this.#port === port) this.disconnect()
    })
  }

  /** The peer is gone: what it had is to be sent again by the senders. */
  disconnect(): void {
    const port = this.#port
    this.#port = undefined
    this.#outgoing = {}
    this.#awake = false
    this.#unheard = 0
    this.#arena = undefined
    this.#peerArena = undefined
    this.#outbox = undefined
    this.#inbox = undefined
    this.#stageNumbers = new Map()
    this.#peerStages = []
    port?.close()
    const lost = [...this.#waiting.values()]
    this.#waiting.clear()
    this.#underWayBytes = 0
    this.#messagesUnderWay = 0
    for (const waiting of lost) {
      waiting.reject(new PeerDownError('the shard that had this data is gone', true))
    }
    for (const wake of this.#blocked.splice(0)) wake()
    this.#deliveries.cut()
  }

  /**
   * Hands a batch to a stage of the peer. Resolves when that stage has taken it, and rejects with its error.
   * The bytes are copied before this returns for the first time, unless `transfer` gives away the buffers
   * under the chunks: nobody else may use them then. Buffers that cannot change threads (of Node's pools, of
   * native modules) are copied all the same.
   */
  async send(stage: string, batch: Batch, transfer: boolean): Promise<void> {
    if (this.#full(batch)) await this.#room(batch)
    const taken = this.#dispatch(stage, batch, transfer, false)
    this.#counters.sent(batch.itemCount, batch.byteLength)
    await taken
  }

  /** As send() of a copy, or sendWhole(), of data whose sender was answered: it waits for a peer that is down. */
  async sendKept(stage: string, batch: Batch, whole: boolean): Promise<void> {
    const send = () => (whole ? this.sendWhole(stage, batch) : this.send(stage, batch, false))
    await this.#kept.send(batch.byteLength, send)
  }

  /**
   * As send(), to the stage's consumeOwned(): the peer takes the items that it owns. Resolves to their
   * number.
   */
  async sendWhole(stage: string, batch: Batch): Promise<number> {
    if (this.#full(batch)) await this.#room(batch)
    const items = await this.#dispatch(stage, batch, false, true)
    this.#counters.sent(items, batch.byteLength)
    return items
  }

  #full({ byteLength }: Batch): boolean {
    return this.#underWayBytes > 0 && this.#underWayBytes + byteLength > CREDIT_BYTES
  }

  async #room(batch: Batch): Promise<void> {
    if (this.#blocked.length >= MOST_BLOCKED)
      throw new RefusedError('too many requests wait for another shard')
    while (this.#full(batch)) await new Promise<void>((resolve) => void this.#blocked.push(resolve))
  }

  #dispatch(stage: string, batch: Batch, transfer: boolean, owned: boolean): Promise<number> {
    if (this.#port === undefined) {
      throw new PeerDownError('a shard is restarting')
    }
    const id = this.#nextId
    this.#nextId = (id + 1) & 0x7fffffff
    const bytes = batch.byteLength
    const place = this.#note(id, stage, batch, transfer, owned)
    const parcel = place < 0 ? this.#parcel(id, stage, batch, transfer, owned) : undefined
    this.#underWayBytes += bytes
    if (batch.context.delivery !== undefined) this.#deliveries.give(id, batch.context.delivery)
    const taken = new Promise<number>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject, bytes, place, parcel })
    })
    if (parcel === undefined && ++this.#unheard >= PARCELS_A_RING) this.#ring()
    else this.#schedule()
    return taken
  }

  /** Puts an ordinary batch into shared memory; its place, or -1 when it has to go in a message. */
  #note(id: number, stage: string, batch: Batch, transfer: boolean, owned: boolean): number {
    const { chunks, context, signal } = batch
    const number = this.#stageNumbers.get(stage) ?? -1
    const chunk = chunks[0]
    if (number < 0 || chunks.length !== 1 || chunk === undefined || transfer) return -1
    const journal = this.#deliveries.plain(context.delivery)
    if (this.#messagesUnderWay > 0 || journal === undefined || !isPlain(context)) return -1
    const arena = this.#arena
    const place = arena?.put(chunk) ?? -1
    if (arena === undefined || place < 0) return -1
    const flags = (journal >= 0 ? 8 : 0) | (SIGNALS.indexOf(signal) << 1) | (owned ? 1 : 0)
    const { itemCount } = batch
    const time = journal >= 0 ? journal : (context.deadlineMs ?? 0)
    if (this.#outbox?.put(PARCEL, id, (number << 4) | flags, itemCount, place, chunk.length, time))
      return place
    arena.free(place)
    return -1
  }

  #parcel(id: number, stage: string, batch: Batch, transfer: boolean, owned: boolean): Parcel {
    let number = this.#stageNumbers.get(stage)
    if (number === undefined) {
      number = ~this.#stageNumbers.size
      this.#stageNumbers.set(stage, number)
    }
    const stageNumber = number < 0 ? ~number : number
    const chunks = batch.chunks.map((chunk) => this.#pack(chunk, transfer))
    const { signal, itemCount: items } = batch
    const context = packContext(batch.context)
    const delivery = this.#deliveries.pack(batch.context.delivery)
    const parcel = { id, stage, stageNumber, owned, signal, items, chunks, context, delivery }
    ;(this.#outgoing.parcels ??= []).push(parcel)
    this.#messagesUnderWay++
    return parcel
  }

  #pack(chunk: Uint8Array, transfer: boolean): ParcelChunk {
    if (transfer && canTransfer(chunk)) return chunk
    const place = this.#arena?.put(chunk) ?? -1
    return place < 0 ? copyBytes(chunk) : { place, length: chunk.length }
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(this.#turn)
  }

  readonly #turn = (): void => {
    this.#scheduled = false
    if (this.#unheard > 0) this.#ring()
    const message = this.#outgoing
    if (!isEmpty(message)) {
      this.#outgoing = {}
      this.#port?.postMessage(message, buffersOf(message))
    }
    if (this.#awake) this.#poll()
  }

  /**
   * Wakes the peer before the turn ends: that may take long, and meanwhile the peer can work. It also sees what
   * is there of acknowledgements, for the same reason.
   */
  #ring(): void {
    this.#unheard = 0
    if (this.#outbox?.claimWaking()) this.#port?.postMessage(BELL)
    this.#inbox?.drainKind(ACK, this.#take)
  }

  /** Reads what has come. While something does, it looks again at each turn; then it asks to be woken. */
  #poll(most = MOST_RECORDS): void {
    const inbox = this.#inbox
    if (inbox === undefined) return
    const taken = inbox.drain(this.#take, most)
    this.#vainLooks = taken > 0 ? 0 : this.#vainLooks + 1
    const lingers = this.#waiting.size > 0 && this.#vainLooks <= VAIN_LOOKS
    this.#awake = taken > 0 || lingers || !inbox.sleep()
    if (this.#awake) this.#schedule()
  }

  #receive(message: Message | typeof BELL): void {
    if (message === BELL) {
      this.#poll()
      return
    }
    if (message.memory !== undefined) {
      this.#inbox = new Mailbox(message.memory)
      this.#peerArena = new Uint8Array(message.memory, MAILBOX_BYTES)
    }
    this.#poll(Number.POSITIVE_INFINITY) // What was sent before the message comes before it.
    for (const parcel of message.parcels ?? []) this.#open(parcel)
    for (const { id, items } of message.acks ?? []) this.#settle(id)?.resolve(items)
    for (const { id, error } of message.failures ?? []) this.#settle(id)?.reject(unpackError(error))
    this.#deliveries.receive(message)
  }

  readonly #take: TakeRecord = (kind, id, a, items, place, length, time) => {
    if (kind === ACK) {
      this.#settle(id)?.resolve(a)
      return
    }
    const stage = this.#stages(this.#peerStages[a >> 4] ?? '')
    const chunk = this.#unpack({ place, length }, stage?.releases !== true)
    const delivery = (a & 8) === 0 ? undefined : this.#deliveries.takePlain(id, time)
    const deadlineMs = delivery !== undefined || time === 0 ? undefined : time
    const plain = deadlineMs === undefined && delivery === undefined
    const context = plain ? NO_CONTEXT : { metadata: NO_METADATA, deadlineMs, delivery }
    const signal = SIGNALS[(a >> 1) & 3] ?? 'traces'
    this.#deliver(id, stage, new Batch(signal, [chunk], items, context), (a & 1) === 1)
  }

  #open({ id, stage: name, stageNumber, owned, signal, items, chunks: packed, ...parcel }: Parcel): void {
    this.#peerStages[stageNumber] = name
    const stage = this.#stages(name)
    // A stage that may keep the bytes gets its own; the others read them where they lie, until they have
    // settled.
    const keeps = stage?.releases !== true
    const chunks = packed.map((chunk) => this.#unpack(chunk, keeps))
    const delivery = parcel.delivery && this.#deliveries.take(id, parcel.delivery)
    const context = unpackContext(parcel.context, delivery)
    this.#deliver(id, stage, new Batch(signal, chunks, items, context), owned)
  }

  #deliver(id: number, stage: Consumer | undefined, batch: Batch, owned: boolean): void {
    const port = this.#port
    const { delivery } = batch.context
    const failed = (error: unknown) => {
      delivery?.settle() // The failure is told as such; what else holds the delivery ends by itself.
      if (this.#port !== port) return
      ;(this.#outgoing.failures ??= []).push({ id, error: packError(toError(error)) })
      this.#schedule()
    }
    const taken = (items: number) => {
      delivery?.settle()
      if (this.#port !== port) return
      if (this.#outbox?.put(ACK, id, items)) {
        if (this.#outbox.claimWaking()) this.#port?.postMessage(BELL)
        return
      }
      ;(this.#outgoing.acks ??= []).push({ id, items })
      this.#schedule()
    }
    try {
      if (!owned && stage !== undefined) stage.consume(batch).then(() => taken(batch.itemCount), failed)
      else if (stage?.consumeOwned !== undefined) stage.consumeOwned(batch).then(taken, failed)
      else this.#notReady(id, delivery)
    } catch (error) {
      failed(error)
    }
  }

  /** This shard is starting, or the configuration is changing. */
  #notReady(id: number, delivery: Delivery | undefined): void {
    delivery?.settle()
    const error = { kind: 'not_ready', message: 'a shard is not ready' } as const
    ;(this.#outgoing.failures ??= []).push({ id, error })
    this.#schedule()
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
    const { place, parcel } = waiting
    if (parcel === undefined) this.#arena?.free(place)
    else {
      this.#messagesUnderWay--
      this.#stageNumbers.set(parcel.stage, parcel.stageNumber)
      for (const chunk of parcel.chunks) if ('place' in chunk) this.#arena?.free(chunk.place)
    }
    if (this.#blocked.length > 0) for (const wake of this.#blocked.splice(0)) wake()
    return waiting
  }
}
