/**
 * From the input of a test to batches: the short forms of spans, metrics and logs, and OTLP in its JSON
 * form.
 */
import { readFileSync } from 'node:fs'
import type { JsValue } from '../../otlp/attributes.ts'
import { Batch, type RequestContext, type Signal } from '../../otlp/batch.ts'
import { decodeJson } from '../../otlp/json-decode.ts'
import { receiveRequest } from '../../otlp/receive.ts'
import {
  type AttributeValues,
  buildLogs,
  buildMetrics,
  buildTraces,
  type LogValues,
  type MetricValues,
  type SpanValues,
} from '../../plugin/build.ts'
import type { Ids } from './ids.ts'
import type { Step } from './schema.ts'

type SpanIn = Exclude<NonNullable<Step['spans']>[number], string>
type MetricIn = NonNullable<Step['metrics']>[number]
type LogIn = Exclude<NonNullable<Step['logs']>[number], string>

export const SEVERITIES = { trace: 1, debug: 5, info: 9, warn: 13, error: 17, fatal: 21 } as const
const GROUPS = { resourceSpans: 'traces', resourceMetrics: 'metrics', resourceLogs: 'logs' } as const
const MOST_FILE_BYTES = 64 * 1024 * 1024

export interface InputPlace {
  /** When the test began, and when this is sent, in nanoseconds. */
  readonly startNs: bigint
  readonly nowNs: bigint
  readonly ids: Ids
  /** A path of the test file as one that can be opened. */
  resolve(path: string): string
}

/** One batch for each signal of the short forms, one for each request of `otlp` and `file`. */
export function batchesOf(step: Step, place: InputPlace): Batch[] {
  const context = contextOf(step)
  const batches: Batch[] = []
  const spans = repeated((step.spans ?? []).map((one) => (typeof one === 'string' ? { name: one } : one)))
  if (spans.length > 0) {
    batches.push(
      joined(spans, context, (group, around) =>
        buildTraces({ ...around, spans: group.map((one) => spanValues(one, place)) }),
      ),
    )
  }
  const metrics = repeated(step.metrics ?? [])
  if (metrics.length > 0) {
    batches.push(
      joined(metrics, context, (group, around) =>
        buildMetrics({ ...around, metrics: group.map((one) => metricValues(one, place)) }),
      ),
    )
  }
  const logs = repeated(
    (step.logs ?? []).map((one): LogIn => (typeof one === 'string' ? { body: one } : one)),
  )
  if (logs.length > 0) {
    batches.push(
      joined(logs, context, (group, around) =>
        buildLogs({ ...around, logs: group.map((one) => logValues(one, place)) }),
      ),
    )
  }
  const requests = step.otlp === undefined ? [] : Array.isArray(step.otlp) ? step.otlp : [step.otlp]
  for (const request of requests) batches.push(...requestBatches(request, context))
  if (step.file !== undefined) {
    for (const request of readRequests(place.resolve(step.file)))
      batches.push(...requestBatches(request, context))
  }
  return batches
}

function contextOf({ metadata }: Step): RequestContext {
  const pairs = Object.entries(metadata ?? {}).map(
    ([key, value]) => [key.toLowerCase(), typeof value === 'string' ? [value] : value] as const,
  )
  return { metadata: new Map(pairs) }
}

function repeated<T extends { readonly copies?: number | undefined; readonly trace?: string | undefined }>(
  items: readonly T[],
): T[] {
  return items.flatMap((item) => {
    if (item.copies === undefined) return [item]
    const named = (index: number) =>
      item.trace === undefined ? item : { ...item, trace: `${item.trace}-${index + 1}` }
    return Array.from({ length: item.copies }, (_, index) => named(index))
  })
}

interface AroundItem {
  readonly service?: string | undefined
  readonly resource?: Readonly<Record<string, unknown>> | undefined
  readonly scope?: string | undefined
}

/** Items that follow each other with the same resource and scope share them; all are one request. */
function joined<T extends AroundItem>(
  items: readonly T[],
  context: RequestContext,
  build: (group: T[], around: { resource: AttributeValues; scope?: { name: string } }) => Batch,
): Batch {
  const groups: { key: string; items: T[] }[] = []
  for (const item of items) {
    const key = JSON.stringify([item.service, item.resource, item.scope])
    const last = groups.at(-1)
    if (last?.key === key) last.items.push(item)
    else groups.push({ key, items: [item] })
  }
  const batches = groups.map(({ items: group }) => {
    const { service, resource, scope } = group[0] as T // A group begins with its first item.
    const attributes = { ...(service !== undefined && { 'service.name': service }), ...values(resource) }
    return build(group, { resource: attributes, ...(scope !== undefined && { scope: { name: scope } }) })
  })
  const all = Batch.concat(batches)
  return new Batch(all.signal, [all.bytes()], all.itemCount, context)
}

