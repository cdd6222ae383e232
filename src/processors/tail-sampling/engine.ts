/**
 * The engine of tail sampling on one shard: takes spans in, decides when their traces are due, sends on what is kept.
 *
 * A tick per second moves the ring on. Decisions are made in runs of a few hundred traces and stop for other work every
 * few milliseconds, and while the next stage is slow. Everything else is synchronous, so between two awaits the store is
 * consistent. See docs/tail-sampling.md for the rules.
 */
import { setImmediate as immediate } from 'node:timers/promises'
import type { Timer } from '../../component/clock.ts'
import type { Consumer } from '../../component/define.ts'
import type { Budget, Host } from '../../component/host.ts'
import type { Logger } from '../../component/logger.ts'
import type { Counter } from '../../component/telemetry.ts'
import { ShutdownError, toError } from '../../errors.ts'
import type { Batch } from '../../otlp/batch.ts'
import type { Config } from './config.ts'
import { DECISION_LABELS, Decider, RUN_TRACES } from './decider.ts'
import { DecisionCache } from './decision-cache.ts'
import { Ingest, type SpanSink } from './ingest.ts'
import { Outlet } from './outlet.ts'
import { Readings } from './readings.ts'
import { SpanFacts } from './span-facts.ts'
import { Staging } from './staging.ts'
import type { TailTelemetry } from './telemetry.ts'
import { type Message, TraceStore } from './trace-store.ts'
import {
  ARRIVED,
  BYTES,
  DROPPED,
  DUE,
  ID,
  NOT_SAMPLED,
  PENDING,
  SAMPLED,
  SPAN_COUNT,
  STAGED,
} from './trace-table.ts'

/** A chunk goes out when it has this many bytes, at the next end of a trace; a larger trace goes out in parts. */
const CHUNK_BYTES = 256 * 1024
const LARGEST_CHUNK_BYTES = 1024 * 1024
/** A run of decisions ends when its traces have this many spans. */
const RUN_SPANS = 4096
/** Decisions stop for other work after this time. */
const SLICE_MS = 8

interface Waiting {
  readonly batch: Batch
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

export class Engine implements SpanSink {
  readonly #config: Config
  readonly #host: Host
  readonly #logger: Logger
  readonly #telemetry: TailTelemetry
  readonly #decider: Decider
  readonly #outlet: Outlet
  readonly #budget: Budget
  readonly #readings: Readings
  readonly #sampledCache: DecisionCache | undefined
  readonly #otherCache: DecisionCache | undefined
  readonly #waitTicks: number
  readonly #rootWaitTicks: number
  readonly #store: TraceStore
  readonly #facts = new SpanFacts()
  readonly #ingest: Ingest
  readonly #staging: Staging | undefined
  readonly #run = new Int32Array(RUN_TRACES)
  readonly #byDecision: Counter[] = []
  readonly #evictedSpans: Counter
  readonly #brokenSpans: Counter
  readonly #startMs: number
  #timer: Timer | undefined
  /** The last tick that has come, and the last whose traces are all decided. */
  #tick = 0
  #decidedTick = 0
  #tickStartMs = 0
  #deciding = false
  /** A large sampled trace whose spans are not all handed over yet. */
  #partial = 0
  #waiting: Waiting[] = []
  #stopped = false
  #abandoned = false
  /** The last trace a late span came for, so that its age is recorded once per request. */
  #lateTrace = 0

  constructor(
    id: string,
    config: Config,
    host: Host,
    logger: Logger,
    telemetry: TailTelemetry,
    next: Consumer,
  ) {
    this.#config = config
    this.#host = host
    this.#logger = logger
    this.#telemetry = telemetry
    this.#decider = new Decider(id, config, host, telemetry)
    this.#outlet = new Outlet(next, logger, telemetry)
    this.#budget = host.budget('num_traces', config.num_traces)
    const { sampled_cache_size, non_sampled_cache_size } = config.decision_cache
    this.#sampledCache = cacheOf(sampled_cache_size, host.shards)
    this.#otherCache = cacheOf(non_sampled_cache_size, host.shards)
    this.#waitTicks = Math.max(1, Math.floor(config.decision_wait / 1000))
    const rootWaitMs = config.decision_wait_after_root_received
    this.#rootWaitTicks = rootWaitMs > 0 ? Math.floor(rootWaitMs / 1000) : -1
    this.#store = new TraceStore(this.#waitTicks)
    this.#ingest = new Ingest(this.#store.spans.headers, this)
    if (config.sampling_strategy === 'span-ingest') this.#staging = new Staging(this.#store, this.#decider)
    for (const { result, labels } of DECISION_LABELS) this.#byDecision[result] = telemetry.traces.with(labels)
    this.#evictedSpans = telemetry.droppedSpans.with({ reason: 'num_traces' })
    this.#brokenSpans = telemetry.droppedSpans.with({ reason: 'broken' })
    this.#readings = new Readings(telemetry)
    this.#startMs = host.clock.monotonicMs()
  }

