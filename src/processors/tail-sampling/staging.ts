/**
 * sampling_strategy span-ingest: the spans of one ResourceSpans are collected in a record of their own per
 * trace, are decided on by themselves, and then join the trace.
 *
 * Counts that policies see are those of the whole trace so far; what spans look like is that of the new ones
 * alone.
 */
import type { Decider } from './decider.ts'
import type { SpanFacts } from './span-facts.ts'
import type { Message, TraceStore } from './trace-store.ts'
import {
  BYTES,
  doubled,
  FIRST_SPAN,
  ID,
  LAST_SPAN,
  RING_PREVIOUS,
  SPAN_COUNT,
  STAGED,
} from './trace-table.ts'

/** In a staged record, which is on no list: the trace it belongs to. */
const TRACE = RING_PREVIOUS

export class Staging {
  readonly #store: TraceStore
  readonly #decider: Decider
  #staged = new Int32Array(64)
  #count = 0

  constructor(store: TraceStore, decider: Decider) {
    this.#store = store
    this.#decider = decider
  }

  append(trace: number, message: Message, start: number, end: number, facts: SpanFacts): void {
    const { traces } = this.#store
    let staged = traces.words[traces.at(trace) + STAGED]!
    if (staged === 0) {
      staged = traces.allocate()
      const words = traces.words
      words[traces.at(trace) + STAGED] = staged
      words[traces.at(staged) + TRACE] = trace
      const id = traces.at(trace) + ID
      words.copyWithin(traces.at(staged) + ID, id, id + 4)
      if (this.#count === this.#staged.length) this.#staged = doubled(this.#staged)
      this.#staged[this.#count++] = staged
    }
    this.#store.append(staged, message, start, end, facts)
  }

  /** Decides on what is staged and joins it to the traces; `decided` gets those with a decision. */
  decide(decided: (trace: number, result: number) => void): void {
    const store = this.#store
    const { traces } = store
    store.spans.settle()
    for (let index = 0; index < this.#count; index++) {
      const staged = this.#staged[index]!
      const words = traces.words
      const from = traces.at(staged)
      const trace = words[from + TRACE]!
      let result = 0
      // The trace may be gone by now (Holdings): its staged spans went with it.
      if (words[from + FIRST_SPAN] !== 0) {
        const to = traces.at(trace)
        words[to + STAGED] = 0
        words[from + SPAN_COUNT]! += words[to + SPAN_COUNT]!
        words[from + BYTES]! += words[to + BYTES]!
        result = this.#decider.runOnIngest(store, staged)
        words[to + SPAN_COUNT] = words[from + SPAN_COUNT]!
        words[to + BYTES] = words[from + BYTES]!
        const last = words[to + LAST_SPAN]!
        if (last === 0) words[to + FIRST_SPAN] = words[from + FIRST_SPAN]!
        else store.spans.link(last, words[from + FIRST_SPAN]!)
        words[to + LAST_SPAN] = words[from + LAST_SPAN]!
      }
      traces.release(staged)
      if (result !== 0) decided(trace, result)
    }
    this.#count = 0
  }
}
