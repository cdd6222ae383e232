/**
 * Requests of a log that wait to be handed on, or to be tried again, in the order they came. What is here
 * is a place in the log, no payload.
 *
 * What failed waits 1 to 10 seconds, twice as long each time. While the next stage refuses, nothing else is
 * tried either: a pause, which doubles with each refusal in a row.
 */
import { Deque } from '../../sending/queue.ts'
import type { StoredRecord } from '../../storage/log.ts'

const FIRST_DELAY_MS = 1000
const LAST_DELAY_MS = 10_000
const LEVELS = 5
const LONGEST_PAUSE_MS = 5000

/** A request that is not done with. */
export interface Held {
  /** Where it lies; it changes when it is written anew. */
  record: StoredRecord
  /** How often it failed. */
  failures: number
  dueMs: number
  /** When it came, or was found, in seconds on the monotonic clock. */
  readonly second: number
  /** When a crash left it: by how many seconds it was older then than the newest. */
  recoveredAge: number | undefined
  /** That has been handed on once. */
  seen: boolean
}

export class Lane {
  readonly #ready = new Deque<Held>()
  /** By the wait: each list is in the order of the times. */
  readonly #later = Array.from({ length: LEVELS }, () => new Deque<Held>())
  #pausedUntilMs = 0
  #refusals = 0
  /** Handed to the next stage, which has not taken them yet. */
  active = 0
  /** Being read back, and handed on. */
  reading = 0
  /** Resolves when the last of them has been handed on. */
  turn: Promise<void> = Promise.resolve()
  /** The one that is being read back may have caused crashes: nothing goes beside it. */
  alone = false

  push(held: Held): void {
    this.#ready.push(held)
  }

  /** Waits for another try. `askedMs`: not sooner. */
  retry(held: Held, nowMs: number, askedMs: number): void {
    let level = Math.min(held.failures++, LEVELS - 1)
    while (level < LEVELS - 1 && delayOf(level) < askedMs) level++
    held.dueMs = nowMs + delayOf(level)
    this.#later[level]?.push(held)
  }

  /** It is asked for again in a second, and what is behind it goes first. It has not failed. */
  postpone(held: Held, nowMs: number): void {
    held.dueMs = nowMs + FIRST_DELAY_MS
    this.#later[0]?.push(held)
  }

  refused(nowMs: number, askedMs: number): void {
    const delayMs = Math.max(askedMs, delayOf(Math.min(this.#refusals++, LEVELS - 1)))
    this.#pausedUntilMs = nowMs + Math.min(delayMs, LONGEST_PAUSE_MS)
  }

  taken(): void {
    this.#refusals = 0
  }

  /** What comes has to wait its turn. */
  busy(nowMs: number): boolean {
    return this.#ready.length > 0 || nowMs < this.#pausedUntilMs
  }

  /** The next one, which stays; undefined while there is none or the next stage is not to be asked. */
  peek(nowMs: number): Held | undefined {
    if (nowMs < this.#pausedUntilMs) return undefined
    for (const list of this.#later)
      for (let first = list.peek(); first && first.dueMs <= nowMs; first = list.peek()) {
        list.shift()
        this.#ready.push(first)
      }
    return this.#ready.peek()
  }

  shift(): void {
    this.#ready.shift()
  }
}

function delayOf(level: number): number {
  return Math.min(LAST_DELAY_MS, FIRST_DELAY_MS * 2 ** level)
}
