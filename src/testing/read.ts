/** Batches as plain values, for assertions. */
import type { JsValue } from '../otlp/attributes.ts'
import type { Batch } from '../otlp/batch.ts'
import { encodeJson, JsonBuffer } from '../otlp/json-encode.ts'
import type { MetricType } from '../otlp/metrics.ts'
import { editBatch } from '../plugin/editable-batch.ts'
import type { SpanKindName, SpanStatus } from '../plugin/items.ts'

type Values = Record<string, JsValue>

export interface ReadSpan {
  readonly name: string
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string
  readonly kind: SpanKindName
  readonly status: SpanStatus
  readonly attributes: Values
  readonly resource: Values
  readonly events: readonly { readonly name: string; readonly attributes: Values }[]
}

export function spansOf(...batches: readonly Batch[]): ReadSpan[] {
  const spans: ReadSpan[] = []
  for (const batch of batches) {
    for (const span of editBatch(batch).spans()) {
      const { name, traceId, spanId, parentSpanId, kind, status } = span
      const events = []
      for (const event of span.events())
        events.push({ name: event.name, attributes: event.attributes.toRecord() })
      const attributes = span.attributes.toRecord()
      const resource = span.resource.attributes.toRecord()
      spans.push({ name, traceId, spanId, parentSpanId, kind, status, attributes, resource, events })
    }
  }
  return spans
}

export interface ReadLog {
  readonly body: JsValue
  readonly severityNumber: number
  readonly severityText: string
  readonly attributes: Values
  readonly resource: Values
}

export function logsOf(...batches: readonly Batch[]): ReadLog[] {
  const logs: ReadLog[] = []
  for (const batch of batches) {
    for (const record of editBatch(batch).logRecords()) {
      const { body, severityNumber, severityText } = record
      const attributes = record.attributes.toRecord()
      logs.push({
        body,
        severityNumber,
        severityText,
        attributes,
        resource: record.resource.attributes.toRecord(),
      })
    }
  }
  return logs
}

export interface ReadPoint {
  readonly metric: string
  readonly type: MetricType
  readonly value: number | bigint | undefined
  readonly attributes: Values
  readonly resource: Values
}

export function pointsOf(...batches: readonly Batch[]): ReadPoint[] {
  const points: ReadPoint[] = []
  for (const batch of batches) {
    for (const point of editBatch(batch).dataPoints()) {
      const { type, value } = point
      const attributes = point.attributes.toRecord()
      const resource = point.resource.attributes.toRecord()
      points.push({ metric: point.metric.name, type, value, attributes, resource })
    }
  }
  return points
}

/** The whole batch in OTLP's JSON form. */
export function jsonOf(batch: Batch): unknown {
  const out = new JsonBuffer()
  encodeJson(batch.signal, batch.chunks, out)
  return JSON.parse(Buffer.from(out.bytes.subarray(0, out.length)).toString('utf8'))
}
