/**
 * One part of the tree through its zod schema. Before a mismatch counts as a mistake, the value is looked at
 * the way the Go collector does: an expanded value gives its text to a string target, null means the default,
 * a string given for a list is split at its commas. What was repaired stays in the tree, so that parsing it
 * again needs no places.
 */
import type { z } from 'zod'
import { explain, type Issue, NO_WORDS } from './messages.ts'
import {
  type ConfigNode,
  type Entry,
  emptyMap,
  find,
  formatPath,
  isNull,
  type Path,
  type Place,
  replaceAt,
  toPlain,
} from './node.ts'
import type { Report } from './report.ts'
import { alternatives, children, definitionOf, metaOf } from './schema-walk.ts'

/** Each pass repairs everything in sight; more are needed only when one repair uncovers another. */
const MAX_PASSES = 20
const MAX_DEPTH_OF_WARNINGS = 100

/** Undefined when the value is wrong, which is then reported under `path`. */
export function decode<T>(schema: z.ZodType<T>, entry: Entry, path: Path, report: Report): T | undefined {
  const emptied: Emptied = new Map()
  for (let pass = 0; pass < MAX_PASSES; pass++) {
    const plain = toPlain(entry.value)
    const result = safeParse(schema, plain)
    if (result.success) {
      warnOfHarmless(schema, entry, plain, path, report)
      return hasBroken(entry.value) ? undefined : result.data
    }
    const repaired = result.issues.filter((issue) => repair(entry, issue, [], emptied))
    if (repaired.length === 0 || pass === MAX_PASSES - 1) {
      warnOfHarmless(schema, entry, plain, path, report)
      tell(result.issues, schema, entry, emptied, path, report)
      return undefined
    }
  }
  return undefined
}

/**
 * Keys that had nothing behind them and were taken away, by path: what is missing is still told in their
 * place.
 */
type Emptied = Map<string, Place>

type Parsed<T> = { success: true; data: T } | { success: false; issues: readonly Issue[] }

/** A schema that throws (a mistake in a component) is a problem of that component's config, not a crash. */
function safeParse<T>(schema: z.ZodType<T>, plain: unknown): Parsed<T> {
  try {
    const result = schema.safeParse(plain, { error: () => NO_WORDS })
    return result.success ? result : { success: false, issues: result.error.issues }
  } catch (error) {
    const message = `cannot be checked: ${error instanceof Error ? error.message : error}`
    return { success: false, issues: [{ code: 'custom', path: [], message, input: undefined }] }
  }
}

function tell(
  issues: readonly Issue[],
  schema: z.ZodType,
  entry: Entry,
  emptied: Emptied,
  base: Path,
  report: Report,
): void {
  const messages = issues.flatMap((issue) => explain(issue, schema, entry))
  const meant = new Set(messages.flatMap((one) => (one.meant ? [formatPath(one.meant)] : [])))
  for (const message of messages) {
    const found = find(entry, message.path)
    // A mistyped key is one mistake: that the right one is missing, or what is below it, goes without saying.
    const echo =
      !found.node && message.path.some((_, i) => meant.has(formatPath(message.path.slice(0, i + 1))))
    if (echo || found.broken) continue
    const written = emptied.get(formatPath(message.path))
    const place = written ?? (message.atKey ? found.keyPlace : found.place)
    report.error(place, [...base, ...message.path], message.text)
  }
}

function hasBroken(node: ConfigNode): boolean {
  if (node.kind === 'scalar') return !!node.broken
  if (node.kind === 'list') return node.items.some(hasBroken)
  for (const entry of node.entries.values()) if (hasBroken(entry.value)) return true
  return false
}

/** Returns true when it changed the tree. */
function repair(root: Entry, issue: Issue, base: Path, emptied: Emptied): boolean {
  const path = [...base, ...issue.path.map((step) => (typeof step === 'number' ? step : String(step)))]
  if (issue.code === 'invalid_union' && issue.errors.length > 0) {
    const wanted = new Set(
      issue.errors
        .flat()
        .filter((one) => one.path.length === 0)
        .flatMap(targets),
    )
    if (repairValue(root, path, wanted, emptied)) return true
    return issue.errors.some((branch) =>
      branch.some((one) => one.path.length > 0 && repair(root, one, path, emptied)),
    )
  }
  return repairValue(root, path, new Set(targets(issue)), emptied)
}

