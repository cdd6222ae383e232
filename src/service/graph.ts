/**
 * From a checked configuration to running components: one graph per shard and configuration.
 *
 * Components start downstream first and stop upstream first, level by level: level 0 are the receivers, the last one the
 * exporters. All shards have the same levels, and main stops them level by level over all shards, because what one shard
 * flushes may belong to a stage of another.
 */
import { isDeepStrictEqual } from 'node:util'
import type { AnyConnector, AnyReceiver, Component, Consumer, Kind, Settings } from '../component/define.ts'
import type { TelemetryTable } from '../component/telemetry.ts'
import type { ConfiguredComponent, PipelineConfig, ServiceConfig } from '../config/types.ts'
import { SIGNALS, type Signal } from '../otlp/batch.ts'
import { wrapExporter } from '../sending/shell.ts'
import { detailedTelemetry, sendingTelemetry } from '../sending/telemetry.ts'
import { handOver } from '../workers/hand-over.ts'
import { balance } from './balance.ts'
import { processorEdges, ReceiverEdge } from './edge.ts'
import { createHost, type Environment } from './environment.ts'
import { type Branch, fanOut } from './fan-out.ts'
import { Inlet, type ReceiverNode, takeOver } from './inlet.ts'

interface Node {
  readonly name: string
  readonly component: Component
  readonly level: number
}

export class Graph {
  /** All but the receivers. */
  readonly nodes: readonly Node[]
  readonly receivers: readonly ReceiverNode[]
  /** Consumers that other shards may address. */
  readonly stages: ReadonlyMap<string, Consumer>
  readonly levelCount: number
  readonly #environment: Environment

  constructor(
    nodes: readonly Node[],
    receivers: readonly ReceiverNode[],
    stages: ReadonlyMap<string, Consumer>,
    levelCount: number,
    environment: Environment,
  ) {
    this.nodes = nodes
    this.receivers = receivers
    this.stages = stages
    this.levelCount = levelCount
    this.#environment = environment
  }

  /** Everything but the receivers: after it the graph can take data from other shards. */
  async startDownstream(): Promise<void> {
    for (let level = this.levelCount - 1; level > 0; level--) {
      for (const node of this.nodes) if (node.level === level) await start(node.name, node.component)
    }
  }

  /** New receivers start; those that the graph before had with the same configuration change over with their connections. */
  async startReceivers(): Promise<void> {
    for (const { id, component, owned } of this.receivers)
      if (owned) await start(`receivers/${id}`, component)
    for (const node of this.receivers) takeOver(node)
  }

  /** Stops one level. An error of a component is logged and stops none of the others. */
  async shutdownLevel(level: number, deadline: AbortSignal): Promise<void> {
    if (level === 0) return this.#shutdownReceivers(deadline)
    const stopping = this.nodes.filter((node) => node.level === level)
    await Promise.all(stopping.map((node) => this.#stop(node.name, node.component, deadline)))
    if (level === this.levelCount - 1) await this.#finishReceivers()
  }

  async #finishReceivers(): Promise<void> {
    for (const { id, component, owned } of this.receivers) {
      if (!owned) continue
      await component.finish?.().catch((error: unknown) => {
        this.#environment.logger.error('component did not shut down cleanly', {
          component: `receivers/${id}`,
          error,
        })
      })
    }
  }

  async #shutdownReceivers(deadline: AbortSignal): Promise<void> {
    for (const { component } of this.nodes) component.drain?.()
    const owned = this.receivers.filter((node) => node.owned)
    await Promise.all(owned.map((node) => this.#stop(`receivers/${node.id}`, node.component, deadline)))
    const edges = this.receivers.flatMap((node) => Object.values(node.edges))
    await Promise.all(edges.map((edge) => edge.idle(deadline)))
  }

  async #stop(name: string, component: Component, deadline: AbortSignal): Promise<void> {
    try {
      await component.shutdown?.(deadline)
    } catch (error) {
      this.#environment.logger.error('component did not shut down cleanly', { component: name, error })
    }
  }
}

