/**
 * Labels of a log record, its tenant and its format: from the resource, the record and the hints in both
 * (loki.*). The keys are the names as attributes have them; label names are made of them at the end.
 */
import type { JsValue } from '../../otlp/attributes.ts'
import type { LokiConfig } from './config.ts'
import type { LogRecord } from './record.ts'
import { attributeText, severityName } from './record.ts'

export type Attributes = Readonly<Record<string, JsValue>>

const HINT_ATTRIBUTES = 'loki.attribute.labels'
const HINT_RESOURCE = 'loki.resource.labels'
const HINT_FORMAT = 'loki.format'
export const HINT_TENANT = 'loki.tenant'
export const HINTS: ReadonlySet<string> = new Set([HINT_ATTRIBUTES, HINT_RESOURCE, HINT_FORMAT, HINT_TENANT])
export const LEVEL = 'level'
/** Loki takes no stream without a label. */
const FALLBACK = ['exporter', 'OTLP'] as const

type Selection = readonly (readonly [attribute: string, label: string])[]

/** What labels are made of beside attributes. */
type SeverityAndIds = Pick<LogRecord, 'severityNumber' | 'severityText' | 'traceId' | 'spanId'>

/** The configuration as the conversion wants it. */
export class LabelRules {
  readonly #defaults: { exporter: boolean; job: boolean; instance: boolean; level: boolean }
  readonly #attributes: Selection
  readonly #resource: Selection
  readonly #record: Selection
  readonly #format: string

  constructor(config: LokiConfig) {
    const { labels } = config
    // The old form named all labels; so with it the default ones are only added where they are asked for.
    const on = !labels
    this.#defaults = config.default_labels_enabled ?? { exporter: on, job: on, instance: on, level: on }
    this.#attributes = selection(labels?.attributes)
    this.#resource = selection(labels?.resource)
    this.#record = selection(labels?.record)
    this.#format = config.format ?? (labels ? 'body' : 'json')
  }

  /** Attribute name to label value. */
  labels(record: SeverityAndIds, attributes: Attributes, resource: Attributes): Map<string, string> {
    const out = new Map<string, string>()
    const { exporter, job, instance, level } = this.#defaults
    if (exporter) out.set('exporter', 'OTLP')
    if (job && 'service.name' in resource) out.set('job', jobOf(resource))
    if (instance && 'service.instance.id' in resource)
      out.set('instance', attributeText(resource['service.instance.id'] ?? null))
    this.#configured(out, record, attributes, resource)
    promote(out, resource, names(resource[HINT_RESOURCE]))
    promote(out, resource, names(attributes[HINT_RESOURCE]))
    promote(out, attributes, names(attributes[HINT_ATTRIBUTES]))
    if (level && record.severityNumber !== 0) {
      const own = attributes[LEVEL]
      const value = own === undefined ? severityName(record.severityNumber) : attributeText(own)
      if (value !== '') out.set(LEVEL, value)
    }
    return out
  }

