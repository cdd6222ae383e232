/**
 * What a crash left in the logs of receivers, over all shards, until each request of it has been handed on
 * once. Whoever must not work on the half of something asks it (tail sampling).
 *
 * Each shard has the same receivers. One that has not looked into its log yet may have anything in it.
 */
import type { Budget } from './host.ts'

/** One receiver with a log, on one shard. */
export interface RecoveryReader {
  /** So many requests were found; called also when there are none, and again when more are inherited. */
  found(requests: number): void
  /** One of them has been handed on, or never will be. */
  handedOn(): void
  close(): void
}

export class Recovery {
  readonly #shards: number
  /** Readers that have looked, and requests that are left, over all shards. */
  readonly #looked: Budget
  readonly #left: Budget
  /** Readers of this shard. */
  #readers = 0

  constructor(shards: number, looked: Budget, left: Budget) {
    this.#shards = Math.max(1, shards)
    this.#looked = looked
    this.#left = left
  }

  pending(): boolean {
    return this.#left.used() > 0 || this.#looked.used() < this.#readers * this.#shards
  }

  reader(): RecoveryReader {
    let looked = false
    let left = 0
    let closed = false
    this.#readers++
    return {
      found: (requests) => {
        if (closed) return
        left += requests
        this.#left.take(requests)
        if (!looked) this.#looked.take(1)
        looked = true
      },
      handedOn: () => {
        if (left === 0) return // It is closed.
        left--
        this.#left.give(1)
      },
      close: () => {
        if (closed) return
        closed = true
        this.#readers--
        this.#left.give(left)
        if (looked) this.#looked.give(1)
        left = 0
      },
    }
  }
}
