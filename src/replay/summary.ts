/**
 * What a replay adds up, trace by trace, as the index lets go of them. Its size does not depend on the
 * recording.
 */

import type { ReplayConfig } from './replay.ts'
import { SpanSizes } from './sizes.ts'
import type { Services } from './span-walk.ts'
import { Timeline } from './timeline.ts'
import { TopList } from './top-list.ts'
import { NOT_SAMPLED, type TraceRecord, UNDECIDED } from './trace-index.ts'

/** Traces that are named in a list. */
const EXAMPLES = 10
/** Buckets of durations: the first up to 1 ms, then by a factor of sqrt(10) each, the last without end. */
const DURATIONS = 14

export interface TraceExample {
  readonly traceId: string
  readonly service: string
  readonly durationMs: number
  readonly spans: number
  readonly error: boolean
}

/** Traces, their spans and the bytes of these, without resources and scopes. */
export class Sum {
  traces = 0
  spans = 0
  bytes = 0

  add(spans: number, bytes: number): void {
    this.traces++
    this.spans += spans
    this.bytes += bytes
  }
}

/** What became of traces for one reason. */
export class PolicySum extends Sum {
  /** Traces that no other policy would have kept. */
  alone = 0
}

export class ConfigSummary {
  readonly kept = new Sum()
  readonly lost = new Sum()
  /** Traces of which some spans were kept and some were not. */
  partial = 0
  /** By number of the policy. */
  readonly sampled: PolicySum[]
  readonly dropped: PolicySum[]
  readonly notSampled = new Sum()
  readonly undecided = new Sum()
  /** Only forwarded after the decision: kept without a policy that was seen to decide. */
  readonly unattributed = new Sum()
  readonly lostErrors = new Sum()
  readonly lostErrorExamples = new TopList<TraceExample>(EXAMPLES)
  readonly slowestLost = new TopList<TraceExample>(EXAMPLES)
  readonly keptDurations = new Float64Array(DURATIONS)
  readonly services = new SpanSizes()
  /** Traces by service of their root: kept ones, and those with an error that were not. */
  readonly serviceTraces: number[] = []
  readonly serviceLostErrors: number[] = []

  constructor(policies: number) {
    this.sampled = Array.from({ length: policies }, () => new PolicySum())
    this.dropped = Array.from({ length: policies }, () => new PolicySum())
  }
}

/** Traces by what two configurations did with them. */
export class Cell {
  readonly sum = new Sum()
  readonly examples = new TopList<TraceExample>(EXAMPLES)
}

export class Summary {
  readonly all = new Sum()
  readonly errors = new Sum()
  readonly services = new SpanSizes()
  readonly serviceTraces: number[] = []
  readonly durations = new Float64Array(DURATIONS)
  readonly configs: readonly ConfigSummary[]
  /** By keptByA + 2 * keptByB; of one configuration the first two. */
  readonly cells = [new Cell(), new Cell(), new Cell(), new Cell()]
  readonly timeline: Timeline
  readonly #services: Services
  readonly #onKept: ((traceId: string) => void) | undefined

  constructor(configs: readonly ReplayConfig[], services: Services, onKept?: (traceId: string) => void) {
    this.configs = configs.map(({ config }) => new ConfigSummary(config.policies.length))
    this.timeline = new Timeline(1 + configs.length)
    this.#services = services
    this.#onKept = onKept
  }

  span(service: number, bytes: number): void {
    this.services.add(service, bytes)
  }

  keptSpan(config: number, service: number, bytes: number): void {
    this.configs[config]!.services.add(service, bytes)
  }

  /** A trace of which nothing more is to be known. */
  add(record: TraceRecord): void {
    const { spans, bytes, nanos, service, failed } = record
    const bucket = durationBucket(nanos / 1e6)
    this.all.add(spans, bytes)
    if (failed) this.errors.add(spans, bytes)
    bump(this.serviceTraces, service)
    this.durations[bucket]!++
    this.timeline.add(0, record.arrivedMs, spans)
    let cell = 0
    for (const [number, config] of this.configs.entries()) {
      const outcome = record.outcome(number)
      const kept = outcome.keptSpans > 0
      if (kept) {
        cell |= 1 << number
        this.timeline.add(1 + number, record.arrivedMs, outcome.keptSpans)
        config.keptDurations[bucket]!++
        bump(config.serviceTraces, service)
      }
      this.#addTo(config, record, outcome, failed && !kept)
    }
    const { sum, examples } = this.cells[cell]!
    sum.add(spans, bytes)
    if (examples.takes(nanos)) examples.add(nanos, this.#example(record))
    if ((cell & 1) !== 0) this.#onKept?.(record.id)
  }

  #addTo(
    config: ConfigSummary,
    record: TraceRecord,
    outcome: ReturnType<TraceRecord['outcome']>,
    lostError: boolean,
  ): void {
    const { keptSpans, keptBytes, decision, samplers } = outcome
    const { spans, bytes, nanos } = record
    const policy = (decision - 2) >> 1
    if (keptSpans > 0) {
      config.kept.add(keptSpans, keptBytes)
      if (keptSpans < spans) config.partial++
      const sampled = decision > NOT_SAMPLED && decision % 2 === 0
      const sum = sampled ? config.sampled[policy]! : config.unattributed
      sum.add(keptSpans, keptBytes)
      if (samplers === 1 && sum instanceof PolicySum) sum.alone++
      return
    }
    config.lost.add(spans, bytes)
    if (decision === UNDECIDED) config.undecided.add(spans, bytes)
    else if (decision > NOT_SAMPLED && decision % 2 === 1) config.dropped[policy]!.add(spans, bytes)
    else config.notSampled.add(spans, bytes)
    if (config.slowestLost.takes(nanos)) config.slowestLost.add(nanos, this.#example(record))
    if (!lostError) return
    config.lostErrors.add(spans, bytes)
    bump(config.serviceLostErrors, record.service)
    if (config.lostErrorExamples.takes(nanos)) config.lostErrorExamples.add(nanos, this.#example(record))
  }

  #example(record: TraceRecord): TraceExample {
    return {
      traceId: record.id,
      service: this.#services.names[record.service] ?? '',
      durationMs: Math.round(record.nanos / 1e3) / 1e3,
      spans: record.spans,
      error: record.failed,
    }
  }
}

function bump(counts: number[], index: number): void {
  counts[index] = (counts[index] ?? 0) + 1
}

function durationBucket(ms: number): number {
  if (ms < 1) return 0
  return Math.min(DURATIONS - 1, 1 + Math.floor(Math.log10(ms) * 2))
}

/** Upper bounds of the buckets in ms; the last has none. */
export const DURATION_BOUNDS: readonly number[] = Array.from({ length: DURATIONS - 1 }, (_, index) =>
  Number((10 ** (index / 2)).toPrecision(2)),
)