async function start(name: string, component: Component): Promise<void> {
  try {
    await component.start?.()
  } catch (error) {
    throw new Error(`${name}: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
  }
}

export interface GraphParts {
  readonly config: ServiceConfig
  /** The configuration as plain values, to see what a reload changes. */
  readonly tree: unknown
  readonly environment: Environment
  /** The started extensions of this thread. */
  readonly extensions: ReadonlyMap<string, unknown>
  /** The graph that runs until this one takes over. */
  readonly previous: Graph | undefined
}

/** Builds, without starting anything. */
export function buildGraph(parts: GraphParts): Graph {
  return new GraphBuilder(parts).build()
}

class GraphBuilder {
  readonly #config: ServiceConfig
  readonly #environment: Environment
  readonly #extensions: ReadonlyMap<string, unknown>
  readonly #tree: unknown
  readonly #previous: Graph | undefined
  readonly #nodes: Node[] = []
  readonly #receivers: ReceiverNode[] = []
  readonly #stages = new Map<string, Consumer>()
  readonly #exporters = new Map<string, Consumer>()
  readonly #connectors = new Map<string, Branch>()
  readonly #pipelines = new Map<string, Branch>()
  readonly #byId = new Map<string, PipelineConfig>()
  readonly #lastLevel: number

  constructor({ config, tree, environment, extensions, previous }: GraphParts) {
    this.#config = config
    this.#tree = tree
    this.#environment = environment
    this.#extensions = extensions
    this.#previous = previous
    for (const pipeline of config.service.pipelines) this.#byId.set(pipeline.id, pipeline)
    let last = 1
    for (const pipeline of config.service.pipelines) last = Math.max(last, this.#endLevel(pipeline))
    this.#lastLevel = last
  }

  build(): Graph {
    for (const pipeline of this.#config.service.pipelines) this.#pipeline(pipeline)
    for (const receiver of this.#config.receivers.values()) this.#receiver(receiver)
    return new Graph(this.#nodes, this.#receivers, this.#stages, this.#lastLevel + 1, this.#environment)
  }

  /** Level of the first processor: behind its receivers, or behind the connectors that feed it. */
  #startLevelOf(pipeline: PipelineConfig): number {
    let level = 1
    for (const id of pipeline.receivers) {
      if (!this.#config.connectors.has(id)) continue
      for (const from of this.#config.service.pipelines) {
        if (from.exporters.includes(id)) level = Math.max(level, this.#endLevel(from) + 1)
      }
    }
    return level
  }

  /** Level of its exporters and connectors. */
  #endLevel(pipeline: PipelineConfig): number {
    return this.#startLevelOf(pipeline) + pipeline.processors.length
  }

  #settings<C>(kind: Kind, component: ConfiguredComponent<{ telemetry: TelemetryTable }>, instance: string) {
    const { id } = component
    const logger = this.#environment.logger.child({
      'otelcol.component.id': id,
      'otelcol.component.kind': kind,
    })
    const settings: Settings<C, TelemetryTable> = {
      id,
      config: component.config as C, // Parsed by the schema of this very definition.
      telemetry: this.#environment.meter.instruments(component.definition.telemetry, { [kind]: id }),
      logger,
      host: createHost(
        this.#environment,
        `${kind}s/${id}${instance === '' ? '' : `/${instance}`}`,
        `${kind}s/${id}`,
        this.#extensions,
      ),
    }
    return settings
  }

  #exporter(id: string, signal: Signal): Consumer {
    const name = `exporters/${id}/${signal}`
    const known = this.#exporters.get(name)
    if (known !== undefined) return known
    const component = get(this.#config.exporters, id)
    const { definition } = component
    const settings = this.#settings<unknown>('exporter', component, signal)
    const exporter = definition.create({ ...settings, signal })
    const { meter } = this.#environment
    const detailed = this.#config.service.telemetry.metrics.level === 'detailed'
    const shell = wrapExporter(exporter, definition.sending?.(settings.config), {
      id,
      signal,
      host: settings.host,
      logger: settings.logger,
      telemetry: meter.instruments(sendingTelemetry(signal), { exporter: id }),
      detailed: detailed ? meter.instruments(detailedTelemetry, { exporter: id }) : undefined,
    })
    this.#nodes.push({ name, component: shell, level: this.#lastLevel })
    const consumer = this.#withAffinity(definition.affinity ?? 'none', name, shell)
    this.#exporters.set(name, consumer)
    return consumer
  }

  #withAffinity(affinity: 'none' | 'trace' | 'series' | 'process', stage: string, next: Consumer): Consumer {
    const { links, shard } = this.#environment
    if (affinity === 'none' || links.length < 2) return next
    this.#stages.set(stage, next)
    return handOver(affinity, stage, shard, links, next)
  }

  /** The consumer at the head of a pipeline. */
  #pipeline(pipeline: PipelineConfig): Branch {
    const known = this.#pipelines.get(pipeline.id)
    if (known !== undefined) return known
    let next = fanOut(pipeline.exporters.map((id) => this.#end(id, pipeline)))
    let mutatesData = false
    const first = this.#startLevelOf(pipeline)
    const holdsCaller = this.#holdsCaller(pipeline, new Set())
    for (let index = pipeline.processors.length - 1; index >= 0; index--) {
      const id = pipeline.processors[index] ?? ''
      const component = get(this.#config.processors, id)
      const { definition } = component
      const name = `processors/${id}/${pipeline.id}`
      const edges = processorEdges(this.#environment.meter, id, pipeline.signal)
      const processor = definition.create({
        ...this.#settings('processor', component, pipeline.id),
        signal: pipeline.signal,
        pipeline: pipeline.id,
        next: edges.behind(next),
        holdsCaller,
      })
      this.#nodes.push({ name, component: processor, level: first + index })
      next = this.#withAffinity(definition.affinity ?? 'none', name, edges.before(processor))
      mutatesData ||= definition.capabilities.mutatesData
    }
    const branch = { consumer: next, mutatesData }
    this.#pipelines.set(pipeline.id, branch)
    return branch
  }

  /** An exporter or connector at the end of a pipeline. Exporters never write into what they get. */
  #end(id: string, pipeline: PipelineConfig): Branch {
    if (this.#config.exporters.has(id)) {
      return { consumer: this.#exporter(id, pipeline.signal), mutatesData: false }
    }
    const component = get(this.#config.connectors, id)
    const branches: Branch[] = []
    for (const route of component.definition.routes) {
      if (route.from !== pipeline.signal) continue
      const branch = this.#connector(component, route.from, route.to)
      if (branch !== undefined) branches.push(branch)
    }
    return { consumer: fanOut(branches), mutatesData: branches.some((branch) => branch.mutatesData) }
  }

  #connector(component: ConfiguredComponent<AnyConnector>, from: Signal, to: Signal): Branch | undefined {
    const name = `connectors/${component.id}/${from}/${to}`
    const known = this.#connectors.get(name)
    if (known !== undefined) return known
    const targets = this.#config.service.pipelines.filter(
      (pipeline) => pipeline.signal === to && pipeline.receivers.includes(component.id),
    )
    if (targets.length === 0) return undefined
    const branches = targets.map((pipeline) => this.#pipeline(pipeline))
    const connector = component.definition.create({
      ...this.#settings('connector', component, `${from}/${to}`),
      from,
      to,
      next: new Map(targets.map((pipeline, index) => [pipeline.id, branches[index]?.consumer as Consumer])),
      all: fanOut(branches),
    })
    const level = Math.min(...targets.map((pipeline) => this.#startLevelOf(pipeline))) - 1
    this.#nodes.push({ name, component: connector, level })
    const branch = { consumer: connector, mutatesData: branches.some((target) => target.mutatesData) }
    this.#connectors.set(name, branch)
    return branch
  }

  #receiver(component: ConfiguredComponent<AnyReceiver>): void {
    const { id } = component
    const { meter } = this.#environment
    const edges: Partial<Record<Signal, ReceiverEdge>> = {}
    for (const signal of SIGNALS) {
      const branches = this.#config.service.pipelines
        .filter((pipeline) => pipeline.signal === signal && pipeline.receivers.includes(id))
        .map((pipeline) => this.#pipeline(pipeline))
      if (branches.length === 0) continue
      const stage = `receivers/${id}/${signal}`
      const head = fanOut(branches)
      this.#stages.set(stage, head)
      edges[signal] = new ReceiverEdge(balance(head, stage, this.#environment), meter, id, signal)
    }
    if (Object.keys(edges).length === 0) return // Configured, but in no pipeline: it is never built.
    this.#receivers.push(this.#kept(id, edges) ?? this.#newReceiver(component, edges))
  }

  /** The running receiver of the graph before, when neither its configuration nor its signals changed. */
  #kept(id: string, edges: ReceiverNode['edges']): ReceiverNode | undefined {
    const from = this.#previous?.receivers.find((node) => node.id === id)
    if (from === undefined || !isDeepStrictEqual(from.tree, receiverTree(this.#tree, id))) return undefined
    if (!isDeepStrictEqual(Object.keys(from.edges), Object.keys(edges))) return undefined
    const { component, tree, inlets } = from
    return { id, component, tree, inlets, edges, from, owned: false }
  }

  #newReceiver(component: ConfiguredComponent<AnyReceiver>, edges: ReceiverNode['edges']): ReceiverNode {
    const inlets: Partial<Record<Signal, Inlet>> = {}
    for (const signal of SIGNALS) {
      const edge = edges[signal]
      if (edge !== undefined) inlets[signal] = new Inlet(edge)
    }
    const settings = this.#settings('receiver', component, '')
    const receiver = component.definition.create({ ...settings, next: inlets })
    const tree = receiverTree(this.#tree, component.id)
    return { id: component.id, component: receiver, tree, inlets, edges, from: undefined, owned: true }
  }

  /**
   * True when an exporter behind this pipeline sends without a queue or waits for the result: a stage that would acknowledge
   * on acceptance then waits too, so that the sender hears of a refusal. Exporters that stay on this machine (debug, file,
   * pull, nop) take what they get and do not count.
   */
  #holdsCaller(pipeline: PipelineConfig, seen: Set<string>): boolean {
    if (seen.has(pipeline.id)) return false
    seen.add(pipeline.id)
    return pipeline.exporters.some((id) => {
      const exporter = this.#config.exporters.get(id)
      if (exporter !== undefined) {
        const sending = exporter.definition.sending?.(exporter.config)
        if (sending === undefined) return false
        return sending.queue === undefined ? sending.local !== true : sending.queue.waitForResult
      }
      return this.#config.service.pipelines.some(
        (target) => target.receivers.includes(id) && this.#holdsCaller(target, seen),
      )
    })
  }
}

/** A receiver's part of the plain configuration, and its storage's. Ids stand there as written. */
function receiverTree(tree: unknown, id: string): unknown {
  const { receivers = {}, extensions = {} } = (tree ?? {}) as Record<string, Record<string, unknown>> // Checked.
  const key = Object.keys(receivers).find((name) => name === id)
  const own = key === undefined ? Symbol(id) : receivers[key]
  const storage = (own as { storage?: unknown } | undefined)?.storage
  return typeof storage === 'string' ? [own, extensions[storage]] : own
}

/** The configuration has been checked: every reference resolves. */
function get<T>(map: ReadonlyMap<string, T>, id: string): T {
  const found = map.get(id)
  if (found === undefined) throw new RangeError(`"${id}" is not configured`)
  return found
}
