/**
 * What a reload leaves as it is. A component whose configuration and surroundings are the same is taken
 * over by the new graph with all that it holds: connections, queue, undecided traces. One that changed is
 * made anew and takes its place in the chain; the old one is drained into what stands behind that place in
 * the new graph.
 *
 * Until the commit nothing is touched: a graph that is abandoned leaves its predecessor as it was.
 */
import { isDeepStrictEqual } from 'node:util'
import type { Component, Consumer } from '../component/define.ts'
import { parseId } from '../config/ids.ts'
import type { PipelineConfig } from '../config/types.ts'
import type { Outlet } from './outlet.ts'

/** All that a component was made from and could tell. Plain values. */
export type Identity = Readonly<Record<string, unknown>>

/** The extensions that one component has asked for: it lives on only as long as they do. */
export class ExtensionUses {
  readonly #asked = new Set<string>()
  #extensions: Extensions

  constructor(extensions: Extensions) {
    this.#extensions = extensions
  }

  get(id: string): unknown {
    this.#asked.add(id)
    return this.#extensions.get(id)
  }

  sameIn(extensions: Extensions): boolean {
    return [...this.#asked].every((id) => this.#extensions.get(id) === extensions.get(id))
  }

  switchTo(extensions: Extensions): void {
    this.#extensions = extensions
  }
}

/** The started extensions of a thread, by id. */
export interface Extensions {
  get(id: string): unknown
}

/** A component that may be taken over. */
export interface Keepable {
  readonly identity: Identity
  readonly uses: ExtensionUses
}

/** A component of one graph: made for it, or taken over from the one before. */
export interface Node extends Keepable {
  readonly name: string
  readonly component: Component & Consumer
  readonly level: number
  /** What the component got as `next`, by pipeline; '' where there is one only, or for all of them. */
  readonly outlets: ReadonlyMap<string, Outlet>
  /** Where the outlets lead in this graph. */
  readonly targets: ReadonlyMap<string, Consumer>
  /** Until the commit: the node before that has the component, or has its place. */
  from: Node | undefined
  replaces: Node | undefined
  /** The graph that owns the component starts and stops it. */
  owned: boolean
}

/** The graph before, to a builder. */
export class Predecessor {
  readonly #nodes: ReadonlyMap<string, Node>
  readonly #extensions: Extensions
  /** Pipelines whose processors stand in another order: what they hold goes the old way. */
  readonly #reordered = new Set<string>()

  constructor(
    nodes: readonly Node[],
    pipelines: { readonly before: readonly PipelineConfig[]; readonly now: readonly PipelineConfig[] },
    extensions: Extensions,
  ) {
    this.#nodes = new Map(nodes.map((node) => [node.name, node]))
    this.#extensions = extensions
    for (const { id, processors } of pipelines.now) {
      const before = pipelines.before.find((pipeline) => pipeline.id === id)?.processors ?? []
      const stayed = before.filter((processor) => processors.includes(processor))
      const stay = processors.filter((processor) => before.includes(processor))
      if (!isDeepStrictEqual(stay, stayed)) this.#reordered.add(id)
    }
  }

  /** The node of this name in the graph before. `pipeline` is that of a processor. */
  at(name: string, pipeline?: string): Node | undefined {
    return pipeline !== undefined && this.#reordered.has(pipeline) ? undefined : this.#nodes.get(name)
  }

  /** Its component can stand in the new graph, in front of these. */
  keeps(node: Node, identity: Identity, targets: ReadonlyMap<string, Consumer>): boolean {
    if (!isSame(node, identity, this.#extensions)) return false
    for (const [key, target] of targets) if (!node.outlets.get(key)?.fits(target)) return false
    return true
  }
}

export function isSame({ identity, uses }: Keepable, other: Identity, extensions: Extensions): boolean {
  return isDeepStrictEqual(identity, other) && uses.sameIn(extensions)
}

/**
 * At the commit: the component goes over to this graph, and what it is to replace flows into this graph
 * from now on.
 */
export function takeOverNode(node: Node, extensions: Extensions): void {
  const { from, replaces } = node
  node.from = node.replaces = undefined // Else every graph that ever was would be held.
  if (from !== undefined) {
    from.owned = false
    node.owned = true
    node.uses.switchTo(extensions)
    for (const [key, outlet] of node.outlets) {
      const target = node.targets.get(key)
      if (target !== undefined) outlet.switchTo(target)
    }
  }
  if (replaces === undefined) return
  replaces.component.handOver?.(node.component)
  for (const [key, outlet] of replaces.outlets) {
    const target = node.targets.get(key)
    if (target !== undefined && outlet.fits(target)) outlet.switchTo(target)
  }
}

/** The parts of a plain configuration by section and id: keys stand there as written, perhaps with spaces. */
export class ConfigParts {
  readonly #tree: Readonly<Record<string, unknown>>
  readonly #sections = new Map<string, Map<string, unknown>>()

  constructor(tree: unknown) {
    this.#tree = (tree ?? {}) as Readonly<Record<string, unknown>> // It was checked.
  }

  of(section: string, id: string): unknown {
    let parts = this.#sections.get(section)
    if (parts === undefined) {
      parts = new Map()
      for (const [key, part] of Object.entries(this.#tree[section] ?? {})) {
        const parsed = parseId(key)
        parts.set(typeof parsed === 'string' ? key : parsed.id, part ?? {})
      }
      this.#sections.set(section, parts)
    }
    return parts.get(id)
  }
}
