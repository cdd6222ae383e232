/**
 * The merged configuration as a tree that remembers where every value was written.
 *
 * Aliases, merges and expansions copy nodes, so no two places of the tree share one: a repair of one value
 * (`decode.ts`) cannot change another. Keys live in Maps, so no key can reach a prototype.
 */

/** Where a value was written. Lines and columns count from 1; 0 when the source has none (`--set`). */
export interface Place {
  readonly file: string
  readonly line: number
  readonly column: number
}

export interface ScalarNode {
  readonly kind: 'scalar'
  readonly place: Place
  readonly value: string | number | boolean | null
  /**
   * Set when the whole value came from one expression: its content as text, for targets that want a string.
   */
  readonly text?: string | undefined
  /** The value could not be made; the problem is reported, and nothing else is said about it. */
  readonly broken?: boolean | undefined
  /** Some part of it came from an expression: messages do not repeat it, since it may be a secret. */
  readonly expanded?: boolean | undefined
}

export interface ListNode {
  readonly kind: 'list'
  readonly place: Place
  readonly items: ConfigNode[]
  readonly text?: string | undefined
  readonly expanded?: boolean | undefined
}

export interface MapNode {
  readonly kind: 'map'
  readonly place: Place
  readonly entries: Map<string, Entry>
  readonly text?: string | undefined
  readonly expanded?: boolean | undefined
}

export type ConfigNode = ScalarNode | ListNode | MapNode

/** A value together with the place of its key. The root of a document is one too. */
export interface Entry {
  readonly keyPlace: Place
  value: ConfigNode
}

export type Path = readonly (string | number)[]

/** Nesting deeper than this is refused, in one source and after expansion. */
export const MAX_DEPTH = 100

export function emptyMap(place: Place): MapNode {
  return { kind: 'map', place, entries: new Map() }
}

export function isNull(node: ConfigNode | undefined): boolean {
  return node === undefined || (node.kind === 'scalar' && node.value === null)
}

/** The tree as plain values, which worker threads can be sent. */
export function toPlain(node: ConfigNode): unknown {
  if (node.kind === 'scalar') return node.value
  if (node.kind === 'list') return node.items.map(toPlain)
  const result: Record<string, unknown> = {}
  for (const [key, entry] of node.entries) result[key] = toPlain(entry.value)
  return result
}

/** The way back: plain values as a tree without places. */
export function fromPlain(value: unknown, place: Place): ConfigNode {
  if (Array.isArray(value)) return { kind: 'list', place, items: value.map((item) => fromPlain(item, place)) }
  if (typeof value === 'object' && value !== null) {
    const map = emptyMap(place)
    for (const [key, child] of Object.entries(value)) {
      map.entries.set(key, { keyPlace: place, value: fromPlain(child, place) })
    }
    return map
  }
  const scalar = typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
  return { kind: 'scalar', place, value: scalar ? value : null }
}

export interface Found {
  /** The node at the path; undefined when the path ends before. */
  readonly node: ConfigNode | undefined
  /** Where to point for the value: at a scalar itself, at the key of a map or list, at the nearest parent. */
  readonly place: Place
  readonly keyPlace: Place
  /** Something on the way is broken: the problem is already reported. */
  readonly broken: boolean
}

export function find(root: Entry, path: Path): Found {
  let { keyPlace } = root
  let node: ConfigNode | undefined = root.value
  for (const step of path) {
    if (node.kind === 'scalar') return { node: undefined, place: keyPlace, keyPlace, broken: !!node.broken }
    if (node.kind === 'list') {
      const item: ConfigNode | undefined = node.items[Number(step)]
      if (!item) return { node: undefined, place: keyPlace, keyPlace, broken: false }
      keyPlace = item.place
      node = item
    } else {
      const entry: Entry | undefined = node.entries.get(String(step))
      if (!entry) return { node: undefined, place: keyPlace, keyPlace, broken: false }
      keyPlace = entry.keyPlace
      node = entry.value
    }
  }
  const scalar = node.kind === 'scalar'
  return {
    node,
    place: scalar ? node.place : keyPlace,
    keyPlace,
    broken: node.kind === 'scalar' && !!node.broken,
  }
}

/** Puts `value` at the path, or takes away what is there when it is undefined. */
export function replaceAt(root: Entry, path: Path, value: ConfigNode | undefined): void {
  const step = path.at(-1)
  if (step === undefined) {
    if (value) root.value = value
    return
  }
  const parent = find(root, path.slice(0, -1)).node
  if (parent?.kind === 'list' && value) parent.items[Number(step)] = value
  if (parent?.kind !== 'map') return
  const entry = parent.entries.get(String(step))
  if (value && entry) entry.value = value
  else if (!value) parent.entries.delete(String(step))
}

/** `['policies', 2, 'type']` as `policies[2].type`. */
export function formatPath(path: Path): string {
  let text = ''
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`
    else text += text === '' ? step : `.${step}`
  }
  return text
}
