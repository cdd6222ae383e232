/**
 * The line of a log record, in the formats of the Collector's exporter: json, logfmt, raw, and body, the
 * oldest. What became a label or structured metadata has been taken out of the attributes before.
 */
import type { JsValue } from '../../otlp/attributes.ts'
import { type Attributes, type LabelRules, quote } from './labels.ts'
import { parseLogfmt } from './logfmt.ts'
import { attributeText, json, type LogRecord, type Scope } from './record.ts'

/** Undefined for a format that does not exist. */
export function formatLine(
  format: string,
  record: LogRecord,
  attributes: Attributes,
  resource: Attributes,
  scope: Scope,
  rules: LabelRules,
): string | undefined {
  switch (format) {
    case 'json':
      return jsonLine(record, attributes, resource, scope)
    case 'logfmt':
      return logfmtLine(record, attributes, resource, scope)
    case 'raw':
      return attributeText(record.body ?? null)
    case 'body':
      return bodyLine(record, attributes, resource, scope, rules)
    default:
      return undefined
  }
}

function jsonLine(record: LogRecord, attributes: Attributes, resource: Attributes, scope: Scope): string {
  const members: string[] = []
  if (record.body !== undefined) members.push(`"body":${json(record.body)}`)
  if (record.traceId !== '') members.push(`"traceid":"${record.traceId}"`)
  if (record.spanId !== '') members.push(`"spanid":"${record.spanId}"`)
  if (record.severityText !== '') members.push(`"severity":${json(record.severityText)}`)
  if (record.flags !== 0) members.push(`"flags":${record.flags}`)
  addMap(members, 'attributes', attributes)
  members.push(...sharedMembers(resource, scope))
  return `{${members.join(',')}}`
}

/** What the lines of all records of one resource and scope end with. */
export function sharedMembers(resource: Attributes, scope: Scope): string[] {
  const members: string[] = []
  addMap(members, 'resources', resource, sharedJson)
  if (scope.name !== '') {
    const inner = [`"name":${json(scope.name)}`]
    if (scope.version !== '') inner.push(`"version":${json(scope.version)}`)
    addMap(inner, 'attributes', scope.attributes, sharedJson)
    members.push(`"instrumentation_scope":{${inner.join(',')}}`)
  }
  return members
}

function addMap(
  members: string[],
  name: string,
  attributes: Attributes,
  toJson: (attributes: Attributes) => string = json,
): void {
  for (const _ in attributes) {
    members.push(`"${name}":${toJson(attributes)}`)
    return
  }
}

/** JSON of the attributes of resources and scopes, which many records share: kept as long as they are. */
const shared = new WeakMap<Attributes, string>()

function sharedJson(attributes: Attributes): string {
  let text = shared.get(attributes)
  if (text === undefined) {
    text = json(attributes)
    shared.set(attributes, text)
  }
  return text
}

type Pairs = [key: string, value: string][]

function logfmtLine(record: LogRecord, attributes: Attributes, resource: Attributes, scope: Scope): string {
  const pairs = bodyPairs(record.body)
  if (record.traceId !== '') set(pairs, 'traceID', record.traceId)
  if (record.spanId !== '') set(pairs, 'spanID', record.spanId)
  if (record.severityText !== '') set(pairs, 'severity', record.severityText)
  if (record.flags !== 0) set(pairs, 'flags', String(record.flags))
  for (const [key, value] of Object.entries(attributes)) flatten(pairs, `attribute_${key}`, value)
  for (const [key, value] of Object.entries(resource)) flatten(pairs, `resource_${key}`, value)
  if (scope.name !== '') {
    pairs.push(['instrumentation_scope_name', scope.name])
    if (scope.version !== '') pairs.push(['instrumentation_scope_version', scope.version])
    for (const [key, value] of Object.entries(scope.attributes))
      flatten(pairs, `instrumentation_scope_attribute_${key}`, value)
  }
  return pairs.map(([key, value]) => `${logfmtKey(key)}=${logfmtValue(value)}`).join(' ')
}

/** A text that is logfmt itself is taken apart; any other is the message. */
function bodyPairs(body: JsValue | undefined): Pairs {
  if (body === undefined) return []
  if (typeof body === 'string') return parseLogfmt(body) ?? [['msg', body]]
  const pairs: Pairs = []
  if (Array.isArray(body)) flatten(pairs, 'body', body)
  else if (typeof body === 'object' && body !== null && !(body instanceof Uint8Array))
    flatten(pairs, '', body)
  else pairs.push(['msg', attributeText(body)])
  return pairs
}

function flatten(pairs: Pairs, key: string, value: JsValue): void {
  if (value === null) return
  if (typeof value !== 'object' || value instanceof Uint8Array) {
    pairs.push([key, attributeText(value)])
    return
  }
  const prefix = key === '' ? '' : `${key}_`
  for (const [inner, entry] of Object.entries(value)) flatten(pairs, prefix + inner, entry)
}

function set(pairs: Pairs, key: string, value: string): void {
  const known = pairs.find((pair) => pair[0] === key)
  if (known) known[1] = value
  else pairs.push([key, value])
}

function logfmtKey(key: string): string {
  return key.replace(/[\x00-\x20="\ufffd]/g, '') || '_'
}

function logfmtValue(value: string): string {
  return value === 'null' || /[\x00-\x20="\ufffd]/.test(value) ? JSON.stringify(value) : value
}

function bodyLine(
  record: LogRecord,
  attributes: Attributes,
  resource: Attributes,
  scope: Scope,
  rules: LabelRules,
): string {
  const isLabel = (field: string) => rules.recordLabels.some(([from]) => from === field)
  let line = ''
  const add = (key: string, value: string) => {
    line += `${key}=${value} `
  }
  if (!isLabel('severity') && record.severityText !== '') add('severity', record.severityText)
  if (!isLabel('severityN') && record.severityNumber > 0) add('severityN', String(record.severityNumber))
  if (!isLabel('traceID') && record.traceId !== '') add('traceID', record.traceId)
  if (!isLabel('spanID') && record.spanId !== '') add('spanID', record.spanId)
  for (const [key, value] of Object.entries(attributes)) add(key, quote(attributeText(value)))
  for (const [key, value] of Object.entries(resource)) add(key, attributeText(value))
  if (scope.name !== '') add('instrumentation_scope_name', scope.name)
  if (scope.name !== '' && scope.version !== '') add('instrumentation_scope_version', scope.version)
  return line + attributeText(record.body ?? null)
}
