/**
 * From a checked configuration to a graph: one per shard and configuration. Components that the graph
 * before has, with the same configuration and surroundings, are taken from there (keep.ts); all others are
 * made, and nothing is started.
 */
import type {
  Affinity,
  AnyConnector,
  AnyReceiver,
  Component,
  Consumer,
  Kind,
  Settings,
} from '../component/define.ts'
import type { TelemetryTable } from '../component/telemetry.ts'
import { mustHoldCaller } from '../config/durability.ts'
import type { ConfiguredComponent, PipelineConfig, ServiceConfig } from '../config/types.ts'
import { SIGNALS, type Signal } from '../otlp/batch.ts'
import { wrapExporter } from '../sending/shell.ts'
import { detailedTelemetry, sendingTelemetry } from '../sending/telemetry.ts'
import { handOver, WHOLE_SHARDS } from '../workers/hand-over.ts'
import { balance } from './balance.ts'
import { processorEdges, ReceiverEdge } from './edge.ts'
import { createHost, type Environment } from './environment.ts'
import { type Branch, fanOut } from './fan-out.ts'
import { Graph } from './graph.ts'
import { Inlet, type ReceiverNode } from './inlet.ts'
import {
  ConfigParts,
  type Extensions,
  ExtensionUses,
  type Identity,
  isSame,
  type Node,
  Predecessor,
} from './keep.ts'
import { Outlet } from './outlet.ts'
import { affinityOf, whereSeriesMeet } from './series-order.ts'

export interface GraphParts {
  readonly config: ServiceConfig
  /** The configuration as plain values, to see what a reload changes. */
  readonly tree: unknown
  readonly environment: Environment
  /** The started extensions of this thread. */
  readonly extensions: Extensions
  /** The graph that runs until this one takes over. */
  readonly previous: Graph | undefined
}

/** Builds, without starting anything. */
export function buildGraph(parts: GraphParts): Graph {
  return new GraphBuilder(parts).build()
}

type AnyComponent = ConfiguredComponent<{
  readonly telemetry: TelemetryTable
  readonly source?: string | undefined
}>

/** What is to stand at one place of the graph. */
interface Place {
  readonly kind: Kind
  readonly component: AnyComponent
  /** Tells instances of one id apart: the pipeline, or signals. */
  readonly instance: string
  /** Of a processor. */
  readonly pipeline?: string
  readonly level: number
  readonly surroundings: Identity
  readonly targets: ReadonlyMap<string, Consumer>
  outlet?(target: Consumer): Outlet
  create(settings: AnySettings, next: (key: string) => Consumer): Component & Consumer
}
type AnySettings = Settings<unknown, TelemetryTable>

class GraphBuilder {
  readonly #config: ServiceConfig
  readonly #environment: Environment
  readonly #extensions: Extensions
  readonly #parts: ConfigParts
  readonly #previous: Graph | undefined
  readonly #predecessor: Predecessor
  readonly #nodes: Node[] = []
  readonly #receivers: ReceiverNode[] = []
  readonly #stages = new Map<string, Consumer>()
  readonly #exporters = new Map<string, Consumer>()
  readonly #connectors = new Map<string, Branch>()
  readonly #pipelines = new Map<string, Branch>()
  readonly #lastLevel: number