  start(): void {
    this.#timer = this.#host.clock.every(1000, () => this.#onTick())
  }

  /** Resolves as soon as the store has copied the spans; waits only when block_on_overflow asks for it. */
  async consume(batch: Batch): Promise<void> {
    if (this.#stopped) throw new ShutdownError('tail sampling is stopping')
    if (this.#waiting.length === 0) {
      this.#ingest.begin(batch.chunks)
      if (this.#goOn()) {
        // Late spans of sampled traces go out at once; a slow next stage holds their sender, and nobody else.
        if (this.#outlet.overflowing) await this.#outlet.room()
        return
      }
    }
    await new Promise<void>((resolve, reject) => this.#waiting.push({ batch, resolve, reject }))
  }

  /** Goes on with the batch that was begun; true when all of it is taken. */
  #goOn(): boolean {
    this.#lateTrace = 0
    try {
      return this.#ingest.run()
    } catch (error) {
      this.#ingest.abandon()
      throw error
    } finally {
      this.#store.spans.settle()
      this.#flush()
    }
  }

  takeSpan(message: Message, fieldStart: number, start: number, end: number): boolean {
    const facts = this.#facts
    try {
      facts.read(message.chunk, start, end)
    } catch {
      this.#brokenSpans.add(1)
      return true
    }
    const { traces } = this.#store
    let trace = traces.find(facts)
    if (trace === 0) {
      if (this.#takeCached(message, fieldStart, end)) return true
      if (!this.#makeRoom()) return false
      trace = traces.insert(facts)
      traces.words[traces.at(trace) + ARRIVED] = this.#second()
      this.#store.schedule(trace, this.#tick + 1 + this.#waitTicks)
      this.#readings.newTraces++
    } else if (traces.state(trace) !== PENDING) {
      this.#takeLate(trace, message, fieldStart, end)
      return true
    }
    if (facts.root && this.#rootWaitTicks >= 0) this.#hasten(trace)
    if (this.#staging === undefined) this.#store.append(trace, message, fieldStart, end, facts)
    else this.#staging.append(trace, message, fieldStart, end, facts)
    const most = this.#config.maximum_trace_size_bytes
    if (most > 0 && this.#bytes(trace) > most) this.#dropTooLarge(trace)
    return true
  }

  /** The spans of one ResourceSpans are in: with span-ingest, they may decide at once. */
  endResource(): void {
    this.#staging?.decide((trace, result) => {
      this.#byDecision[result]?.add(1)
      this.#store.unschedule(trace)
      if (result === SAMPLED) this.#sendAll(trace)
      else this.#discard(trace)
      this.#settleTrace(trace, result)
    })
  }

  #bytes(trace: number): number {
    const { traces } = this.#store
    const staged = traces.words[traces.at(trace) + STAGED]!
    const own = traces.words[traces.at(trace) + BYTES]!
    return staged === 0 ? own : own + traces.words[traces.at(staged) + BYTES]!
  }

  #second(): number {
    return Math.floor((this.#host.clock.monotonicMs() - this.#startMs) / 1000)
  }

  /** A trace that is known only to a cache: its span is sent on or discarded at once. */
  #takeCached(message: Message, fieldStart: number, end: number): boolean {
    const { id2, id3 } = this.#facts
    if (this.#sampledCache?.has(id2, id3)) {
      this.#readings.releasedSampled++
      this.#sendSpan(message, fieldStart, end)
      return true
    }
    if (!this.#otherCache?.has(id2, id3)) return false
    this.#readings.releasedOther++
    this.#readings.sampledOut++
    return true
  }

  #sendSpan(message: Message, fieldStart: number, end: number): void {
    this.#store.sending.add(this.#store.spans.add(message.chunk, fieldStart, end, message.scope))
    if (this.#store.sending.byteLength >= LARGEST_CHUNK_BYTES) this.#flush()
  }

  /** A span whose trace is decided and still in the table. */
  #takeLate(trace: number, message: Message, fieldStart: number, end: number): void {
    const { traces } = this.#store
    if (traces.state(trace) === SAMPLED) this.#sendSpan(message, fieldStart, end)
    else {
      this.#readings.sampledOut++
      if (traces.state(trace) === DROPPED && trace !== this.#lateTrace)
        this.#logger.warn('a span came late for a trace that a drop policy dropped; it is discarded')
    }
    if (trace === this.#lateTrace) return
    this.#lateTrace = trace
    this.#telemetry.lateSpanAge.record(this.#second() - traces.words[traces.at(trace) + DUE]!)
  }

  /** The root has come: the trace is due earlier. */
  #hasten(trace: number): void {
    const { traces } = this.#store
    const tick = this.#tick + 1 + this.#rootWaitTicks
    if (tick >= traces.words[traces.at(trace) + DUE]!) return
    this.#store.unschedule(trace)
    this.#store.schedule(trace, tick)
  }

  /**
   * Makes room for one more trace. num_traces holds for the process: when all are in use, the oldest trace of this shard
   * goes, and a shard that has more than its part gives one back to the others. False: wait (block_on_overflow).
   */
  #makeRoom(): boolean {
    if (this.#budget.tryTake(1)) return true
    const { traces } = this.#store
    if (traces.oldest === 0) {
      this.#budget.take(1) // All are on other shards, which cannot be asked: one trace per shard is always allowed.
      return true
    }
    if (this.#config.block_on_overflow && traces.state(traces.oldest) === PENDING) return false
    this.#evict(traces.oldest)
    if (traces.count <= Math.ceil(this.#budget.limit / this.#host.shards)) return true
    const another = traces.oldest
    if (this.#config.block_on_overflow && traces.state(another) === PENDING) return true
    this.#evict(another)
    this.#budget.give(1)
    return true
  }

  /** Removes a trace for another one; its place in num_traces goes to that one. */
  #evict(trace: number): void {
    const { traces } = this.#store
    if (trace === this.#partial) {
      this.#sendAll(trace)
      this.#partial = 0
    }
    if (traces.state(trace) === PENDING) {
      this.#store.unschedule(trace)
      this.#staging?.forget(trace)
      this.#evictedSpans.add(this.#store.freeSpans(trace))
      this.#readings.droppedTooEarly++
    }
    this.#remove(trace)
  }

  #remove(trace: number): void {
    const { traces } = this.#store
    this.#telemetry.removalAge.record(this.#second() - traces.words[traces.at(trace) + ARRIVED]!)
    traces.remove(trace)
  }

  #dropTooLarge(trace: number): void {
    this.#telemetry.droppedTooLarge.add(1)
    this.#store.unschedule(trace)
    this.#discard(trace)
    this.#settleTrace(trace, NOT_SAMPLED)
  }

  /** Frees the spans of a trace that is not kept. */
  #discard(trace: number): void {
    this.#readings.sampledOut += this.#staging?.forget(trace) ?? 0
    this.#readings.sampledOut += this.#store.freeSpans(trace)
  }

  /** Notes the decision: in the cache, if there is one for it, else in the table until it is pushed out. */
  #settleTrace(trace: number, result: number): void {
    const { traces } = this.#store
    const cache = result === SAMPLED ? this.#sampledCache : this.#otherCache
    const at = traces.at(trace)
    if (cache === undefined) {
      this.#markDecided(trace, result)
      return
    }
    cache.put(traces.words[at + ID + 2]!, traces.words[at + ID + 3]!)
    this.#remove(trace)
    this.#budget.give(1)
  }

  #markDecided(trace: number, result: number): void {
    const { traces } = this.#store
    traces.setState(trace, result)
    traces.words[traces.at(trace) + DUE] = this.#second()
  }

  #flush(): void {
    const { sending } = this.#store
    if (sending.count === 0) return
    this.#store.spans.settle()
    const spans = sending.count
    this.#outlet.send(sending.build(), spans)
  }

  #sendAll(trace: number): void {
    while (this.#sendSome(trace));
  }

  /** Sends a part of a trace; true when some is left. */
  #sendSome(trace: number): boolean {
    const { sending } = this.#store
    const more = this.#store.sendSpans(trace, RUN_SPANS, LARGEST_CHUNK_BYTES)
    if (sending.byteLength >= (more ? LARGEST_CHUNK_BYTES : CHUNK_BYTES)) this.#flush()
    return more
  }

  /**
   * Decides on everything that is held, or discards it if the config says so, and waits until it is handed on. What is not
   * done by the deadline is counted as dropped.
   */
  async shutdown(deadline: AbortSignal): Promise<void> {
    if (this.#stopped) return
    this.#stopped = true
    this.#timer?.cancel()
    for (const waiting of this.#waiting.splice(0))
      waiting.reject(new ShutdownError('tail sampling is stopping'))
    this.#ingest.abandon()
    this.#tick += this.#waitTicks + 1
    if (!this.#config.drop_pending_traces_on_shutdown) {
      while (this.#deciding && !deadline.aborted) await immediate()
      await this.#decideAll(deadline)
    }
    this.#flush()
    await this.#outlet.drained(deadline)
    this.#telemetry.droppedSpans.with({ reason: 'shutdown' }).add(this.#forgetAll() + this.#outlet.abandon())
    this.#readings.report(this.#store, this.#sampledCache, this.#otherCache)
    this.#decider.close()
  }

  /** Frees all that is held; returns the number of spans. */
  #forgetAll(): number {
    const { traces } = this.#store
    let spans = 0
    this.#abandoned = true
    this.#partial = 0
    while (traces.oldest !== 0) {
      const trace = traces.oldest
      spans += this.#store.freeSpans(trace)
      this.#remove(trace)
      this.#budget.give(1)
    }
    return spans
  }

  #onTick(): void {
    const elapsed = Math.floor((this.#host.clock.monotonicMs() - this.#startMs) / 1000)
    this.#tick = Math.max(this.#tick + 1, elapsed)
    this.#decider.tick()
    this.#kick()
  }

  #kick(): void {
    if (this.#deciding) return
    this.#deciding = true
    void this.#decideAll()
      .catch((error) => {
        this.#logger.error('deciding failed', { error: toError(error).message })
      })
      .finally(() => {
        this.#deciding = false
      })
  }

  /** Decides all that is due, in slices. */
  async #decideAll(deadline?: AbortSignal): Promise<void> {
    const { clock } = this.#host
    this.#tickStartMs = clock.monotonicMs()
    let sliceMs = this.#tickStartMs
    while (
      !this.#abandoned &&
      deadline?.aborted !== true &&
      (this.#decideSome() || this.#store.spans.compact(RUN_SPANS))
    ) {
      if (this.#outlet.full) await this.#outlet.room()
      else if (clock.monotonicMs() - sliceMs < SLICE_MS) continue
      else await immediate()
      sliceMs = clock.monotonicMs()
    }
    this.#flush()
    this.#telemetry.tickLatency.record(clock.monotonicMs() - this.#tickStartMs)
    this.#decider.report()
    this.#readings.report(this.#store, this.#sampledCache, this.#otherCache)
    this.#admitWaiting()
  }

  /** One run of decisions; false when nothing is due. */
  #decideSome(): boolean {
    const partial = this.#partial
    if (partial !== 0) {
      if (this.#sendSome(partial)) return true
      this.#partial = 0
      this.#settleTrace(partial, SAMPLED)
      return true
    }
    const count = this.#gather()
    if (count === 0) return false
    if (this.#staging === undefined) this.#decider.run(this.#store, this.#run, count)
    else this.#decider.results.fill(NOT_SAMPLED, 0, count)
    for (let index = 0; index < count; index++) {
      const trace = this.#run[index]!
      const result = this.#decider.results[index]!
      this.#byDecision[result]?.add(1)
      if (result !== SAMPLED) this.#discard(trace)
      else if (this.#sendSome(trace)) this.#partial = trace
      if (this.#partial === trace) this.#markDecided(trace, SAMPLED)
      else this.#settleTrace(trace, result)
    }
    this.#admitWaiting()
    return true
  }

  /** Takes traces that are due off the ring. A trace with very many spans is the last of its run. */
  #gather(): number {
    const store = this.#store
    const { traces } = store
    let count = 0
    let spans = 0
    while (this.#decidedTick < this.#tick) {
      const trace = store.due(this.#decidedTick + 1)
      if (trace === 0) {
        this.#decidedTick++
        continue
      }
      store.unschedule(trace)
      this.#run[count++] = trace
      spans += traces.words[traces.at(trace) + SPAN_COUNT]!
      if (count === RUN_TRACES || spans >= RUN_SPANS) break
    }
    return count
  }

  /** Goes on with callers that wait for room. */
  #admitWaiting(): void {
    while (this.#waiting.length > 0) {
      const first = this.#waiting[0]!
      try {
        if (!this.#goOn()) return
        this.#waiting.shift()
        first.resolve()
      } catch (error) {
        this.#waiting.shift()
        first.reject(toError(error))
      }
      const next = this.#waiting[0]
      if (next !== undefined) this.#ingest.begin(next.batch.chunks)
    }
  }
}

function cacheOf(size: number, shards: number): DecisionCache | undefined {
  return size > 0 ? new DecisionCache(Math.max(1, Math.ceil(size / Math.max(1, shards)))) : undefined
}
