/**
 * Verbosity `detailed`: every field on a line of its own.
 */
import type { Signal } from '../../otlp/batch.ts'
import { metricLines } from './detailed-metrics.ts'
import { type Json, pushAttributes, timeText, typedText } from './values.ts'

const KINDS = ['Unspecified', 'Internal', 'Server', 'Client', 'Producer', 'Consumer']
const STATUS_CODES = ['Unset', 'Ok', 'Error']
const SEVERITIES = ['Trace', 'Debug', 'Info', 'Warn', 'Error', 'Fatal']

const NAMES = {
  traces: {
    resource: 'ResourceSpans',
    scope: 'ScopeSpans',
    resources: 'resourceSpans',
    scopes: 'scopeSpans',
  },
  metrics: {
    resource: 'ResourceMetrics',
    scope: 'ScopeMetrics',
    resources: 'resourceMetrics',
    scopes: 'scopeMetrics',
  },
  logs: { resource: 'ResourceLog', scope: 'ScopeLogs', resources: 'resourceLogs', scopes: 'scopeLogs' },
} as const

export function detailedText(signal: Signal, request: Json): string {
  const names = NAMES[signal]
  const lines: string[] = []
  for (const [index, resources] of (request[names.resources] ?? []).entries()) {
    lines.push(`${names.resource} #${index}`, `Resource SchemaURL: ${resources.schemaUrl ?? ''}`)
    pushAttributes(lines, 'Resource attributes:', resources.resource?.attributes)
    for (const [place, scopes] of (resources[names.scopes] ?? []).entries()) {
      const { scope } = scopes
      lines.push(
        `${names.scope} #${place}`,
        `${names.scope} SchemaURL: ${scopes.schemaUrl ?? ''}`,
        `InstrumentationScope ${scope?.name ?? ''} ${scope?.version ?? ''}`,
      )
      pushAttributes(lines, 'InstrumentationScope attributes:', scope?.attributes)
      for (const [item, span] of (scopes.spans ?? []).entries()) pushSpan(lines, span, item)
      for (const [item, record] of (scopes.logRecords ?? []).entries()) pushRecord(lines, record, item)
      for (const [item, metric] of (scopes.metrics ?? []).entries()) lines.push(...metricLines(metric, item))
    }
  }
  return lines.join('\n')
}

function pushSpan(lines: string[], span: Json, index: number): void {
  lines.push(
    `Span #${index}`,
    `    Trace ID       : ${span.traceId ?? ''}`,
    `    Parent ID      : ${span.parentSpanId ?? ''}`,
    `    ID             : ${span.spanId ?? ''}`,
    `    Name           : ${span.name ?? ''}`,
    `    Kind           : ${KINDS[span.kind ?? 0] ?? span.kind}`,
  )
  if (span.traceState) lines.push(`    TraceState     : ${span.traceState}`)
  lines.push(
    `    Start time     : ${timeText(span.startTimeUnixNano)}`,
    `    End time       : ${timeText(span.endTimeUnixNano)}`,
    `    Status code    : ${STATUS_CODES[span.status?.code ?? 0] ?? span.status.code}`,
    `    Status message : ${span.status?.message ?? ''}`,
  )
  pushAttributes(lines, 'Attributes:', span.attributes)
  lines.push(`    DroppedAttributesCount: ${span.droppedAttributesCount ?? 0}`)
  if (span.events) lines.push('Events:')
  for (const [place, event] of (span.events ?? []).entries()) {
    lines.push(
      `SpanEvent #${place}`,
      `     -> Name: ${event.name ?? ''}`,
      `     -> Timestamp: ${timeText(event.timeUnixNano)}`,
      `     -> DroppedAttributesCount: ${event.droppedAttributesCount ?? 0}`,
    )
    pushAttributes(lines, '     -> Attributes::', event.attributes, '          ')
  }
  lines.push(`    DroppedEventsCount: ${span.droppedEventsCount ?? 0}`)
  if (span.links) lines.push('Links:')
  for (const [place, link] of (span.links ?? []).entries()) {
    lines.push(
      `SpanLink #${place}`,
      `     -> Trace ID: ${link.traceId ?? ''}`,
      `     -> ID: ${link.spanId ?? ''}`,
      `     -> TraceState: ${link.traceState ?? ''}`,
      `     -> DroppedAttributesCount: ${link.droppedAttributesCount ?? 0}`,
    )
    pushAttributes(lines, '     -> Attributes::', link.attributes, '          ')
  }
  lines.push(`    DroppedLinksCount: ${span.droppedLinksCount ?? 0}`)
}

/** 9 is Info, 10 is Info2. */
function severityText(number: number): string {
  if (number < 1 || number > 24) return number === 0 ? 'Unspecified' : ''
  const step = (number - 1) % 4
  return `${SEVERITIES[Math.floor((number - 1) / 4)]}${step === 0 ? '' : step + 1}`
}

function pushRecord(lines: string[], record: Json, index: number): void {
  const severity = record.severityNumber ?? 0
  lines.push(
    `LogRecord #${index}`,
    `ObservedTimestamp: ${timeText(record.observedTimeUnixNano)}`,
    `Timestamp: ${timeText(record.timeUnixNano)}`,
    `SeverityText: ${record.severityText ?? ''}`,
    `SeverityNumber: ${severityText(severity)}(${severity})`,
  )
  if (record.eventName) lines.push(`EventName: ${record.eventName}`)
  lines.push(`Body: ${typedText(record.body)}`)
  pushAttributes(lines, 'Attributes:', record.attributes)
  if (record.droppedAttributesCount) lines.push(`DroppedAttributesCount: ${record.droppedAttributesCount}`)
  lines.push(
    `Trace ID: ${record.traceId ?? ''}`,
    `Span ID: ${record.spanId ?? ''}`,
    `Flags: ${record.flags ?? 0}`,
  )
}
