/**
 * Looks inside zod schemas: what a wrapper holds, which keys an object has, what a field says about itself.
 * Everything that reads schemas (warnings, redaction, the table of fields, did-you-mean) goes through here.
 */
import { z } from 'zod'
import type { FieldMeta } from './fields.ts'
import type { Path } from './node.ts'

/** The parts of zod's definitions that matter here; zod types them per class. */
interface Definition {
  readonly type: string
  readonly innerType?: z.ZodType
  readonly in?: z.ZodType
  readonly out?: z.ZodType
  readonly getter?: () => z.ZodType
  readonly options?: readonly z.ZodType[]
  readonly shape?: Readonly<Record<string, z.ZodType>>
  readonly catchall?: z.ZodType
  readonly element?: z.ZodType
  readonly items?: readonly z.ZodType[]
  readonly valueType?: z.ZodType
  readonly left?: z.ZodType
  readonly right?: z.ZodType
  readonly values?: readonly unknown[]
  readonly entries?: Readonly<Record<string, string | number>>
  readonly defaultValue?: unknown
  readonly format?: string
}

/** Schemas nest no deeper than this, lazy ones included. */
const MAX_WRAPPERS = 50

export function definitionOf(schema: z.ZodType): Definition {
  return schema._zod.def as unknown as Definition // zod's union of definitions, read structurally.
}

/** One wrapper off; undefined when the schema is not a wrapper. */
function inner(schema: z.ZodType): z.ZodType | undefined {
  const definition = definitionOf(schema)
  if (definition.type === 'pipe') {
    const first = definition.in
    return first && definitionOf(first).type === 'transform' ? definition.out : first
  }
  if (definition.type === 'lazy') return definition.getter?.()
  return definition.innerType
}

/** The schema without its wrappers (optional, default, transform and so on). */
export function unwrap(schema: z.ZodType): z.ZodType {
  let current = schema
  for (let i = 0; i < MAX_WRAPPERS; i++) {
    const next = inner(current)
    if (!next) break
    current = next
  }
  return current
}

/** What the schema and its wrappers say about the field; the outermost word counts. */
export function metaOf(schema: z.ZodType): FieldMeta {
  let meta: FieldMeta = {}
  let current: z.ZodType | undefined = schema
  for (let i = 0; current && i < MAX_WRAPPERS; i++) {
    meta = { ...z.globalRegistry.get(current), ...meta }
    current = inner(current)
  }
  return meta
}

/** The default that a wrapper gives; undefined when there is none. */
export function defaultOf(schema: z.ZodType): unknown {
  let current: z.ZodType | undefined = schema
  for (let i = 0; current && i < MAX_WRAPPERS; i++) {
    const definition = definitionOf(current)
    if (definition.type === 'default' || definition.type === 'prefault') return definition.defaultValue
    current = inner(current)
  }
  return undefined
}

/** The alternatives of a schema, unwrapped: its union's or intersection's members, or itself. */
export function alternatives(schema: z.ZodType, depth = 0): z.ZodType[] {
  const core = unwrap(schema)
  if (depth > MAX_WRAPPERS) return [core]
  const { options, left, right } = definitionOf(core)
  const members = options ?? (left && right ? [left, right] : undefined)
  return members ? members.flatMap((member) => alternatives(member, depth + 1)) : [core]
}

/** The schemas that a value one step down may have to meet. */
export function children(schema: z.ZodType, step: string | number): z.ZodType[] {
  const found: z.ZodType[] = []
  for (const option of alternatives(schema)) {
    const { shape, element, items, valueType, catchall } = definitionOf(option)
    if (typeof step === 'number') {
      const item = element ?? items?.[step]
      if (item) found.push(item)
    } else if (shape && Object.hasOwn(shape, step)) {
      const field = shape[step]
      if (field) found.push(field)
    } else if (valueType) {
      found.push(valueType)
    } else if (catchall && definitionOf(catchall).type !== 'never') {
      found.push(catchall)
    }
  }
  return found
}

/** The keys that are known at `path`. Refused ones are left out: nobody means them. */
export function keysAt(schema: z.ZodType, path: Path): string[] {
  const keys = new Set<string>()
  for (const found of schemasAt(schema, path)) {
    for (const option of alternatives(found)) {
      for (const [key, field] of Object.entries(definitionOf(option).shape ?? {})) {
        if (metaOf(field).status !== 'refused') keys.add(key)
      }
    }
  }
  return [...keys]
}

export function schemasAt(schema: z.ZodType, path: Path): z.ZodType[] {
  let level: z.ZodType[] = [schema]
  for (const step of path) level = level.flatMap((one) => children(one, step))
  return level
}
