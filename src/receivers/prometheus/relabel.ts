/**
 * Relabelling, of targets and of samples: every action of Prometheus, on a map of labels that is changed in
 * place.
 *
 * Patterns are RE2 and match the whole text, a dot also matching a line break, so that the time is linear in
 * the text. It runs once per target or new series, never per sample of a known series.
 */
import { createHash } from 'node:crypto'
import type { RE2JS } from 're2js'
import { z } from 'zod'
import { compileRe2 } from '../../config/re2.ts'

/** Labels by name. An empty value is no label: `setLabel` takes it away. */
export type Labels = Map<string, string>

export function setLabel(labels: Labels, name: string, value: string): void {
  if (value === '') labels.delete(name)
  else labels.set(name, value)
}

const ACTIONS = [
  'replace',
  'keep',
  'drop',
  'keepequal',
  'dropequal',
  'hashmod',
  'labelmap',
  'labeldrop',
  'labelkeep',
  'lowercase',
  'uppercase',
] as const
const NEEDS_TARGET = new Set(['replace', 'hashmod', 'lowercase', 'uppercase', 'keepequal', 'dropequal'])
const DEFAULT_REGEX = '(.*)'
const MAX_RULES = 1000

const text = () => z.union([z.string(), z.number(), z.boolean()]).transform(String)

const ruleField = z
  .strictObject({
    source_labels: z.array(z.string().min(1)).max(100).default([]),
    separator: z.string().default(';'),
    regex: text().prefault(DEFAULT_REGEX),
    modulus: z.int().min(0).default(0),
    target_label: z.string().default(''),
    replacement: text().prefault('$1'),
    action: z
      .string()
      .transform((word) => word.toLowerCase())
      .pipe(z.enum(ACTIONS))
      .prefault('replace'),
  })
  .superRefine((rule, context) => {
    const issue = (key: string, message: string) => context.addIssue({ code: 'custom', path: [key], message })
    try {
      compileRegex(rule.regex)
    } catch (error) {
      issue('regex', `bad regular expression: ${(error as Error).message}`) // re2js throws Errors.
    }
    if (NEEDS_TARGET.has(rule.action) && rule.target_label === '')
      issue('target_label', `action ${rule.action} needs target_label`)
    if (rule.action === 'hashmod' && rule.modulus === 0) issue('modulus', 'action hashmod needs modulus')
    const onlyRegex = rule.action === 'labeldrop' || rule.action === 'labelkeep'
    if (onlyRegex && (rule.source_labels.length > 0 || rule.target_label !== '' || rule.modulus !== 0))
      issue('action', `action ${rule.action} takes nothing but regex`)
  })
export type RelabelRule = z.output<typeof ruleField>

export function relabelField() {
  return z.array(ruleField).max(MAX_RULES).nullish()
}

function compileRegex(pattern: string): RE2JS {
  return compileRe2(pattern, { dotAll: true })
}

/** Changes the labels; false = this target or sample is dropped. */
export type Relabel = (labels: Labels) => boolean

export function compileRelabel(rules: readonly RelabelRule[]): Relabel {
  const steps = rules.map(compileRule)
  return (labels) => steps.every((step) => step(labels))
}

function compileRule(rule: RelabelRule): Relabel {
  const regex = compileRegex(rule.regex)
  const { action, target_label: target, replacement } = rule
  const source = (labels: Labels) =>
    rule.source_labels.map((name) => labels.get(name) ?? '').join(rule.separator)
  switch (action) {
    case 'keep':
      return (labels) => regex.matches(source(labels))
    case 'drop':
      return (labels) => !regex.matches(source(labels))
    case 'keepequal':
      return (labels) => (labels.get(target) ?? '') === source(labels)
    case 'dropequal':
      return (labels) => (labels.get(target) ?? '') !== source(labels)
    case 'lowercase':
      return always((labels) => setLabel(labels, target, source(labels).toLowerCase()))
    case 'uppercase':
      return always((labels) => setLabel(labels, target, source(labels).toUpperCase()))
    case 'hashmod':
      return always((labels) => setLabel(labels, target, hashModulo(source(labels), rule.modulus)))
    case 'labelmap':
      return always((labels) => {
        for (const [name, value] of [...labels]) {
          const groups = matchAll(regex, name)
          const mapped = groups && expand(replacement, groups)
          if (mapped) setLabel(labels, mapped, value)
        }
      })
    case 'labeldrop':
      return always((labels) => {
        for (const name of [...labels.keys()]) if (regex.matches(name)) labels.delete(name)
      })
    case 'labelkeep':
      return always((labels) => {
        for (const name of [...labels.keys()]) if (!regex.matches(name)) labels.delete(name)
      })
    default:
      return always((labels) => {
        const groups = matchAll(regex, source(labels))
        const name = groups && expand(target, groups)
        if (name) setLabel(labels, name, expand(replacement, groups))
      })
  }
}

function always(change: (labels: Labels) => void): Relabel {
  return (labels) => {
    change(labels)
    return true
  }
}

/** The groups of a match of the whole text, by number and by name; undefined when it does not match. */
function matchAll(regex: RE2JS, input: string): ReadonlyMap<string, string> | undefined {
  const matcher = regex.matcher(input)
  if (!matcher.matches()) return undefined
  const groups = new Map<string, string>()
  for (let index = 0; index <= matcher.groupCount(); index++)
    groups.set(String(index), matcher.group(index) ?? '')
  for (const [name, index] of Object.entries(regex.namedGroups()))
    groups.set(name, matcher.group(Number(index)) ?? '')
  return groups
}

/** `$1`, `${1}`, `$name`, `${name}`; `$$` is a dollar. A group that is not there is empty. */
function expand(template: string, groups: ReadonlyMap<string, string>): string {
  return template.replace(/\$(?:\$|\{(\w+)\}|(\w+))/g, (whole, braced?: string, plain?: string) => {
    const name = braced ?? plain
    return name === undefined ? whole.slice(1) : (groups.get(name) ?? '')
  })
}

/**
 * The last 8 bytes of the MD5, big-endian: shards of a fleet have to agree with Prometheus on who scrapes
 * what.
 */
function hashModulo(value: string, modulus: number): string {
  const sum = createHash('md5').update(value).digest().readBigUInt64BE(8)
  return String(sum % BigInt(modulus))
}
