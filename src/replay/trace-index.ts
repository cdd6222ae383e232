/**
 * What a replay knows of each trace: what came of it, and what each configuration kept of it.
 *
 * Records lie in typed arrays, 84 bytes in the table of the sampling processor and 20 + 20 per
 * configuration beside it. When there are more than the limit, the oldest is told to the summary and
 * forgotten; spans of it that come later count as another trace.
 */
import type { SpanFacts } from '../processors/tail-sampling/span-facts.ts'
import { isLess } from '../processors/tail-sampling/trace-store.ts'
import {
  BYTES,
  END_HIGH,
  END_LOW,
  FLAGS,
  ID,
  SPAN_COUNT,
  START_HIGH,
  START_LOW,
  TraceTable,
  UNSET_SEEN,
} from '../processors/tail-sampling/trace-table.ts'
import type { SpanVisitor } from './span-walk.ts'

const ERROR_SEEN = UNSET_SEEN << 2
/** Decisions: none yet, not sampled, then two numbers a policy. */
export const UNDECIDED = 0
export const NOT_SAMPLED = 1
export const sampledBy = (policy: number) => 2 + 2 * policy
export const droppedBy = (policy: number) => 3 + 2 * policy

/** One column per configuration: arrays indexed by the number of the trace. */
class Outcome {
  keptSpans = new Int32Array(0)
  keptBytes = new Float64Array(0)
  decision = new Uint16Array(0)
  /** How many policies sampled it. */
  samplers = new Uint16Array(0)
}

/** A trace as the summary reads it; one object, used again for each. */
export class TraceRecord {
  readonly #index: TraceIndex
  trace = 0

  constructor(index: TraceIndex) {
    this.#index = index
  }

