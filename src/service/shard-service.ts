/**
 * One shard: the whole graph of the configuration in one thread, driven by calls from main (workers/pool.ts).
 *
 * A configuration comes in steps, at the start and at a reload alike. prepare() builds the new graph and
 * starts everything that is new in it but its receivers; listen() starts those, too; commit() takes over from
 * the graph before all that stays as it is. Until the commit that graph runs on, so a configuration that
 * fails to start changes nothing. Afterwards main stops what is left of the old graph level by level.
 */
import type { MessagePort } from 'node:worker_threads'
import { systemClock } from '../component/clock.ts'
import type { Registry, RegistryLoader } from '../component/define.ts'
import type { Logger } from '../component/logger.ts'
import { counter, gauge } from '../component/telemetry.ts'
import { checkConfig } from '../config/check.ts'
import type { LogsTelemetry } from '../config/types.ts'
import { trimPayload } from '../otlp/payload-pool.ts'
import { shrinkHeap } from '../workers/garbage.ts'
import { Link } from '../workers/link.ts'
import { type Port, Rpc } from '../workers/rpc.ts'
import { type SharedMemory, SharedView } from '../workers/shared.ts'
import { type Changes, changesOf, type Running } from './changes.ts'
import type { Environment, Respond } from './environment.ts'
import type { Graph } from './graph.ts'
import { buildGraph } from './graph-builder.ts'
import { isolatedBy } from './isolation.ts'
import { ListenerPool, type ListenPlace } from './listeners.ts'
import { LiveLogger } from './live-logger.ts'
import { type SeriesRecord, SharedMeter } from './metrics.ts'
import { ShardExtensions } from './shard-extensions.ts'
import { CAPTURE_SCOPE, Taps } from './taps.ts'

/** What main hands to a shard when it makes it. Structured-cloneable. */
export interface ShardStart {
  readonly shard: number
  readonly shards: number
  readonly memory: SharedMemory
  readonly metrics: SharedArrayBuffer
  /** Series that a predecessor of this shard had begun. */
  readonly known: readonly SeriesRecord[]
}

/** How often a shard publishes its memory and its load. */
const PUBLISH_MS = 100
const TRIM_TICKS = 30
/** A thread below this use for this long after a change of configuration gives back what the change has left. */
const QUIET_UTILIZATION = 0.05
const QUIET_TICKS = 5

const telemetry = {
  sentItems: counter('hand_over_items', '{item}', 'Items handed to other shards.'),
  sentBytes: counter('hand_over_bytes', 'By', 'Payload bytes handed to other shards.'),
  underWay: gauge(
    'hand_over_under_way_bytes',
    'By',
    'Payload that other shards have and have not taken yet.',
  ),
  blocked: gauge('hand_over_waiting_requests', '{request}', 'Requests that wait for room on the way.'),
  utilization: gauge('shard_event_loop_utilization', '1', 'Share of time a shard is busy.', ['shard']),
}

interface Prepared extends Running {
  readonly logs: LogsTelemetry
  /** Its receivers. */
  listening: boolean
}

export class ShardService {
  readonly #start: ShardStart
  readonly #registry: Registry | RegistryLoader
  readonly #rpc: Rpc
  readonly #shared: SharedView
  readonly #meter: SharedMeter
  readonly #links: (Link | undefined)[] = []
  readonly #listeners: ListenerPool
  #log: LiveLogger | undefined
  #starting = false
  /** Quiet ticks since the graph changed; beyond QUIET_TICKS when the heap has been shrunk. */
  #quietTicks = QUIET_TICKS + 1
  #prepared: Prepared | undefined
  #current: Running | undefined
  #old: Running | undefined

