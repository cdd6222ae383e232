/**
 * Batches the items of one group (one combination of metadata values) and hands the batches on in order.
 *
 * A batch is cut when the pile reaches `send_batch_size`, or when the timer fires. The timer runs freely,
 * as in the Go collector: it starts anew after a batch that was cut by size and after each firing, so an
 * item waits at most `timeout`. A few batches may be under way to the next stage at once. When they all
 * are and another is ready, callers wait: that is the backpressure, and it bounds what is held here.
 */
import type { Clock, Timer } from '../../component/clock.ts'
import type { Consumer } from '../../component/define.ts'
import type { Gauge } from '../../component/telemetry.ts'
import { isRetryable, RefusedError, RetryableError, ShutdownError } from '../../errors.ts'
import type { Batch, RequestContext, Signal } from '../../otlp/batch.ts'
import { joinDeliveries } from '../../otlp/delivery.ts'
import { splitBatch } from '../../otlp/split.ts'
import type { Config } from './config.ts'
import { type HeldCaller, HeldCallers } from './held-callers.ts'
import { Owners, type Share } from './owners.ts'
import { Pile, SlabLease } from './pile.ts'

/** Batches handed to the next stage that it has not answered. */
export const BATCHES_IN_FLIGHT = 4
/** Callers that may wait for their items to be taken; the next one is refused. */
const CALLERS_WAITING = 10_000
/**
 * A held caller's batch is cut this long before its deadline, or after half of its time if that is
 * shorter.
 */
const DEADLINE_MARGIN_MS = 1000

export type Trigger = 'size' | 'timeout' | 'shutdown'

export interface BatcherOptions {
  readonly config: Config
  readonly signal: Signal
  /** The context of outgoing batches. */
  readonly context: RequestContext
  readonly next: Consumer
  readonly clock: Clock
  readonly holdsCaller: boolean
  /** Items whose senders were answered, and that lie in no log. */
  readonly volatile: Gauge
  readonly onSent: (batch: Batch, trigger: Trigger) => void
  /**
   * Items of a batch that failed, or was given up, are lost: their senders were told that they are safe,
   * and no log has them.
   */
  readonly onDropped: (items: number, error: unknown) => void
}

interface ReadyBatch {
  readonly batch: Batch
  readonly trigger: Trigger
  readonly callers: readonly HeldCaller[]
  readonly share: Share
  /** Of the memory it lies in; undefined when the garbage collector sees to that. */
  readonly lease: SlabLease | undefined
}

interface WaitingCaller {
  readonly batch: Batch
  readonly resolve: (accepted: Promise<void>) => void
  readonly reject: (error: Error) => void
}

const ACCEPTED = Promise.resolve()

export class Batcher {
  readonly #options: BatcherOptions
  /** Items that make a batch due. */
  readonly #dueItems: number
  /** Everybody behind says when the bytes are done with. */
  readonly #pooled: boolean
  readonly #pile: Pile
  readonly #callers: HeldCallers | undefined
  readonly #owners = new Owners()
  readonly #ready: ReadyBatch[] = []
  readonly #waiting: WaitingCaller[] = []
  #inFlight = 0
  /** When the freely running timer was last started. */
  #timerStartMs: number
  #timer: Timer | undefined
  #timerDueMs = Number.POSITIVE_INFINITY
  #closed = false
  #idle: (() => void) | undefined

  constructor(options: BatcherOptions) {
    const { config } = options
    this.#options = options
    this.#dueItems = config.timeout === 0 ? 1 : Math.max(1, config.send_batch_size)
    const { next } = options
    this.#pooled = next.releases === true || next.leases === true
    this.#pile = new Pile(options.signal, options.context, this.#pooled)
    this.#callers = options.holdsCaller ? new HeldCallers() : undefined
    this.#timerStartMs = options.clock.monotonicMs()
  }

