/**
 * The graph of a configuration on a bench: the real processors and connectors, time that the test moves, a
 * receiver that the test is, and exporters that record. What stands around the components (budgets, rates,
 * the memory that is used) follows the test's clock, too.
 */
import type { AnyExporter, AnyReceiver } from '../../component/define.ts'
import { defineExporter, defineReceiver } from '../../component/define.ts'
import type { RateBudget } from '../../component/host.ts'
import { known, localRate } from '../../component/local-budgets.ts'
import type { LogFields, Logger } from '../../component/logger.ts'
import type { ConfiguredComponent, PipelineConfig, ServiceConfig } from '../../config/types.ts'
import { DownstreamError, RetryableError, toError } from '../../errors.ts'
import { type Batch, SIGNALS, type Signal } from '../../otlp/batch.ts'
import type { Environment } from '../../service/environment.ts'
import type { Graph } from '../../service/graph.ts'
import { buildGraph } from '../../service/graph-builder.ts'
import { ListenerPool } from '../../service/listeners.ts'
import { createMetricTable, readMetrics, type SeriesRecord, SharedMeter } from '../../service/metrics.ts'
import { ScriptedClock } from '../../testing/clock.ts'
import { createSharedMemory, SharedView } from '../../workers/shared.ts'

export type Answer = 'ok' | 'retryable' | 'permanent'

/** What an exporter got. */
export interface Recording {
  readonly exporter: string
  readonly batch: Batch
}

export interface BenchLayout {
  readonly config: ServiceConfig
  /** Pipelines that data goes into, and id of the receiver that it seems to come from. */
  readonly heads: readonly PipelineConfig[]
  readonly receiver: string
  readonly answers: Readonly<Record<string, Answer>>
}

/** Real time that a plugin may take for what is no timer of its host's, in ms. */
const REAL_WAIT_MS = 5000
const DRAIN_STEP_MS = 1000
const MOST_DRAIN_STEPS = 600

export class Bench {
  readonly clock = new ScriptedClock()
  readonly recordings: Recording[] = []
  /** What components logged as errors and warnings. */
  readonly logged: string[] = []
  /** Items that exporters did not take, since the test said so. */
  refusedByExporters = 0
  readonly pipelines: readonly PipelineConfig[]
  readonly #graph: Graph
  readonly #shared: BenchMemory
  readonly #table = createMetricTable()
  readonly #series: SeriesRecord[] = []
  readonly #receiver: string
  readonly #connectors: ReadonlyMap<string, unknown>

