/**
 * Decides when traces are due: a tick per second moves on, and the traces of the ring's second are decided in
 * runs of a few hundred. Between runs other work gets its turn every few milliseconds, and while the next
 * stage is slow nothing is decided. A run itself is synchronous.
 */
import { setImmediate as immediate } from 'node:timers/promises'
import type { Clock, Timer } from '../../component/clock.ts'
import type { Logger } from '../../component/logger.ts'
import type { Recovery } from '../../component/recovery.ts'
import { toError } from '../../errors.ts'
import { type Decider, RUN_TRACES } from './decider.ts'
import type { Holdings } from './holdings.ts'
import type { TailTelemetry } from './telemetry.ts'
import { SPAN_COUNT } from './trace-table.ts'

/** A run ends when its traces have this many spans. */
const RUN_SPANS = 4096
/** Spans that a step of compaction looks at. */
const COMPACT_SPANS = 4096
/** Decisions wait at most this long for more of what a crash left. */
const MOST_POSTPONED_TICKS = 60
/** Decisions let other work happen after this time. */
const SLICE_MS = 5

export interface RoundsOptions {
  readonly holdings: Holdings
  readonly decider: Decider
  readonly clock: Clock
  readonly recovery: Recovery
  readonly logger: Logger
  readonly telemetry: TailTelemetry
  /** Policies are evaluated when traces are due; false with span-ingest, where waiting traces just expire. */
  readonly evaluates: boolean
  /** Called after each run: there may be room for new traces. */
  readonly onRoom: () => void
}

export class Rounds {
  readonly #options: RoundsOptions
  readonly #run = new Int32Array(RUN_TRACES)
  readonly #startMs: number
  #timer: Timer | undefined
  /** The last tick that has come, and the last whose traces are all decided. */
  #tick = 0
  #decidedTick = 0
  /** Nothing is decided before this tick while more of what a crash left is to come. */
  #heldUntilTick = 0
  #lastHeldTick = 0
  #running = false
  #stopped = false

  constructor(options: RoundsOptions) {
    this.#options = options
    this.#startMs = options.clock.monotonicMs()
  }

  start(): void {
    this.#timer = this.#options.clock.every(1000, () => this.#onTick())
  }

  /** The tick that should have come by now, even if the event loop was held up and it has not yet. */
  currentTick(): number {
    return Math.max(this.#tick, Math.floor((this.#options.clock.monotonicMs() - this.#startMs) / 1000))
  }

  /**
   * Spans come from a log after a crash: others of their traces may follow, from the log of any shard. So
   * all decisions wait until all of it has been handed on, or nothing has come for as long as a trace waits.
   */
  postpone(ticks: number): void {
    const tick = this.currentTick()
    if (this.#lastHeldTick === 0) this.#lastHeldTick = tick + MOST_POSTPONED_TICKS + ticks
    this.#heldUntilTick = Math.min(this.#lastHeldTick, tick + 1 + ticks)
  }

  #onTick(): void {
    this.#tick = Math.max(this.#tick + 1, this.currentTick())
    this.#options.decider.tick()
    if (!this.#running) void this.#decideAll()
  }

  /** Ticks no more. With `ticks`, decides on all that is due within so many ticks, until the deadline. */
  async stop(ticks: number, deadline: AbortSignal): Promise<void> {
    this.#timer?.cancel()
    this.#heldUntilTick = 0
    this.#tick = this.currentTick() + ticks // Traces may be scheduled from a tick that is overdue.
    if (ticks > 0) {
      if (!this.#running) void this.#decideAll()
      while (this.#running && !deadline.aborted) await immediate()
    }
    this.#stopped = true
  }

  /** Decides all that is due, in slices. Never rejects. */
  async #decideAll(): Promise<void> {
    const { holdings, decider, clock, logger, telemetry } = this.#options
    this.#running = true
    const startMs = clock.monotonicMs()
    try {
      let sliceMs = startMs
      while (!this.#stopped && (this.#decideSome() || holdings.store.spans.compact(COMPACT_SPANS))) {
        // Room may be there without anybody else having had a turn.
        if (holdings.outlet.full) await holdings.outlet.room()
        if (clock.monotonicMs() - sliceMs < SLICE_MS) continue
        await immediate()
        sliceMs = clock.monotonicMs()
      }
      holdings.flush()
    } catch (error) {
      logger.error('deciding on traces failed', { error: toError(error).message })
    }
    this.#running = false
    telemetry.tickLatency.record(clock.monotonicMs() - startMs)
    decider.report()
    holdings.report()
    this.#options.onRoom()
  }

  /** One run of decisions; false when nothing is due. */
  #decideSome(): boolean {
    const { holdings, decider } = this.#options
    holdings.readClock()
    if (holdings.partial !== 0) {
      holdings.sendPartial()
      return true
    }
    const count = this.#gather()
    if (count === 0) return false
    if (this.#options.evaluates) {
      decider.run(holdings.store, this.#run, count)
      for (let index = 0; index < count; index++) holdings.decided(this.#run[index]!, decider.results[index]!)
    } else for (let index = 0; index < count; index++) holdings.expire(this.#run[index]!)
    this.#options.onRoom()
    return true
  }

  /** Takes traces that are due off the ring. A trace with very many spans is the last of its run. */
  #gather(): number {
    const { holdings, recovery } = this.#options
    const { store } = holdings
    const { traces } = store
    if (this.#tick < this.#heldUntilTick && recovery.pending()) return 0
    let count = 0
    let spans = 0
    while (this.#decidedTick < this.#tick) {
      const trace = store.due(this.#decidedTick + 1)
      if (trace === 0) {
        this.#decidedTick++
        continue
      }
      store.unschedule(trace)
      this.#run[count++] = trace
      spans += traces.words[traces.at(trace) + SPAN_COUNT]!
      if (count === RUN_TRACES || spans >= RUN_SPANS) break
    }
    return count
  }
}
