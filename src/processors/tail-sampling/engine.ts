/**
 * The engine of tail sampling on one shard: takes requests in, span by span, and starts and stops the rounds
 * of decisions.
 *
 * Everything but waiting is synchronous, so between two awaits the store is consistent. See
 * docs/tail-sampling.md for the rules.
 */
import type { Consumer } from '../../component/define.ts'
import type { Host } from '../../component/host.ts'
import type { Logger } from '../../component/logger.ts'
import type { Counter } from '../../component/telemetry.ts'
import { ShutdownError, toError } from '../../errors.ts'
import type { Batch } from '../../otlp/batch.ts'
import type { Config } from './config.ts'
import { Decider, type DecisionObserver } from './decider.ts'
import type { Durable } from './durable.ts'
import { Holdings } from './holdings.ts'
import { Ingest, type SpanSink } from './ingest.ts'
import { Rounds } from './rounds.ts'
import { SpanFacts } from './span-facts.ts'
import { Staging } from './staging.ts'
import type { TailTelemetry } from './telemetry.ts'
import type { Message } from './trace-store.ts'
import { DUE, NOT_SAMPLED, PENDING, SAMPLED } from './trace-table.ts'

/** A caller that block_on_overflow holds. */
interface Waiting {
  readonly batch: Batch
  readonly ownedOnly: boolean
  readonly resolve: (spans: number) => void
  readonly reject: (error: Error) => void
}

export class Engine implements SpanSink {
  readonly #config: Config
  /** The same on all shards and in every run. */
  readonly #stage: string
  readonly #telemetry: TailTelemetry
  readonly #decider: Decider
  readonly #holdings: Holdings
  readonly #rounds: Rounds
  readonly #ingest: Ingest
  readonly #staging: Staging | undefined
  readonly #facts = new SpanFacts()
  readonly #brokenSpans: Counter
  readonly #waitTicks: number
  readonly #rootWaitTicks: number
  #tick = 0
  /** Of the batch that is being read: ticks for which it has been held, by a process before this one. */
  #age = 0
  #waiting: Waiting[] = []
  #stopped = false

