/**
 * One attribute action as users write it, for the `resource` and `attributes` processors.
 *
 *     - key: deployment.environment.name
 *       value: production
 *       action: upsert
 */
import type { RE2JS } from 're2js'
import { z } from 'zod'
import { compileRe2 } from '../../config/re2.ts'

const ACTIONS = ['insert', 'update', 'upsert', 'delete', 'hash', 'extract', 'convert'] as const
export type ActionName = (typeof ACTIONS)[number]

const fields = z.strictObject({
  key: z.string().default(''),
  action: z.string().optional(), // Case does not matter.
  value: z.unknown().optional(), // Keeps its YAML type: text, bool, int, double, list or map.
  from_attribute: z.string().default(''),
  from_context: z.string().default(''), // metadata.x, auth.x, client.address, or the bare name of metadata.
  default_value: z.unknown().optional(),
  pattern: z.string().default(''), // RE2, unanchored.
  converted_type: z.string().default(''),
})

export type ActionConfig = z.infer<typeof fields>

/** Actions of the `attributes` processor: each must say what it does. */
export const attributeAction = fields.superRefine((action, context) => {
  for (const problem of problemsOf(action, undefined)) context.addIssue({ code: 'custom', ...problem })
})

/** Actions of the `resource` processor: an entry without `action` is an upsert. */
export const resourceAction = fields.superRefine((action, context) => {
  for (const problem of problemsOf(action, 'upsert')) context.addIssue({ code: 'custom', ...problem })
})

/** The name of the action in lower case; undefined when it is not one. */
export function actionName(action: ActionConfig, fallback?: ActionName): ActionName | undefined {
  if (action.action === undefined || action.action === '') return fallback
  const lower = action.action.toLowerCase()
  return ACTIONS.find((name) => name === lower)
}

interface Problem {
  readonly path: string[]
  readonly message: string
}

function problemsOf(action: ActionConfig, fallback: ActionName | undefined): Problem[] {
  const name = actionName(action, fallback)
  if (name === undefined) {
    const given = action.action ? `unknown action "${action.action}"` : 'an action is required'
    return [{ path: ['action'], message: `${given}: expected one of ${ACTIONS.join(', ')}` }]
  }
  const problems: Problem[] = []
  const complain = (field: string, message: string) => problems.push({ path: [field], message })
  const forbid = (field: keyof ActionConfig) => {
    if (isSet(action[field])) complain(field, `${name} does not use ${field}`)
  }
  if (name === 'delete' || name === 'hash') {
    if (action.key === '' && action.pattern === '') complain('key', `${name} needs a key, a pattern or both`)
  } else if (action.key === '') complain('key', `${name} needs a key`)
  const sources = (['value', 'from_attribute', 'from_context'] as const).filter((field) =>
    isSet(action[field]),
  )
  if (name === 'insert' || name === 'update' || name === 'upsert') {
    if (sources.length === 0 && !isSet(action.default_value)) {
      complain('key', `${name} needs one of value, from_attribute, from_context or default_value`)
    } else if (sources.length > 1)
      complain(sources[1]!, `${name} takes one of ${sources.join(' and ')}, not both`)
    forbid('pattern')
  } else {
    for (const field of ['value', 'from_attribute', 'from_context', 'default_value'] as const) forbid(field)
  }
  if (name === 'convert') {
    forbid('pattern')
    if (action.converted_type === '') complain('converted_type', 'convert needs a converted_type')
    else if (!['int', 'double', 'string'].includes(action.converted_type))
      complain('converted_type', `"${action.converted_type}" is not one of int, double, string`)
  } else forbid('converted_type')
  if (name === 'extract' && action.pattern === '') complain('pattern', 'extract needs a pattern')
  const reason = patternProblem(action.pattern, name === 'extract')
  if (reason !== undefined) complain('pattern', reason)
  return problems
}

function isSet(value: unknown): boolean {
  return value !== undefined && value !== null && value !== ''
}

function patternProblem(pattern: string, needsGroups: boolean): string | undefined {
  if (pattern === '') return undefined
  try {
    const compiled = compileRe2(pattern)
    if (!needsGroups) return undefined
    if (compiled.groupCount() === 0) return 'the pattern has no named group'
    return groupNames(compiled) === undefined ? 'the pattern has a group without a name' : undefined
  } catch (error) {
    return `invalid pattern: ${error instanceof Error ? error.message : String(error)}`
  }
}

/** The names of groups 1 to n; undefined when one has none. */
export function groupNames(pattern: RE2JS): string[] | undefined {
  const names: string[] = []
  for (const [name, index] of Object.entries(pattern.namedGroups())) names[index - 1] = name
  for (let index = 0; index < pattern.groupCount(); index++) if (names[index] === undefined) return undefined
  return names
}
