/**
 * What came out of a pipeline, in the words that test files are written in, so that it can be compared and
 * shown.
 */
import type { Batch, Signal } from '../../otlp/batch.ts'
import type { HistogramDataPointView } from '../../otlp/metrics.ts'
import { type EditableBatch, editBatch } from '../../plugin/editable-batch.ts'
import type { InnerItem, Span } from '../../plugin/items.ts'
import type { Ids } from './ids.ts'
import { SEVERITIES } from './input.ts'

/** One span, data point or log record. Keys are those of the short forms. */
export type Item = Readonly<Record<string, unknown>>

const CUMULATIVE = 2

export function itemsOf(batch: Batch, startNs: bigint, ids: Ids): Item[] {
  const editable = editBatch(batch)
  const readers: Record<Signal, () => Item[]> = {
    traces: () => spansOf(editable, startNs, ids),
    metrics: () => pointsOf(editable),
    logs: () => logsOf(editable, ids),
  }
  return readers[batch.signal]()
}

function around(item: InnerItem): Item {
  const resource = plainMap(item.resource.attributes.toRecord())
  return { service: resource['service.name'], resource, scope: item.scope.name || undefined }
}

function spansOf(batch: EditableBatch, startNs: bigint, ids: Ids): Item[] {
  const items: Item[] = []
  for (const span of batch.spans()) {
    const { startTimeUnixNano: start, endTimeUnixNano: end } = span
    const events = eventsOf(span)
    items.push({
      ...around(span),
      name: span.name,
      trace: ids.nameOf(span.traceId),
      span: ids.nameOf(span.spanId),
      parent: span.parentSpanId === '' ? undefined : ids.nameOf(span.parentSpanId),
      kind: span.kind,
      status: span.status,
      start: ms(start - startNs),
      duration: ms(end - start),
      trace_state: span.traceState || undefined,
      attributes: plainMap(span.attributes.toRecord()),
      events: events.length === 0 ? undefined : events,
    })
  }
  return items
}

function eventsOf(span: Span): Item[] {
  const events: Item[] = []
  for (const event of span.events()) {
    const at = ms(event.timeUnixNano - span.startTimeUnixNano)
    events.push({ name: event.name, at, attributes: plainMap(event.attributes.toRecord()) })
  }
  return events
}

function pointsOf(batch: EditableBatch): Item[] {
  const items: Item[] = []
  for (const point of batch.dataPoints()) {
    const { metric, type } = point
    const isHistogram = type === 'histogram'
    const histogram = isHistogram ? (point.view() as HistogramDataPointView) : undefined // As its type says.
    items.push({
      ...around(point),
      name: metric.name,
      type,
      unit: metric.unit || undefined,
      description: metric.description || undefined,
      temporality:
        metric.aggregationTemporality === 0
          ? undefined
          : metric.aggregationTemporality === CUMULATIVE
            ? 'cumulative'
            : 'delta',
      monotonic: type === 'sum' ? metric.isMonotonic : undefined,
      value: plain(point.value),
      ...(histogram && histogramOf(histogram)),
      attributes: plainMap(point.attributes.toRecord()),
    })
  }
  return items
}

function histogramOf(point: HistogramDataPointView): Item {
  return {
    count: plain(point.count),
    sum: point.sum,
    buckets: [...point.bucketCounts].map(plain),
    bounds: [...point.explicitBounds],
  }
}

function logsOf(batch: EditableBatch, ids: Ids): Item[] {
  const items: Item[] = []
  for (const record of batch.logRecords()) {
    items.push({
      ...around(record),
      body: plain(record.body),
      severity: severityOf(record.severityNumber),
      severity_text: record.severityText || undefined,
      event: record.eventName || undefined,
      trace: record.traceId === '' ? undefined : ids.nameOf(record.traceId),
      span: record.spanId === '' ? undefined : ids.nameOf(record.spanId),
      attributes: plainMap(record.attributes.toRecord()),
    })
  }
  return items
}

/** The word, where the number is the first of its range. */
function severityOf(number: number): string | number {
  return Object.entries(SEVERITIES).find(([, first]) => first === number)?.[0] ?? number
}

function ms(nanos: bigint): number {
  return Number(nanos) / 1e6 // A difference within a test.
}

/** As YAML would give it: ints as numbers where they fit, bytes in base64. */
export function plain(value: unknown): unknown {
  if (typeof value === 'bigint') {
    const number = Number(value)
    return Number.isSafeInteger(number) ? number : value.toString()
  }
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64')
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value === 'object' && value !== null) return plainMap(value)
  return value
}

function plainMap(map: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(map).map(([key, value]) => [key, plain(value)]))
}