  constructor(
    id: string,
    config: Config,
    host: Host,
    logger: Logger,
    telemetry: TailTelemetry,
    next: Consumer,
    observe?: DecisionObserver,
    stage = id,
  ) {
    this.#config = config
    this.#stage = stage
    this.#telemetry = telemetry
    this.#waitTicks = Math.max(1, Math.floor(config.decision_wait / 1000))
    const rootWaitMs = config.decision_wait_after_root_received
    this.#rootWaitTicks = rootWaitMs > 0 ? Math.floor(rootWaitMs / 1000) : -1
    const decider = new Decider(id, config, host, telemetry, observe)
    const holdings = new Holdings(config, host, logger, telemetry, next, this.#waitTicks)
    const onIngest = config.sampling_strategy === 'span-ingest'
    if (onIngest) this.#staging = new Staging(holdings.store, decider)
    const onRoom = () => this.#admitWaiting()
    const { clock, recovery } = host
    const what = { clock, recovery, logger, telemetry }
    this.#rounds = new Rounds({ holdings, decider, ...what, evaluates: !onIngest, onRoom })
    this.#decider = decider
    this.#holdings = holdings
    this.#ingest = new Ingest(holdings.store.spans.headers, this, host.shard, host.shards)
    this.#brokenSpans = telemetry.droppedSpans.with({ reason: 'broken' })
  }

  start(): void {
    this.#rounds.start()
  }

  /**
   * Resolves as soon as the store has copied the spans, to their number; waits only when block_on_overflow
   * asks for it. `ownedOnly`: spans of other shards are left out.
   */
  async consume(batch: Batch, ownedOnly: boolean): Promise<number> {
    if (this.#stopped) throw new ShutdownError('tail sampling is stopping')
    if (this.#waiting.length === 0) {
      this.#begin(batch, ownedOnly)
      if (this.#goOn()) {
        const { taken } = this.#ingest
        // Late spans of sampled traces go out at once; a slow next stage holds their sender, and nobody else.
        if (this.#holdings.outlet.overflowing) await this.#holdings.outlet.room()
        return taken
      }
    }
    return new Promise((resolve, reject) => this.#waiting.push({ batch, ownedOnly, resolve, reject }))
  }

  #begin({ chunks, context: { delivery } }: Batch, ownedOnly: boolean): void {
    this.#ingest.begin(chunks, ownedOnly)
    this.#age = delivery?.recoveredAge ?? 0
    if (delivery === undefined) return
    this.#holdings.beginDurable(delivery, this.#stage)
    if (delivery.recoveredAge !== undefined) this.#rounds.postpone(this.#waitTicks)
  }

  /** Goes on with the batch that was begun; true when all of it is taken. */
  #goOn(): boolean {
    this.#holdings.readClock()
    this.#tick = this.#rounds.currentTick()
    let open = false
    try {
      open = !this.#ingest.run()
      return !open
    } catch (error) {
      this.#ingest.abandon()
      throw error
    } finally {
      if (!open) this.#holdings.durable?.end()
      this.#holdings.endRequest()
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
    const holdings = this.#holdings
    const { store } = holdings
    const { traces } = store
    let trace = traces.find(facts)
    const before = holdings.durable === undefined ? 0 : this.#decidedBefore(holdings.durable, trace)
    if (before !== 0) {
      holdings.takeDecided(trace, before, message, fieldStart, end)
      return true
    }
    if (trace === 0) {
      if (holdings.takeCached(facts, message, fieldStart, end)) return true
      trace = holdings.admit(facts, this.#dueAfter(this.#waitTicks))
      if (trace === 0) return false
    } else if (traces.state(trace) !== PENDING) {
      holdings.takeLate(trace, message, fieldStart, end)
      return true
    } else if (this.#age > 0) this.#hasten(trace, this.#waitTicks)
    if (facts.root && this.#rootWaitTicks >= 0) this.#hasten(trace, this.#rootWaitTicks)
    if (this.#staging === undefined) store.append(trace, message, fieldStart, end, facts)
    else this.#staging.append(trace, message, fieldStart, end, facts)
    const most = this.#config.maximum_trace_size_bytes
    if (most > 0 && holdings.bytes(trace) > most) holdings.dropTooLarge(trace)
    return true
  }

  /** What an earlier run decided on the trace of this span, when this one has not decided on it; or 0. */
  #decidedBefore(durable: Durable, trace: number): number {
    if (trace !== 0 && (this.#staging !== undefined || this.#holdings.store.traces.state(trace) !== PENDING))
      return 0
    const known = durable.decided(this.#facts)
    return known === 0 ? 0 : known > 0 ? SAMPLED : NOT_SAMPLED
  }

  /** The spans of one ResourceSpans are in: with span-ingest, they may decide at once. */
  endResource(): void {
    this.#staging?.decide((trace, result) => {
      this.#holdings.store.unschedule(trace)
      this.#holdings.decided(trace, result)
      this.#holdings.finishPartial()
    })
  }

  /** When a trace is due of which a span waits for so long. */
  #dueAfter(waitTicks: number): number {
    return this.#tick + 1 + Math.max(0, waitTicks - this.#age)
  }

  /** The root has come, or a span from before a crash: the trace is due earlier. */
  #hasten(trace: number, waitTicks: number): void {
    const { store } = this.#holdings
    const tick = this.#dueAfter(waitTicks)
    if (tick >= store.traces.words[store.traces.at(trace) + DUE]!) return
    store.unschedule(trace)
    store.schedule(trace, tick)
  }

  /** Goes on with callers that wait for room. */
  #admitWaiting(): void {
    while (this.#waiting.length > 0) {
      const first = this.#waiting[0]!
      try {
        if (!this.#goOn()) return
        first.resolve(this.#ingest.taken)
      } catch (error) {
        first.reject(toError(error))
      }
      this.#waiting.shift()
      const next = this.#waiting[0]
      if (next !== undefined) this.#begin(next.batch, next.ownedOnly)
    }
  }

  /**
   * Decides on everything that is held, or discards it if the config says so, and waits until it is handed
   * on. What is not done by the deadline is counted as dropped. What lies in logs is left there undecided.
   */
  async shutdown(deadline: AbortSignal): Promise<void> {
    if (this.#stopped) return
    this.#stopped = true
    for (const waiting of this.#waiting.splice(0))
      waiting.reject(new ShutdownError('tail sampling is stopping'))
    this.#ingest.abandon()
    const holdings = this.#holdings
    const discard = this.#config.drop_pending_traces_on_shutdown
    holdings.durable?.end()
    if (!discard) holdings.leaveToLogs()
    await this.#rounds.stop(discard ? 0 : this.#waitTicks + 1, deadline)
    holdings.flush()
    await holdings.outlet.drained(deadline)
    holdings.readClock()
    const lost = holdings.forgetAll(!discard) + holdings.outlet.abandon()
    if (lost > 0) this.#telemetry.droppedSpans.with({ reason: 'shutdown' }).add(lost)
    holdings.report()
    holdings.store.dispose()
    this.#decider.close()
  }
}
