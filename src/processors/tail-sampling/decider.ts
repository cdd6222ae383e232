/**
 * Decides on traces: all policies over a run of traces, one policy at a time.
 *
 * Every policy sees the traces in the same order as if traces were decided one by one, so limits come out the
 * same; but its code and data stay in the cache, and its time is measured twice a run and not twice a trace.
 */
import type { Host } from '../../component/host.ts'
import type { Counter } from '../../component/telemetry.ts'
import type { Config } from './config.ts'
import { compilePolicy, type Evaluator } from './policies.ts'
import type { TailTelemetry } from './telemetry.ts'
import type { TraceStore } from './trace-store.ts'
import { BYTES, DROPPED, NOT_SAMPLED, SAMPLED, SPAN_COUNT } from './trace-table.ts'

/** Traces decided in one run. */
export const RUN_TRACES = 256

/** Evaluations of one policy with one result, since the last report. */
interface Tally {
  traces: number
  spans: number
  bytes: number
  readonly counters: readonly [Counter, Counter, Counter]
}

/**
 * Told of every decision that policies made, for replays of recorded traffic. `policy` is the first that sampled
 * or dropped the trace, empty when none did; `samplers` says how many policies sampled it.
 */
export type DecisionObserver = (
  store: TraceStore,
  trace: number,
  result: number,
  policy: string,
  samplers: number,
) => void

interface CompiledPolicy {
  readonly name: string
  readonly evaluator: Evaluator
  readonly drops: boolean
  /** By result: SAMPLED, NOT_SAMPLED, DROPPED. */
  readonly tallies: readonly (Tally | undefined)[]
  readonly executions: Counter
  readonly executionTime: Counter
  executed: number
  elapsedMs: number
}

export const DECISION_LABELS = [
  { result: SAMPLED, labels: { sampled: 'true', decision: 'sampled' } },
  { result: NOT_SAMPLED, labels: { sampled: 'false', decision: 'not_sampled' } },
  { result: DROPPED, labels: { sampled: 'false', decision: 'dropped' } },
] as const

export class Decider {
  readonly #policies: readonly CompiledPolicy[]
  readonly #firstMatch: boolean
  readonly #telemetry: TailTelemetry
  /** Results of the last run, by place in it. */
  readonly results = new Uint8Array(RUN_TRACES)
  readonly #stopped = new Uint8Array(RUN_TRACES)
  /** By place in the run: how many policies sampled or dropped the trace, and the first of them. */
  readonly #samplers = new Uint16Array(RUN_TRACES)
  readonly #firstSamplers = new Uint16Array(RUN_TRACES)
  readonly #observe: DecisionObserver | undefined
  #errors = 0

