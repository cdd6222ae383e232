/**
 * One running Weir: shards, extensions of the main thread and the endpoint of its own metrics. Also what an embedder starts.
 */
import { randomUUID } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import { systemClock } from '../component/clock.ts'
import type { Component, Registry, RegistryLoader, ServiceView } from '../component/define.ts'
import type { ListenOptions } from '../component/host.ts'
import type { IsolatedTask } from '../component/isolation.ts'
import type { Logger } from '../component/logger.ts'
import type { LoadedConfig } from '../config/load.ts'
import type { ServiceConfig } from '../config/types.ts'
import { VERSION } from '../version.ts'
import { shrinkHeap } from '../workers/garbage.ts'
import { ShardPool } from '../workers/pool.ts'
import type { Port } from '../workers/rpc.ts'
import { createSharedMemory, defaultShards, type SharedMemory, SharedView } from '../workers/shared.ts'
import { Casualties } from './casualties.ts'
import { createHost, type Environment, type Respond } from './environment.ts'
import { Isolation } from './isolation.ts'
import { claimPlace, ListenerPool, type ListenPlace } from './listeners.ts'
import { createMetricTable, type SeriesRecord, SharedMeter } from './metrics.ts'
import { startMetricsServer } from './metrics-server.ts'
import type { ShardStart } from './shard-service.ts'

interface ThreadMetrics {
  readonly table: SharedArrayBuffer
  readonly series: SeriesRecord[]
}

/** What an idle shard costs, for the warning about small memory limits. */
const IDLE_SHARD_MIB = 35
/** After a start or a reload. Main carries no data, so a pause of it holds nobody. */
const SETTLE_MS = 500

export class Service {
  readonly #registry: Registry | RegistryLoader
  readonly #logger: Logger
  readonly #shardEntry: URL | undefined
  readonly #startedAtMs = Date.now()
  readonly #instanceId = randomUUID()
  readonly #statuses = new Map<string, { status: string; error?: string | undefined }>()
  readonly #claims = new Map<string, Promise<ListenPlace>>()
  readonly #places = new Map<string, string>()
  readonly #metrics: ThreadMetrics[] = []
  readonly #extensions = new Map<string, { component: Component; tree: string }>()
  #tree: unknown
  #memory: SharedMemory | undefined
  #pool: ShardPool | undefined
  #environment: Environment | undefined
  #isolation: Isolation | undefined
  #metricsServers: { key: string; close(): Promise<void> }[] = []
  #publishing: NodeJS.Timeout | undefined
  #settling: NodeJS.Timeout | undefined
  #ready = false
  #stopping = false
  shards = 0

  /** `shardEntry`: the file that shards run, when they need more components than the built-in ones. */
  constructor(registry: Registry | RegistryLoader, logger: Logger, shardEntry?: URL) {
    this.#registry = registry
    this.#logger = logger
    this.#shardEntry = shardEntry
  }

  /** Resolves when every receiver listens. */
  async start(loaded: LoadedConfig): Promise<void> {
    const { config } = loaded
    this.shards = config.service.shards ?? defaultShards()
    const rows = Math.max(1, this.shards)
    const memory = createSharedMemory(rows)
    this.#memory = memory
    for (let row = 0; row <= rows; row++) this.#metrics.push({ table: createMetricTable(), series: [] })
    const shared = new SharedView(memory, rows)
    shared.publish(0)
    this.#publishing = setInterval(() => shared.publish(0), 1000).unref()
    this.#environment = this.#mainEnvironment(shared, rows)
    this.#isolation = new Isolation(this.#environment.meter)
    const casualties = new Casualties(this.#environment.meter)
    await this.#startExtensions(loaded)
    this.#pool = new ShardPool({
      entry: this.#shardEntry,
      shards: this.shards,
      memory,
      supervision: config.service.supervision,
      logger: this.#logger,
      runHere: (start, port) => void this.#runHere(start as ShardStart, port),
      startData: (shard) => this.#shardStart(shard, rows, memory),
      handlers: (shard) => this.#handlers(shard),
      onDeath: (shard, cause) => casualties.died(cause, this.#thread(shard)),
      onRestart: () => casualties.restarting(),
      onBack: () => casualties.isBack(),
    })
    await this.#pool.start(loaded.tree)
    this.#tree = loaded.tree
    await this.#startMetricsServers(config, shared, rows)
    this.#warnAboutMemory(config)
    this.#ready = true
    this.#settle()
  }

