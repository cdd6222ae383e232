/**
 * JSON Schema of a whole configuration, for editors: every component under `type` and `type/name`, with
 * defaults and descriptions. Refused fields are left out; where a number or a switch is expected, an
 * expression `${...}` will do.
 */
import { z } from 'zod'
import type { AnyDefinition, Registry } from '../component/define.ts'
import { KIND_OF, SECTIONS } from './check.ts'
import { DESCRIPTIONS } from './descriptions.ts'
import { formatDuration } from './fields-table.ts'
import { defaultOf, definitionOf, metaOf } from './schema-walk.ts'
import { serviceSchema } from './service-schema.ts'

type Json = Record<string, unknown>

const EXPRESSION = { type: 'string', pattern: '\\$\\{[^}]+\\}' }
/** Values with units, by the title of their fields. */
const PATTERNS: Readonly<Record<string, string>> = {
  duration: '^\\s*[-+]?(0|((\\d+(\\.\\d*)?|\\.\\d+)(ns|us|\u00b5s|\u03bcs|ms|s|m|h))+)\\s*$',
  size: '^\\s*\\d+(\\.\\d+)?\\s*[KMGkmg]?[Ii]?[Bb]?\\s*$',
}

export function configSchema(registry: Registry): Json {
  const properties: Json = {}
  for (const section of SECTIONS) {
    const patterns: Json = {}
    for (const definition of registry[section]) {
      const schema = componentSchema(definition)
      patterns[idPattern(definition.type)] = schema
      for (const old of definition.deprecatedTypes ?? []) {
        patterns[idPattern(old)] = {
          ...schema,
          deprecated: true,
          description: `Use ${definition.type} instead.`,
        }
      }
    }
    properties[section] = {
      description: `Configured ${section} by id: type or type/name.`,
      type: needed(section) ? 'object' : ['object', 'null'],
      ...(needed(section) && { minProperties: 1 }),
      patternProperties: patterns,
      additionalProperties: false,
    }
  }
  properties['service'] = service()
  properties['plugins'] = {
    description: 'Components of your own: paths relative to this file (.ts, .js, .mjs), and npm packages.',
    type: ['array', 'null'],
    items: { type: 'string' },
  }
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'Weir configuration',
    type: 'object',
    properties,
    additionalProperties: false,
    required: ['receivers', 'exporters', 'service'],
  }
}

const needed = (section: string) => section === 'receivers' || section === 'exporters'

/** What the check of pipelines asks for beyond their shape: ids by signal, both ends, no processor twice. */
function service(): Json {
  const schema = convert(serviceSchema, 'service')
  const fields = schema['properties'] as Record<string, Json> // An object by its schema.
  const { additionalProperties, propertyNames, default: none, ...pipelines } = fields['pipelines'] ?? {}
  const pipeline = additionalProperties as Json & { properties: Record<string, Json> } // Likewise.
  const { receivers, processors, exporters } = pipeline.properties
  const one = {
    ...pipeline,
    required: ['receivers', 'exporters'],
    properties: {
      receivers: { ...receivers, minItems: 1 },
      processors: { ...processors, uniqueItems: true },
      exporters: { ...exporters, minItems: 1 },
    },
  }
  const ids = { '^\\s*(traces|metrics|logs)\\s*(/.+)?$': one }
  fields['pipelines'] = {
    ...pipelines,
    type: 'object',
    minProperties: 1,
    patternProperties: ids,
    additionalProperties: false,
  }
  return { description: 'What runs: pipelines, extensions, and how.', ...schema, required: ['pipelines'] }
}

function componentSchema(definition: AnyDefinition): Json {
  // What a plugin means by a name is its own.
  const schema = convert(definition.config, definition.source === undefined ? definition.type : undefined)
  const described = {
    title: `${definition.type} ${KIND_OF[`${definition.kind}s`]}`,
    description: definition.summary,
  }
  return { ...described, ...schema }
}

function idPattern(type: string): string {
  return `^\\s*${type}\\s*(/.+)?$`
}

/** A map with nothing in it means all defaults; what is required then is said when it is checked. */
function nullable(schema: Json): Json {
  return schema['type'] === 'object' ? { ...schema, type: ['object', 'null'] } : schema
}

