/**
 * What was expected beside what came: which item is which, and how they differ. Items have no order, and
 * only what an expectation names is compared; in attributes and resources a null says that the key must not
 * be there.
 */
import { isDeepStrictEqual } from 'node:util'
import type { Item } from './output.ts'

export interface Difference {
  readonly path: string
  readonly wanted: unknown
  readonly came: unknown
}

export interface Matched {
  readonly equal: readonly Item[]
  /** Meant to be the same, it seems, and different. */
  readonly different: readonly {
    readonly wanted: Item
    readonly came: Item
    readonly differences: Difference[]
  }[]
  readonly missing: readonly Item[]
  readonly unexpected: readonly Item[]
}

/**
 * Beyond this the pairs are looked for in the order of the lists only: comparing each with all would take
 * too long.
 */
const MOST_COMPARED = 2_000_000

export function matchItems(wanted: readonly Item[], came: readonly Item[], exact: boolean): Matched {
  const pairs = pairUp(wanted, came, exact)
  const taken = new Set(pairs.values())
  const left = [...wanted.keys()].filter((index) => !pairs.has(index))
  const others = new Set([...came.keys()].filter((index) => !taken.has(index)))
  const different: { wanted: Item; came: Item; differences: Difference[] }[] = []
  const missing: Item[] = []
  for (const index of left) {
    const item = wanted[index] ?? {}
    const near = nearestOf(item, came, others, exact)
    if (near === undefined) missing.push(item)
    else {
      others.delete(near.index)
      different.push({ wanted: item, came: came[near.index] ?? {}, differences: near.differences })
    }
  }
  return {
    equal: [...pairs.values()].map((index) => came[index] ?? {}),
    different,
    missing,
    unexpected: [...others].map((index) => came[index] ?? {}),
  }
}

/**
 * As many pairs as there can be: an item that says little does not take the only partner of one that says
 * more.
 */
function pairUp(wanted: readonly Item[], came: readonly Item[], exact: boolean): Map<number, number> {
  const partner = new Map<number, number>() // By place in `came`.
  const wide = wanted.length * came.length > MOST_COMPARED
  const fits = wanted.map((item, place) => {
    const found: number[] = []
    const add = (index: number) => {
      if (differencesOf(item, came[index] ?? {}, exact).length === 0) found.push(index)
    }
    if (wide) add(place)
    else for (const index of came.keys()) add(index)
    return found
  })
  const place = (index: number, seen: Set<number>): boolean => {
    for (const candidate of fits[index] ?? []) {
      if (seen.has(candidate)) continue
      seen.add(candidate)
      const holder = partner.get(candidate)
      if (holder === undefined || place(holder, seen)) {
        partner.set(candidate, index)
        return true
      }
    }
    return false
  }
  for (const index of wanted.keys()) place(index, new Set())
  return new Map([...partner].map(([candidate, index]) => [index, candidate]))
}

/** The item that is most like the wanted one; undefined when none is like it at all. */
function nearestOf(wanted: Item, came: readonly Item[], among: ReadonlySet<number>, exact: boolean) {
  let best: { index: number; differences: Difference[]; score: number } | undefined
  for (const index of among) {
    const item = came[index] ?? {}
    const differences = differencesOf(wanted, item, exact)
    let score = -differences.length
    for (const key of ['name', 'trace', 'body', 'service']) {
      if (wanted[key] !== undefined && isDeepStrictEqual(wanted[key], item[key]))
        score += key === 'name' ? 4 : 2
    }
    const alike = ['name', 'trace', 'body'].some(
      (key) => wanted[key] !== undefined && isDeepStrictEqual(wanted[key], item[key]),
    )
    const nameless = ['name', 'trace', 'body'].every((key) => wanted[key] === undefined)
    if (!alike && !nameless) continue
    if (best === undefined || score > best.score) best = { index, differences, score }
  }
  return best
}

/** Empty when the item is as wanted. */
export function differencesOf(wanted: Item, came: Item, exact: boolean): Difference[] {
  const differences: Difference[] = []
  for (const [key, value] of Object.entries(wanted)) {
    if (value === undefined) continue
    if (key === 'attributes' || key === 'resource') {
      compareMaps(key, value as Item, (came[key] ?? {}) as Item, exact, differences) // Maps by the schema.
    } else if (key === 'status') compareStatus(value, came[key] as Status | undefined, differences)
    else if (key === 'events') compareEvents(value as Item[], (came[key] ?? []) as Item[], exact, differences)
    else if (!isDeepStrictEqual(value, came[key]))
      differences.push({ path: key, wanted: value, came: came[key] })
  }
  return differences
}

interface Status {
  readonly code: string
  readonly message: string
}

function compareStatus(wanted: unknown, came: Status | undefined, differences: Difference[]): void {
  if (typeof wanted === 'string') {
    if (wanted !== (came?.code ?? 'unset'))
      differences.push({ path: 'status', wanted, came: came?.code ?? 'unset' })
  } else if (!isDeepStrictEqual(wanted, came)) differences.push({ path: 'status', wanted, came })
}

function compareMaps(
  path: string,
  wanted: Item,
  came: Item,
  exact: boolean,
  differences: Difference[],
): void {
  for (const [key, value] of Object.entries(wanted)) {
    const there = Object.hasOwn(came, key) ? came[key] : undefined
    if (value === null ? there === undefined : isDeepStrictEqual(value, there)) continue
    differences.push({ path: `${path}.${key}`, wanted: value === null ? undefined : value, came: there })
  }
  if (!exact) return
  for (const [key, there] of Object.entries(came)) {
    const told = Object.hasOwn(wanted, key) || (path === 'resource' && key === 'service.name')
    if (!told) differences.push({ path: `${path}.${key}`, wanted: undefined, came: there })
  }
}

function compareEvents(
  wanted: readonly Item[],
  came: readonly Item[],
  exact: boolean,
  differences: Difference[],
): void {
  if (wanted.length !== came.length) {
    const names = (events: readonly Item[]) => events.map(({ name }) => name)
    differences.push({ path: 'events', wanted: names(wanted), came: names(came) })
    return
  }
  for (const [index, event] of wanted.entries()) {
    for (const one of differencesOf(event, came[index] ?? {}, exact)) {
      differences.push({ ...one, path: `events[${index}].${one.path}` })
    }
  }
}
