/**
 * Runs a recording through one or two configurations of `tail_sampling` in virtual time: the engine is that
 * of the running processor, only its clock, its budgets and what lies behind it are the replay's.
 */
import { setImmediate as immediate } from 'node:timers/promises'
import type { Consumer } from '../component/define.ts'
import { silentLogger } from '../component/logger.ts'
import { Batch } from '../otlp/batch.ts'
import type { Config } from '../processors/tail-sampling/config.ts'
import { Engine } from '../processors/tail-sampling/engine.ts'
import { SpanFacts } from '../processors/tail-sampling/span-facts.ts'
import { telemetry } from '../processors/tail-sampling/telemetry.ts'
import type { TraceStore } from '../processors/tail-sampling/trace-store.ts'
import { DROPPED, SAMPLED } from '../processors/tail-sampling/trace-table.ts'
import { ReplayMeter, replayHost } from './host.ts'
import { type Arrival, type RecordedFiles, RecordingReader, Recordings, TimeCounts } from './recording.ts'
import { ReadCounts } from './recording-file.ts'
import { Services, type SpanVisitor, SpanWalk } from './span-walk.ts'
import { Summary } from './summary.ts'
import { droppedBy, NOT_SAMPLED, sampledBy, TraceIndex } from './trace-index.ts'
import { VirtualClock } from './virtual-clock.ts'

export interface ReplayConfig {
  /** Of the processor: `tail_sampling/name`. */
  readonly id: string
  /** Where it is configured, as the user named it. */
  readonly source: string
  readonly config: Config
}

export interface ReplayOptions {
  readonly recordings: readonly RecordedFiles[]
  /** One or two. */
  readonly configs: readonly ReplayConfig[]
  /** Times are taken from the spans even where arrival times were recorded. */
  readonly rateFromData?: boolean
  /** Traces that are known at a time. */
  readonly limitTraces?: number
  /** Called for each trace that the first configuration kept, also in part. */
  readonly onKept?: (traceId: string) => void
  /** Called after some messages, with what was read so far. */
  readonly onProgress?: (readBytes: number, spans: number) => void
}

export const LIMIT_TRACES = 2_000_000
/** Messages between two calls of onProgress. */
const PROGRESS_MESSAGES = 64
/** Longer than this after the last decision nothing is held, and the clock may jump. */
const SLACK_MS = 3000

/** A recording went through: what `Summary` has, and the readings of the engines. */
export interface Replayed {
  readonly summary: Summary
  readonly counts: ReadCounts
  readonly times: TimeCounts
  readonly services: Services
  readonly index: TraceIndex
  readonly lanes: readonly Lane[]
  readonly firstMs: number
  readonly lastMs: number
  readonly readBytes: number
}

/** One configuration: its engine, and what comes out of it. */
export class Lane implements Consumer, SpanVisitor {
  readonly releases = true
  readonly meter = new ReplayMeter()
  /** Encoded bytes that were kept, resources and scopes included. */
  keptBytes = 0
  readonly policies: readonly string[]
  readonly #number: number
  readonly #index: TraceIndex
  readonly #summary: Summary
  readonly #walk: SpanWalk
  readonly #id = new SpanFacts()
  readonly #numbers = new Map<string, number>()
  readonly #given: ReplayConfig
  #engine: Engine | undefined

  constructor(number: number, given: ReplayConfig, index: TraceIndex, summary: Summary, services: Services) {
    this.#number = number
    this.#given = given
    this.#index = index
    this.#summary = summary
    this.#walk = new SpanWalk(services)
    this.policies = given.config.policies.map(({ name }) => name)
    for (const [place, name] of this.policies.entries()) this.#numbers.set(name, place)
  }

  get given(): ReplayConfig {
    return this.#given
  }

