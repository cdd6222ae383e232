/**
 * zod's issues in plain English. The words of a schema (`error: '...'`) are kept; only the library's own are
 * replaced.
 */
import type { z } from 'zod'
import { hint, nearest } from './nearest.ts'
import { type Entry, find, type Path, type ScalarNode } from './node.ts'
import { isSecretName } from './redact.ts'
import { keysAt, metaOf, schemasAt } from './schema-walk.ts'

export type Issue = z.core.$ZodIssue

/** Stands for "no words of the schema's own": handed to zod as the message of every issue. */
export const NO_WORDS = '\u0000'

const REQUIRED = 'is required'

export interface Message {
  readonly path: Path
  readonly text: string
  /** Point at the key, not at the value. */
  readonly atKey: boolean
  /** The path that an unknown key was probably meant to be. */
  readonly meant?: Path
}

/** What an issue says, as one or more messages with paths below `root`. */
export function explain(issue: Issue, schema: z.ZodType, root: Entry, base: Path = []): Message[] {
  const path = [...base, ...issue.path.map((step) => (typeof step === 'number' ? step : String(step)))]
  const at = (text: string, atKey = false): Message[] => [{ path, text, atKey }]
  if (issue.code === 'unrecognized_keys') return unknownKeys(issue.keys, schema, path)
  const input = find(root, path).node
  if (!input && isMismatch(issue)) return at(REQUIRED)
  if (issue.message !== NO_WORDS) return at(issue.message, issue.message.startsWith('not supported'))
  const got = input ? `, got ${describe(input, schema, path)}` : ''
  switch (issue.code) {
    case 'invalid_type':
      return at(`expected ${TYPE_WORDS[issue.expected] ?? issue.expected}${got}`)
    case 'invalid_value':
      return at(enumeration(issue.values, input?.kind === 'scalar' ? input : undefined, got))
    case 'too_small':
    case 'too_big':
      return at(limit(issue) + (issue.origin === 'number' || issue.origin === 'int' ? got : ''))
    case 'invalid_format':
      return at(issue.format === 'regex' ? `has to match ${issue.pattern}` : `is not a valid ${issue.format}`)
    case 'not_multiple_of':
      return at(`must be a multiple of ${issue.divisor}${got}`)
    case 'invalid_key':
      return at(`the key is not valid: ${issue.issues.map((one) => shortWords(one)).join(', ')}`, true)
    case 'invalid_union':
      return union(issue, schema, root, path, got)
    default:
      return at('is not valid')
  }
}

const TYPE_WORDS: Readonly<Record<string, string>> = {
  string: 'a string',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  object: 'a map',
  record: 'a map',
  array: 'a list',
  tuple: 'a list',
  null: 'nothing',
}

function unknownKeys(keys: readonly string[], schema: z.ZodType, path: Path): Message[] {
  const known = keysAt(schema, path)
  return keys.map((key) => {
    const near = nearest(key, known)
    const text = `unknown key "${key}"${hint(key, known, 'known keys')}`
    const message = { path: [...path, key], text, atKey: true }
    return near === undefined ? message : { ...message, meant: [...path, near] }
  })
}

function describe(node: NonNullable<ReturnType<typeof find>['node']>, schema: z.ZodType, path: Path): string {
  if (node.kind === 'map') return 'a map'
  if (node.kind === 'list') return 'a list'
  if (node.value === null) return 'nothing'
  if (typeof node.value !== 'string')
    return isHidden(node, schema, path) ? `a ${typeof node.value}` : `${node.value}`
  if (isHidden(node, schema, path)) return 'a string'
  return node.value.length > 60 ? `"${node.value.slice(0, 57)}..."` : `"${node.value}"`
}

/** Values that may be secrets are not repeated in a message. */
function isHidden(node: ScalarNode, schema: z.ZodType, path: Path): boolean {
  if (node.expanded) return true
  const named = path.some((step) => typeof step === 'string' && isSecretName(step))
  return named || schemasAt(schema, path).some((one) => metaOf(one).secret === true)
}

function enumeration(values: readonly unknown[], input: ScalarNode | undefined, got: string): string {
  const words = values.map((value) => (typeof value === 'string' ? `"${value}"` : String(value)))
  const expected = words.length === 1 ? `expected ${words[0]}` : `expected one of ${words.join(', ')}`
  const strings = values.filter((value) => typeof value === 'string')
  const near = typeof input?.value === 'string' ? hint(input.value, strings, '') : ''
  return `${expected}${got}${near.startsWith(';') ? near : ''}`
}

function limit(issue: z.core.$ZodIssueTooSmall | z.core.$ZodIssueTooBig): string {
  const small = issue.code === 'too_small'
  const bound = small ? issue.minimum : issue.maximum
  const { origin } = issue
  if (
    origin === 'string' ||
    origin === 'array' ||
    origin === 'set' ||
    origin === 'map' ||
    origin === 'object'
  ) {
    if (small && (bound === 1 || bound === 1n)) return 'must not be empty'
    const noun = origin === 'string' ? 'characters' : 'entries'
    return `must have at ${small ? 'least' : 'most'} ${bound} ${noun}`
  }
  if (issue.inclusive === false) return `must be ${small ? 'greater' : 'less'} than ${bound}`
  return `must be at ${small ? 'least' : 'most'} ${bound}`
}

function shortWords(issue: Issue): string {
  if (issue.message !== NO_WORDS) return issue.message
  if (issue.code === 'too_small' || issue.code === 'too_big') return limit(issue)
  if (issue.code === 'invalid_value') return enumeration(issue.values, undefined, '')
  if (issue.code === 'invalid_format') return `it has to match ${issue.pattern ?? issue.format}`
  return 'it is not one of the known ones'
}

/**
 * Speaks for the alternative that the value comes nearest to; when none accepts even its type, for all of
 * them.
 */
function union(
  issue: z.core.$ZodIssueInvalidUnion,
  schema: z.ZodType,
  root: Entry,
  path: Path,
  got: string,
): Message[] {
  const input = find(root, path).node
  const { discriminator, options } = issue as { discriminator?: string; options?: unknown } // Untyped in zod.
  if (discriminator !== undefined && Array.isArray(options)) {
    const scalar = input?.kind === 'scalar' ? input : undefined
    return [{ path, text: enumeration(options, scalar, got), atKey: false }]
  }
  const near = issue.errors.filter(
    (branch) => !branch.some((one) => one.path.length === 0 && isMismatch(one)),
  )
  const best = near.sort((a, b) => severity(a) - severity(b))[0]
  if (best) return best.flatMap((one) => explain(one, schema, root, path))
  const words = new Set<string>()
  const values: unknown[] = []
  for (const one of issue.errors.flat()) {
    if (one.code === 'invalid_type') words.add(TYPE_WORDS[one.expected] ?? one.expected)
    else if (one.code === 'invalid_value') values.push(...one.values)
  }
  const scalar = input?.kind === 'scalar' ? input : undefined
  if (words.size === 0) return [{ path, text: enumeration(values, scalar, got), atKey: false }]
  for (const value of values) words.add(JSON.stringify(value))
  return [{ path, text: `expected ${[...words].join(' or ')}${got}`, atKey: false }]
}

function isMismatch(issue: Issue): boolean {
  return issue.code === 'invalid_type' || issue.code === 'invalid_value' || issue.code === 'invalid_union'
}

/** A wrong key or literal says "not this alternative" more loudly than a wrong value further down. */
function severity(branch: readonly Issue[]): number {
  const wrong = branch.filter(
    (one) => one.code === 'unrecognized_keys' || one.code === 'invalid_value',
  ).length
  return wrong * 100 + branch.length
}