  constructor(start: ShardStart, registry: Registry | RegistryLoader, port: Port) {
    this.#start = start
    this.#registry = registry
    this.#shared = new SharedView(start.memory, start.shard)
    this.#rpc = new Rpc(port, {
      prepare: (tree: unknown) => this.#prepare(tree),
      listen: () => this.#listen(),
      commit: () => this.#commit(),
      abandon: () => this.#abandon(),
      levels: (which: 'current' | 'old') => this.#running(which)?.graph.levelCount ?? 0,
      shutdownLevel: (call: { which: 'current' | 'old'; level: number; timeoutMs: number }) =>
        this.#shutdownLevel(call.which, call.level, call.timeoutMs),
      peer: ({ shard, port: peer }: { shard: number; port: MessagePort }) =>
        this.#links[shard]?.connect(peer),
      peerGone: (shard: number) => this.#links[shard]?.disconnect(),
      ask: ({ scope, question }: { scope: string; question: string }) =>
        this.#current?.graph.environment.answers.get(scope)?.(question),
    })
    this.#meter = new SharedMeter(
      start.metrics,
      start.known,
      (record) => this.#rpc.tell('series', record),
      () => this.#rpc.tell('metricsFull', undefined),
    )
    const own = this.#meter.instruments(telemetry, {})
    const sent = {
      sent(items: number, bytes: number) {
        own.sentItems.add(items)
        own.sentBytes.add(bytes)
      },
    }
    for (let shard = 0; shard < start.shards; shard++) {
      this.#links.push(
        shard === start.shard ? undefined : new Link((name) => this.#stage(name), sent, start.shards),
      )
    }
    const claim = (options: unknown) => this.#rpc.call<ListenPlace>('claim', options)
    this.#listeners = new ListenerPool(claim, start.shards > 1)
    this.#publish((busy) => {
      own.utilization.with({ shard: String(start.shard) }).set(busy)
      own.underWay.set(this.#sum((link) => link.underWayBytes))
      own.blocked.set(this.#sum((link) => link.blocked))
    })
  }

  #sum(of: (link: Link) => number): number {
    let sum = 0
    for (const link of this.#links) if (link !== undefined) sum += of(link)
    return sum
  }

  #publish(tell: (busy: number) => void): void {
    let last = performance.eventLoopUtilization()
    let ticks = 0
    const timer = setInterval(() => {
      const now = performance.eventLoopUtilization()
      const busy = performance.eventLoopUtilization(now, last).utilization
      last = now
      this.#shared.publish(busy)
      this.#settle(busy)
      if (++ticks % TRIM_TICKS === 0) trimPayload()
      tell(busy)
    }, PUBLISH_MS)
    timer.unref()
    this.#shared.publish(0)
  }

  #settle(busy: number): void {
    if (this.#quietTicks > QUIET_TICKS) return
    this.#quietTicks = busy < QUIET_UTILIZATION ? this.#quietTicks + 1 : 0
    if (this.#quietTicks > QUIET_TICKS) shrinkHeap()
  }

  /** Where a parcel of another shard goes: to the graph that runs, or while configurations change to the other one. */
  #stage(name: string) {
    for (const running of [this.#current, this.#prepared, this.#old]) {
      const stage = running?.graph.stages.get(name)
      if (stage !== undefined) return stage
    }
    return undefined
  }

  #running(which: 'current' | 'old'): Running | undefined {
    return which === 'current' ? this.#current : this.#old
  }

  #environment(logger: Logger, tree: unknown): Environment {
    const taps = new Taps(systemClock)
    return {
      shard: this.#start.shard,
      shards: this.#start.shards,
      clock: systemClock,
      shared: this.#shared,
      meter: this.#meter,
      logger,
      listeners: this.#listeners,
      links: this.#links,
      answers: new Map<string, Respond>([[CAPTURE_SCOPE, (question: string) => taps.respond(question)]]),
      taps,
      gather: (scope, question, timeoutMs) => this.#rpc.call('gather', { scope, question, timeoutMs }),
      report: (id, status, error) => this.#rpc.tell('status', { id, status, error: error?.message }),
      runIsolated: isolatedBy(this.#rpc, tree),
    }
  }

  /** Builds and starts all that is new but the receivers; resolves to what would change. */
  async #prepare(tree: unknown): Promise<Changes> {
    this.#starting = true
    const registry = this.#registry
    const config = checkConfig(tree, typeof registry === 'function' ? await registry(tree) : registry)
    const { logs } = config.service.telemetry
    const environment = this.#environment(this.#logger(logs), tree)
    const extensions = new ShardExtensions(environment)
    try {
      await extensions.start(config, tree, this.#current?.extensions)
      const graph = buildGraph({ config, tree, environment, extensions, previous: this.#current?.graph })
      // Peers of a shard that starts again have data for it at once: its stages are there for them when all have started.
      await graph.startDownstream().catch(async (error: unknown) => {
        await stopGraph(graph)
        throw error
      })
      this.#prepared = { graph, extensions, logs, listening: false }
    } catch (error) {
      this.#starting = false
      await extensions.stop()
      throw error
    }
    return changesOf(this.#current, this.#prepared)
  }

  /** One for the life of the shard. What a component says while it starts, shard 0 says for all. */
  #logger(logs: LogsTelemetry): Logger {
    const { shard, shards } = this.#start
    const quiet = () => shard !== 0 && this.#starting
    this.#log ??= new LiveLogger(logs, shards > 1 ? { shard } : {}, quiet)
    return this.#log.logger
  }

  /** The new receivers listen; those of the running configuration still do. */
  async #listen(): Promise<void> {
    const prepared = this.#prepared
    if (prepared === undefined) throw new RangeError('nothing is prepared')
    try {
      await prepared.graph.startReceivers()
      prepared.listening = true
    } catch (error) {
      await this.#abandon()
      throw error
    }
  }

  async #commit(): Promise<void> {
    if (this.#prepared?.listening !== true) await this.#listen()
    const prepared = this.#prepared
    if (prepared === undefined) throw new RangeError('it was abandoned')
    prepared.extensions.commit()
    prepared.graph.commit()
    this.#log?.use(prepared.logs)
    this.#starting = false
    this.#quietTicks = 0
    this.#old = this.#current
    this.#current = { graph: prepared.graph, extensions: prepared.extensions }
    this.#prepared = undefined
  }

  /** Stops what was prepared and not committed. */
  async #abandon(): Promise<void> {
    const prepared = this.#prepared
    this.#prepared = undefined
    this.#starting = false
    if (prepared === undefined) return
    await stopGraph(prepared.graph)
    await prepared.extensions.stop()
  }

  async #shutdownLevel(which: 'current' | 'old', level: number, timeoutMs: number): Promise<void> {
    const running = this.#running(which)
    if (running === undefined) return
    await running.graph.shutdownLevel(level, AbortSignal.timeout(Math.max(1, Math.ceil(timeoutMs))))
    if (level < running.graph.levelCount - 1) return
    await running.extensions.stop()
    if (which === 'old') this.#old = undefined
  }
}

async function stopGraph(graph: Graph): Promise<void> {
  for (let level = 0; level < graph.levelCount; level++) {
    await graph.shutdownLevel(level, AbortSignal.timeout(5000))
  }
}