  /** Resolves when the items are in the pile; when callers are held, when the next stage took them. */
  consume(batch: Batch): Promise<void> {
    if (this.#ready.length === 0 && this.#waiting.length === 0) return this.#accept(batch)
    if (this.#waiting.length >= CALLERS_WAITING)
      return Promise.reject(new RefusedError('too many requests wait for the batch processor'))
    return new Promise<void>((resolve, reject) => this.#waiting.push({ batch, resolve, reject }))
  }

  #accept(batch: Batch): Promise<void> {
    const accepted = this.#add(batch)
    this.#pump()
    return accepted
  }

  /** Puts the items on the pile, and cuts it when they make it due. */
  #add(batch: Batch): Promise<void> {
    this.#owners.add(batch.context.delivery, batch.itemCount, this.#pile.items)
    this.#pile.add(batch)
    let accepted = ACCEPTED
    if (this.#callers === undefined) {
      if (batch.context.delivery === undefined) this.#options.volatile.add(batch.itemCount)
    } else {
      const held = this.#callers.add(batch.itemCount, this.#cutByMs(batch.context))
      // Whoever has a log waits for the delivery, and keeps no memory until then.
      if (batch.context.delivery === undefined) accepted = held
      else held.catch(() => {})
    }
    if (this.#closed) this.#cut('shutdown')
    else if (this.#pile.items >= this.#dueItems) this.#cut('size')
    else this.#armTimer()
    return accepted
  }

  #cutByMs({ deadlineMs }: RequestContext): number {
    if (deadlineMs === undefined) return Number.POSITIVE_INFINITY
    const leftMs = deadlineMs - this.#options.clock.monotonicMs()
    return deadlineMs - Math.min(DEADLINE_MARGIN_MS, leftMs / 2)
  }

  #armTimer(): void {
    const held = this.#callers?.cutByMs ?? Number.POSITIVE_INFINITY
    if (this.#timer !== undefined && held >= this.#timerDueMs) return
    const { clock, config } = this.#options
    const nowMs = clock.monotonicMs()
    const firings = Math.floor((nowMs - this.#timerStartMs) / config.timeout) + 1
    const dueMs = Math.min(this.#timerStartMs + firings * config.timeout, held)
    this.#timer?.cancel()
    this.#timerDueMs = dueMs
    this.#timer = clock.after(Math.max(0, dueMs - nowMs), () => this.#fire())
  }

  #fire(): void {
    this.#timer = undefined
    this.#cut('timeout')
    this.#pump()
  }

  #restartTimer(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#timerDueMs = Number.POSITIVE_INFINITY
    this.#timerStartMs = this.#options.clock.monotonicMs()
  }

  /** Moves the pile to the batches that are ready, in pieces of at most the largest size. */
  #cut(trigger: Trigger): void {
    this.#restartTimer()
    if (this.#pile.items === 0) return
    const { batch, slabs } = this.#pile.take()
    const lease = this.#pooled ? new SlabLease(slabs) : undefined
    lease?.hold()
    const most = this.#options.config.send_batch_max_size
    if (most === 0 || batch.itemCount <= most) {
      this.#makeReady(batch, trigger, lease)
      lease?.release()
      return
    }
    for (const piece of this.#pieces(batch, most)) {
      if (trigger === 'size' && piece.itemCount < this.#dueItems) {
        this.#pile.add(piece) // The last one, which is not due yet.
        this.#armTimer()
      } else this.#makeReady(piece, trigger, lease)
    }
    lease?.release()
  }

  #pieces(batch: Batch, most: number): readonly Batch[] {
    try {
      return splitBatch(batch, most)
    } catch {
      return [batch] // Bytes that cannot be read go on whole, for the exporter to judge.
    }
  }

  #makeReady(batch: Batch, trigger: Trigger, lease: SlabLease | undefined): void {
    lease?.hold()
    const { itemCount } = batch
    const callers = this.#callers?.assign(itemCount) ?? []
    this.#ready.push({ batch, trigger, lease, callers, share: this.#owners.assign(itemCount) })
  }

  /** Sends what is ready as far as there is room, then lets waiting callers in. */
  #pump(): void {
    while (true) {
      while (this.#ready.length > 0 && this.#inFlight < BATCHES_IN_FLIGHT) this.#send(this.#ready.shift()!)
      if (this.#ready.length > 0) return
      const caller = this.#waiting.shift()
      if (caller === undefined) break
      this.#admit(caller)
    }
    if (this.#inFlight === 0 && this.#closed) this.#idle?.()
  }

  #admit({ batch, resolve, reject }: WaitingCaller): void {
    const { deadlineMs } = batch.context
    if (deadlineMs !== undefined && deadlineMs <= this.#options.clock.monotonicMs()) {
      reject(new RetryableError('the deadline passed before the batch processor had room'))
      return
    }
    resolve(this.#add(batch))
  }

  #send(ready: ReadyBatch): void {
    this.#inFlight++
    const { deliveries } = ready.share
    // It holds each of them until it ends; what they were held for here ends with the answer.
    const delivery = deliveries.length === 0 ? undefined : joinDeliveries(deliveries)
    const { batch, lease } = ready
    const plain = delivery === undefined && lease === undefined
    let answer: Promise<void>
    try {
      answer = this.#options.next.consume(
        plain ? batch : batch.withContext({ ...batch.context, delivery, lease }),
      )
    } catch (error) {
      answer = Promise.reject(error)
    }
    answer
      .then(
        () => this.#settle(ready, undefined),
        (error) => this.#settle(ready, error ?? new Error('the next stage failed without an error')),
      )
      .finally(() => delivery?.settle())
  }

  #settle(ready: ReadyBatch, error: unknown): void {
    this.#inFlight--
    if (error === undefined) this.#options.onSent(ready.batch, ready.trigger)
    this.#answer(ready, error)
    ready.lease?.release()
    this.#pump()
  }

