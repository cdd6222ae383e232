/**
 * The clock of a replay: it stands still until the replay moves it. Timers run in the order of their time,
 * and after each the promises that it settled have their turn, so decisions are made exactly as if the time
 * had passed.
 */
import { setImmediate as immediate } from 'node:timers/promises'
import type { Clock, Timer } from '../component/clock.ts'

interface Entry {
  dueMs: number
  readonly periodMs: number
  readonly run: () => void
}

export class VirtualClock implements Clock {
  readonly #startMs: number
  readonly #entries: Entry[] = []
  #nowMs = 0

  /** `startMs`: the wall clock at the start, in ms since 1970. */
  constructor(startMs: number) {
    this.#startMs = startMs
  }

  monotonicMs(): number {
    return this.#nowMs
  }

  wallMs(): number {
    return Math.floor(this.#startMs + this.#nowMs)
  }

  after(delayMs: number, run: () => void): Timer {
    return this.#add({ dueMs: this.#nowMs + delayMs, periodMs: 0, run })
  }

  every(periodMs: number, run: () => void): Timer {
    return this.#add({ dueMs: this.#nowMs + periodMs, periodMs, run })
  }

  #add(entry: Entry): Timer {
    this.#entries.push(entry)
    return {
      cancel: () => {
        const at = this.#entries.indexOf(entry)
        if (at >= 0) this.#entries.splice(at, 1)
      },
    }
  }

  /** True when no timer is due until then: moving there takes no time. */
  isQuietUntil(wallMs: number): boolean {
    const untilMs = wallMs - this.#startMs
    for (const { dueMs } of this.#entries) if (dueMs <= untilMs) return false
    return true
  }

  /** Moves to a time that isQuietUntil() said yes to; never back. */
  jumpTo(wallMs: number): void {
    this.#nowMs = Math.max(this.#nowMs, wallMs - this.#startMs)
  }

  /** Moves to this time of the wall clock; never back. */
  async moveTo(wallMs: number): Promise<void> {
    const untilMs = wallMs - this.#startMs
    while (true) {
      const next = this.#nextDue(untilMs)
      if (next === undefined) break
      this.#nowMs = Math.max(this.#nowMs, next.dueMs)
      if (next.periodMs > 0) next.dueMs += next.periodMs
      else this.#entries.splice(this.#entries.indexOf(next), 1)
      next.run()
      await immediate() // Everything that waits for a promise goes on before.
    }
    this.#nowMs = Math.max(this.#nowMs, untilMs)
  }

  /** Moves over a time in which nothing is held: periodic timers run once, at its end. */
  async skipTo(wallMs: number): Promise<void> {
    const untilMs = wallMs - this.#startMs
    for (const entry of this.#entries) {
      if (entry.periodMs <= 0 || entry.dueMs >= untilMs) continue
      entry.dueMs += Math.floor((untilMs - entry.dueMs) / entry.periodMs) * entry.periodMs
    }
    await this.moveTo(wallMs)
  }

  #nextDue(untilMs: number): Entry | undefined {
    let next: Entry | undefined
    for (const entry of this.#entries)
      if (entry.dueMs <= untilMs && (next === undefined || entry.dueMs < next.dueMs)) next = entry
    return next
  }
}
