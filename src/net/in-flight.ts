/**
 * Bytes of requests that a server holds on this shard, from the first byte of a body to the answer. When they are over the
 * limit reading pauses: who wants to read on waits here, in order, for a bounded time.
 */
import type { Clock } from '../component/clock.ts'
import { RefusedError } from '../errors.ts'

/** How long a body may wait for room before its request is refused. */
const MAX_WAIT_MS = 5000
const MAX_WAITING = 10_000

interface Waiting {
  readonly bytes: number
  done: boolean
  resolve(): void
}

export class InFlightBytes {
  readonly #limitBytes: number
  readonly #clock: Clock
  readonly #waiting: Waiting[] = []
  readonly #onPause: (() => void) | undefined
  #usedBytes = 0

  /** `onPause` is told of everybody who has to wait. */
  constructor(limitBytes: number, clock: Clock, onPause?: () => void) {
    this.#onPause = onPause
    this.#limitBytes = limitBytes
    this.#clock = clock
  }

  get usedBytes(): number {
    return this.#usedBytes
  }

  get full(): boolean {
    return this.#usedBytes >= this.#limitBytes
  }

  /** Takes `bytes` if there is room, or if nothing else is held. */
  tryTake(bytes: number): boolean {
    if (this.#usedBytes > 0 && this.#usedBytes + bytes > this.#limitBytes) return false
    this.#usedBytes += bytes
    return true
  }

  /** Takes `bytes` without a check, for what is there already. */
  take(bytes: number): void {
    this.#usedBytes += bytes
  }

  /** Takes `bytes` when there is room; rejects with RefusedError when that takes too long. */
  wait(bytes: number): Promise<void> {
    if (this.#waiting.length === 0 && this.tryTake(bytes)) return Promise.resolve()
    this.#onPause?.()
    if (this.#waiting.length >= MAX_WAITING) return Promise.reject(busy())
    return new Promise((resolve, reject) => {
      const entry: Waiting = {
        bytes,
        done: false,
        resolve: () => {
          timer.cancel()
          resolve()
        },
      }
      const timer = this.#clock.after(MAX_WAIT_MS, () => {
        entry.done = true
        reject(busy())
      })
      this.#waiting.push(entry)
    })
  }

  give(bytes: number): void {
    this.#usedBytes -= bytes
    while (this.#waiting.length > 0) {
      const first = this.#waiting[0]!
      if (!first.done && !this.tryTake(first.bytes)) return
      this.#waiting.shift()
      if (!first.done) first.resolve()
    }
  }
}

function busy(): RefusedError {
  return new RefusedError('too many bytes in flight')
}
