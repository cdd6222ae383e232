/**
 * Which requests a collector handed on again after a crash, and whether they had been done with: all of their
 * spans that a policy keeps delivered, for `releaseMs` and longer before the crash. Requests are the halves that
 * Load makes; their spans come back together, since a log keeps whole requests.
 */
import { isKept, SPANS_PER_TRACE } from './spans.ts'

const SPANS_PER_HALF = SPANS_PER_TRACE / 2

export class Replays {
  readonly #tracesPerRequest: number
  readonly #releaseMs: number
  readonly #nowMs: () => number
  /** By request: after how many crashes it was delivered last, what was left of it then, and when the last of it came. */
  readonly #life: Uint16Array
  readonly #left: Uint16Array
  readonly #lastMs: Float64Array
  readonly #crashesMs: number[] = []
  /** Handed on again; of these had been done with; and for how long, at most. */
  requests = 0
  done = 0
  longestMs = 0

  constructor(spans: number, tracesPerRequest: number, releaseMs: number, nowMs = () => performance.now()) {
    const requests = Math.ceil(spans / tracesPerRequest / SPANS_PER_TRACE) * 2
    this.#tracesPerRequest = tracesPerRequest
    this.#releaseMs = releaseMs
    this.#nowMs = nowMs
    this.#life = new Uint16Array(requests)
    this.#left = new Uint16Array(requests)
    this.#lastMs = new Float64Array(requests)
  }

  crash(): void {
    this.#crashesMs.push(this.#nowMs())
  }

  deliver = (serial: number): void => {
    const trace = Math.floor(serial / SPANS_PER_TRACE)
    const set = Math.floor(trace / this.#tracesPerRequest)
    const request = set * 2 + (serial % SPANS_PER_TRACE < SPANS_PER_HALF ? 0 : 1)
    const life = this.#crashesMs.length
    const before = this.#life[request] ?? 0 // Lives count from 1 here; 0: not delivered yet.
    if (before !== life + 1) {
      if (before !== 0) this.#again(request, before - 1)
      this.#life[request] = life + 1
      this.#left[request] = this.#keptSpans(set)
    }
    this.#left[request] = (this.#left[request] ?? 0) - 1
    this.#lastMs[request] = this.#nowMs()
  }

  #again(request: number, life: number): void {
    this.requests++
    if (this.#left[request] !== 0) return
    const doneMs = (this.#crashesMs[life] ?? 0) - (this.#lastMs[request] ?? 0)
    this.longestMs = Math.max(this.longestMs, doneMs)
    if (doneMs >= this.#releaseMs) this.done++
  }

  #keptSpans(set: number): number {
    let kept = 0
    for (let index = 0; index < this.#tracesPerRequest; index++)
      if (isKept(set * this.#tracesPerRequest + index)) kept += SPANS_PER_HALF
    return kept
  }
}
