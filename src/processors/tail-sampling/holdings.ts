/**
 * What tail sampling holds on one shard, and every way by which spans and traces leave it: sent on,
 * discarded by a decision, pushed out by num_traces, left to a log. So this is where the books are kept.
 * (Longer than other files: all of these share the table and its counters.)
 */
import type { Consumer } from '../../component/define.ts'
import type { Budget, Host } from '../../component/host.ts'
import type { Logger } from '../../component/logger.ts'
import type { Counter } from '../../component/telemetry.ts'
import type { Delivery } from '../../otlp/delivery.ts'
import type { Config } from './config.ts'
import { DECISION_LABELS } from './decider.ts'
import { DecisionCache } from './decision-cache.ts'
import { Durable } from './durable.ts'
import { Outlet } from './outlet.ts'
import { Readings } from './readings.ts'
import type { SpanFacts } from './span-facts.ts'
import type { TailTelemetry } from './telemetry.ts'
import { type Message, TraceStore } from './trace-store.ts'
import {
  AGE_NEXT,
  ARRIVED,
  BYTES,
  DROPPED,
  DUE,
  ID,
  NOT_SAMPLED,
  PENDING,
  SAMPLED,
  STAGED,
} from './trace-table.ts'

/**
 * A chunk goes out when it has this many bytes, at the next end of a trace; a larger trace goes out in parts.
 * With the last trace it still fits into a buffer of 256 KiB, as the payload pool has them.
 */
const CHUNK_BYTES = 240 * 1024
const LARGEST_CHUNK_BYTES = 1024 * 1024
/** Spans of one trace that are handed over at a time. */
const SEND_SPANS = 4096

export class Holdings {
  readonly store: TraceStore
  readonly outlet: Outlet
  readonly readings: Readings
  /** A large sampled trace whose spans are not all handed over yet. */
  partial = 0
  /** Set when requests come that lie in durable logs. */
  durable: Durable | undefined
  readonly #config: Config
  readonly #host: Host
  readonly #logger: Logger
  readonly #telemetry: TailTelemetry
  readonly #budget: Budget
  readonly #sampledCache: DecisionCache | undefined
  readonly #otherCache: DecisionCache | undefined
  readonly #byDecision: Counter[] = []
  readonly #evictedSpans: Counter
  readonly #startMs: number
  /** Whole seconds since the start, on the monotonic clock. */
  #second = 0
  /** The trace of the last late span, so that its age is recorded once a request. */
  #lateTrace = 0

