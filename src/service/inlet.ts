/**
 * Where a receiver hands its data: to the graph of the day. A receiver whose configuration did not change
 * lives on through a reload, with its connections; only the pipelines behind its inlets are exchanged.
 */
import type { Component, Consumer } from '../component/define.ts'
import type { Batch, Signal } from '../otlp/batch.ts'
import { keepPayload } from '../otlp/payload-pool.ts'
import type { ReceiverEdge } from './edge.ts'
import type { Extensions, Keepable } from './keep.ts'

export class Inlet implements Consumer {
  #edge: ReceiverEdge
  /** The receiver may have taken buffers for pipelines that let go of them, and these keep them. */
  #keeps = false

  constructor(edge: ReceiverEdge) {
    this.#edge = edge
  }

  switchTo(edge: ReceiverEdge): void {
    this.#keeps = !edge.releases && (this.#keeps || this.#edge.releases)
    this.#edge = edge
  }

  consume(batch: Batch): Promise<void> {
    if (this.#keeps) for (const chunk of batch.chunks) keepPayload(chunk)
    return this.#edge.consume(batch)
  }

  refusal() {
    return this.#edge.refusal()
  }

  get releases() {
    return this.#edge.releases
  }

  answered(batch: Batch, accepted: boolean): void {
    this.#edge.answered(batch, accepted)
  }
}

/**
 * A receiver of one graph: the component, perhaps taken over from the graph before, and this graph's edges
 * behind it.
 */
export interface ReceiverNode extends Keepable {
  readonly id: string
  readonly component: Component
  readonly inlets: Readonly<Partial<Record<Signal, Inlet>>>
  readonly edges: Readonly<Partial<Record<Signal, ReceiverEdge>>>
  /** The node of the graph before that holds the component until the commit. */
  from: ReceiverNode | undefined
  /** The graph that owns the component starts and stops it. */
  owned: boolean
}

/** At the commit: the component and its data go over to this graph. */
export function takeOver(node: ReceiverNode, extensions: Extensions): void {
  const { from } = node
  node.from = undefined // Else every graph that ever was would be held.
  if (from === undefined) return
  from.owned = false
  node.owned = true
  node.uses.switchTo(extensions)
  for (const [signal, inlet] of Object.entries(node.inlets)) {
    const edge = node.edges[signal as Signal] // Both tables have the same keys.
    if (edge !== undefined) inlet.switchTo(edge)
  }
}