/** `name` is what the fields stand in; without it they have only the words of their schema. */
export function convert(schema: z.ZodType, name?: string): Json {
  const converted = z.toJSONSchema(schema, {
    io: 'input',
    unrepresentable: 'any',
    reused: 'inline',
    override: ({ zodSchema, jsonSchema }) => {
      // A duration's default is in milliseconds, after its transform: said in the words that a user would
      // write.
      // The same object, typed for another entry point of zod.
      const field = zodSchema as unknown as z.ZodType
      const fallback = metaOf(field)['title'] === 'duration' ? defaultOf(field) : undefined
      if (typeof fallback === 'number') jsonSchema.default = formatDuration(fallback)
      // Some fields make up for what is not there before they look at it.
      const { shape } = definitionOf(field)
      const required = jsonSchema.required?.filter((key) => !shape?.[key]?.safeParse(undefined).success)
      if (required !== undefined) jsonSchema.required = required
    },
  }) as Json
  delete converted['$schema']
  return polish(converted, name) as Json // Maps stay maps.
}

/** Takes Weir's own words out of a schema and says them in those of JSON Schema. */
function polish(value: unknown, name: string | undefined): unknown {
  if (Array.isArray(value)) return value.map((one) => polish(one, name))
  if (typeof value !== 'object' || value === null) return value
  const { status, why, secret, ...rest } = value as Json
  const result: Json = {}
  for (const [key, child] of Object.entries(rest)) {
    const isFields = (key === 'properties' || key === 'patternProperties') && isJson(child)
    if (isFields) result[key] = polishFields(child, name)
    // Values, not schemas: they are kept to the letter.
    else result[key] = key === 'default' || key === 'enum' || key === 'const' ? child : polish(child, name)
  }
  const required = result['required']
  const properties = result['properties']
  if (Array.isArray(required) && isJson(properties)) {
    result['required'] = required.filter((key) => String(key) in properties)
  }
  if (status === 'harmless') {
    result['description'] = `Ignored: ${why}.`
    result['deprecated'] = true
  }
  if (secret === true) result['writeOnly'] = true
  if (result['minimum'] === Number.MIN_SAFE_INTEGER) delete result['minimum']
  if (result['maximum'] === Number.MAX_SAFE_INTEGER) delete result['maximum']
  const pattern = PATTERNS[String(result['title'])]
  if (pattern !== undefined) {
    delete result['anyOf']
    result['type'] = ['string', 'integer', 'null']
    result['pattern'] = `${pattern}|${EXPRESSION.pattern}`
  }
  const words = wordsOf(result['title'])
  if (words !== undefined && result['type'] === 'string') {
    delete result['type']
    result['anyOf'] = [
      { enum: words },
      { type: 'string', pattern: `^\\s*(${words.map(anyCase).join('|')})\\s*$` },
      EXPRESSION,
    ]
  }
  return withExpression(nullable(result))
}

/** A title such as `none, basic or normal` lists the words of a field that takes them in any case. */
function wordsOf(title: unknown): string[] | undefined {
  const text = typeof title === 'string' && /^\w+(, \w+)* or \w+$/.test(title) ? title : undefined
  return text?.split(/, | or /)
}

function anyCase(word: string): string {
  return [...word].map((letter) => `[${letter.toUpperCase()}${letter.toLowerCase()}]`).join('')
}

function polishFields(fields: Json, name: string | undefined): Json {
  const kept = Object.entries(fields).filter(([, field]) => !(isJson(field) && field['status'] === 'refused'))
  return Object.fromEntries(
    kept.map(([key, field]) => {
      const polished = polish(field, name === undefined ? undefined : key)
      const described = isJson(polished) && polished['description'] !== undefined
      const words = name === undefined ? undefined : (DESCRIPTIONS[`${name}.${key}`] ?? DESCRIPTIONS[key])
      return [
        key,
        described || words === undefined ? polished : { description: words, ...(polished as Json) },
      ]
    }),
  )
}

function withExpression(schema: Json): Json {
  const { type, enum: values } = schema
  const strict = type === 'number' || type === 'integer' || type === 'boolean'
  if (!strict && !(type === 'string' && Array.isArray(values))) return schema
  const { description, title, default: fallback, deprecated, ...core } = schema
  const outer = Object.fromEntries(
    Object.entries({ title, description, default: fallback, deprecated }).filter(
      ([, one]) => one !== undefined,
    ),
  )
  return { ...outer, anyOf: [core, EXPRESSION] }
}

function isJson(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
