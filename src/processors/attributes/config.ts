/** Configuration of `attributes`: the actions, and which items they are for. */
import { z } from 'zod'
import { compileRe2 } from '../../config/re2.ts'
import type { Signal } from '../../otlp/batch.ts'
import { attributeAction } from '../attribute-actions/config.ts'

export const SPAN_KINDS: readonly string[] = [
  'SPAN_KIND_UNSPECIFIED',
  'SPAN_KIND_INTERNAL',
  'SPAN_KIND_SERVER',
  'SPAN_KIND_CLIENT',
  'SPAN_KIND_PRODUCER',
  'SPAN_KIND_CONSUMER',
]

const attributeMatch = z.strictObject({
  key: z.string().min(1, { error: 'a key is required' }),
  value: z.unknown().optional(), // Absent: the attribute has to be there.
})

const names = () => z.array(z.string()).default([])

const matchProperties = z
  .strictObject({
    match_type: z.enum(['strict', 'regexp'], { error: 'match_type is required: strict or regexp' }),
    regexp: z
      .strictObject({
        cacheenabled: z.boolean().default(false),
        cachemaxnumentries: z.int().min(0).default(0), // 0: as many as there is room for.
      })
      .default({ cacheenabled: false, cachemaxnumentries: 0 }),
    services: names(),
    span_names: names(),
    span_kinds: names(),
    attributes: z.array(attributeMatch).default([]),
    resources: z.array(attributeMatch).default([]),
    libraries: z.array(z.strictObject({ name: z.string(), version: z.string().optional() })).default([]),
    log_bodies: names(),
    log_severity_texts: names(),
    log_severity_number: z
      .strictObject({ min: z.int().min(0).max(24).default(0), match_undefined: z.boolean().default(false) })
      .optional(),
    metric_names: names(),
  })
  .superRefine((match, context) => {
    const complain = (path: (string | number)[], message: string) =>
      context.addIssue({ code: 'custom', path, message })
    if (PROPERTIES.every((property) => !isUsed(match, property)))
      complain([], `at least one of ${PROPERTIES.join(', ')} is required`)
    if (match.match_type === 'strict') {
      for (const [index, kind] of match.span_kinds.entries())
        if (SPAN_KINDS.indexOf(kind) < 1)
          complain(['span_kinds', index], `"${kind}" is not one of ${SPAN_KINDS.slice(1).join(', ')}`)
      return
    }
    for (const property of TEXT_PROPERTIES)
      for (const [index, pattern] of match[property].entries()) {
        const reason = patternProblem(pattern)
        if (reason !== undefined) complain([property, index], reason)
      }
    for (const property of ['attributes', 'resources'] as const)
      for (const [index, { value }] of match[property].entries()) {
        if (value === undefined || value === null) continue
        const reason = typeof value === 'string' ? patternProblem(value) : 'regexp matches text values only'
        if (reason !== undefined) complain([property, index, 'value'], reason)
      }
    for (const [index, { name, version }] of match.libraries.entries()) {
      const reason = patternProblem(name) ?? (version === undefined ? undefined : patternProblem(version))
      if (reason !== undefined) complain(['libraries', index], reason)
    }
  })

export type MatchProperties = z.infer<typeof matchProperties>

const TEXT_PROPERTIES = [
  'services',
  'span_names',
  'span_kinds',
  'log_bodies',
  'log_severity_texts',
  'metric_names',
] as const

const PROPERTIES = [
  ...TEXT_PROPERTIES,
  'attributes',
  'resources',
  'libraries',
  'log_severity_number',
] as const satisfies readonly (keyof MatchProperties)[]
type Property = (typeof PROPERTIES)[number]

const PROPERTIES_OF: Readonly<Record<Signal, readonly Property[]>> = {
  traces: ['services', 'span_names', 'span_kinds', 'attributes', 'resources', 'libraries'],
  logs: ['log_bodies', 'log_severity_texts', 'log_severity_number', 'attributes', 'resources', 'libraries'],
  metrics: ['metric_names', 'resources'],
}

function isUsed(match: MatchProperties, property: Property): boolean {
  const value = match[property]
  return Array.isArray(value) ? value.length > 0 : value !== undefined
}

/** The properties in use that mean nothing for this signal. */
export function foreignProperties(match: MatchProperties, signal: Signal): readonly string[] {
  return PROPERTIES.filter((property) => isUsed(match, property) && !PROPERTIES_OF[signal].includes(property))
}

function patternProblem(pattern: string): string | undefined {
  try {
    compileRe2(pattern)
    return undefined
  } catch (error) {
    return `invalid pattern: ${error instanceof Error ? error.message : String(error)}`
  }
}

export const config = z.strictObject({
  actions: z.array(attributeAction).min(1, { error: 'at least one action is required' }),
  include: matchProperties.optional(),
  exclude: matchProperties.optional(),
})