  constructor({ config, tree, environment, extensions, previous }: GraphParts) {
    this.#config = config
    this.#parts = new ConfigParts(tree)
    this.#environment = environment
    this.#extensions = extensions
    this.#previous = previous
    const pipelines = { before: previous?.pipelines ?? [], now: config.service.pipelines }
    this.#predecessor = new Predecessor(previous?.nodes ?? [], pipelines, extensions)
    let last = 1
    for (const pipeline of config.service.pipelines) last = Math.max(last, this.#endLevel(pipeline))
    this.#lastLevel = last
  }

  build(): Graph {
    for (const pipeline of this.#config.service.pipelines) this.#pipeline(pipeline)
    for (const receiver of this.#config.receivers.values()) this.#receiver(receiver)
    return new Graph({
      nodes: this.#nodes,
      receivers: this.#receivers,
      stages: this.#stages,
      pipelines: this.#config.service.pipelines,
      levelCount: this.#lastLevel + 1,
      extensions: this.#extensions,
      environment: this.#environment,
    })
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

  #settings(kind: Kind, component: AnyComponent, scope: string, uses: ExtensionUses): AnySettings {
    const { id, config, definition } = component
    const { meter, logger } = this.#environment
    return {
      id,
      config, // Parsed by the schema of this very definition.
      telemetry: meter.instruments(definition.telemetry, { [kind]: id }),
      logger: logger.child({ 'otelcol.component.id': id, 'otelcol.component.kind': kind }),
      host: createHost(this.#environment, scope, `${kind}s/${id}`, uses),
    }
  }

  #identity(kind: Kind, { id, definition }: AnyComponent, surroundings: Identity): Identity {
    return { config: this.#parts.of(`${kind}s`, id), source: definition.source, ...surroundings }
  }

  /** The component for a place: the one that is there already, or a new one. */
  #place(place: Place): Node {
    const { kind, component, targets, level } = place
    const name = `${kind}s/${component.id}/${place.instance}`
    const identity = this.#identity(kind, component, place.surroundings)
    const before = this.#predecessor.at(name, place.pipeline)
    const common = { name, identity, level, targets }
    let node: Node
    if (before !== undefined && this.#predecessor.keeps(before, identity, targets)) {
      const { component, outlets, uses } = before
      node = { ...common, component, outlets, uses, from: before, replaces: undefined, owned: false }
      this.#keepAnswer(name)
    } else {
      const uses = new ExtensionUses(this.#extensions)
      const outlets = new Map<string, Outlet>()
      for (const [key, target] of targets) outlets.set(key, place.outlet?.(target) ?? new Outlet(target))
      const made = place.create(this.#settings(kind, component, name, uses), (key) => get(outlets, key))
      node = { ...common, component: made, outlets, uses, from: undefined, replaces: before, owned: true }
    }
    this.#nodes.push(node)
    return node
  }

  /** What a component that is kept answers to other shards. */
  #keepAnswer(scope: string): void {
    const answer = this.#previous?.environment.answers.get(scope)
    if (answer !== undefined) this.#environment.answers.set(scope, answer)
  }

  #exporter(id: string, signal: Signal): Consumer {
    const key = `${id}/${signal}`
    const known = this.#exporters.get(key)
    if (known !== undefined) return known
    const component = get(this.#config.exporters, id)
    const { definition } = component
    const { meter } = this.#environment
    const detailed = this.#config.service.telemetry.metrics.level === 'detailed'
    const node = this.#place({
      kind: 'exporter',
      component,
      instance: signal,
      level: this.#lastLevel,
      surroundings: { detailed },
      targets: new Map(),
      create(settings) {
        const exporter = definition.create({ ...settings, signal })
        return wrapExporter(exporter, definition.sending?.(settings.config), {
          id,
          signal,
          host: settings.host,
          logger: settings.logger,
          telemetry: meter.instruments(sendingTelemetry(signal), { exporter: id }),
          detailed: detailed ? meter.instruments(detailedTelemetry, { exporter: id }) : undefined,
        })
      },
    })
    const consumer = this.#withAffinity(affinityOf(component), node.name, node.component)
    this.#exporters.set(key, consumer)
    return consumer
  }

  #withAffinity(affinity: Affinity, stage: string, next: Consumer): Consumer {
    const { links, shard } = this.#environment
    if (affinity === 'none' || links.length < 2) return next
    this.#stages.set(stage, next)
    return handOver(affinity, stage, shard, links, next)
  }

  /** The consumer at the head of a pipeline. */
  #pipeline(pipeline: PipelineConfig): Branch {
    const known = this.#pipelines.get(pipeline.id)
    if (known !== undefined) return known
    const { signal } = pipeline
    let next = fanOut(pipeline.exporters.map((id) => this.#end(id, pipeline)))
    let mutatesData = false
    const first = this.#startLevelOf(pipeline)
    const holdsCaller = mustHoldCaller(this.#config, pipeline, new Set())
    const meeting = whereSeriesMeet(this.#config, pipeline)
    for (let index = pipeline.processors.length - 1; index >= 0; index--) {
      const id = pipeline.processors[index] ?? ''
      const component = get(this.#config.processors, id)
      const { definition } = component
      const edges = processorEdges(this.#environment.meter, id, signal)
      const node = this.#place({
        kind: 'processor',
        component,
        instance: pipeline.id,
        pipeline: pipeline.id,
        level: first + index,
        surroundings: { holdsCaller },
        targets: new Map([['', next]]),
        outlet: (target) => edges.behind(target),
        create: (settings, outlet) =>
          definition.create({ ...settings, signal, pipeline: pipeline.id, next: outlet(''), holdsCaller }),
      })
      const affinity = definition.affinity ?? (index === meeting.index ? meeting.affinity : 'none')
      next = this.#withAffinity(affinity, node.name, edges.before(node.component))
      mutatesData ||= definition.capabilities.mutatesData
    }
    const head = this.#environment.taps?.head(pipeline.id, next) ?? next
    const branch = { consumer: head, mutatesData }
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
    const key = `${component.id}/${from}/${to}`
    const known = this.#connectors.get(key)
    if (known !== undefined) return known
    const pipelines = this.#config.service.pipelines.filter(
      (pipeline) => pipeline.signal === to && pipeline.receivers.includes(component.id),
    )
    if (pipelines.length === 0) return undefined
    const branches = pipelines.map((pipeline) => this.#pipeline(pipeline))
    const targets = new Map([['', fanOut(branches)]])
    // The two lists are of the same length.
    for (const [index, { id }] of pipelines.entries()) targets.set(id, branches[index]?.consumer as Consumer)
    const ids = pipelines.map(({ id }) => id)
    const node = this.#place({
      kind: 'connector',
      component,
      instance: `${from}/${to}`,
      level: Math.min(...pipelines.map((pipeline) => this.#startLevelOf(pipeline))) - 1,
      surroundings: { pipelines: ids },
      targets,
      create: (settings, outlet) =>
        component.definition.create({
          ...settings,
          from,
          to,
          next: new Map(ids.map((id) => [id, outlet(id)])),
          all: outlet(''),
        }),
    })
    const branch = { consumer: node.component, mutatesData: branches.some((target) => target.mutatesData) }
    this.#connectors.set(key, branch)
    return branch
  }

  #receiver(component: ConfiguredComponent<AnyReceiver>): void {
    const { id } = component
    const { meter } = this.#environment
    const edges: Partial<Record<Signal, ReceiverEdge>> = {}
    for (const signal of SIGNALS) {
      const pipelines = this.#config.service.pipelines.filter(
        (pipeline) => pipeline.signal === signal && pipeline.receivers.includes(id),
      )
      if (pipelines.length === 0) continue
      const stage = `receivers/${id}/${signal}`
      const head = fanOut(pipelines.map((pipeline) => this.#pipeline(pipeline)))
      this.#stages.set(stage, head)
      const balanced = this.#goesToAll(pipelines) ? head : balance(head, stage, this.#environment)
      edges[signal] = new ReceiverEdge(balanced, meter, id, signal)
    }
    if (Object.keys(edges).length === 0) return // Configured, but in no pipeline: it is never built.
    const identity = this.#identity('receiver', component, { signals: Object.keys(edges) })
    const from = this.#previous?.receivers.find((node) => node.id === id)
    if (from !== undefined && isSame(from, identity, this.#extensions)) {
      const { component, inlets, uses } = from
      this.#keepAnswer(`receivers/${id}`)
      this.#receivers.push({ id, component, identity, uses, inlets, edges, from, owned: false })
    } else this.#receivers.push(this.#newReceiver(component, identity, edges))
  }

  /**
   * Whether requests go to each of few shards anyway, for the traces that it owns. Balanced as well, they would come back in
   * halves, which costs more than it takes off a busy shard: 10 % of the throughput of one connection.
   */
  #goesToAll(pipelines: readonly PipelineConfig[]): boolean {
    const { processors } = this.#config
    const traced = (id: string) => get(processors, id).definition.affinity === 'trace'
    return (
      this.#environment.links.length <= WHOLE_SHARDS &&
      pipelines.every((pipeline) => pipeline.processors.some(traced))
    )
  }

  #newReceiver(
    component: ConfiguredComponent<AnyReceiver>,
    identity: Identity,
    edges: ReceiverNode['edges'],
  ): ReceiverNode {
    const { id } = component
    const inlets: Partial<Record<Signal, Inlet>> = {}
    for (const signal of SIGNALS) {
      const edge = edges[signal]
      if (edge !== undefined) inlets[signal] = new Inlet(edge)
    }
    const uses = new ExtensionUses(this.#extensions)
    const settings = this.#settings('receiver', component, `receivers/${id}`, uses)
    const receiver = component.definition.create({ ...settings, next: inlets })
    return { id, component: receiver, identity, uses, inlets, edges, from: undefined, owned: true }
  }
}

/** The configuration has been checked: every reference resolves. */
function get<T>(map: ReadonlyMap<string, T>, id: string): T {
  const found = map.get(id)
  if (found === undefined) throw new RangeError(`"${id}" is not configured`)
  return found
}
