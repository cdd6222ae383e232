/** One log record, read for Loki. A line is a text, so unlike elsewhere each record becomes strings here. */
import { attributesToJs, doubleText, type JsValue, ValueRef, valueJson } from '../../otlp/attributes.ts'
import { INSTRUMENTATION_SCOPE, LOG_RECORD, SEVERITY_NUMBER } from '../../otlp/fields.ts'
import { parts, readNanos } from '../../otlp/nanos.ts'
import { FIXED64, FieldCursor, LEN } from '../../otlp/wire.ts'

export interface LogRecord {
  readonly seconds: number
  readonly nanos: number
  readonly severityNumber: number
  readonly severityText: string
  readonly flags: number
  /** Hex; empty when absent or zero. */
  readonly traceId: string
  readonly spanId: string
  /** Undefined when there is none. */
  readonly body: JsValue | undefined
  readonly attributes: Readonly<Record<string, JsValue>>
}

export interface Scope {
  readonly name: string
  readonly version: string
  readonly attributes: Readonly<Record<string, JsValue>>
}

const fields = new FieldCursor()
const value = new ValueRef()
/** 2 for SEVERITY_NUMBER.trace2 and so on. */
const SEVERITY_NAMES = new Map<number, string>(
  Object.entries(SEVERITY_NUMBER).map(([name, number]) => [number, name.toUpperCase()]),
)

/** INFO, INFO2 and so on; empty for unspecified and unknown numbers. */
export function severityName(number: number): string {
  return number === 0 ? '' : (SEVERITY_NAMES.get(number) ?? '')
}

// message LogRecord { fixed64 time_unix_nano = 1; SeverityNumber severity_number = 2;
//   string severity_text = 3; AnyValue body = 5; repeated KeyValue attributes = 6; fixed32 flags = 8;
//   bytes trace_id = 9; bytes span_id = 10; fixed64 observed_time_unix_nano = 11; ... }
export function readRecord(bytes: Uint8Array, start: number, end: number, nowMs: number): LogRecord {
  let timeAt = -1
  let observedAt = -1
  let severityNumber = 0
  let severityText = ''
  let flags = 0
  let traceId = ''
  let spanId = ''
  let body: JsValue | undefined
  fields.reset(bytes, start, end)
  while (fields.next()) {
    switch (fields.number) {
      case LOG_RECORD.timeUnixNano:
        if (fields.wireType === FIXED64) timeAt = fields.start
        break
      case LOG_RECORD.observedTimeUnixNano:
        if (fields.wireType === FIXED64) observedAt = fields.start
        break
      case LOG_RECORD.severityNumber:
        severityNumber = fields.uint()
        break
      case LOG_RECORD.severityText:
        severityText = fields.string()
        break
      case LOG_RECORD.flags:
        flags = fields.fixed32()
        break
      case LOG_RECORD.traceId:
        traceId = hexId(fields)
        break
      case LOG_RECORD.spanId:
        spanId = hexId(fields)
        break
      case LOG_RECORD.body:
        if (fields.wireType !== LEN) break
        value.read(bytes, fields.start, fields.end)
        body = value.kind === 0 ? undefined : value.js()
        break
    }
  }
  readTime(bytes, timeAt, observedAt, nowMs)
  const { seconds, nanos } = parts
  const attributes = attributesToJs(bytes, start, end, LOG_RECORD.attributes)
  return { seconds, nanos, severityNumber, severityText, flags, traceId, spanId, body, attributes }
}

/** The time of the record, else when it was observed, else now; into `parts`. */
export function readTime(bytes: Uint8Array, timeAt: number, observedAt: number, nowMs: number): void {
  if (timeAt >= 0) {
    readNanos(bytes, timeAt)
    if (parts.seconds !== 0 || parts.nanos !== 0) return
  }
  if (observedAt >= 0) {
    readNanos(bytes, observedAt)
    if (parts.seconds !== 0 || parts.nanos !== 0) return
  }
  parts.seconds = Math.floor(nowMs / 1000)
  parts.nanos = (nowMs % 1000) * 1_000_000
}

function hexId(cursor: FieldCursor): string {
  if (cursor.wireType !== LEN) return ''
  const text = Buffer.from(cursor.value()).toString('hex')
  return /^0*$/.test(text) ? '' : text
}

// message InstrumentationScope { string name = 1; string version = 2; repeated KeyValue attributes = 3; }
export function readScope(bytes: Uint8Array, start: number, end: number): Scope {
  let name = ''
  let version = ''
  fields.reset(bytes, start, end)
  while (fields.next()) {
    if (fields.number === INSTRUMENTATION_SCOPE.name) name = fields.string()
    else if (fields.number === INSTRUMENTATION_SCOPE.version) version = fields.string()
  }
  return { name, version, attributes: attributesToJs(bytes, start, end, INSTRUMENTATION_SCOPE.attributes) }
}

/** The text of a value as the Collector prints it. */
export function attributeText(input: JsValue): string {
  if (typeof input === 'string') return input
  if (typeof input === 'number') return doubleText(input)
  if (input === null) return ''
  if (input instanceof Uint8Array) return Buffer.from(input).toString('base64')
  return typeof input === 'object' ? json(input) : String(input)
}

/**
 * Compact JSON with sorted keys. JSON has no NaN and no infinity: they become strings, rather than the record
 * being lost.
 */
export function json(input: JsValue): string {
  return valueJson(input) ?? valueJson(finite(input)) ?? 'null'
}

function finite(input: JsValue): JsValue {
  if (typeof input === 'number' && !Number.isFinite(input)) return String(input)
  if (Array.isArray(input)) return input.map((entry: JsValue) => finite(entry))
  if (typeof input !== 'object' || input === null || input instanceof Uint8Array) return input
  return Object.fromEntries(Object.entries(input).map(([key, entry]) => [key, finite(entry)]))
}
