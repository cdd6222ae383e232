/**
 * OTLP for tests: protobufjs as oracle (encode, decode) and short builders of batches.
 *
 * The plain form is protobufjs' own: lowerCamelCase keys, bytes as Buffer, 64-bit integers as decimal
 * strings, enums as numbers; what is not on the wire is absent. The builders take more convenient input:
 * attributes as records, ids as hex, 64-bit integers as bigint.
 *
 *     traces({ resource: { 'service.name': 'shop' }, spans: ['GET /', { name: 'db', attributes: { rows: 3 }
 *     }] }) metrics({ metrics: [{ name: 'up', gauge: { dataPoints: [{ asInt: 1, attributes: { job: 'a' } }] }
 *     }] }) logs({ logs: ['a line', { body: { user: 'ann' }, severityNumber: 9 }] })
 */
import protobuf from 'protobufjs'
import { loadProtos } from '../../proto/load.ts'
import { Batch, type RequestContext, type Signal } from '../../src/otlp/batch.ts'

// biome-ignore lint/suspicious/noExplicitAny: whatever the messages hold; tests reach into it.
export type Plain = any

const root = loadProtos()

export const REQUESTS: Record<Signal, string> = {
  traces: 'opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest',
  metrics: 'opentelemetry.proto.collector.metrics.v1.ExportMetricsServiceRequest',
  logs: 'opentelemetry.proto.collector.logs.v1.ExportLogsServiceRequest',
}

/**
 * Any message of proto/ by full name, for example `opentelemetry.proto.trace.v1.Span`,
 * `prometheus.WriteRequest`.
 */
export function messageType(fullName: string): protobuf.Type {
  return root.lookupType(fullName)
}

export function encodeMessage(fullName: string, object: Plain): Uint8Array {
  const type = messageType(fullName)
  return Buffer.from(type.encode(type.fromObject(object)).finish())
}

export function decodeMessage(fullName: string, bytes: Uint8Array): Plain {
  const type = messageType(fullName)
  return type.toObject(type.decode(bytes), { longs: String, bytes: Buffer })
}

/** Encodes a plain Export*ServiceRequest. */
export function encode(signal: Signal, object: Plain): Uint8Array {
  return encodeMessage(REQUESTS[signal], object)
}

/** Decodes an Export*ServiceRequest, or all chunks of a batch, to the plain form. */
export function decode(signal: Signal, bytes: Uint8Array): Plain {
  return decodeMessage(REQUESTS[signal], bytes)
}

/**
 * As decode, but strings come as Buffer: protobufjs refuses bytes that are not UTF-8, which the Go collector
 * and Weir pass through.
 */
export function decodeLoosely(signal: Signal, bytes: Uint8Array): Plain {
  looseRoot ??= withoutStrings(loadProtos())
  const type = looseRoot.lookupType(REQUESTS[signal])
  return type.toObject(type.decode(bytes), { longs: String, bytes: Buffer })
}

let looseRoot: protobuf.Root | undefined

function withoutStrings<T extends protobuf.NamespaceBase>(namespace: T): T {
  for (const object of namespace.nestedArray) {
    if (object instanceof protobuf.Type)
      for (const field of object.fieldsArray) if (field.type === 'string') field.type = 'bytes'
    if (object instanceof protobuf.Namespace) withoutStrings(object)
  }
  return namespace
}

/** As decode, with the unknown fields of every message as hex, in order, under `$unknowns`. */
export function decodeWithUnknowns(signal: Signal, bytes: Uint8Array): Plain {
  const type = messageType(REQUESTS[signal])
  return withUnknowns(type, type.decode(bytes))
}

function withUnknowns(type: protobuf.Type, message: Plain): Plain {
  const object: Plain = {}
  const plainOf = (field: protobuf.Field, value: Plain) =>
    field.resolvedType instanceof protobuf.Type
      ? withUnknowns(field.resolvedType, value)
      : typeof value === 'object' && !(value instanceof Uint8Array) // A Long.
        ? value.toString()
        : value
  for (const field of type.fieldsArray) {
    if (!Object.hasOwn(message, field.name)) continue
    const value = message[field.name]
    if (!field.repeated) object[field.name] = plainOf(field, value)
    else if (value.length > 0) object[field.name] = value.map((one: Plain) => plainOf(field, one))
  }
  if (message.$unknowns)
    object.$unknowns = message.$unknowns.map((raw: Uint8Array) => Buffer.from(raw).toString('hex'))
  return object
}

export function decodeBatch(batch: Batch): Plain {
  return decode(batch.signal, Buffer.concat(batch.chunks))
}

/** An attribute value. Integral numbers become int_value: wrap with `new Double(1)` to get a double. */
export type Value =
  | string
  | number
  | bigint
  | boolean
  | null
  | Double
  | Uint8Array
  | readonly Value[]
  | { readonly [key: string]: Value }

export class Double {
  readonly value: number
  constructor(value: number) {
    this.value = value
  }
}

export type Attributes = Readonly<Record<string, Value>>

/** The plain form of an AnyValue. */
export function anyValue(value: Value): Plain {
  if (value === null) return {}
  if (typeof value === 'string') return { stringValue: value }
  if (typeof value === 'boolean') return { boolValue: value }
  if (typeof value === 'bigint') return { intValue: value.toString() }
  if (typeof value === 'number')
    return Number.isInteger(value) ? { intValue: String(value) } : { doubleValue: value }
  if (value instanceof Double) return { doubleValue: value.value }
  if (value instanceof Uint8Array) return { bytesValue: Buffer.from(value) }
  if (Array.isArray(value)) return { arrayValue: { values: value.map(anyValue) } }
  return { kvlistValue: { values: keyValues(value as Attributes) } }
}

