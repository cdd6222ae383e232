/**
 * The table of every field of every component, read off the schemas: does it work, is it harmless to ignore,
 * is it refused. `weir fields` prints it, docs/fields.md holds it, and a test proves that current.
 */
import type { z } from 'zod'
import type { AnyDefinition, Registry } from '../component/define.ts'
import { KIND_OF, SECTIONS } from './check.ts'
import { alternatives, defaultOf, definitionOf, metaOf } from './schema-walk.ts'
import { serviceSchema } from './service-schema.ts'

/** Schemas nest no deeper than this in the table. */
const MAX_DEPTH = 12

export interface FieldRow {
  readonly path: string
  readonly status: 'works' | 'harmless' | 'refused'
  readonly why: string
  readonly type: string
  readonly default: string
}

/** The fields of a schema, in the order it declares them. */
export function fieldRows(schema: z.ZodType): FieldRow[] {
  const rows = new Map<string, FieldRow>()
  visit(schema, '', 0, rows)
  return [...rows.values()]
}

function visit(schema: z.ZodType, path: string, depth: number, rows: Map<string, FieldRow>): void {
  if (depth > MAX_DEPTH) return
  for (const option of alternatives(schema)) {
    const { shape, element, items, valueType } = definitionOf(option)
    for (const [key, field] of Object.entries(shape ?? {})) {
      const at = path === '' ? key : `${path}.${key}`
      addRow(field, at, rows)
      if (metaOf(field).status === undefined) visit(field, at, depth + 1, rows)
    }
    for (const item of [...(element ? [element] : []), ...(items ?? [])])
      visit(item, `${path}[]`, depth + 1, rows)
    if (valueType) visit(valueType, path === '' ? '<name>' : `${path}.<name>`, depth + 1, rows)
  }
}

function addRow(field: z.ZodType, path: string, rows: Map<string, FieldRow>): void {
  const meta = metaOf(field)
  const known = rows.get(path)
  const { literal, name } = typeWords(field)
  // The alternatives of a union may share a key: `type: latency`, `type: status_code`.
  if (known && known.status !== 'works' && meta.status === undefined) rows.delete(path)
  else if (known) {
    if (!known.type.split(' or ').includes(name))
      rows.set(path, { ...known, type: `${known.type} or ${name}` })
    return
  }
  const fallback = literal ? undefined : defaultOf(field)
  rows.set(path, {
    path,
    status: meta.status ?? 'works',
    why: meta.why ?? (typeof meta['description'] === 'string' ? meta['description'] : ''),
    type: name,
    default: fallback === undefined ? '' : formatDefault(fallback, name),
  })
}

function formatDefault(value: unknown, type: string): string {
  if (type === 'secret') return ''
  if (type.startsWith('duration') && typeof value === 'number') return formatDuration(value)
  const text = type.startsWith('duration') ? String(value) : JSON.stringify(value)
  return text === '{}' || text === undefined ? '' : text
}

/** Milliseconds in the form that a user would write. */
export function formatDuration(ms: number): string {
  if (ms === 0) return '0s'
  if (ms % 3_600_000 === 0) return `${ms / 3_600_000}h`
  if (ms % 60_000 === 0) return `${ms / 60_000}m`
  return ms % 1000 === 0 ? `${ms / 1000}s` : `${ms}ms`
}

function typeWords(field: z.ZodType): { name: string; literal: boolean } {
  const meta = metaOf(field)
  if (meta.status === 'refused') return { name: '', literal: false }
  if (meta.secret === true) return { name: 'secret', literal: false }
  if (typeof meta['title'] === 'string') return { name: meta['title'], literal: false }
  const names = alternatives(field).map(typeName)
  const literal = alternatives(field).every((option) => definitionOf(option).type === 'literal')
  return { name: [...new Set(names.filter((name) => name !== ''))].join(' or '), literal }
}

function typeName(schema: z.ZodType): string {
  const { type, entries, values, element } = definitionOf(schema)
  if (type === 'enum')
    return Object.values(entries ?? {})
      .map((word) => (word === '' ? '""' : String(word)))
      .join(', ')
  if (type === 'literal') return (values ?? []).map(String).join(', ')
  if (type === 'array') return element ? `list of ${typeWords(element).name || 'values'}` : 'list'
  if (type === 'object' || type === 'record') return 'map'
  if (type === 'number') return definitionOf(schema).format === 'safeint' ? 'whole number' : 'number'
  return type === 'unknown' || type === 'any' || type === 'transform' || type === 'custom' ? '' : type
}

/** docs/fields.md, whole. */
export function fieldsDocument(registry: Registry): string {
  const lines = [
    '# Every field',
    '',
    'Generated from the schemas by `weir fields`; do not edit.',
    '',
    'A field **works**, is **harmless** to ignore (accepted with one warning that says why), or is **refused**',
    'by name because ignoring it would change what happens to data. Any other key is an error that names the',
    'nearest valid one.',
    '',
    '## service',
    '',
    ...table(fieldRows(serviceSchema)),
  ]
  for (const section of SECTIONS) {
    const definitions: readonly AnyDefinition[] = registry[section]
    const sorted = [...definitions].sort((a, b) => (a.type < b.type ? -1 : 1))
    for (const definition of sorted) {
      lines.push('', `## ${KIND_OF[section]} \`${definition.type}\``, '', definition.summary)
      const old = definition.deprecatedTypes ?? []
      if (old.length > 0)
        lines.push('', `Also accepted as ${old.map((name) => `\`${name}\``).join(', ')}, with a warning.`)
      const rows = fieldRows(definition.config)
      lines.push('', ...(rows.length > 0 ? table(rows) : ['No fields.']))
    }
    const refused = Object.entries(registry.refused[KIND_OF[section]] ?? {}).sort()
    if (refused.length > 0) {
      lines.push('', `## ${section} that are refused by name`, '', '| type | why |', '| --- | --- |')
      for (const [type, why] of refused) lines.push(`| \`${type}\` | ${cell(why)} |`)
    }
  }
  return `${lines.join('\n')}\n`
}

function table(rows: readonly FieldRow[]): string[] {
  return [
    '| field | | type | default | notes |',
    '| --- | --- | --- | --- | --- |',
    ...rows.map((row) => {
      const fallback = row.default === '' ? '' : `\`${cell(row.default)}\``
      return `| \`${row.path}\` | ${row.status} | ${cell(row.type)} | ${fallback} | ${cell(row.why)} |`
    }),
  ]
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ')
}
