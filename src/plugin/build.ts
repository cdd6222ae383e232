/**
 * Batches out of plain values, for receivers that take something else than OTLP, and for tests:
 *
 *     buildTraces({ resource: { 'service.name': 'shop' }, spans: ['GET /', { name: 'db', attributes: { rows: 3 } }] })
 *     buildLogs({ logs: ['a line', { body: { user: 'ann' }, severityNumber: 9 }] })
 *     buildMetrics({ metrics: [{ name: 'up', type: 'gauge', points: [{ value: 1, attributes: { job: 'a' } }] }] })
 *
 * It goes by way of OTLP's JSON form, which costs some microseconds an item: whoever needs less writes bytes with WireWriter.
 */
import { randomBytes } from 'node:crypto'
import type { JsValue } from '../otlp/attributes.ts'
import { Batch, type RequestContext, type Signal } from '../otlp/batch.ts'
import { SPAN_KIND, STATUS_CODE } from '../otlp/fields.ts'
import { decodeJson } from '../otlp/json-decode.ts'
import type { SpanKindName, StatusCodeName } from './items.ts'

export type AttributeValues = Readonly<Record<string, JsValue>>

/** What stands around the items. */
export interface Around {
  readonly resource?: AttributeValues
  readonly scope?: {
    readonly name?: string
    readonly version?: string
    readonly attributes?: AttributeValues
  }
}

export interface SpanValues {
  readonly name: string
  /** Hex. Left out: random. */
  readonly traceId?: string
  readonly spanId?: string
  readonly parentSpanId?: string
  readonly kind?: SpanKindName
  readonly startTimeUnixNano?: bigint
  readonly endTimeUnixNano?: bigint
  readonly attributes?: AttributeValues
  readonly status?: { readonly code: StatusCodeName; readonly message?: string }
  readonly events?: readonly {
    readonly name: string
    readonly timeUnixNano?: bigint
    readonly attributes?: AttributeValues
  }[]
}

export interface LogValues {
  readonly body?: JsValue
  readonly timeUnixNano?: bigint
  readonly observedTimeUnixNano?: bigint
  readonly severityNumber?: number
  readonly severityText?: string
  readonly eventName?: string
  readonly traceId?: string
  readonly spanId?: string
  readonly attributes?: AttributeValues
}

export interface PointValues {
  /** Of gauges and sums. Whole numbers become doubles unless they are bigint. */
  readonly value?: number | bigint
  /** Of histograms. */
  readonly count?: bigint | number
  readonly sum?: number
  readonly bucketCounts?: readonly (bigint | number)[]
  readonly explicitBounds?: readonly number[]
  readonly startTimeUnixNano?: bigint
  readonly timeUnixNano?: bigint
  readonly attributes?: AttributeValues
}

export interface MetricValues {
  readonly name: string
  readonly description?: string
  readonly unit?: string
  readonly type: 'gauge' | 'sum' | 'histogram'
  /** Of sums and histograms. Default: cumulative. */
  readonly temporality?: 'delta' | 'cumulative'
  /** Of sums. Default: true. */
  readonly monotonic?: boolean
  readonly points: readonly PointValues[]
}

export function buildTraces(
  values: Around & { readonly spans: readonly (string | SpanValues)[] },
  context?: RequestContext,
): Batch {
  const spans = values.spans.map((one) => span(typeof one === 'string' ? { name: one } : one))
  return build('traces', values, 'resourceSpans', 'scopeSpans', { spans }, context)
}

export function buildLogs(
  values: Around & { readonly logs: readonly (string | LogValues)[] },
  context?: RequestContext,
): Batch {
  const logRecords = values.logs.map((one) => {
    const { body, attributes, ...rest } = typeof one === 'string' ? { body: one } : (one as LogValues)
    return { ...rest, ...(body !== undefined && { body: anyValue(body) }), attributes: list(attributes) }
  })
  return build('logs', values, 'resourceLogs', 'scopeLogs', { logRecords }, context)
}

export function buildMetrics(
  values: Around & { readonly metrics: readonly MetricValues[] },
  context?: RequestContext,
): Batch {
  return build(
    'metrics',
    values,
    'resourceMetrics',
    'scopeMetrics',
    { metrics: values.metrics.map(metric) },
    context,
  )
}

function build(
  signal: Signal,
  { resource, scope }: Around,
  groups: string,
  scopes: string,
  items: object,
  context: RequestContext | undefined,
): Batch {
  const inner = { scope: { ...scope, attributes: list(scope?.attributes) }, ...items }
  const request = { [groups]: [{ resource: { attributes: list(resource) }, [scopes]: [inner] }] }
  const text = JSON.stringify(request, (_, value: unknown) =>
    typeof value === 'bigint' ? value.toString() : value,
  )
  return new Batch(signal, [decodeJson(signal, Buffer.from(text))], -1, context)
}

function span({ attributes, kind, status, events, ...rest }: SpanValues) {
  return {
    traceId: randomBytes(16).toString('hex'),
    spanId: randomBytes(8).toString('hex'),
    ...rest,
    ...(kind && { kind: SPAN_KIND[kind] }),
    ...(status && { status: { message: status.message, code: STATUS_CODE[status.code] } }),
    attributes: list(attributes),
    events: (events ?? []).map((event) => ({ ...event, attributes: list(event.attributes) })),
  }
}

function metric({ type, points, temporality, monotonic, ...rest }: MetricValues) {
  const dataPoints = points.map(({ value, attributes, ...point }) => ({
    ...point,
    ...(typeof value === 'bigint' ? { asInt: value } : value !== undefined && { asDouble: value }),
    attributes: list(attributes),
  }))
  const aggregationTemporality = temporality === 'delta' ? 1 : 2
  if (type === 'gauge') return { ...rest, gauge: { dataPoints } }
  if (type === 'histogram') return { ...rest, histogram: { dataPoints, aggregationTemporality } }
  return { ...rest, sum: { dataPoints, aggregationTemporality, isMonotonic: monotonic ?? true } }
}

function list(attributes: AttributeValues = {}) {
  return Object.entries(attributes).map(([key, value]) => ({ key, value: anyValue(value) }))
}

/** The JSON form of an AnyValue. */
function anyValue(value: JsValue): object {
  switch (typeof value) {
    case 'string':
      return { stringValue: value }
    case 'boolean':
      return { boolValue: value }
    case 'bigint':
      return { intValue: value }
    case 'number':
      return Number.isSafeInteger(value)
        ? { intValue: value }
        : { doubleValue: Number.isFinite(value) ? value : String(value) }
  }
  if (value === null) return {}
  if (value instanceof Uint8Array) return { bytesValue: Buffer.from(value).toString('base64') }
  if (Array.isArray(value)) return { arrayValue: { values: value.map(anyValue) } }
  return { kvlistValue: { values: list(value as AttributeValues) } } // What is left of JsValue.
}
