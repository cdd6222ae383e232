/**
 * One shard: the whole graph of the configuration in one thread, driven by calls from main (workers/pool.ts).
 *
 * A configuration comes in two steps, at the start and at a reload alike. prepare() builds the new graph and starts everything
 * but its receivers; commit() starts the receivers, which take over the listeners. Until the commit the graph before
 * it runs on, so a configuration that fails to start changes nothing. Afterwards main stops the old graph level by level.
 */
import type { MessagePort } from 'node:worker_threads'
import { systemClock } from '../component/clock.ts'
import type { Component, Registry, RegistryLoader } from '../component/define.ts'
import type { Logger } from '../component/logger.ts'
import { counter, gauge } from '../component/telemetry.ts'
import { checkConfig } from '../config/check.ts'
import type { ServiceConfig } from '../config/types.ts'
import { toError } from '../errors.ts'
import { shrinkHeap } from '../workers/garbage.ts'
import { Link } from '../workers/link.ts'
import { type Port, Rpc } from '../workers/rpc.ts'
import { type SharedMemory, SharedView } from '../workers/shared.ts'
import { createHost, type Environment, type Respond } from './environment.ts'
import { buildGraph, type Graph } from './graph.ts'
import { isolatedBy } from './isolation.ts'
import { ListenerPool, type ListenPlace } from './listeners.ts'
import { createLogger } from './log.ts'
import { type SeriesRecord, SharedMeter } from './metrics.ts'

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
/** A thread below this use for this long after a change of configuration gives back what the change has left. */
const QUIET_UTILIZATION = 0.05
const QUIET_TICKS = 5

const telemetry = {
  sentItems: counter('hand_over_items', '{item}', 'Items handed to other shards.'),
  sentBytes: counter('hand_over_bytes', 'By', 'Payload bytes handed to other shards.'),
  utilization: gauge('shard_event_loop_utilization', '1', 'Share of time a shard is busy.', ['shard']),
}

interface Running {
  readonly graph: Graph
  readonly extensions: readonly Component[]
}

export class ShardService {
  readonly #start: ShardStart
  readonly #registry: Registry | RegistryLoader
  readonly #rpc: Rpc
  readonly #shared: SharedView
  readonly #meter: SharedMeter
  readonly #links: (Link | undefined)[] = []
  readonly #listeners: ListenerPool
  readonly #answers = new Map<string, Respond>()
  #starting = false
  /** Quiet ticks since the graph changed; beyond QUIET_TICKS when the heap has been shrunk. */
  #quietTicks = QUIET_TICKS + 1
  #prepared: Running | undefined
  #current: Running | undefined
  #old: Running | undefined

  constructor(start: ShardStart, registry: Registry | RegistryLoader, port: Port) {
    this.#start = start
    this.#registry = registry
    this.#shared = new SharedView(start.memory, start.shard)
    this.#rpc = new Rpc(port, {
      prepare: (tree: unknown) => this.#prepare(tree),
      commit: () => this.#commit(),
      abandon: () => this.#abandon(),
      levels: (which: 'current' | 'old') => this.#running(which)?.graph.levelCount ?? 0,
      shutdownLevel: (call: { which: 'current' | 'old'; level: number; timeoutMs: number }) =>
        this.#shutdownLevel(call.which, call.level, call.timeoutMs),
      peer: ({ shard, port: peer }: { shard: number; port: MessagePort }) =>
        this.#links[shard]?.connect(peer),
      peerGone: (shard: number) => this.#links[shard]?.disconnect(),
      ask: ({ scope, question }: { scope: string; question: string }) => this.#answers.get(scope)?.(question),
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
    this.#publish(own.utilization.with({ shard: String(start.shard) }))
  }