  constructor(layout: BenchLayout) {
    this.#connectors = layout.config.connectors
    this.#shared = new BenchMemory(this.clock)
    this.#receiver = layout.receiver
    const { config, pipelines } = arrange(layout, (exporter, batch) =>
      this.#take(exporter, batch, layout.answers),
    )
    this.pipelines = pipelines
    this.#graph = buildGraph({
      config,
      tree: {},
      environment: this.#environment(),
      extensions: new Map(),
      previous: undefined,
    })
  }

  #environment(): Environment {
    return {
      shard: 0,
      shards: 1,
      clock: this.clock,
      shared: this.#shared,
      meter: new SharedMeter(
        this.#table,
        [],
        (record) => this.#series.push(record),
        () => {},
      ),
      logger: recordingLogger(this.logged),
      listeners: new ListenerPool(() => Promise.reject(new Error('tests of pipelines do not listen')), false),
      links: [undefined],
      answers: new Map(),
      gather: async () => [],
      report: () => {},
    }
  }

  #take(exporter: string, batch: Batch, answers: BenchLayout['answers']): void {
    const answer = answers[exporter] ?? 'ok'
    if (answer === 'ok') {
      this.recordings.push({ exporter, batch })
      return
    }
    this.refusedByExporters += batch.itemCount
    if (answer === 'retryable') throw new RetryableError('the test lets this exporter fail retryably')
    throw new DownstreamError('the test lets this exporter fail for good')
  }

  async start(): Promise<void> {
    await this.#graph.startDownstream()
  }

  /** Hands a batch in, as a receiver would. */
  async feed(batch: Batch): Promise<void> {
    const receiver = this.#graph.receivers.find(({ id }) => id === this.#receiver)
    const inlet = receiver?.inlets[batch.signal]
    if (inlet === undefined) throw new RangeError(`nothing takes ${batch.signal} here`)
    await inlet.consume(batch)
  }

  useMemory(bytes: number): void {
    this.#shared.bytes = bytes
  }

  isConnector(id: string): boolean {
    return this.#connectors.has(id)
  }

  /**
   * What is still held is handed on, level by level as in a shutdown; timers of the components go on
   * meanwhile.
   */
  async drain(): Promise<void> {
    const deadline = AbortSignal.timeout(REAL_WAIT_MS)
    let ended = false
    const stopping = (async () => {
      for (let level = 0; level < this.#graph.levelCount; level++)
        await this.#graph.shutdownLevel(level, deadline)
      ended = true
    })()
    for (let step = 0; !ended && step < MOST_DRAIN_STEPS; step++) await this.clock.advance(DRAIN_STEP_MS)
    await stopping
  }

  /** Every series with a value, under the name that Prometheus is shown. */
  readMetrics(): {
    readonly name: string
    readonly labels: Readonly<Record<string, string>>
    readonly value: number
  }[] {
    const families = readMetrics(
      { table: this.#table, series: this.#series },
      ({ name }) => `otelcol_${name}`,
    )
    return families.flatMap(({ name, values }) =>
      values.map(({ value, labels, metricName }) => ({ name: metricName ?? name, labels, value })),
    )
  }
}

/**
 * Budgets as in a running collector; rates go by the test's clock, and the memory that is used is what the
 * test says.
 */
class BenchMemory extends SharedView {
  bytes = 0
  readonly #clock: ScriptedClock
  readonly #rates = new Map<string, RateBudget>()

  constructor(clock: ScriptedClock) {
    super(createSharedMemory(1), 0)
    this.#clock = clock
  }

  override memoryLedger() {
    const usedBytes = () => this.bytes
    return { usedBytes, refresh: usedBytes, restBytes: () => 0, collectGarbage: () => {} }
  }

  override rateBudget(name: string, perSecond: number, burst: number): RateBudget {
    return known(this.#rates, name, () => localRate(this.#clock, perSecond, burst))
  }
}

function recordingLogger(lines: string[]): Logger {
  const add =
    (level: string) =>
    (message: string, fields: LogFields = {}) => {
      const { error } = fields
      if (lines.length < 100)
        lines.push(`${level}: ${message}${error === undefined ? '' : `: ${toError(error).message}`}`)
    }
  const nothing = () => {}
  const logger: Logger = {
    ...{ error: add('error'), warn: add('warn'), info: nothing, debug: nothing, debugEnabled: false },
    child: () => logger,
  }
  return logger
}

/**
 * The pipelines behind the heads, with the test in the place of receivers and recorders in that of
 * exporters.
 */
function arrange({ config, heads, receiver }: BenchLayout, take: (exporter: string, batch: Batch) => void) {
  const reached = new Map(heads.map((head) => [head.id, head]))
  for (const pipeline of reached.values()) {
    for (const other of config.service.pipelines) {
      const joined = pipeline.exporters.some(
        (id) => config.connectors.has(id) && other.receivers.includes(id),
      )
      if (joined && !reached.has(other.id)) reached.set(other.id, other)
    }
  }
  const isHead = new Set(heads.map(({ id }) => id))
  const pipelines = [...reached.values()].map((pipeline) => ({
    ...pipeline,
    receivers: [
      ...(isHead.has(pipeline.id) ? [receiver] : []),
      ...pipeline.receivers.filter((id) => config.connectors.has(id)),
    ],
  }))
  const exporters = new Map([...config.exporters].map(([id, exporter]) => [id, recorder(exporter, take)]))
  const processors = new Map(
    [...config.processors].map(([id, one]) => [id, { ...one, config: inline(one.config) }]),
  )
  const receivers = new Map([[receiver, { id: receiver, definition: testReceiver, config: {} }]])
  const service = { ...config.service, pipelines }
  return { config: { ...config, receivers, processors, exporters, service }, pipelines }
}

const testReceiver: AnyReceiver = defineReceiver({
  type: 'test',
  stability: 'stable',
  summary: 'What a test hands in.',
  signals: SIGNALS,
  config: undefined as never, // Never parsed: the configuration has been checked.
  telemetry: {},
  create: () => ({}),
})

/** Isolated plugins run where they can be waited for. */
function inline(config: unknown): unknown {
  if (typeof config !== 'object' || config === null || !('isolate' in config)) return config
  return { ...config, isolate: undefined }
}

/** A stage that would hold its caller for the exporter still does. */
function recorder(
  exporter: ConfiguredComponent<AnyExporter>,
  take: (exporter: string, batch: Batch) => void,
): ConfiguredComponent<AnyExporter> {
  const { id, definition } = exporter
  const sending = definition.sending?.(exporter.config)
  const waits =
    sending?.queue === undefined
      ? sending !== undefined && sending.local !== true
      : sending.queue.waitForResult
  const retry = {
    ...{ enabled: false, initialIntervalMs: 0, randomizationFactor: 0 },
    ...{ multiplier: 1, maxIntervalMs: 0, maxElapsedTimeMs: 0 },
  }
  const recording = defineExporter({
    type: definition.type,
    stability: 'stable',
    summary: definition.summary,
    signals: definition.signals as readonly Signal[],
    config: definition.config,
    telemetry: {},
    sending: () => ({ timeoutMs: 0, retry, queue: undefined, local: !waits }),
    create: () => ({ consume: async (batch: Batch) => take(id, batch) }),
  })
  return { id, definition: recording, config: exporter.config }
}
