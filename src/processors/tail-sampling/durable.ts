/**
 * Tail sampling of requests that lie in durable logs (otlp/delivery.ts). A request is done with when each
 * of its spans is decided and, if kept, the chunk with it is done with. At shutdown, traces that lie in
 * logs alone are not decided early: the next run decides on them, with what comes then.
 *
 * Made for the first such request; without one, nothing of this exists.
 */
import { ShutdownError } from '../../errors.ts'
import { type Delivery, joinDeliveries } from '../../otlp/delivery.ts'
import { DecisionNotes } from './decision-notes.ts'
import { Requests } from './requests.ts'
import type { SpanFacts } from './span-facts.ts'
import type { TraceStore } from './trace-store.ts'
import { FIRST_SPAN, ID, PENDING, STAGED } from './trace-table.ts'

export class Durable {
  readonly requests = new Requests()
  readonly #notes: DecisionNotes
  readonly #store: TraceStore
  readonly #met: number[] = []
  readonly #id = new Int32Array(4)

  constructor(stage: string, store: TraceStore) {
    this.#store = store
    this.#notes = new DecisionNotes(stage, this.requests)
    store.spans.requests = this.requests
  }

  begin(delivery: Delivery | undefined): void {
    if (delivery === undefined) return
    this.requests.begin(delivery)
    this.#notes.begin(delivery.decided)
  }

  end(): void {
    this.requests.end()
    this.#notes.begin([])
  }

  /** What an earlier run decided on the trace of this span: 1 kept, -1 not kept, 0 nothing that is known. */
  decided(facts: SpanFacts): number {
    return this.#notes.decided(facts)
  }

  /** A trace is decided. If its spans came with several requests, each may be done with at another time. */
  note(trace: number, result: number): void {
    const { spans, traces } = this.#store
    const met = this.#met
    met.length = 0
    this.requests.gather()
    for (let span = traces.words[traces.at(trace) + FIRST_SPAN]!; span !== 0; span = spans.next(span)) {
      const request = this.requests.met(span)
      if (request !== 0) met.push(request)
    }
    if (met.length > 1) this.#notes.add(traces.words, traces.at(trace) + ID, result, met)
  }

  /** A span came late, for a trace that is decided and in the table. */
  noteLate(trace: number, result: number): void {
    const { current } = this.requests
    const { traces } = this.#store
    if (current !== 0) this.#notes.add(traces.words, traces.at(trace) + ID, result, [current])
  }

  /** A span came late, for a trace of which only the decision is known. */
  noteCached(facts: SpanFacts, result: number): void {
    const { current } = this.requests
    if (current === 0) return
    this.#id[0] = facts.id0
    this.#id[1] = facts.id1
    this.#id[2] = facts.id2
    this.#id[3] = facts.id3
    this.#notes.add(this.#id, 0, result, [current])
  }

  flushNotes(): void {
    this.#notes.flush()
  }

  /** The delivery of a chunk with spans of these requests, which holds them from now on. */
  join(requests: readonly number[]): Delivery | undefined {
    const deliveries: Delivery[] = []
    for (const request of requests) {
      const delivery = this.requests.delivery(request)
      if (delivery !== undefined) deliveries.push(delivery)
    }
    if (deliveries.length === 0) return undefined
    const joined = joinDeliveries(deliveries)
    for (const request of requests) this.requests.release(request)
    return joined
  }

  /** Runs `free`; spans that it frees are left to their logs. Returns how many these were. */
  leave(free: () => void): number {
    const before = this.requests.unfinishedSpans
    this.requests.unfinished = new ShutdownError('tail sampling stops before the decision')
    free()
    this.requests.unfinished = undefined
    return this.requests.unfinishedSpans - before
  }

  /** Whether all spans of an undecided trace lie in logs. */
  isInLogs(trace: number): boolean {
    const { spans, traces } = this.#store
    const at = traces.at(trace)
    if (traces.state(trace) !== PENDING || traces.words[at + STAGED] !== 0) return false
    for (let span = traces.words[at + FIRST_SPAN]!; span !== 0; span = spans.next(span))
      if (!this.requests.isDurable(span)) return false
    return true
  }
}
