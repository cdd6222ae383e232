/**
 * A pace for frames that cost the sender little and the receiver work (RFC 9113 section 10.5): a bucket for each kind, refilled by
 * time and by calls that were answered, so that honest traffic of any rate passes. Too many are ENHANCE_YOUR_CALM.
 */
import { ConnectionError, ERROR } from './frames.ts'

export const FLOOD = {
  PING: 0,
  SETTINGS: 1,
  /** RST_STREAM of the peer, and errors of the peer that make this side reset a stream. */
  RESET: 2,
  /** DATA, HEADERS or CONTINUATION without a byte in it and without an end. */
  EMPTY: 3,
  PRIORITY: 4,
  WINDOW_UPDATE: 5,
  /** Types that nobody knows, frames on streams that are closed. */
  IGNORED: 6,
} as const

interface Pace {
  readonly name: string
  /** In the metric of closed connections. */
  readonly reason: string
  readonly burst: number
  readonly perSecond: number
  readonly perAnswer: number
}

/** By the numbers of FLOOD. */
const PACES: readonly Pace[] = [
  { name: 'PING', reason: 'flood_ping', burst: 500, perSecond: 500, perAnswer: 2 },
  { name: 'SETTINGS', reason: 'flood_settings', burst: 100, perSecond: 10, perAnswer: 0 },
  { name: 'RST_STREAM', reason: 'flood_reset', burst: 1000, perSecond: 100, perAnswer: 1 },
  { name: 'empty frames', reason: 'flood_empty', burst: 200, perSecond: 20, perAnswer: 2 },
  { name: 'PRIORITY', reason: 'flood_priority', burst: 1000, perSecond: 100, perAnswer: 2 },
  { name: 'WINDOW_UPDATE', reason: 'flood_window_update', burst: 2000, perSecond: 1000, perAnswer: 10 },
  { name: 'useless frames', reason: 'flood_useless', burst: 2000, perSecond: 200, perAnswer: 2 },
]
/** Resets in the life of a connection, beyond one for each call that was answered. */
const MAX_RESETS = 20_000

export class FloodGuard {
  readonly #tokens = Float64Array.from(PACES, (pace) => pace.burst)
  readonly #refilledMs: Float64Array
  readonly #refilledAnswers = new Float64Array(PACES.length)
  #resets = 0
  /** Calls that were answered. */
  answers = 0

  constructor(nowMs: number) {
    this.#refilledMs = new Float64Array(PACES.length).fill(nowMs)
  }

  /** Counts one frame of `kind`; throws when there were too many. */
  take(kind: number, nowMs: number): void {
    const pace = PACES[kind]!
    const refill =
      ((nowMs - this.#refilledMs[kind]!) / 1000) * pace.perSecond +
      (this.answers - this.#refilledAnswers[kind]!) * pace.perAnswer
    this.#refilledMs[kind] = nowMs
    this.#refilledAnswers[kind] = this.answers
    const left = Math.min(pace.burst, this.#tokens[kind]! + refill) - 1
    this.#tokens[kind] = left
    if (left < 0) throw new ConnectionError(ERROR.ENHANCE_YOUR_CALM, `too many ${pace.name}`, pace.reason)
    if (kind === FLOOD.RESET && ++this.#resets > MAX_RESETS + this.answers)
      throw new ConnectionError(ERROR.ENHANCE_YOUR_CALM, 'too many streams were reset', 'flood_reset')
  }
}