  #word(word: number): number {
    const { traces } = this.#index
    return traces.words[traces.at(this.trace) + word]!
  }
  get spans(): number {
    return this.#word(SPAN_COUNT)
  }
  get bytes(): number {
    return this.#word(BYTES)
  }
  get failed(): boolean {
    return (this.#word(FLAGS) & ERROR_SEEN) !== 0
  }
  /** From the first start to the last end; 0 when times are missing. Exact up to 104 days. */
  get nanos(): number {
    const startHigh = this.#word(START_HIGH) >>> 0
    const startLow = this.#word(START_LOW) >>> 0
    if (startHigh === 0 && startLow === 0) return 0
    const high = (this.#word(END_HIGH) >>> 0) - startHigh
    return Math.max(0, high * 2 ** 32 + (this.#word(END_LOW) >>> 0) - startLow)
  }
  /** Of the root, or of the first span when no root came. */
  get service(): number {
    return this.#index.service(this.trace)
  }
  get arrivedMs(): number {
    return this.#index.arrivedMs(this.trace)
  }
  get id(): string {
    const { traces } = this.#index
    const bytes = Buffer.alloc(16)
    for (let index = 0; index < 4; index++)
      bytes.writeInt32LE(traces.words[traces.at(this.trace) + ID + index]!, index * 4)
    return bytes.toString('hex')
  }
  outcome(config: number) {
    const outcome = this.#index.outcomes[config]!
    return {
      keptSpans: outcome.keptSpans[this.trace]!,
      keptBytes: outcome.keptBytes[this.trace]!,
      decision: outcome.decision[this.trace]!,
      samplers: outcome.samplers[this.trace]!,
    }
  }
}

export class TraceIndex implements SpanVisitor {
  readonly traces: TraceTable
  readonly outcomes: readonly Outcome[]
  /** The time of the message being read. */
  nowMs = 0
  spans = 0
  bytes = 0
  /** Traces that were told of because of the limit. */
  forgotten = 0
  readonly #limit: number
  readonly #told: (record: TraceRecord) => void
  readonly #record: TraceRecord
  #services = new Int32Array(0)
  #arrivedMs = new Float64Array(0)
  #rooted = new Uint8Array(0)

  constructor(configs: number, limit: number, told: (record: TraceRecord) => void) {
    this.traces = new TraceTable(Math.min(limit, 65_536))
    this.outcomes = Array.from({ length: configs }, () => new Outcome())
    this.#limit = limit
    this.#told = told
    this.#record = new TraceRecord(this)
  }

  service(trace: number): number {
    return this.#services[trace]!
  }

  arrivedMs(trace: number): number {
    return this.#arrivedMs[trace]!
  }

  /** A span of the recording. */
  span(facts: SpanFacts, service: number, byteLength: number): void {
    this.spans++
    this.bytes += byteLength
    let trace = this.traces.find(facts)
    const first = trace === 0
    if (first) trace = this.#insert(facts, service)
    const words = this.traces.words
    const at = this.traces.at(trace)
    words[at + SPAN_COUNT]!++
    words[at + BYTES]! += byteLength
    if (facts.statusCode <= 2) words[at + FLAGS]! |= UNSET_SEEN << facts.statusCode
    if (facts.root && this.#rooted[trace] === 0) {
      this.#rooted[trace] = 1
      this.#services[trace] = service
    }
    if (first || isLess(facts.startHigh, facts.startLow, words[at + START_HIGH]!, words[at + START_LOW]!)) {
      words[at + START_HIGH] = facts.startHigh
      words[at + START_LOW] = facts.startLow
    }
    if (first || isLess(words[at + END_HIGH]!, words[at + END_LOW]!, facts.endHigh, facts.endLow)) {
      words[at + END_HIGH] = facts.endHigh
      words[at + END_LOW] = facts.endLow
    }
  }

  #insert(facts: SpanFacts, service: number): number {
    if (this.traces.count >= this.#limit) {
      this.#tell(this.traces.oldest)
      this.forgotten++
      this.traces.find(facts) // insert() comes right after find().
    }
    const trace = this.traces.insert(facts)
    if (trace >= this.#services.length) this.#grow(Math.max(1024, trace * 2))
    this.#services[trace] = service
    this.#arrivedMs[trace] = this.nowMs
    this.#rooted[trace] = 0
    for (const outcome of this.outcomes) {
      outcome.keptSpans[trace] = outcome.keptBytes[trace] = 0
      outcome.decision[trace] = outcome.samplers[trace] = 0
    }
    return trace
  }

  #grow(length: number): void {
    this.#services = grown(this.#services, new Int32Array(length))
    this.#arrivedMs = grown(this.#arrivedMs, new Float64Array(length))
    this.#rooted = grown(this.#rooted, new Uint8Array(length))
    for (const outcome of this.outcomes) {
      outcome.keptSpans = grown(outcome.keptSpans, new Int32Array(length))
      outcome.keptBytes = grown(outcome.keptBytes, new Float64Array(length))
      outcome.decision = grown(outcome.decision, new Uint16Array(length))
      outcome.samplers = grown(outcome.samplers, new Uint16Array(length))
    }
  }

  /** A span that a configuration kept. */
  kept(config: number, facts: SpanFacts, byteLength: number): void {
    const trace = this.traces.find(facts)
    if (trace === 0) return
    const outcome = this.outcomes[config]!
    outcome.keptSpans[trace]!++
    outcome.keptBytes[trace]! += byteLength
  }

  /** A decision; one to sample outlives others, should a trace be decided on more than once. */
  decided(config: number, id: SpanFacts, decision: number, samplers: number): void {
    const trace = this.traces.find(id)
    if (trace === 0) return
    const outcome = this.outcomes[config]!
    const before = outcome.decision[trace]!
    if (before > NOT_SAMPLED && before % 2 === 0) return
    outcome.decision[trace] = decision
    outcome.samplers[trace] = samplers
  }

  /** Tells of all traces that are left. */
  finish(): void {
    while (this.traces.oldest !== 0) this.#tell(this.traces.oldest)
    this.traces.dispose()
  }

  #tell(trace: number): void {
    this.#record.trace = trace
    this.#told(this.#record)
    this.traces.remove(trace)
  }
}

function grown<A extends { set(other: A): void }>(old: A, larger: A): A {
  larger.set(old)
  return larger
}
