/**
 * Compiles policies, once, into evaluators that answer for one trace in the store.
 *
 * An evaluator answers SAMPLED, NOT_SAMPLED or DROPPED (trace-table.ts). It allocates nothing, and it throws
 * only on spans whose inside is broken. Rates hold for the whole process: they live in budgets that all
 * shards share.
 */
import type { Host } from '../../component/host.ts'
import type { Counter } from '../../component/telemetry.ts'
import { FieldCursor } from '../../otlp/wire.ts'
import { booleanAttribute, numericAttribute, stringAttribute } from './attribute-match.ts'
import { composite } from './composite.ts'
import type { AnyPolicy, BasicPolicy } from './config.ts'
import { hashThreshold, TraceIdHash } from './probabilistic.ts'
import { SpanFacts } from './span-facts.ts'
import { traceState } from './trace-state.ts'
import { isLess, type TraceStore } from './trace-store.ts'
import {
  BYTES,
  DROPPED,
  END_HIGH,
  END_LOW,
  FIRST_SPAN,
  FLAG_SAMPLED_SEEN,
  FLAGS,
  NOT_SAMPLED,
  SAMPLED,
  SPAN_COUNT,
  START_HIGH,
  START_LOW,
  UNSET_SEEN,
} from './trace-table.ts'

export interface Evaluator {
  evaluate(store: TraceStore, trace: number): number
  /** Called once a second, for what is counted by the second. Only policies of the top level count so. */
  tick?(): void
  /** Called at the end: gives back what is held of shared budgets. */
  close?(): void
}

export interface CompileContext {
  readonly host: Host
  /** Counts spans whose tracestate cannot be read. */
  readonly unparseable: Counter
}

/** `path` names the policy among all of this component, for the budgets that shards share. */
export function compilePolicy(policy: AnyPolicy, context: CompileContext, path: string): Evaluator {
  switch (policy.type) {
    case 'and':
      return all(compileAll(policy.and?.and_sub_policy ?? [], context, path), SAMPLED)
    case 'drop':
      return all(compileAll(policy.drop?.drop_sub_policy ?? [], context, path), DROPPED)
    case 'composite':
      return composite(
        policy,
        compileAll(policy.composite?.composite_sub_policy ?? [], context, path),
        context.host,
        path,
      )
    case 'not': {
      const sub = policy.not?.not_sub_policy
      if (sub === undefined) throw new TypeError('a not policy without a policy') // The schema asks for it.
      return inverse(compilePolicy(sub, context, `${path}/not`))
    }
    default:
      return compileBasic(policy, context, path)
  }
}

function compileAll(policies: readonly AnyPolicy[], context: CompileContext, path: string): Evaluator[] {
  return policies.map((policy, index) => compilePolicy(policy, context, `${path}/${index}`))
}

function compileBasic(policy: BasicPolicy, context: CompileContext, path: string): Evaluator {
  switch (policy.type) {
    case 'always_sample':
      return { evaluate: () => SAMPLED }
    case 'latency':
      return latency(policy.latency)
    case 'numeric_attribute':
      return numericAttribute(policy.numeric_attribute)
    case 'probabilistic':
      return probabilistic(policy.probabilistic)
    case 'status_code':
      return flagSeen(statusFlags(policy.status_code.status_codes))
    case 'string_attribute':
      return stringAttribute(policy.string_attribute)
    case 'boolean_attribute':
      return booleanAttribute(policy.boolean_attribute)
    case 'trace_state':
      return traceState(policy.trace_state, context.unparseable)
    case 'trace_flags':
      return flagSeen(FLAG_SAMPLED_SEEN)
    case 'rate_limiting': {
      const { spans_per_second, burst_capacity } = policy.rate_limiting
      return limited(SPAN_COUNT, spans_per_second, burst_capacity, context.host, path)
    }
    case 'bytes_limiting': {
      const { bytes_per_second, burst_capacity } = policy.bytes_limiting
      return limited(BYTES, bytes_per_second, burst_capacity, context.host, path)
    }
    case 'span_count':
      return spanCount(policy.span_count)
    default:
      throw new TypeError(`policy type ${policy.type}`) // The schema lets no other type through.
  }
}

function all(evaluators: readonly Evaluator[], whenAll: number): Evaluator {
  return {
    evaluate(store, trace) {
      for (const evaluator of evaluators) if (evaluator.evaluate(store, trace) !== SAMPLED) return NOT_SAMPLED
      return whenAll
    },
  }
}

function inverse(evaluator: Evaluator): Evaluator {
  return {
    evaluate: (store, trace) => (evaluator.evaluate(store, trace) === SAMPLED ? NOT_SAMPLED : SAMPLED),
  }
}

function statusFlags(codes: readonly string[]): number {
  let flags = 0
  for (const code of codes) flags |= UNSET_SEEN << (code === 'ERROR' ? 2 : code === 'OK' ? 1 : 0)
  return flags
}

