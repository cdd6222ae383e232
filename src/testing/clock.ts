/** A clock that a test moves by hand. Timers run in the order of their time, promises settle in between. */
import type { Clock, Timer } from '../component/clock.ts'

interface Entry {
  dueMs: number
  readonly periodMs: number
  readonly run: () => void
  readonly order: number
}

export class ScriptedClock implements Clock {
  #nowMs = 1000
  #wallOffsetMs = 1_700_000_000_000
  #entries = new Set<Entry>()
  #order = 0

  monotonicMs(): number {
    return this.#nowMs
  }
  wallMs(): number {
    return Math.floor(this.#nowMs + this.#wallOffsetMs)
  }
  /** Moves the wall clock only, as an administrator or NTP would. */
  jumpWall(byMs: number): void {
    this.#wallOffsetMs += byMs
  }
  after(delayMs: number, run: () => void): Timer {
    return this.#add(delayMs, 0, run)
  }
  every(periodMs: number, run: () => void): Timer {
    return this.#add(periodMs, Math.max(periodMs, 1e-3), run)
  }
  #add(delayMs: number, periodMs: number, run: () => void): Timer {
    const entry = { dueMs: this.#nowMs + Math.max(0, delayMs), periodMs, run, order: this.#order++ }
    this.#entries.add(entry)
    return { cancel: () => this.#entries.delete(entry) }
  }
  get pendingTimers(): number {
    return this.#entries.size
  }
  /** Lets the time pass; every timer that falls due runs, each followed by the promises it settles. */
  async advance(byMs: number): Promise<void> {
    const until = this.#nowMs + byMs
    await settle()
    while (true) {
      let next: Entry | undefined
      for (const entry of this.#entries) {
        if (entry.dueMs > until) continue
        if (!next || entry.dueMs < next.dueMs || (entry.dueMs === next.dueMs && entry.order < next.order))
          next = entry
      }
      if (!next) break
      this.#nowMs = Math.max(this.#nowMs, next.dueMs)
      if (next.periodMs > 0) next.dueMs += next.periodMs
      else this.#entries.delete(next)
      next.run()
      await settle()
    }
    this.#nowMs = until
    await settle()
  }
}

/** Lets promises and setImmediate callbacks that are ready run. */
export async function settle(): Promise<void> {
  for (let round = 0; round < 3; round++) await new Promise<void>((resolve) => setImmediate(resolve))
}
