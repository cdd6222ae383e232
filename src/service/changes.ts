/**
 * What a reload does to the components, by their names: `processors/batch/traces`, `receivers/otlp`. For
 * the log and for whoever asked.
 */
import type { Graph } from './graph.ts'
import type { ShardExtensions } from './shard-extensions.ts'

export interface Changes {
  /** They run on, with all that they hold. */
  readonly kept: readonly string[]
  /** Made anew in the place of the one before. */
  readonly restarted: readonly string[]
  readonly added: readonly string[]
  readonly removed: readonly string[]
}

/** One configuration in a shard. */
export interface Running {
  readonly graph: Graph
  readonly extensions: ShardExtensions
}

/** To be asked before the commit. */
export function changesOf(previous: Running | undefined, next: Running): Changes {
  const before = new Set(previous === undefined ? [] : namesOf(previous).map(({ name }) => name))
  const kept: string[] = []
  const restarted: string[] = []
  const added: string[] = []
  for (const { name, owned } of namesOf(next)) {
    const list = !owned ? kept : before.has(name) ? restarted : added
    list.push(name)
    before.delete(name)
  }
  return { kept, restarted, added, removed: [...before] }
}

function namesOf({ graph, extensions }: Running): { readonly name: string; readonly owned: boolean }[] {
  return [
    ...extensions.entries().map(({ id, owned }) => ({ name: `extensions/${id}`, owned })),
    ...graph.receivers.map(({ id, owned }) => ({ name: `receivers/${id}`, owned })),
    ...graph.nodes,
  ]
}
