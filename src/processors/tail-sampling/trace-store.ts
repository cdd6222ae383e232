/**
 * The store of tail sampling: traces, their spans, and the lists of traces by the tick of their decision.
 *
 * What the common policies ask for (status, times, counts, flags) is collected as spans arrive, so that
 * deciding does not read spans again. Nothing is allocated per span or per trace. See trace-table.ts,
 * span-table.ts and slabs.ts for the memory.
 */
import type { ScopeHeader } from './headers.ts'
import { Sending } from './sending.ts'
import type { SpanFacts } from './span-facts.ts'
import { SpanTable } from './span-table.ts'
import {
  BYTES,
  DUE,
  END_HIGH,
  END_LOW,
  FIRST_SPAN,
  FLAG_SAMPLED_SEEN,
  FLAGS,
  LAST_MESSAGE,
  LAST_SPAN,
  RING_NEXT,
  RING_PREVIOUS,
  SPAN_COUNT,
  START_HIGH,
  START_LOW,
  TraceTable,
  UNSET_SEEN,
} from './trace-table.ts'

/** The message (ScopeSpans) that spans are being read from. */
export interface Message {
  readonly chunk: Buffer
  readonly scope: ScopeHeader
  /** Counts messages; the one of the first ScopeSpans in the same ResourceSpans with it. */
  readonly number: number
  readonly firstOfResource: number
}

export class TraceStore {
  readonly traces: TraceTable
  readonly spans = new SpanTable()
  readonly sending = new Sending(this.spans)
  /** Pending traces by the second of their decision, first come first: head and tail of a list each. */
  readonly #ring: Int32Array
  readonly #seconds: number

  /** `ringSeconds`: no decision lies further ahead than this. `expected`: the most traces that are likely. */
  constructor(ringSeconds: number, expected: number) {
    this.traces = new TraceTable(expected)
    this.#seconds = ringSeconds + 2
    this.#ring = new Int32Array(this.#seconds * 2)
  }

  /** Nothing is held any more, and nothing will be. */
  dispose(): void {
    this.traces.dispose()
    this.spans.dispose()
  }

  /** Bytes of spans and headers that are held, without slack. */
  get liveBytes(): number {
    return this.spans.slabs.liveBytes + this.spans.headers.heldBytes
  }

  /** Bytes that the store takes from the runtime: slabs, index and headers. */
  get heldBytes(): number {
    return this.spans.slabs.heldBytes + this.spans.headers.heldBytes + this.indexBytes
  }

  get indexBytes(): number {
    return this.traces.heldBytes + this.spans.indexBytes + this.#ring.byteLength
  }

  /** Appends the span field [start, end) of the message's chunk to a trace. */
  append(trace: number, message: Message, start: number, end: number, facts: SpanFacts): void {
    const span = this.spans.add(message.chunk, start, end, message.scope)
    const words = this.traces.words
    const at = this.traces.at(trace)
    const last = words[at + LAST_SPAN]!
    if (last === 0) words[at + FIRST_SPAN] = span
    else this.spans.link(last, span)
    words[at + LAST_SPAN] = span
    const first = words[at + SPAN_COUNT] === 0
    words[at + SPAN_COUNT]!++
    let bytes = end - start
    const seen = words[at + LAST_MESSAGE]!
    if (seen !== message.number) {
      bytes += message.scope.bytes.length
      if (seen < message.firstOfResource) bytes += message.scope.resource.bytes.length
      words[at + LAST_MESSAGE] = message.number
    }
    words[at + BYTES]! += bytes
    let flags = words[at + FLAGS]!
    if (facts.statusCode <= 2) flags |= UNSET_SEEN << facts.statusCode
    if ((facts.flags & 1) !== 0) flags |= FLAG_SAMPLED_SEEN
    words[at + FLAGS] = flags
    if (first || isLess(facts.startHigh, facts.startLow, words[at + START_HIGH]!, words[at + START_LOW]!)) {
      words[at + START_HIGH] = facts.startHigh
      words[at + START_LOW] = facts.startLow
    }
    if (first || isLess(words[at + END_HIGH]!, words[at + END_LOW]!, facts.endHigh, facts.endLow)) {
      words[at + END_HIGH] = facts.endHigh
      words[at + END_LOW] = facts.endLow
    }
  }

  /** Frees the spans of a trace and says how many they were. */
  freeSpans(trace: number): number {
    const words = this.traces.words
    const at = this.traces.at(trace)
    const first = words[at + FIRST_SPAN]!
    words[at + FIRST_SPAN] = words[at + LAST_SPAN] = 0
    return this.spans.freeList(first)
  }

  /**
   * Hands up to `limit` spans over to `sending`, which gets at most about `limitBytes`; true when some are
   * left.
   */
  sendSpans(trace: number, limit: number, limitBytes: number): boolean {
    this.spans.settle()
    const words = this.traces.words
    const at = this.traces.at(trace)
    let span = words[at + FIRST_SPAN]!
    for (let count = 0; span !== 0 && count < limit && this.sending.byteLength < limitBytes; count++) {
      const next = this.spans.next(span)
      this.sending.add(span)
      span = next
    }
    words[at + FIRST_SPAN] = span
    if (span !== 0) return true
    words[at + LAST_SPAN] = 0
    return false
  }

  /** Puts a pending trace on the list of the tick that will decide it. */
  schedule(trace: number, tick: number): void {
    const words = this.traces.words
    const at = this.traces.at(trace)
    const head = (tick % this.#seconds) * 2
    const previous = this.#ring[head + 1]!
    words[at + DUE] = tick
    words[at + RING_NEXT] = 0
    words[at + RING_PREVIOUS] = previous
    if (previous === 0) this.#ring[head] = trace
    else words[this.traces.at(previous) + RING_NEXT] = trace
    this.#ring[head + 1] = trace
  }

  /** Takes a trace off the list of its tick. */
  unschedule(trace: number): void {
    const words = this.traces.words
    const at = this.traces.at(trace)
    const head = (words[at + DUE]! % this.#seconds) * 2
    const next = words[at + RING_NEXT]!
    const previous = words[at + RING_PREVIOUS]!
    if (next === 0) this.#ring[head + 1] = previous
    else words[this.traces.at(next) + RING_PREVIOUS] = previous
    if (previous === 0) this.#ring[head] = next
    else words[this.traces.at(previous) + RING_NEXT] = next
  }

  /**
   * The first trace that this tick decides, or 0. When decisions lag by more than the ring, a list holds
   * traces of several ticks, the earlier ones first.
   */
  due(tick: number): number {
    const trace = this.#ring[(tick % this.#seconds) * 2]!
    return trace !== 0 && this.traces.words[this.traces.at(trace) + DUE]! <= tick ? trace : 0
  }
}

/** Compares two 64-bit numbers given as halves. */
export function isLess(highA: number, lowA: number, highB: number, lowB: number): boolean {
  const a = highA >>> 0
  const b = highB >>> 0
  return a !== b ? a < b : lowA >>> 0 < lowB >>> 0
}