  start(clock: VirtualClock): void {
    const { id, config } = this.#given
    const instruments = this.meter.instruments(telemetry)
    this.#engine = new Engine(id, config, replayHost(clock), silentLogger, instruments, this, (...decision) =>
      this.#decided(...decision),
    )
    this.#engine.start()
  }

  /** Hands a request in. It may have to wait for room (block_on_overflow), which only time makes. */
  async take(batch: Batch, clock: VirtualClock): Promise<void> {
    let taken = false
    const taking = this.#engine?.consume(batch, false).finally(() => {
      taken = true
    })
    taking?.catch(() => {}) // Awaited below; it may fail earlier.
    for (let turn = 0; turn < 8 && !taken; turn++) await Promise.resolve()
    while (!taken) {
      await immediate()
      if (!taken) await clock.moveTo(clock.wallMs() + 1000)
    }
    await taking
  }

  async finish(): Promise<void> {
    await this.#engine?.shutdown(AbortSignal.timeout(60_000))
  }

  /** What the engine keeps. */
  consume(batch: Batch): Promise<void> {
    this.keptBytes += batch.byteLength
    for (const chunk of batch.chunks) this.#walk.walk(chunk, this)
    return Promise.resolve()
  }

  span(facts: SpanFacts, service: number, byteLength: number): void {
    this.#index.kept(this.#number, facts, byteLength)
    this.#summary.keptSpan(this.#number, service, byteLength)
  }

  #decided(store: TraceStore, trace: number, result: number, policy: string, samplers: number): void {
    const { words } = store.traces
    const at = store.traces.at(trace)
    const id = this.#id
    id.id0 = words[at]!
    id.id1 = words[at + 1]!
    id.id2 = words[at + 2]!
    id.id3 = words[at + 3]!
    const number = this.#numbers.get(policy) ?? 0
    const decision =
      result === SAMPLED ? sampledBy(number) : result === DROPPED ? droppedBy(number) : NOT_SAMPLED
    this.#index.decided(this.#number, id, decision, samplers)
  }
}

export async function replay(options: ReplayOptions): Promise<Replayed> {
  const { configs, onKept } = options
  const counts = new ReadCounts()
  const times = new TimeCounts()
  const services = new Services()
  const summary = new Summary(configs, services, onKept)
  const index = new TraceIndex(configs.length, options.limitTraces ?? LIMIT_TRACES, (record) =>
    summary.add(record),
  )
  const lanes = configs.map((config, number) => new Lane(number, config, index, summary, services))
  const readers = options.recordings.map(
    ({ files }) => new RecordingReader(files, counts, times, services, options.rateFromData === true),
  )
  const run = new Run(new Recordings(readers), lanes, index, summary, services)
  const readBytes = await run.all(waitMs(configs), () => options.onProgress?.(counts.bytes, index.spans))
  index.finish()
  const { firstMs, lastMs } = run
  return { summary, counts, times, services, index, lanes, firstMs, lastMs, readBytes }
}

function waitMs(configs: readonly ReplayConfig[]): number {
  return Math.max(...configs.map(({ config }) => config.decision_wait)) + SLACK_MS
}

class Run {
  readonly #recordings: Recordings
  readonly #lanes: readonly Lane[]
  readonly #index: TraceIndex
  readonly #summary: Summary
  readonly #walk: SpanWalk
  #clock = new VirtualClock(0)
  firstMs = 0
  lastMs = 0

  constructor(
    recordings: Recordings,
    lanes: readonly Lane[],
    index: TraceIndex,
    summary: Summary,
    services: Services,
  ) {
    this.#recordings = recordings
    this.#lanes = lanes
    this.#index = index
    this.#summary = summary
    this.#walk = new SpanWalk(services)
  }

  /** Resolves to the encoded bytes that went in. */
  async all(waitMs: number, onProgress: () => void): Promise<number> {
    let bytes = 0
    let messages = 0
    const visitor: SpanVisitor = {
      span: (facts, service, byteLength) => {
        this.#index.span(facts, service, byteLength)
        this.#summary.span(service, byteLength)
      },
    }
    let arrival = await this.#recordings.next()
    if (arrival !== undefined) this.#begin(arrival)
    for (; arrival !== undefined; arrival = await this.#recordings.next()) {
      await this.#moveTo(arrival.arrivedMs, waitMs)
      bytes += arrival.chunk.length
      this.#index.nowMs = arrival.arrivedMs
      this.#walk.walk(arrival.chunk, visitor)
      const batch = new Batch('traces', [arrival.chunk], arrival.spans)
      for (const lane of this.#lanes) await lane.take(batch, this.#clock)
      if (++messages % PROGRESS_MESSAGES === 0) onProgress()
    }
    await this.#clock.moveTo(this.#clock.wallMs() + waitMs)
    for (const lane of this.#lanes) await lane.finish()
    onProgress()
    return bytes
  }

  #begin({ arrivedMs }: Arrival): void {
    this.firstMs = this.lastMs = arrivedMs
    this.#clock = new VirtualClock(arrivedMs)
    for (const lane of this.#lanes) lane.start(this.#clock)
  }

  async #moveTo(ms: number, waitMs: number): Promise<void> {
    if (ms - this.lastMs > waitMs) {
      await this.#clock.moveTo(this.lastMs + waitMs)
      await this.#clock.skipTo(ms)
    } else if (this.#clock.isQuietUntil(ms)) this.#clock.jumpTo(ms)
    else await this.#clock.moveTo(ms)
    this.lastMs = ms
  }
}
