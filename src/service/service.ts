/**
 * One running Weir: shards, extensions of the main thread and the endpoint of its own metrics. Also what an
 * embedder starts.
 */
import { isDeepStrictEqual } from 'node:util'
import { systemClock } from '../component/clock.ts'
import type { Registry, RegistryLoader, ServiceView } from '../component/define.ts'
import type { ListenOptions } from '../component/host.ts'
import type { IsolatedTask } from '../component/isolation.ts'
import type { Logger } from '../component/logger.ts'
import type { Meter } from '../component/telemetry.ts'
import type { LoadedConfig } from '../config/load.ts'
import type { ServiceConfig } from '../config/types.ts'
import { shrinkHeap } from '../workers/garbage.ts'
import { ShardPool } from '../workers/pool.ts'
import type { Port } from '../workers/rpc.ts'
import { createSharedMemory, defaultShards, type SharedMemory, SharedView } from '../workers/shared.ts'
import { Casualties } from './casualties.ts'
import type { Changes } from './changes.ts'
import type { Environment } from './environment.ts'
import { Isolation } from './isolation.ts'
import { claimPlace, ListenerPool, type ListenPlace } from './listeners.ts'
import { MainExtensions } from './main-extensions.ts'
import { createMetricTable, type SeriesRecord, SharedMeter } from './metrics.ts'
import { MetricsReaders } from './metrics-readers.ts'
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
  readonly #statuses = new Map<string, { status: string; error?: string | undefined }>()
  readonly #claims = new Map<string, Promise<ListenPlace>>()
  readonly #places = new Map<string, string>()
  readonly #metrics: ThreadMetrics[] = []
  #tree: unknown
  #pool: ShardPool | undefined
  #environment: Environment | undefined
  #isolation: Isolation | undefined
  #extensions: MainExtensions | undefined
  #readers: MetricsReaders | undefined
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
    for (let row = 0; row <= rows; row++) this.#metrics.push({ table: createMetricTable(), series: [] })
    const shared = new SharedView(memory, rows)
    // Without shards the one that runs in this thread has published its memory.
    const publish = () => this.shards > 0 && shared.publish(0)
    publish()
    this.#publishing = setInterval(() => {
      publish()
      shared.noteResident(process.memoryUsage.rss())
    }, 1000).unref()
    this.#environment = this.#mainEnvironment(shared, rows)
    this.#readers = this.#metricsReaders(shared, rows)
    this.#isolation = new Isolation(this.#environment.meter)
    const casualties = new Casualties(this.#environment.meter)
    this.#extensions = new MainExtensions(this.#environment, this.#view())
    await (await this.#extensions.prepare(loaded)).commit()
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
    await (await this.#readers.prepare(config)).commit()
    this.#warnAboutMemory(config)
    this.#ready = true
    this.#settle()
  }

  /**
   * Rejects, and changes nothing, when the new configuration does not start. Resolves to what it has
   * changed, or to nothing when it is the one that runs. What it has replaced may still be draining then.
   */
  async reload(loaded: LoadedConfig): Promise<Changes | undefined> {
    const [pool, extensions, readers] = [this.#pool, this.#extensions, this.#readers]
    if (pool === undefined || extensions === undefined || readers === undefined) {
      throw new RangeError('not started')
    }
    if (isDeepStrictEqual(loaded.tree, this.#tree)) return undefined
    const { config } = loaded
    const wanted = config.service.shards ?? defaultShards()
    if (wanted !== this.shards) {
      this.#logger.warn('service.shards takes effect at the next start', { running: this.shards, wanted })
    }
    const ahead: Changes = { kept: [], restarted: [], added: [], removed: [] }
    let own = { ...ahead, commit: async () => {} }
    const changes = await pool.reload<Changes>(loaded.tree, config.service.shutdownTimeoutMs, async () => {
      const exchanged = await extensions.prepare(loaded)
      const reading = await readers.prepare(config).catch(async (error: unknown) => {
        await exchanged.abandon()
        throw error
      })
      const commit = async () => {
        await exchanged.commit()
        await reading.commit()
      }
      own = { ...exchanged, commit }
    })
    this.#tree = loaded.tree
    await own.commit()
    pool.supervise(config.service.supervision)
    this.#settle()
    const { kept, restarted, added, removed } = changes ?? ahead
    return {
      kept: [...own.kept, ...kept],
      restarted: [...own.restarted, ...restarted],
      added: [...own.added, ...added],
      removed: [...own.removed, ...removed],
    }
  }

  /** Of the main thread, for who runs the service. */
  get meter(): Meter {
    if (this.#environment === undefined) throw new RangeError('not started')
    return this.#environment.meter
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
    await this.#extensions?.shutdown()
    await this.#readers?.close()
    clearInterval(this.#publishing)
    clearTimeout(this.#settling)
  }

  /** Asks what answers to `scope` on every shard; those that do not answer in time are left out. */
  async gather(scope: string, question: string, timeoutMs: number): Promise<Uint8Array[]> {
    return (await this.#pool?.gather(scope, question, timeoutMs)) ?? []
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
      answers: new Map(),
      gather: async () => [],
      report: (id, status, error) => void this.#statuses.set(id, { status, error: error?.message }),
    }
  }

  #metricsReaders(shared: SharedView, rows: number): MetricsReaders {
    const sources = () => this.#metrics
    return new MetricsReaders({ sources, shared, rows: rows + 1, startedAtMs: this.#startedAtMs })
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
