/** The timers of one plugin component: they stop at its shutdown, and what a callback throws or rejects with is logged, not fatal. */
import type { Clock, Timer } from '../component/clock.ts'
import type { Logger } from '../component/logger.ts'
import { toError } from '../errors.ts'

/** More timers at a time than this are a leak. */
const MOST_TIMERS = 1000

export class Timers {
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #running = new Set<Timer>()
  #stopped = false

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock
    this.#logger = logger
  }

  every(periodMs: number, run: () => unknown): Timer {
    return this.#keep(this.#clock.every(Math.max(1, periodMs), () => this.#call(run)))
  }

  after(delayMs: number, run: () => unknown): Timer {
    const timer: Timer = this.#keep(
      this.#clock.after(delayMs, () => {
        timer.cancel()
        this.#call(run)
      }),
    )
    return timer
  }

  stop(): void {
    this.#stopped = true
    for (const timer of this.#running) timer.cancel()
    this.#running.clear()
  }

  #keep(inner: Timer): Timer {
    const timer = {
      cancel: () => {
        inner.cancel()
        this.#running.delete(timer)
      },
    }
    if (this.#stopped) inner.cancel()
    else if (this.#running.size >= MOST_TIMERS) {
      inner.cancel()
      throw new RangeError(`more than ${MOST_TIMERS} timers at a time`)
    } else this.#running.add(timer)
    return timer
  }

  async #call(run: () => unknown): Promise<void> {
    try {
      await run()
    } catch (error) {
      this.#logger.error('a timer of the plugin failed', { error: toError(error) })
    }
  }
}
