/**
 * What the command line prints of configurations and components: text in, text out, nothing read or written.
 */
import { stringify } from 'yaml'
import type { z } from 'zod'
import type { AnyDefinition, Registry } from '../component/define.ts'
import { KIND_OF, SECTIONS } from './check.ts'
import { FEATURE_GATES } from './feature-gates.ts'
import { parseId } from './ids.ts'
import { REDACTED, redact } from './redact.ts'
import { serviceSchema } from './service-schema.ts'

export type Format = 'yaml' | 'json'

export function format(value: unknown, as: Format): string {
  return as === 'json'
    ? `${JSON.stringify(value, null, 2)}\n`
    : stringify(value, { lineWidth: 0, aliasDuplicateObjects: false })
}

/**
 * The tree without its secrets. A component of unknown type has no schema to say what is secret: it is hidden
 * whole.
 */
export function redactTree(tree: unknown, registry: Registry): unknown {
  if (!isMap(tree)) return REDACTED
  return Object.fromEntries(
    Object.entries(tree).map(([key, value]) => {
      const section = SECTIONS.find((one) => one === key)
      if (key === 'plugins') return [key, value]
      if (key === 'service') return [key, redact(value, [serviceSchema])]
      if (!section || !isMap(value)) return [key, value === null ? null : REDACTED]
      const components = Object.entries(value).map(([id, body]) => {
        const schema = schemaOf(registry[section], id)
        return [id, schema ? redact(body, [schema]) : body === null ? null : REDACTED]
      })
      return [key, Object.fromEntries(components)]
    }),
  )
}

function schemaOf(definitions: readonly AnyDefinition[], id: string): z.ZodType | undefined {
  const parsed = parseId(id)
  if (typeof parsed === 'string') return undefined
  const { type } = parsed
  return definitions.find((one) => one.type === type || one.deprecatedTypes?.includes(type))?.config
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Every component: kind by section, type, old names, signals, stability. */
export function listComponents(registry: Registry, version: string): Record<string, unknown> {
  const list: Record<string, unknown> = {
    buildinfo: { command: 'weir', description: 'OpenTelemetry collector for Node.js', version },
  }
  for (const section of SECTIONS) {
    list[section] = registry[section].map((definition) => ({
      name: definition.type,
      kind: KIND_OF[section],
      ...(definition.deprecatedTypes?.length ? { deprecated_names: definition.deprecatedTypes } : {}),
      ...signalsOf(definition),
      stability: definition.stability,
      summary: definition.summary,
    }))
  }
  return { ...list, providers: ['env', 'file', 'yaml'] }
}

function signalsOf(definition: AnyDefinition): Record<string, unknown> {
  if (definition.kind === 'extension') return {}
  if (definition.kind !== 'connector') return { signals: definition.signals }
  return { signals: definition.routes.map(({ from, to }) => `${from} to ${to}`) }
}

/** One gate or all, as a table; undefined when there is no such gate. */
export function featureGateTable(id: string | undefined): string | undefined {
  const gates = FEATURE_GATES.filter((gate) => id === undefined || gate.id === id)
  if (gates.length === 0) return undefined
  const rows = gates.map((gate) => [gate.id, String(gate.enabled), gate.stage, gate.description])
  const all = [['ID', 'Enabled', 'Stage', 'Description'], ...rows]
  const widths = [0, 1, 2].map((column) => Math.max(...all.map((row) => row[column]?.length ?? 0)))
  const line = (row: readonly string[]) => row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join('  ')
  return all.map((row) => `${line(row).trimEnd()}\n`).join('')
}
