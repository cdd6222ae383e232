/**
 * The sending queue in memory: who may enter (Admission) and the order of the work (Deque).
 *
 * The limit is one for the process, whatever the number of shards, and counts what is in flight as well as
 * what waits. A place is given back only when the export has ended.
 */
import type { Clock, Timer } from '../component/clock.ts'
import type { QueueSettings, Sizer } from '../component/define.ts'
import type { Budget } from '../component/host.ts'
import { RefusedError, ShutdownError, TooLargeError } from '../errors.ts'
import type { Batch } from '../otlp/batch.ts'

/** Callers that may wait for space at a time, per shard; more are refused as if they could not wait. */
const MAX_WAITING = 10_000
/** Space that another shard gives back is noticed after this long. */
const POLL_MS = 20

export function sizeOf(batch: Batch, sizer: Sizer): number {
  return sizer === 'requests' ? 1 : sizer === 'items' ? batch.itemCount : batch.byteLength
}

interface Waiting {
  readonly size: number
  readonly resolve: () => void
  readonly reject: (error: Error) => void
  timer: Timer | undefined
}

export class Admission {
  readonly #settings: QueueSettings
  readonly #budget: Budget
  readonly #clock: Clock
  readonly #onChange: (heldSize: number) => void
  readonly #waiting = new Set<Waiting>()
  #poll: Timer | undefined
  #held = 0
  /** Places that were given back ahead of leave(). */
  #given = 0
  #closed = false

  constructor(settings: QueueSettings, budget: Budget, clock: Clock, onChange: (heldSize: number) => void) {
    this.#settings = settings
    this.#budget = budget
    this.#clock = clock
    this.#onChange = onChange
  }

  /**
   * Takes a place, or throws. A promise comes back only when the caller has to wait for space.
   *
   * A batch larger than the whole queue can never enter. The Collector refuses it as if it could, and clients
   * then send it for ever; here it is TooLargeError, which tells them to stop.
   */
  enter(size: number, deadlineMs: number | undefined): Promise<void> | undefined {
    const { queueSize, sizer, blockOnOverflow } = this.#settings
    if (this.#closed) throw new ShutdownError('exporter is shutting down')
    if (size > queueSize)
      throw new TooLargeError(`batch of ${size} ${sizer} is larger than the queue_size of ${queueSize}`)
    if (this.#waiting.size === 0 && this.#take(size)) return undefined
    if (!blockOnOverflow) throw new RefusedError('sending queue is full')
    if (this.#waiting.size >= MAX_WAITING)
      throw new RefusedError('too many callers wait for the sending queue')
    return this.#wait(size, deadlineMs)
  }

  /** Takes a place without asking: what a run before has accepted already. */
  force(size: number): void {
    this.#budget.take(size)
    this.#change(size)
  }

  leave(size: number): void {
    const given = Math.min(size, this.#given)
    this.#given -= given
    this.#budget.give(size - given)
    this.#change(-size)
    this.#admit()
  }

  /** What moves to another queue within the same limit gives its place first: it needs none twice. */
  async moving(size: number, move: () => Promise<void>): Promise<void> {
    this.#budget.give(size)
    this.#given += size
    try {
      await move()
    } catch (error) {
      this.#given -= size
      this.#budget.take(size)
      throw error
    }
  }

  /** Sends away whoever waits; nobody enters any more. */
  close(): void {
    this.#closed = true
    for (const waiting of this.#waiting) this.#settle(waiting, new ShutdownError('exporter is shutting down'))
  }

  #take(size: number): boolean {
    if (!this.#budget.tryTake(size)) return false
    this.#change(size)
    return true
  }

  #change(by: number): void {
    this.#held += by
    this.#onChange(this.#held)
  }

  #wait(size: number, deadlineMs: number | undefined): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      const waiting: Waiting = { size, resolve, reject, timer: undefined }
      if (deadlineMs !== undefined) {
        const leftMs = Math.max(0, deadlineMs - this.#clock.monotonicMs())
        const late = () =>
          this.#settle(waiting, new RefusedError('sending queue stayed full until the deadline'))
        waiting.timer = this.#clock.after(leftMs, late)
      }
      this.#waiting.add(waiting)
      this.#poll ??= this.#clock.every(POLL_MS, () => this.#admit())
    })
  }

  /** Lets in who waits, in order: a large batch is not overtaken for ever by small ones. */
  #admit(): void {
    for (const waiting of this.#waiting) {
      if (!this.#take(waiting.size)) return
      this.#settle(waiting, undefined)
    }
  }

  #settle(waiting: Waiting, error: Error | undefined): void {
    this.#waiting.delete(waiting)
    waiting.timer?.cancel()
    if (error) waiting.reject(error)
    else waiting.resolve()
    if (this.#waiting.size > 0) return
    this.#poll?.cancel()
    this.#poll = undefined
  }
}

/** First in, first out. Its length is bounded by whoever was let in. */
export class Deque<T> {
  #entries: (T | undefined)[] = []
  #head = 0

  get length(): number {
    return this.#entries.length - this.#head
  }

  push(entry: T): void {
    this.#entries.push(entry)
  }

  /** Puts back what shift() took last. */
  unshift(entry: T): void {
    if (this.#head === 0) this.#entries.unshift(entry)
    else this.#entries[--this.#head] = entry
  }

  peek(): T | undefined {
    return this.#entries[this.#head]
  }

  shift(): T | undefined {
    if (this.#head === this.#entries.length) return undefined
    const entry = this.#entries[this.#head]
    this.#entries[this.#head++] = undefined
    if (this.#head > 1024 && this.#head * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#head)
      this.#head = 0
    }
    return entry
  }
}