function flagSeen(flags: number): Evaluator {
  return {
    evaluate(store, trace) {
      return (store.traces.words[store.traces.at(trace) + FLAGS]! & flags) !== 0 ? SAMPLED : NOT_SAMPLED
    },
  }
}

function probabilistic(policy: BasicPolicy['probabilistic']): Evaluator {
  const hash = new TraceIdHash(policy.hash_salt)
  const threshold = hashThreshold(policy.sampling_percentage)
  const high = Number(threshold >> 32n)
  const low = Number(threshold & 0xffffffffn)
  const result = { high: 0, low: 0 }
  return {
    evaluate(store, trace) {
      hash.ofTraceId(store.traces.words, store.traces.at(trace), result)
      return isLess(high, low, result.high, result.low) ? NOT_SAMPLED : SAMPLED
    },
  }
}

function spanCount(policy: BasicPolicy['span_count']): Evaluator {
  const most = policy.max_spans === 0 ? Infinity : policy.max_spans
  return {
    evaluate(store, trace) {
      const count = store.traces.words[store.traces.at(trace) + SPAN_COUNT]!
      return count >= policy.min_spans && count <= most ? SAMPLED : NOT_SAMPLED
    },
  }
}

function limited(word: number, perSecond: number, burst: number, host: Host, path: string): Evaluator {
  const bucket = host.rateBudget(`rate/${path}`, perSecond, burst > 0 ? burst : perSecond * 2)
  return {
    evaluate(store, trace) {
      return bucket.tryTake(store.traces.words[store.traces.at(trace) + word]!) ? SAMPLED : NOT_SAMPLED
    },
  }
}

/** A duration in whole ms is above `ms` exactly when it has at least this many ns. */
function nanosAbove(ms: number): { high: number; low: number } {
  const nanos = (BigInt(ms) + 1n) * 1_000_000n
  const capped = nanos > 2n ** 64n - 1n ? 2n ** 64n - 1n : nanos
  return { high: Number(capped >> 32n), low: Number(capped & 0xffffffffn) }
}

function latency(policy: BasicPolicy['latency']): Evaluator {
  const above = nanosAbove(policy.threshold_ms)
  if (policy.upper_threshold_ms > 0) return new BoundedLatency(above, nanosAbove(policy.upper_threshold_ms))
  return {
    evaluate(store, trace) {
      const words = store.traces.words
      const at = store.traces.at(trace)
      const startHigh = words[at + START_HIGH]!
      const startLow = words[at + START_LOW]!
      const endHigh = words[at + END_HIGH]!
      const endLow = words[at + END_LOW]!
      if (isLess(endHigh, endLow, startHigh, startLow)) return NOT_SAMPLED
      const high = (endHigh >>> 0) - (startHigh >>> 0) - (endLow >>> 0 < startLow >>> 0 ? 1 : 0)
      return isLess(high, (endLow - startLow) | 0, above.high, above.low) ? NOT_SAMPLED : SAMPLED
    },
  }
}

interface Nanos {
  readonly high: number
  readonly low: number
}

/**
 * With an upper bound the spans are gone through in order of arrival, and the first moment at which the part
 * of the trace seen so far lies between the bounds decides, as in the Go collector: a trace that ends above
 * it can be sampled.
 */
class BoundedLatency implements Evaluator {
  readonly #above: Nanos
  readonly #over: Nanos
  readonly #facts = new SpanFacts()
  readonly #field = new FieldCursor()

  constructor(above: Nanos, over: Nanos) {
    this.#above = above
    this.#over = over
  }

  evaluate(store: TraceStore, trace: number): number {
    const spans = store.spans
    const facts = this.#facts
    let startHigh = 0xffffffff
    let startLow = 0xffffffff
    let endHigh = 0
    let endLow = 0
    let span = store.traces.words[store.traces.at(trace) + FIRST_SPAN]!
    for (; span !== 0; span = spans.next(span)) {
      const field = this.#field.reset(
        spans.bytes(span),
        spans.start(span),
        spans.start(span) + spans.length(span),
      )
      if (!field.next()) continue
      facts.read(field.bytes, field.start, field.end)
      if (isLess(facts.startHigh, facts.startLow, startHigh, startLow)) {
        startHigh = facts.startHigh
        startLow = facts.startLow
      }
      if (isLess(endHigh, endLow, facts.endHigh, facts.endLow)) {
        endHigh = facts.endHigh
        endLow = facts.endLow
      }
      if (isLess(endHigh, endLow, startHigh, startLow)) continue
      const high = endHigh - startHigh - (endLow < startLow ? 1 : 0)
      const low = (endLow - startLow) | 0
      if (
        !isLess(high, low, this.#above.high, this.#above.low) &&
        isLess(high, low, this.#over.high, this.#over.low)
      )
        return SAMPLED
    }
    return NOT_SAMPLED
  }
}