  /** Rejects, and changes nothing, when the new configuration does not start. */
  async reload(loaded: LoadedConfig): Promise<void> {
    if (this.#pool === undefined || this.#memory === undefined) throw new RangeError('not started')
    if (isDeepStrictEqual(loaded.tree, this.#tree)) {
      this.#logger.info('the configuration is unchanged: everything runs on')
      return
    }
    const wanted = loaded.config.service.shards ?? defaultShards()
    if (wanted !== this.shards) {
      this.#logger.warn('service.shards takes effect at the next start', { running: this.shards, wanted })
    }
    await this.#pool.reload(loaded.tree, loaded.config.service.shutdownTimeoutMs)
    this.#tree = loaded.tree
    this.#pool.supervise(loaded.config.service.supervision)
    await this.#startExtensions(loaded)
    const rows = this.#memory.rows - 1
    await this.#startMetricsServers(loaded.config, new SharedView(this.#memory, rows), rows)
    this.#settle()
  }

  /** What reading a configuration took is given back, once the answers to it are out. */
  #settle(): void {
    if (this.shards === 0) return // The shard in this thread sees to it.
    clearTimeout(this.#settling)
    this.#settling = setTimeout(shrinkHeap, SETTLE_MS).unref()
  }

  /** Drains: receivers first, exporters last; what is left at the deadline is given up and counted. */
  async shutdown(timeoutMs: number): Promise<void> {
    this.#ready = false
    this.#stopping = true
    await this.#pool?.shutdown(timeoutMs)
    await this.#isolation?.close()
    for (const { component } of [...this.#extensions.values()].reverse()) {
      await component.shutdown?.(AbortSignal.timeout(5000))
    }
    for (const server of this.#metricsServers) await server.close()
    clearInterval(this.#publishing)
    clearTimeout(this.#settling)
  }

  /** Where everything listens, by name: ports 0 are resolved. */
  listeners(): Readonly<Record<string, string>> {
    return Object.fromEntries(this.#places)
  }

  /** Why the service does not take data now; undefined when it does. */
  notReadyReason(): string | undefined {
    return this.#view().notReadyReason()
  }

  #view(): ServiceView {
    return {
      notReadyReason: () => {
        if (this.#stopping) return 'shutting down'
        if (!this.#ready) return 'starting'
        return this.#pool?.trouble()
      },
      startedAtMs: this.#startedAtMs,
      restarts: () => this.#pool?.restarts ?? 0,
      statuses: () => this.#statuses,
    }
  }

  /** The port keeps what main says until the shard listens. */
  async #runHere(start: ShardStart, port: Port): Promise<void> {
    const { ShardService } = await import('./shard-service.ts')
    new ShardService(start, this.#registry, port)
  }

  #shardStart(shard: number, rows: number, memory: SharedMemory): ShardStart {
    const { table, series } = this.#thread(shard)
    return { shard, shards: rows, memory, metrics: table, known: series }
  }

  #thread(row: number): ThreadMetrics {
    const thread = this.#metrics[row]
    if (thread === undefined) throw new RangeError(`no thread ${row}`)
    return thread
  }

  #handlers(shard: number): Record<string, (parameters: never) => unknown> {
    return {
      claim: (options: ListenOptions) => this.#claim(options),
      gather: ({ scope, question, timeoutMs }: { scope: string; question: string; timeoutMs: number }) =>
        this.#pool?.gather(scope, question, timeoutMs),
      isolated: (task: IsolatedTask) => this.#isolation?.run(task),
      series: (record: SeriesRecord) => void this.#thread(shard).series.push(record),
      metricsFull: () =>
        this.#logger.warn('too many series of own metrics: new ones are left out', { shard }),
      status: (report: { id: string; status: string; error: string | undefined }) =>
        void this.#statuses.set(report.id, { status: report.status, error: report.error }),
    }
  }

  /** The first shard that asks finds out whether the place is free; the others join it. */
  #claim(options: ListenOptions): Promise<ListenPlace> {
    const key = `${options.name} ${options.transport ?? 'tcp'} ${options.endpoint}`
    let claim = this.#claims.get(key)
    if (claim === undefined) {
      claim = claimPlace(options)
      this.#claims.set(key, claim)
      claim.then(
        (place) => this.#places.set(options.name, place.unixPath ?? `${place.host}:${place.port}`),
        () => this.#claims.delete(key),
      )
    }
    return claim
  }

  #mainEnvironment(shared: SharedView, row: number): Environment {
    const thread = this.#thread(row)
    const meter = new SharedMeter(
      thread.table,
      [],
      (record) => void thread.series.push(record),
      () => {},
    )
    return {
      shard: 0,
      shards: 1,
      clock: systemClock,
      shared,
      meter,
      logger: this.#logger,
      listeners: new ListenerPool((options) => this.#claim(options), false),
      links: [undefined],
      answers: new Map<string, Respond>(),
      gather: async () => [],
      report: (id, status, error) => void this.#statuses.set(id, { status, error: error?.message }),
    }
  }

  /** Extensions of the main thread. Those whose configuration did not change run on. */
  async #startExtensions(loaded: LoadedConfig): Promise<void> {
    const { config } = loaded
    const wanted = config.service.extensions.filter(
      (id) => config.extensions.get(id)?.definition.runsIn === 'main',
    )
    for (const [id, { component, tree }] of this.#extensions) {
      if (wanted.includes(id) && tree === JSON.stringify(config.extensions.get(id)?.config)) continue
      await component.shutdown?.(AbortSignal.timeout(5000))
      this.#extensions.delete(id)
    }
    for (const id of wanted) if (!this.#extensions.has(id)) await this.#startExtension(config, id)
  }

  async #startExtension(config: ServiceConfig, id: string): Promise<void> {
    const configured = config.extensions.get(id)
    const environment = this.#environment
    if (configured === undefined || environment === undefined) return
    const scope = `extensions/${id}`
    const component = configured.definition.create({
      id,
      config: configured.config,
      telemetry: environment.meter.instruments(configured.definition.telemetry, { extension: id }),
      logger: this.#logger.child({ 'otelcol.component.id': id, 'otelcol.component.kind': 'extension' }),
      host: createHost(environment, scope, scope, new Map()),
      service: this.#view(),
    })
    await component.start?.()
    this.#extensions.set(id, { component, tree: JSON.stringify(configured.config) })
  }

  async #startMetricsServers(config: ServiceConfig, shared: SharedView, rows: number): Promise<void> {
    const { metrics } = config.service.telemetry
    const key = JSON.stringify([metrics, config.service.telemetry.resource])
    if (this.#metricsServers[0]?.key === key) return
    for (const server of this.#metricsServers.splice(0)) await server.close()
    if (metrics.level === 'none') return
    for (const reader of metrics.readers) {
      const server = await startMetricsServer({
        reader,
        sources: () => this.#metrics,
        shared,
        rows: rows + 1,
        startedAtMs: this.#startedAtMs,
        resource: this.#resource(config),
      })
      this.#metricsServers.push({ key, close: () => server.close() })
    }
  }

  #resource(config: ServiceConfig): Record<string, string> {
    const resource: Record<string, string> = {}
    const defaults = {
      'service.name': 'weir',
      'service.version': VERSION,
      'service.instance.id': this.#instanceId,
    }
    for (const [key, value] of Object.entries({ ...defaults, ...config.service.telemetry.resource })) {
      if (value !== null) resource[key] = value
    }
    return resource
  }

  #warnAboutMemory(config: ServiceConfig): void {
    const idleMib = IDLE_SHARD_MIB * Math.max(1, this.shards)
    for (const { id, config: limiter } of config.processors.values()) {
      const limitMib = softLimitMib(limiter)
      if (limitMib === undefined || idleMib <= limitMib / 2) continue
      this.#logger.warn(
        'idle shards alone pass half of the memory limit: lower service.shards or raise the limit',
        {
          processor: id,
          shards: this.shards,
          idle_mib: idleMib,
          soft_limit_mib: limitMib,
        },
      )
    }
  }
}

/** The soft limit of a memory limiter that has one in MiB. */
function softLimitMib(config: unknown): number | undefined {
  if (typeof config !== 'object' || config === null || !('limit_mib' in config)) return undefined
  const limit = Number(config.limit_mib)
  const spike = 'spike_limit_mib' in config ? Number(config.spike_limit_mib) : 0
  return limit > 0 ? limit - (spike > 0 ? spike : limit / 5) : undefined
}