/** The kinds of value that would have satisfied the schema. */
function targets(issue: Issue): string[] {
  if (issue.code === 'invalid_type') return [issue.expected]
  if (issue.code === 'invalid_union') return issue.errors.flat().flatMap(targets)
  if (issue.code !== 'invalid_value') return []
  return issue.values.map((value) => typeof value)
}

function repairValue(root: Entry, path: Path, wanted: ReadonlySet<string>, emptied: Emptied): boolean {
  if (wanted.size === 0) return false
  const { node } = find(root, path)
  if (!node) return false
  if (node.kind === 'scalar' && node.broken) return false
  const isString = node.kind === 'scalar' && typeof node.value === 'string'
  // An unset variable is the empty string to a string, and the default to a duration, which may be a number,
  // too.
  const unset = isNull(node) && wanted.size > 1
  if (wanted.has('string') && !unset && node.text !== undefined && !isString) {
    const { place, text } = node
    replaceAt(root, path, { kind: 'scalar', place, value: text, expanded: true })
    return true
  }
  if (node.kind !== 'scalar') return false
  if (node.value === null) return repairNull(root, path, wanted, emptied)
  if (wanted.has('array') && !wanted.has('string') && typeof node.value === 'string') {
    const { place, expanded } = node
    const parts = node.value === '' ? [] : node.value.split(',')
    const items = parts.map((value) => ({ kind: 'scalar' as const, place, value: value.trim(), expanded }))
    replaceAt(root, path, { kind: 'list', place, items })
    return true
  }
  return false
}

/**
 * `batch:` and `grpc:` with nothing behind mean all defaults; any other key with nothing means its default.
 */
function repairNull(root: Entry, path: Path, wanted: ReadonlySet<string>, emptied: Emptied): boolean {
  const { keyPlace } = find(root, path)
  if (wanted.has('object') || wanted.has('record') || path.length === 0) {
    replaceAt(root, path, emptyMap(keyPlace))
    return true
  }
  if (typeof path.at(-1) === 'number') return false
  emptied.set(formatPath(path), keyPlace)
  replaceAt(root, path, undefined)
  return true
}

/** One warning for each field that is there, known, and without effect. */
function warnOfHarmless(schema: z.ZodType, entry: Entry, plain: unknown, base: Path, report: Report): void {
  const visit = (current: readonly z.ZodType[], value: unknown, path: Path): void => {
    if (path.length > MAX_DEPTH_OF_WARNINGS || typeof value !== 'object' || value === null) return
    const options = current.flatMap((one) => matching(one, value))
    const steps = Array.isArray(value) ? value.keys() : Object.keys(value)
    for (const step of steps) {
      const below = options.flatMap((option) => children(option, step))
      const meta = below.map(metaOf)
      // An own key of the value, from the line above.
      const child: unknown = (value as Record<string | number, unknown>)[step]
      if (meta.length > 0 && meta.every((one) => one.status === 'harmless')) {
        const full = [...path, step]
        report.warn(find(entry, full).keyPlace, [...base, ...full], `ignored: ${meta[0]?.why ?? 'no effect'}`)
      } else visit(below, child, [...path, step])
    }
  }
  visit([schema], plain, [])
}

/** Of a union, the alternatives that take the value; of anything else, itself. */
function matching(schema: z.ZodType, value: unknown): z.ZodType[] {
  const all = alternatives(schema).filter((option) => {
    const { type } = definitionOf(option)
    return Array.isArray(value)
      ? type === 'array' || type === 'tuple'
      : type === 'object' || type === 'record'
  })
  if (all.length < 2) return all
  const fitting = all.filter((option) => safeParse(option, value).success)
  return fitting.length > 0 ? fitting : all
}