  #configured(
    out: Map<string, string>,
    record: SeverityAndIds,
    attributes: Attributes,
    resource: Attributes,
  ): void {
    for (const [from, label] of this.#attributes) pick(out, attributes, from, label)
    for (const [from, label] of this.#resource) pick(out, resource, from, label)
    for (const [from, label] of this.#record) {
      const value =
        from === 'traceID'
          ? record.traceId
          : from === 'spanID'
            ? record.spanId
            : from === 'severity'
              ? record.severityText
              : severityName(record.severityNumber)
      if (value !== '') out.set(label, value)
    }
  }

  /** The configuration names no labels itself, so that a record has those of its resource, and its level. */
  get onlyDefaults(): boolean {
    return this.#attributes.length === 0 && this.#resource.length === 0 && this.#record.length === 0
  }

  /** json, logfmt, raw or body; something else when a hint says so. */
  format(attributes: Attributes, resource: Attributes): string {
    const hint = resource[HINT_FORMAT] ?? attributes[HINT_FORMAT]
    return hint === undefined ? this.#format : attributeText(hint)
  }

  /** What the labels were made of, to be left out of the line. */
  taken(labels: ReadonlyMap<string, string>): Set<string> {
    const taken = new Set(labels.keys())
    for (const [from, label] of [...this.#attributes, ...this.#resource])
      if (labels.has(label)) taken.add(from)
    return taken
  }

  /** Fields of the record that became labels, which the `body` format leaves out. */
  get recordLabels(): Selection {
    return this.#record
  }
}

function selection(map: Readonly<Record<string, string | null | undefined>> | null | undefined): Selection {
  return Object.entries(map ?? {}).map(([attribute, label]) => [attribute, label || attribute])
}

function pick(out: Map<string, string>, attributes: Attributes, from: string, label: string): void {
  const value = attributes[from]
  if (typeof value === 'string') out.set(label, value)
}

function jobOf(resource: Attributes): string {
  const name = attributeText(resource['service.name'] ?? null)
  const namespace = resource['service.namespace']
  return namespace === undefined ? name : `${attributeText(namespace)}/${name}`
}

/** A hint is a comma-separated string or an array. */
function names(hint: JsValue | undefined): string[] {
  if (hint === undefined) return []
  if (typeof hint === 'string') return hint.split(',')
  return Array.isArray(hint) ? hint.map((entry: JsValue) => attributeText(entry)) : [attributeText(hint)]
}

function promote(out: Map<string, string>, attributes: Attributes, wanted: readonly string[]): void {
  for (const name of wanted) {
    const key = name.trim()
    const value = lookUp(attributes, key)
    if (value !== undefined) out.set(key, attributeText(value))
  }
}

const MAX_NESTING = 16

/** An attribute of this name, or, with dots, of nested maps: `a.b.c` is also `c` in the map `a.b`. */
export function lookUp(attributes: Attributes, key: string, depth = 0): JsValue | undefined {
  if (Object.hasOwn(attributes, key)) return attributes[key]
  if (depth > MAX_NESTING) return undefined
  for (let dot = key.lastIndexOf('.'); dot > 0; dot = key.lastIndexOf('.', dot - 1)) {
    const outer = Object.getOwnPropertyDescriptor(attributes, key.slice(0, dot))?.value as JsValue | undefined
    if (isMap(outer)) return lookUp(outer, key.slice(dot + 1), depth + 1)
  }
  return undefined
}

function isMap(value: JsValue | undefined): value is Attributes {
  return (
    typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array)
  )
}

/** The tenant that the hint leads to: it names the attribute that holds it. The resource goes first. */
export function hintedTenant(attributes: Attributes, resource: Attributes): string {
  const hint = resource[HINT_TENANT] ?? attributes[HINT_TENANT]
  return typeof hint === 'string' ? attributeTenant(hint, attributes, resource) : ''
}

export function attributeTenant(name: string, attributes: Attributes, resource: Attributes): string {
  const value = resource[name] ?? attributes[name]
  return typeof value === 'string' ? value : ''
}

/** Label names may have letters, digits and underscores only, and not begin with a digit. */
export function sanitize(name: string): string {
  const clean = name.replace(/[^a-zA-Z0-9_]/gu, '_')
  if (/^[0-9]/.test(clean)) return `key_${clean}`
  return clean.startsWith('_') && !clean.startsWith('__') ? `key${clean}` : clean
}

export type LabelPairs = readonly (readonly [name: string, value: string])[]

/** Sorted by name, without empty values, never none. */
export function labelPairs(labels: ReadonlyMap<string, string>): LabelPairs {
  const clean = new Map<string, string>()
  for (const [name, value] of labels) if (value !== '') clean.set(sanitize(name), value)
  if (clean.size === 0) return [FALLBACK]
  return [...clean].sort(([a], [b]) => (a < b ? -1 : 1))
}

/** The name of a stream: `{a="x", b="y"}`. */
export function streamName(pairs: LabelPairs): string {
  return `{${pairs.map(([name, value]) => `${name}=${quote(value)}`).join(', ')}}`
}

const PLAIN = /^[ !#-[\]-~]*$/
const PRINTABLE = /^[\p{L}\p{M}\p{N}\p{P}\p{S} ]$/u
const SHORT: Readonly<Record<string, string>> = {
  '"': '\\"',
  '\\': '\\\\',
  '\u0007': '\\a',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\v': '\\v',
}

/** A double-quoted string as Go writes and reads it: what is not printable is escaped. */
export function quote(text: string): string {
  if (PLAIN.test(text)) return `"${text}"`
  let out = '"'
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0
    if (SHORT[character] !== undefined) out += SHORT[character]
    else if (PRINTABLE.test(character)) out += character
    else if (code < 0x80) out += `\\x${code.toString(16).padStart(2, '0')}`
    else if (code < 0x10000) out += `\\u${code.toString(16).padStart(4, '0')}`
    else out += `\\U${code.toString(16).padStart(8, '0')}`
  }
  return `${out}"`
}
