/**
 * Compares requests by meaning: as multisets of (resource, scope, item), where an item is a span, a log
 * record, or a data point with the head of its metric. Resources, scopes and metrics that hold nothing count
 * as one entry each, so that none is lost unseen. Only what has no meaning in proto3 is evened out: zeros
 * that are written, and empty messages outside a oneof.
 */
import protobuf from 'protobufjs'
import type { Signal } from '../../../src/otlp/batch.ts'
import { messageType, type Plain, REQUESTS } from '../../support/otlp.ts'

const SHAPES = {
  traces: { groups: 'resourceSpans', scopes: 'scopeSpans', items: 'spans' },
  metrics: { groups: 'resourceMetrics', scopes: 'scopeMetrics', items: 'metrics' },
  logs: { groups: 'resourceLogs', scopes: 'scopeLogs', items: 'logRecords' },
} as const
const METRIC_KINDS = ['gauge', 'sum', 'histogram', 'exponentialHistogram', 'summary']

/** Every item as text that is equal when the items are. */
export function entries(signal: Signal, requests: readonly Plain[]): string[] {
  const shape = SHAPES[signal]
  const type = messageType(REQUESTS[signal])
  return requests.flatMap((request) =>
    (canonical(type, request)[shape.groups] ?? []).flatMap((group: Plain) => {
      const { [shape.scopes]: scopes, ...resource } = group
      if (scopes === undefined) return [JSON.stringify({ resource })]
      return scopes.flatMap((one: Plain) => {
        const { [shape.items]: items, ...scope } = one
        if (items === undefined) return [JSON.stringify({ resource, scope })]
        return items
          .flatMap((item: Plain) => (signal === 'metrics' ? points(item) : [item]))
          .map((item: Plain) => JSON.stringify({ resource, scope, item }))
      })
    }),
  )
}

/** How many of the entries are spans, data points or log records. */
export function itemCount(signal: Signal, requests: readonly Plain[]): number {
  return entries(signal, requests).filter((entry) => {
    const { item } = JSON.parse(entry)
    return item !== undefined && (signal !== 'metrics' || item.point !== undefined)
  }).length
}

function points(metric: Plain): Plain[] {
  const kind = METRIC_KINDS.find((name) => metric[name] !== undefined)
  if (kind === undefined) return [metric]
  const { dataPoints, ...rest } = metric[kind]
  const head = { ...metric, [kind]: rest }
  return dataPoints === undefined ? [head] : dataPoints.map((point: Plain) => ({ head, point }))
}

/**
 * Throws with the first differences, each beside the nearest entry of the other side, unless both hold the
 * same entries.
 */
export function expectSame(
  what: string,
  signal: Signal,
  actual: readonly Plain[],
  expected: readonly Plain[],
): number {
  const left = new Map<string, number>()
  const wanted = entries(signal, expected)
  for (const entry of wanted) left.set(entry, (left.get(entry) ?? 0) + 1)
  const surplus: string[] = []
  for (const entry of entries(signal, actual)) {
    const count = left.get(entry) ?? 0
    if (count === 0) surplus.push(entry)
    else left.set(entry, count - 1)
  }
  const missing = [...left].flatMap(([entry, count]) => Array.from({ length: count }, () => entry))
  if (missing.length === 0 && surplus.length === 0) return wanted.length
  const shown = missing.slice(0, 3).map((entry) => difference(entry, surplus))
  throw new Error(
    `${what}, ${signal}: of ${wanted.length} entries ${missing.length} are missing ` +
      `and ${surplus.length} are too many\n` +
      `${shown.join('\n')}${missing.length === 0 ? `too many: ${surplus[0]?.slice(0, 2000)}` : ''}`,
  )
}

function difference(missing: string, surplus: readonly string[]): string {
  const common = (other: string) => {
    let at = 0
    while (at < missing.length && missing[at] === other[at]) at++
    return at
  }
  const nearest = surplus.reduce((best, one) => (common(one) > common(best) ? one : best), '')
  const at = Math.max(0, common(nearest) - 200)
  return `missing at ${at}: ${missing.slice(at, at + 800)}\nnearest: ${nearest.slice(at, at + 800)}`
}

/** Fields that are set anywhere in these requests, as Message.field: what a test has covered. */
export function fieldsUsed(signal: Signal, requests: readonly Plain[]): Set<string> {
  const used = new Set<string>()
  const visit = (type: protobuf.Type, object: Plain) => {
    for (const [key, value] of Object.entries(object)) {
      used.add(`${type.name}.${key}`)
      const inner = type.fields[key]?.resolvedType
      if (!(inner instanceof protobuf.Type)) continue
      for (const one of Array.isArray(value) ? value : [value]) visit(inner, one)
    }
  }
  const type = messageType(REQUESTS[signal])
  for (const request of requests) visit(type, canonical(type, request))
  return used
}

function canonical(type: protobuf.Type, object: Plain): Plain {
  const result: Plain = {}
  for (const field of type.fieldsArray) {
    const value = object[field.name]
    if (value === undefined || value === null) continue
    const inner = field.resolve().resolvedType
    const one = (entry: Plain) => (inner instanceof protobuf.Type ? canonical(inner, entry) : scalar(entry))
    if (field.repeated) {
      if (value.length > 0) result[field.name] = value.map(one)
      continue
    }
    const entry = one(value)
    if (field.partOf || !isNothing(entry)) result[field.name] = entry
  }
  return result
}

function scalar(value: Plain): Plain {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex')
  if (typeof value === 'number' && (!Number.isFinite(value) || Object.is(value, -0)))
    return Object.is(value, -0) ? '-0' : String(value)
  return value
}

function isNothing(value: Plain): boolean {
  if (typeof value === 'object') return Object.keys(value).length === 0
  return value === 0 || value === '0' || value === '' || value === false
}

export interface Edit {
  readonly upsert: Readonly<Record<string, string>>
  readonly delete: readonly string[]
}

/** What the resource processor must make of a request: a value in its place, a new key at the end. */
export function edited(signal: Signal, request: Plain, edit: Edit): Plain {
  const shape = SHAPES[signal]
  return {
    [shape.groups]: (request[shape.groups] ?? []).map((group: Plain) => {
      const attributes: Plain[] = (group.resource?.attributes ?? []).map((pair: Plain) => ({ ...pair }))
      for (const [key, text] of Object.entries(edit.upsert)) {
        const found = attributes.find((pair) => (pair.key ?? '') === key)
        if (found) found.value = { stringValue: text }
        else attributes.push({ key, value: { stringValue: text } })
      }
      const kept = attributes.filter((pair) => !edit.delete.includes(pair.key ?? ''))
      return { ...group, resource: { ...group.resource, attributes: kept } }
    }),
  }
}