  constructor(
    config: Config,
    host: Host,
    logger: Logger,
    telemetry: TailTelemetry,
    next: Consumer,
    waitTicks: number,
  ) {
    this.#config = config
    this.#host = host
    this.#logger = logger
    this.#telemetry = telemetry
    this.store = new TraceStore(waitTicks, config.num_traces)
    this.outlet = new Outlet(next, logger, telemetry, () => this.#tellVolatile())
    this.readings = new Readings(telemetry)
    this.#budget = host.budget('num_traces', config.num_traces)
    const { sampled_cache_size, non_sampled_cache_size } = config.decision_cache
    this.#sampledCache = cacheOf(sampled_cache_size, host.shards)
    this.#otherCache = cacheOf(non_sampled_cache_size, host.shards)
    for (const { result, labels } of DECISION_LABELS) this.#byDecision[result] = telemetry.traces.with(labels)
    this.#evictedSpans = telemetry.droppedSpans.with({ reason: 'num_traces' })
    this.#startMs = host.clock.monotonicMs()
  }

  /** Reads the clock, for all that follows until other work gets its turn. */
  readClock(): void {
    this.#second = Math.floor((this.#host.clock.monotonicMs() - this.#startMs) / 1000)
  }

  /** A new trace with this span's id, which is due at this tick; 0 when there is no room. */
  admit(facts: SpanFacts, tick: number): number {
    if (!this.#makeRoom()) return 0
    const { traces } = this.store
    const trace = traces.insert(facts)
    traces.words[traces.at(trace) + ARRIVED] = this.#second
    this.store.schedule(trace, tick)
    this.readings.newTraces++
    return trace
  }

  /**
   * Makes room for one more trace. num_traces holds for the process: when all are in use, the oldest trace of
   * this shard goes, and a shard that has more than its part gives one back to the others. False: wait
   * (block_on_overflow).
   */
  #makeRoom(): boolean {
    if (this.#budget.tryTake(1)) return true
    const { traces } = this.store
    if (traces.oldest === 0) {
      // All are on other shards, which cannot be asked: one trace per shard is always allowed.
      this.#budget.take(1)
      return true
    }
    if (this.#config.block_on_overflow && traces.state(traces.oldest) === PENDING) return false
    this.#evict(traces.oldest)
    const another = traces.oldest
    if (traces.count <= Math.ceil(this.#budget.limit / Math.max(1, this.#host.shards)) || another === 0)
      return true
    if (this.#config.block_on_overflow && traces.state(another) === PENDING) return true
    this.#evict(another)
    this.#budget.give(1)
    return true
  }

  /** Removes a trace for another one; its place in num_traces goes to that one. */
  #evict(trace: number): void {
    const { traces } = this.store
    if (trace === this.partial) {
      while (this.sendSome(trace));
      this.partial = 0
    }
    if (traces.state(trace) === PENDING) {
      this.store.unschedule(trace)
      this.#evictedSpans.add(this.#free(trace))
      this.readings.droppedTooEarly++
    }
    this.#remove(trace)
  }

  #remove(trace: number): void {
    const { traces } = this.store
    this.#telemetry.removalAge.record(this.#second - traces.words[traces.at(trace) + ARRIVED]!)
    traces.remove(trace)
  }

  /** Frees the spans of a trace, staged ones too; returns their number. */
  #free(trace: number): number {
    const { traces } = this.store
    const staged = traces.words[traces.at(trace) + STAGED]!
    let spans = this.store.freeSpans(trace)
    if (staged !== 0) {
      // The record stays until its ResourceSpans ends; without a first span it is left out then.
      spans += this.store.freeSpans(staged)
      traces.words[traces.at(trace) + STAGED] = 0
    }
    return spans
  }

  /** Bytes of a trace, staged ones too. */
  bytes(trace: number): number {
    const { traces } = this.store
    const staged = traces.words[traces.at(trace) + STAGED]!
    const own = traces.words[traces.at(trace) + BYTES]!
    return staged === 0 ? own : own + traces.words[traces.at(staged) + BYTES]!
  }

  /** A pending trace has grown above maximum_trace_size_bytes: not sampled, at once. */
  dropTooLarge(trace: number): void {
    this.#telemetry.droppedTooLarge.add(1)
    this.store.unschedule(trace)
    this.durable?.note(trace, NOT_SAMPLED)
    this.readings.sampledOut += this.#free(trace)
    this.#note(trace, NOT_SAMPLED)
  }

  /**
   * Carries out the decision on a trace that is off the ring. A very large one may go out in parts, as
   * `partial`.
   */
  decided(trace: number, result: number): void {
    this.#byDecision[result]?.add(1)
    this.durable?.note(trace, result)
    if (result !== SAMPLED) this.readings.sampledOut += this.#free(trace)
    else if (this.sendSome(trace)) {
      this.#markDecided(trace, SAMPLED)
      if (this.partial !== 0) this.finishPartial()
      this.partial = trace
      return
    }
    this.#note(trace, result)
  }

  /** Sends all that is left of the large trace. */
  finishPartial(): void {
    while (this.sendPartial());
  }

  /** Sends more of the large trace; true when some is left. */
  sendPartial(): boolean {
    const trace = this.partial
    if (trace === 0) return false
    if (this.sendSome(trace)) return true
    this.partial = 0
    this.#note(trace, SAMPLED)
    return false
  }

  /** Hands over a part of a trace; true when some is left. */
  sendSome(trace: number): boolean {
    const { sending } = this.store
    const more = this.store.sendSpans(trace, SEND_SPANS, LARGEST_CHUNK_BYTES)
    if (sending.byteLength >= (more ? LARGEST_CHUNK_BYTES : CHUNK_BYTES)) this.flush()
    return more
  }

  /** Remembers a decision: in the cache, if there is one for it, else in the table until it is pushed out. */
  #note(trace: number, result: number): void {
    const { traces } = this.store
    const cache = result === SAMPLED ? this.#sampledCache : this.#otherCache
    if (cache === undefined) {
      this.#markDecided(trace, result)
      return
    }
    const at = traces.at(trace)
    cache.put(traces.words[at + ID + 2]!, traces.words[at + ID + 3]!)
    this.forget(trace)
  }

  #markDecided(trace: number, result: number): void {
    const { traces } = this.store
    traces.setState(trace, result)
    traces.words[traces.at(trace) + DUE] = this.#second
  }

  /** Removes a trace without spans and gives its place in num_traces back. */
  forget(trace: number): void {
    this.#remove(trace)
    this.#budget.give(1)
  }

  /** span-ingest: the wait of a trace is over and nothing has sampled it. */
  expire(trace: number): void {
    this.decided(trace, NOT_SAMPLED)
    if (this.#otherCache === undefined) this.forget(trace)
  }

  /** Takes a span whose trace is known only to a cache: it is sent on or discarded at once. */
  takeCached(facts: SpanFacts, message: Message, fieldStart: number, end: number): boolean {
    if (this.#sampledCache?.has(facts.id2, facts.id3)) {
      this.readings.releasedSampled++
      this.durable?.noteCached(facts, SAMPLED)
      this.#sendSpan(message, fieldStart, end)
      return true
    }
    if (!this.#otherCache?.has(facts.id2, facts.id3)) return false
    this.readings.releasedOther++
    this.durable?.noteCached(facts, NOT_SAMPLED)
    this.readings.sampledOut++
    return true
  }

  /** Takes a span whose trace an earlier run has decided on; of spans that came meanwhile, too. */
  takeDecided(trace: number, result: number, message: Message, fieldStart: number, end: number): void {
    if (trace !== 0) {
      this.store.unschedule(trace)
      this.decided(trace, result)
    }
    if (result === SAMPLED) this.#sendSpan(message, fieldStart, end)
    else this.readings.sampledOut++
  }

  /** Takes a span whose trace is decided and still in the table. */
  takeLate(trace: number, message: Message, fieldStart: number, end: number): void {
    const { traces } = this.store
    if (traces.state(trace) === SAMPLED) this.#sendSpan(message, fieldStart, end)
    else this.readings.sampledOut++
    if (trace === this.#lateTrace) return
    this.#lateTrace = trace
    this.durable?.noteLate(trace, traces.state(trace))
    if (traces.state(trace) === DROPPED)
      this.#logger.warn('a span came late for a trace that a drop policy dropped; it is discarded')
    this.#telemetry.lateSpanAge.record(this.#second - traces.words[traces.at(trace) + DUE]!)
  }

  #sendSpan(message: Message, fieldStart: number, end: number): void {
    this.store.sending.add(this.store.spans.add(message.chunk, fieldStart, end, message.scope))
    if (this.store.sending.byteLength >= LARGEST_CHUNK_BYTES) this.flush()
  }

  /** A request is read: what it brought is copied, and late spans go out. */
  endRequest(): void {
    this.#lateTrace = 0
    this.store.spans.settle()
    this.flush()
    this.#tellVolatile()
  }

  /** What was acknowledged and is in memory only; what was sampled out belongs to it until that is counted. */
  #tellVolatile(): void {
    const { durable, outlet, readings, store } = this
    const table = store.spans.count - (durable?.requests.spans ?? 0)
    const uncounted = durable === undefined ? readings.sampledOut : 0
    readings.holdVolatile(table + uncounted + outlet.volatileSpans)
  }

  flush(): void {
    this.durable?.flushNotes()
    const { sending } = this.store
    if (sending.count === 0) return
    this.store.spans.settle()
    const spans = sending.count
    const chunk = sending.build(this.outlet.releases)
    this.outlet.send(chunk, spans, this.durable?.join(sending.requests), sending.volatileSpans)
  }

  /** Spans are going to come that lie in a log. */
  beginDurable(delivery: Delivery, stage: string): void {
    this.durable ??= new Durable(stage, this.store)
    this.durable.begin(delivery)
  }

  /** Frees undecided traces that lie in logs alone: the next run decides on them. */
  leaveToLogs(): void {
    const { durable } = this
    const { traces } = this.store
    durable?.leave(() => {
      for (let trace = traces.oldest, next = 0; trace !== 0; trace = next) {
        next = traces.words[traces.at(trace) + AGE_NEXT]!
        if (!durable.isInLogs(trace)) continue
        this.store.unschedule(trace)
        this.#free(trace)
        this.forget(trace)
      }
    })
  }

  /**
   * Frees all that is held; returns the number of spans that are lost. With `leave`, those that lie in a
   * log are not.
   */
  forgetAll(leave: boolean): number {
    const { traces } = this.store
    let spans = 0
    this.partial = 0
    const free = () => {
      while (traces.oldest !== 0) {
        spans += this.#free(traces.oldest)
        this.forget(traces.oldest)
      }
    }
    if (!leave || this.durable === undefined) free()
    else spans -= this.durable.leave(free)
    return spans
  }

  report(): void {
    this.readings.report(this.store, this.#sampledCache, this.#otherCache)
    this.#tellVolatile()
  }
}

function cacheOf(size: number, shards: number): DecisionCache | undefined {
  return size > 0 ? new DecisionCache(Math.ceil(size / Math.max(1, shards))) : undefined
}
