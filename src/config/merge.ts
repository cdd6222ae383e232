/**
 * Several sources become one: maps are merged deeply, scalars and lists of a later source replace, null
 * replaces, too.
 */
import type { ConfigNode, Entry } from './node.ts'

export function merge(first: Entry, later: Entry): Entry {
  return { keyPlace: later.keyPlace, value: mergeNodes(first.value, later.value) }
}

function mergeNodes(first: ConfigNode, later: ConfigNode): ConfigNode {
  if (first.kind !== 'map' || later.kind !== 'map') return later
  const entries = new Map(first.entries)
  for (const [key, entry] of later.entries) {
    const known = entries.get(key)
    // The key keeps the place where it was first written, unless the whole value is new.
    const value = known ? mergeNodes(known.value, entry.value) : entry.value
    const keyPlace = known && value !== entry.value ? known.keyPlace : entry.keyPlace
    entries.set(key, { keyPlace, value })
  }
  return { kind: 'map', place: first.place, entries }
}