/** What YAML gives is what an attribute can be. */
function values(map: Readonly<Record<string, unknown>> | undefined): AttributeValues {
  return (map ?? {}) as AttributeValues
}

function nanos(ms: number): bigint {
  return BigInt(Math.round(ms * 1e6))
}

function spanValues(one: SpanIn, { startNs, nowNs, ids }: InputPlace): SpanValues {
  const length = nanos(one.duration ?? 0)
  const start = one.start === undefined ? nowNs - length : startNs + nanos(one.start)
  const status = typeof one.status === 'string' ? { code: one.status } : one.status
  const made = {
    name: one.name,
    traceId: ids.trace(one.trace),
    spanId: ids.span(one.span),
    ...(one.parent !== undefined && { parentSpanId: ids.span(one.parent) }),
    ...(one.trace_state !== undefined && { traceState: one.trace_state }),
    kind: one.kind ?? 'internal',
    startTimeUnixNano: start,
    endTimeUnixNano: start + length,
    attributes: values(one.attributes),
    ...(status && { status }),
    events: (one.events ?? []).map((event) => ({
      name: event.name,
      timeUnixNano: start + nanos(event.at ?? 0),
      attributes: values(event.attributes),
    })),
  } as const
  return made
}

function metricValues(one: MetricIn, { nowNs, startNs }: InputPlace): MetricValues {
  const { name, unit, description, temporality, monotonic } = one
  const type = one.type ?? (one.buckets || one.count !== undefined ? 'histogram' : 'gauge')
  if (type === 'summary' || type === 'exponentialHistogram') {
    throw new TypeError(`metric "${name}": there is no short form of type ${type}; write it as otlp`)
  }
  const value = one.value !== undefined && Number.isSafeInteger(one.value) ? BigInt(one.value) : one.value
  const counts = one.buckets ?? []
  const point = {
    attributes: values(one.attributes),
    timeUnixNano: nowNs,
    ...(type !== 'gauge' && { startTimeUnixNano: startNs }),
    ...(type !== 'histogram' && { value: value ?? 0n }),
    ...(type === 'histogram' && {
      count: one.count ?? counts.reduce((sum, count) => sum + count, 0),
      bucketCounts: counts,
      explicitBounds: one.bounds ?? [],
      ...(one.sum !== undefined && { sum: one.sum }),
    }),
  }
  return {
    ...{ name, type, points: [point] },
    ...(unit !== undefined && { unit }),
    ...(description !== undefined && { description }),
    ...(temporality !== undefined && { temporality }),
    ...(monotonic !== undefined && { monotonic }),
  }
}

function logValues(one: LogIn, { nowNs, ids }: InputPlace): LogValues {
  const { severity = 'info' } = one
  return {
    ...(one.body !== undefined && { body: one.body as JsValue }), // What YAML gives.
    timeUnixNano: nowNs,
    observedTimeUnixNano: nowNs,
    severityNumber: typeof severity === 'number' ? severity : SEVERITIES[severity],
    ...(one.severity_text !== undefined && { severityText: one.severity_text }),
    ...(one.event !== undefined && { eventName: one.event }),
    ...(one.trace !== undefined && { traceId: ids.trace(one.trace) }),
    ...(one.span !== undefined && { spanId: ids.span(one.span) }),
    attributes: values(one.attributes),
  }
}

function requestBatches(request: Readonly<Record<string, unknown>>, context: RequestContext): Batch[] {
  const batches: Batch[] = []
  for (const [key, signal] of Object.entries(GROUPS) as [string, Signal][]) {
    if (request[key] === undefined) continue
    const bytes = decodeJson(signal, Buffer.from(JSON.stringify({ [key]: request[key] })))
    const { chunk, itemCount } = receiveRequest(signal, bytes)
    batches.push(new Batch(signal, [chunk], itemCount, context))
  }
  if (batches.length === 0)
    throw new TypeError(`no OTLP request: expected one of ${Object.keys(GROUPS).join(', ')}`)
  return batches
}

/** A file is one request, or one on each line. */
function readRequests(path: string): Record<string, unknown>[] {
  const content = readFileSync(path)
  if (content.length > MOST_FILE_BYTES)
    throw new RangeError(`${path} is larger than ${MOST_FILE_BYTES} bytes`)
  const body = content.toString('utf8').trim()
  try {
    return [JSON.parse(body)]
  } catch (error) {
    const lines = body.split('\n').filter((line) => line.trim() !== '')
    if (lines.length < 2) throw error
    return lines.map((line) => JSON.parse(line))
  }
}
