/**
 * A running configuration on one shard: its components, and the order in which they start and stop.
 *
 * Components start downstream first and stop upstream first, level by level: level 0 are the receivers, the
 * last one the exporters. All shards have the same levels, and main stops them level by level over all
 * shards, because what one shard flushes may belong to a stage of another.
 *
 * Invariant: a component belongs to one graph at a time. What a reload leaves as it is goes over to the new
 * graph at its commit, and the graph before stops the rest.
 */
import type { Component, Consumer } from '../component/define.ts'
import type { PipelineConfig } from '../config/types.ts'
import type { Environment } from './environment.ts'
import { type ReceiverNode, takeOver } from './inlet.ts'
import { type Extensions, type Node, takeOverNode } from './keep.ts'

export interface GraphContent {
  /** All but the receivers. */
  readonly nodes: readonly Node[]
  readonly receivers: readonly ReceiverNode[]
  /** Consumers that other shards may address. */
  readonly stages: ReadonlyMap<string, Consumer>
  readonly pipelines: readonly PipelineConfig[]
  readonly levelCount: number
  readonly extensions: Extensions
  readonly environment: Environment
}

export class Graph {
  readonly nodes: readonly Node[]
  readonly receivers: readonly ReceiverNode[]
  readonly stages: ReadonlyMap<string, Consumer>
  readonly pipelines: readonly PipelineConfig[]
  readonly levelCount: number
  readonly environment: Environment
  readonly #extensions: Extensions

  constructor(content: GraphContent) {
    this.nodes = content.nodes
    this.receivers = content.receivers
    this.stages = content.stages
    this.pipelines = content.pipelines
    this.levelCount = content.levelCount
    this.environment = content.environment
    this.#extensions = content.extensions
  }

  /** Everything but the receivers: after it the graph can take data from other shards. */
  async startDownstream(): Promise<void> {
    for (let level = this.levelCount - 1; level > 0; level--) {
      for (const node of this.nodes) {
        if (node.level === level && node.owned) await start(node.name, node.component)
      }
    }
  }

  /**
   * New receivers start. Those that the graph before had with the same configuration change over at the
   * commit.
   */
  async startReceivers(): Promise<void> {
    for (const { id, component, owned } of this.receivers)
      if (owned) await start(`receivers/${id}`, component)
  }

  /** Takes over from the graph before, at once: it cannot fail, and no data can come in between. */
  commit(): void {
    for (const node of this.nodes) takeOverNode(node, this.#extensions)
    for (const node of this.receivers) takeOver(node, this.#extensions)
  }

  /** Stops one level. An error of a component is logged and stops none of the others. */
  async shutdownLevel(level: number, deadline: AbortSignal): Promise<void> {
    if (level === 0) return this.#shutdownReceivers(deadline)
    const stopping = this.nodes.filter((node) => node.level === level && node.owned)
    await Promise.all(stopping.map((node) => this.#stop(node.name, node.component, deadline)))
    if (level === this.levelCount - 1) await this.#finishReceivers()
  }

  async #finishReceivers(): Promise<void> {
    for (const { id, component, owned } of this.receivers) {
      if (!owned) continue
      await component.finish?.().catch((error: unknown) => this.#complain(`receivers/${id}`, error))
    }
  }

  async #shutdownReceivers(deadline: AbortSignal): Promise<void> {
    for (const { component, owned } of this.nodes) if (owned) component.drain?.()
    const owned = this.receivers.filter((node) => node.owned)
    await Promise.all(owned.map((node) => this.#stop(`receivers/${node.id}`, node.component, deadline)))
    const edges = this.receivers.flatMap((node) => Object.values(node.edges))
    await Promise.all(edges.map((edge) => edge.idle(deadline)))
  }

  async #stop(name: string, component: Component, deadline: AbortSignal): Promise<void> {
    try {
      await component.shutdown?.(deadline)
    } catch (error) {
      this.#complain(name, error)
    }
  }

  #complain(component: string, error: unknown): void {
    this.environment.logger.error('component did not shut down cleanly', { component, error })
  }
}

async function start(name: string, component: Component): Promise<void> {
  try {
    await component.start?.()
  } catch (error) {
    throw new Error(`${name}: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
  }
}