  #publish(utilization: { set(value: number): void }): void {
    let last = performance.eventLoopUtilization()
    const timer = setInterval(() => {
      const now = performance.eventLoopUtilization()
      const busy = performance.eventLoopUtilization(now, last).utilization
      last = now
      this.#shared.publish(busy)
      this.#settle(busy)
      utilization.set(busy)
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
    return {
      shard: this.#start.shard,
      shards: this.#start.shards,
      clock: systemClock,
      shared: this.#shared,
      meter: this.#meter,
      logger,
      listeners: this.#listeners,
      links: this.#links,
      answers: this.#answers,
      gather: (scope, question, timeoutMs) => this.#rpc.call('gather', { scope, question, timeoutMs }),
      report: (id, status, error) => this.#rpc.tell('status', { id, status, error: error?.message }),
      runIsolated: isolatedBy(this.#rpc, tree),
    }
  }

  async #prepare(tree: unknown): Promise<void> {
    this.#starting = true
    const registry = this.#registry
    const config = checkConfig(tree, typeof registry === 'function' ? await registry(tree) : registry)
    const fields = this.#start.shards > 1 ? { shard: this.#start.shard } : {}
    // What a component says while it starts, it says on every shard: shard 0 speaks for all.
    const quiet = () => this.#start.shard !== 0 && this.#starting
    const environment = this.#environment(createLogger(config.service.telemetry.logs, fields, quiet), tree)
    const extensions = new Map<string, Component>()
    try {
      await this.#startExtensions(config, environment, extensions)
      const graph = buildGraph({ config, tree, environment, extensions, previous: this.#current?.graph })
      // Peers of a shard that starts again have data for it at once: its stages are there for them when all have started.
      await graph.startDownstream().catch(async (error: unknown) => {
        await stopGraph(graph)
        throw error
      })
      this.#prepared = { graph, extensions: [...extensions.values()] }
    } catch (error) {
      await stopAll([...extensions.values()])
      throw error
    }
  }

  async #startExtensions(
    config: ServiceConfig,
    environment: Environment,
    started: Map<string, Component>,
  ): Promise<void> {
    for (const id of config.service.extensions) {
      const component = config.extensions.get(id)
      if (component === undefined || component.definition.runsIn !== 'shard') continue
      const scope = `extensions/${id}`
      const extension = component.definition.create({
        id,
        config: component.config,
        telemetry: this.#meter.instruments(component.definition.telemetry, { extension: id }),
        logger: environment.logger.child({
          'otelcol.component.id': id,
          'otelcol.component.kind': 'extension',
        }),
        host: createHost(environment, scope, scope, started),
        service: { notReadyReason: () => undefined, startedAtMs: 0, statuses: () => new Map() },
      })
      started.set(id, extension)
      await extension.start?.().catch((cause: unknown) => {
        throw new Error(`extensions/${id}: ${toError(cause).message}`, { cause })
      })
    }
  }

  async #commit(): Promise<void> {
    const prepared = this.#prepared
    if (prepared === undefined) throw new RangeError('nothing is prepared')
    try {
      await prepared.graph.startReceivers()
      this.#starting = false
      this.#quietTicks = 0
    } catch (error) {
      await this.#abandon()
      throw error
    }
    this.#old = this.#current
    this.#current = prepared
    this.#prepared = undefined
  }

  /** Stops what was prepared and not committed. */
  async #abandon(): Promise<void> {
    const prepared = this.#prepared
    this.#prepared = undefined
    if (prepared === undefined) return
    await stopGraph(prepared.graph)
    await stopAll(prepared.extensions)
  }

  async #shutdownLevel(which: 'current' | 'old', level: number, timeoutMs: number): Promise<void> {
    const running = this.#running(which)
    if (running === undefined) return
    await running.graph.shutdownLevel(level, AbortSignal.timeout(Math.max(1, Math.ceil(timeoutMs))))
    if (level < running.graph.levelCount - 1) return
    await stopAll(running.extensions)
    if (which === 'old') this.#old = undefined
  }
}

async function stopGraph(graph: Graph): Promise<void> {
  for (let level = 0; level < graph.levelCount; level++) {
    await graph.shutdownLevel(level, AbortSignal.timeout(5000))
  }
}

async function stopAll(extensions: readonly Component[]): Promise<void> {
  for (const extension of [...extensions].reverse()) {
    await extension.shutdown?.(AbortSignal.timeout(5000))
  }
}