  constructor(id: string, config: Config, host: Host, telemetry: TailTelemetry, observe?: DecisionObserver) {
    this.#observe = observe
    // Drop policies come first wherever they stand: what they drop nothing else can keep.
    const dropping = config.policies.filter((policy) => policy.type === 'drop')
    const others = config.policies.filter((policy) => policy.type !== 'drop')
    const slash = id.indexOf('/')
    const prefix = slash < 0 ? '' : `${id.slice(slash + 1)}.`
    const context = { host, unparseable: telemetry.unparseableTraceState }
    this.#policies = [...dropping, ...others].map((policy): CompiledPolicy => {
      const label = { policy: `${prefix}${policy.name}` }
      const tallies: (Tally | undefined)[] = []
      for (const { result, labels } of DECISION_LABELS) {
        const all = { ...label, ...labels }
        const { tracesByPolicy, spansByPolicy, bytesByPolicy } = telemetry
        const counters = [tracesByPolicy.with(all), spansByPolicy.with(all), bytesByPolicy.with(all)] as const
        tallies[result] = { traces: 0, spans: 0, bytes: 0, counters }
      }
      return {
        name: policy.name,
        evaluator: compilePolicy(policy, context, policy.name),
        drops: policy.type === 'drop',
        tallies,
        executions: telemetry.executions.with(label),
        executionTime: telemetry.executionTime.with(label),
        executed: 0,
        elapsedMs: 0,
      }
    })
    this.#firstMatch = config.sample_on_first_match
    this.#telemetry = telemetry
  }

  /** Decides on the first `count` of these traces; the decisions are in `results`. */
  run(store: TraceStore, traces: Int32Array, count: number): void {
    const { results } = this
    const stopped = this.#stopped
    results.fill(NOT_SAMPLED, 0, count)
    stopped.fill(0, 0, count)
    const samplers = this.#samplers.fill(0, 0, count)
    for (const [place, policy] of this.#policies.entries()) {
      const startMs = performance.now()
      for (let index = 0; index < count; index++) {
        if (stopped[index] !== 0) continue
        const result = this.#evaluate(policy, store, traces[index]!)
        if (result === DROPPED || result === SAMPLED) {
          results[index] = result
          if (samplers[index]!++ === 0) this.#firstSamplers[index] = place
        }
        if (result === DROPPED || (result === SAMPLED && this.#firstMatch)) stopped[index] = 1
      }
      policy.elapsedMs += performance.now() - startMs
    }
    if (this.#observe !== undefined) this.#tellAll(this.#observe, store, traces, count)
  }

  #tellAll(observe: DecisionObserver, store: TraceStore, traces: Int32Array, count: number): void {
    for (let index = 0; index < count; index++) {
      const samplers = this.#samplers[index]!
      const policy = samplers === 0 ? '' : this.#policies[this.#firstSamplers[index]!]!.name
      observe(store, traces[index]!, this.results[index]!, policy, samplers)
    }
  }

  /**
   * span-ingest: what the spans that have just come decide by themselves; 0 when nothing. A drop policy that
   * does not match may match later spans, so it keeps the trace from being sampled now.
   */
  runOnIngest(store: TraceStore, trace: number): number {
    let mayDropLater = false
    for (const policy of this.#policies) {
      if (!policy.drops && mayDropLater) break
      const startMs = performance.now()
      const result = this.#evaluate(policy, store, trace)
      policy.elapsedMs += performance.now() - startMs
      if (result === DROPPED || (result === SAMPLED && !policy.drops))
        this.#observe?.(store, trace, result, policy.name, 1)
      if (result === DROPPED) return DROPPED
      if (policy.drops) mayDropLater = true
      else if (result === SAMPLED) return SAMPLED
    }
    return 0
  }

  #evaluate(policy: CompiledPolicy, store: TraceStore, trace: number): number {
    policy.executed++
    let result: number
    try {
      result = policy.evaluator.evaluate(store, trace)
    } catch {
      this.#errors++ // Spans that are broken inside: this policy is skipped.
      return 0
    }
    const tally = policy.tallies[result]
    if (tally !== undefined) {
      const at = store.traces.at(trace)
      tally.traces++
      tally.spans += store.traces.words[at + SPAN_COUNT]!
      tally.bytes += store.traces.words[at + BYTES]!
    }
    return result
  }

  tick(): void {
    for (const policy of this.#policies) policy.evaluator.tick?.()
  }

  close(): void {
    for (const policy of this.#policies) policy.evaluator.close?.()
  }

  /** Adds what was counted since the last report to the metrics. */
  report(): void {
    for (const policy of this.#policies) {
      for (const tally of policy.tallies) {
        if (tally === undefined || tally.traces === 0) continue
        tally.counters[0].add(tally.traces)
        tally.counters[1].add(tally.spans)
        tally.counters[2].add(tally.bytes)
        tally.traces = tally.spans = tally.bytes = 0
      }
      if (policy.executed === 0) continue
      policy.executions.add(policy.executed)
      policy.executionTime.add(policy.elapsedMs * 1000)
      policy.executed = policy.elapsedMs = 0
    }
    if (this.#errors > 0) this.#telemetry.evaluationErrors.add(this.#errors)
    this.#errors = 0
  }
}