  /** Tells everybody who has items in the batch, and counts what is lost. */
  #answer({ batch, callers, share }: ReadyBatch, error: unknown): void {
    const { deliveries, volatileItems } = share
    if (this.#callers === undefined) this.#options.volatile.add(-volatileItems)
    // What lies in a log is tried again from there; what is refused for good is dropped here.
    const again = error !== undefined && isRetryable(error)
    if (error !== undefined && this.#callers === undefined) {
      const items = again ? volatileItems : batch.itemCount
      if (items > 0) this.#options.onDropped(items, error)
    }
    for (const caller of callers) caller.settle(error)
    const told = again || this.#callers !== undefined
    for (const delivery of deliveries) delivery.settle(told ? error : undefined)
  }

  /**
   * Shutdown has begun upstream. Callers that are held get their answer: everything is sent at once from
   * now on. Without such callers it goes on to batch, since what stages before it flush would flood the
   * queue behind it in small pieces.
   */
  drain(): void {
    if (this.#callers !== undefined) this.#close()
  }

  #close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#cut('shutdown')
    this.#pump()
  }

  /** Sends all that is held, and waits for the answers until the deadline. */
  async shutdown(deadline: AbortSignal): Promise<void> {
    this.#close()
    const idle = new Promise<void>((resolve) => {
      this.#idle = resolve
    })
    this.#pump()
    if (this.#inFlight === 0 && this.#ready.length === 0) return
    const late = new Promise<void>((resolve) => {
      if (deadline.aborted) resolve()
      else deadline.addEventListener('abort', () => resolve(), { once: true })
    })
    await Promise.race([idle, late])
    this.#giveUp()
  }

  /** What is not under way at the deadline. Batches under way settle by themselves. */
  #giveUp(): void {
    const error = new ShutdownError('the batch processor was shut down before it could send')
    for (const ready of this.#ready.splice(0)) this.#answer(ready, error)
    for (const { reject } of this.#waiting.splice(0)) reject(error)
  }
}