/** The plain form of an attribute list. */
export function keyValues(attributes: Attributes): Plain[] {
  return Object.entries(attributes).map(([key, value]) => ({ key, value: anyValue(value) }))
}

/** Attributes of the plain form as a plain record, for assertions: ints become bigint. */
export function attributesOf(list: Plain[] | undefined): Record<string, unknown> {
  return Object.fromEntries((list ?? []).map((pair: Plain) => [pair.key ?? '', jsValue(pair.value)]))
}

function jsValue(value: Plain): unknown {
  if (!value) return null
  if (value.intValue !== undefined) return BigInt(value.intValue)
  if (value.arrayValue !== undefined) return (value.arrayValue.values ?? []).map(jsValue)
  if (value.kvlistValue !== undefined) return attributesOf(value.kvlistValue.values)
  return value.stringValue ?? value.boolValue ?? value.doubleValue ?? value.bytesValue ?? null
}

type Time = bigint | string | number

export interface Scope {
  readonly name?: string
  readonly version?: string
  readonly attributes?: Attributes
}

interface Group {
  readonly resource?: Attributes
  readonly schemaUrl?: string
  readonly scope?: Scope
  readonly scopeSchemaUrl?: string
  readonly context?: RequestContext
}

export interface SpanInput {
  readonly name?: string
  readonly traceId?: string
  readonly spanId?: string
  readonly parentSpanId?: string
  readonly traceState?: string
  readonly kind?: number
  readonly startTimeUnixNano?: Time
  readonly endTimeUnixNano?: Time
  readonly attributes?: Attributes
  readonly events?: readonly Readonly<Record<string, unknown>>[]
  readonly links?: readonly Readonly<Record<string, unknown>>[]
  readonly status?: { readonly code?: number; readonly message?: string }
  readonly flags?: number
}

export interface LogInput {
  readonly body?: Value
  readonly severityNumber?: number
  readonly severityText?: string
  readonly timeUnixNano?: Time
  readonly observedTimeUnixNano?: Time
  readonly attributes?: Attributes
  readonly traceId?: string
  readonly spanId?: string
  readonly flags?: number
  readonly eventName?: string
}

export const START_TIME = 1_700_000_000_000_000_000n
export const TRACE_ID = '0102030405060708090a0b0c0d0e0f10'

/**
 * One group makes one ResourceSpans with one ScopeSpans. Spans without ids get TRACE_ID and a count from 1.
 */
export function traces(
  ...groups: readonly (Group & { readonly spans: readonly (string | SpanInput)[] })[]
): Batch {
  let count = 0
  return build('traces', 'Spans', 'spans', groups, (group) =>
    group.spans.map((span) => ({
      traceId: TRACE_ID,
      spanId: (++count).toString(16).padStart(16, '0'),
      startTimeUnixNano: START_TIME,
      endTimeUnixNano: START_TIME + 1_000_000n,
      ...(typeof span === 'string' ? { name: span } : span),
    })),
  )
}

/**
 * Metrics are given in the plain form, but with attributes as records and 64-bit integers as bigint or
 * number.
 */
export function metrics(
  ...groups: readonly (Group & { readonly metrics: readonly Readonly<Record<string, unknown>>[] })[]
): Batch {
  return build('metrics', 'Metrics', 'metrics', groups, (group) => group.metrics)
}

/** A string is the body of a record. Records without a time get START_TIME. */
export function logs(
  ...groups: readonly (Group & { readonly logs: readonly (string | LogInput)[] })[]
): Batch {
  return build('logs', 'Logs', 'logRecords', groups, (group) =>
    group.logs.map((log) => ({
      timeUnixNano: START_TIME,
      ...(typeof log === 'string' ? { body: anyValue(log) } : withBody(log)),
    })),
  )
}

function withBody(log: LogInput): Record<string, unknown> {
  const { body, ...rest } = log
  return body === undefined ? rest : { ...rest, body: anyValue(body) }
}

function build<G extends Group>(
  signal: Signal,
  suffix: string,
  itemsKey: string,
  groups: readonly G[],
  itemsOf: (group: G) => readonly unknown[],
): Batch {
  const object = {
    [`resource${suffix}`]: groups.map((group) =>
      compact({
        resource: group.resource && { attributes: keyValues(group.resource) },
        schemaUrl: group.schemaUrl,
        [`scope${suffix}`]: [
          compact({
            scope: group.scope && plain(group.scope),
            schemaUrl: group.scopeSchemaUrl,
            [itemsKey]: itemsOf(group).map((item) => plain(item)),
          }),
        ],
      }),
    ),
  }
  return new Batch(signal, [encode(signal, object)], -1, groups[0]?.context)
}

function compact(object: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined))
}

const ID_KEYS = new Set(['traceId', 'spanId', 'parentSpanId'])
const ATTRIBUTE_KEYS = new Set(['attributes', 'filteredAttributes', 'metadata'])

/** Convenient input to the plain form: hex ids to bytes, attribute records to lists, bigint to strings. */
export function plain(value: unknown, key = ''): Plain {
  if (typeof value === 'bigint') return value.toString()
  if (typeof value === 'string' && ID_KEYS.has(key)) return Buffer.from(value, 'hex')
  if (value instanceof Uint8Array || typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return ATTRIBUTE_KEYS.has(key) ? value : value.map((entry) => plain(entry))
  if (ATTRIBUTE_KEYS.has(key)) return keyValues(value as Attributes)
  return Object.fromEntries(Object.entries(value).map(([inner, entry]) => [inner, plain(entry, inner)]))
}
