/**
 * Time as components see it. Production uses `systemClock`; tests pass a scripted one (test/support/clock.ts), so that
 * decision waits, batch timeouts and token buckets are exact there and nothing waits in real time.
 *
 * Waits and ages use the monotonic time, so that a jump of the wall clock neither flushes nor stalls anything.
 */

export interface Timer {
  cancel(): void
}

export interface Clock {
  /** Milliseconds since some start, never going back. */
  monotonicMs(): number
  /** Wall clock, milliseconds since 1970. For timestamps only. */
  wallMs(): number
  after(delayMs: number, run: () => void): Timer
  every(periodMs: number, run: () => void): Timer
}

/** Timers longer than this overflow in Node and would fire at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1

export const systemClock: Clock = {
  // Not performance.now(): its origin differs from thread to thread, and deadlines travel between shards.
  monotonicMs() {
    const [seconds, nanos] = process.hrtime()
    return seconds * 1000 + nanos / 1e6
  },
  wallMs: () => Date.now(),
  after(delayMs, run) {
    const timer = setTimeout(run, Math.min(delayMs, LONGEST_TIMER_MS))
    return { cancel: () => clearTimeout(timer) }
  },
  every(periodMs, run) {
    const timer = setInterval(run, Math.min(periodMs, LONGEST_TIMER_MS))
    return { cancel: () => clearInterval(timer) }
  },
}
