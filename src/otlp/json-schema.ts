/**
 * What JSON and protobuf need to know of each other, one static table per OTLP message: the JSON name of a field, its
 * number and how its value is written in both. `json-decode.ts` and `json-encode.ts` are driven by it.
 *
 * The numbers come from fields.ts, whose keys are the JSON names; a field that is missing here does not compile.
 */
import * as F from './fields.ts'
import {
  BOOL,
  BYTES,
  DOUBLE,
  ENUM,
  FIXED_32,
  FIXED_64,
  type FieldType,
  ID,
  INT_32,
  INT_64,
  MESSAGE,
  MessageSchema,
  SFIXED_64,
  SINT_32,
  STRING,
  UINT_32,
  UINT_64,
} from './json-field.ts'

function schema<K extends string>(
  name: string,
  numbers: Readonly<Record<K, number>>,
  types: Readonly<Record<K, FieldType>>,
): MessageSchema {
  return new MessageSchema(name).define(numbers, types)
}

/** `traceId2` of SPAN_KIND-like constants becomes SPAN_KIND_TRACE_ID2, the name that the proto file has. */
function enumeration(prefix: string, values: Readonly<Record<string, number>>): FieldType {
  const names = Object.entries(values).map(
    ([name, value]) => [`${prefix}_${name.replace(/[A-Z]/g, '_$&').toUpperCase()}`, value] as const,
  )
  return { kind: ENUM, enumNames: new Map(names) }
}

const one = (message: MessageSchema): FieldType => ({ kind: MESSAGE, message })
const many = (message: MessageSchema): FieldType => ({ kind: MESSAGE, message, repeated: true })
const list = (kind: number): FieldType => ({ kind, repeated: true })
const member = (type: FieldType): FieldType => ({ ...type, explicit: true, oneof: 1 })
const text: FieldType = { kind: STRING }
const time: FieldType = { kind: FIXED_64 }
const uint32: FieldType = { kind: UINT_32 }
const int32: FieldType = { kind: INT_32 }
const double: FieldType = { kind: DOUBLE }
const optionalDouble: FieldType = { kind: DOUBLE, explicit: true }
const traceId: FieldType = { kind: ID, idBytes: 16 }
const spanId: FieldType = { kind: ID, idBytes: 8 }
const temporality = enumeration('AGGREGATION_TEMPORALITY', F.AGGREGATION_TEMPORALITY)

// Common. AnyValue holds itself through ArrayValue and KeyValueList, so it is made first and filled afterwards.

export const ANY_VALUE = new MessageSchema('AnyValue')
const ARRAY_VALUE = schema('ArrayValue', F.ARRAY_VALUE, { values: many(ANY_VALUE) })
export const KEY_VALUE = schema('KeyValue', F.KEY_VALUE, {
  key: text,
  value: one(ANY_VALUE),
  keyStrindex: int32,
})
const KEY_VALUE_LIST = schema('KeyValueList', F.KEY_VALUE_LIST, { values: many(KEY_VALUE) })
const anyValueTypes: Readonly<Record<keyof typeof F.ANY_VALUE, FieldType>> = {
  stringValue: member(text),
  boolValue: member({ kind: BOOL }),
  intValue: member({ kind: INT_64 }),
  doubleValue: member(double),
  arrayValue: member(one(ARRAY_VALUE)),
  kvlistValue: member(one(KEY_VALUE_LIST)),
  bytesValue: member({ kind: BYTES }),
  stringValueStrindex: member(int32),
}
ANY_VALUE.define(F.ANY_VALUE, anyValueTypes)
const attributes = many(KEY_VALUE)
const SCOPE = schema('InstrumentationScope', F.INSTRUMENTATION_SCOPE, {
  name: text,
  version: text,
  attributes,
  droppedAttributesCount: uint32,
})
const ENTITY_REF = schema('EntityRef', F.ENTITY_REF, {
  schemaUrl: text,
  type: text,
  idKeys: list(STRING),
  descriptionKeys: list(STRING),
})
const RESOURCE = schema('Resource', F.RESOURCE, {
  attributes,
  droppedAttributesCount: uint32,
  entityRefs: many(ENTITY_REF),
})

// Traces

const SPAN = schema('Span', F.SPAN, {
  traceId,
  spanId,
  traceState: text,
  parentSpanId: spanId,
  name: text,
  kind: enumeration('SPAN_KIND', F.SPAN_KIND),
  startTimeUnixNano: time,
  endTimeUnixNano: time,
  attributes,
  droppedAttributesCount: uint32,
  events: many(
    schema('Event', F.SPAN_EVENT, {
      timeUnixNano: time,
      name: text,
      attributes,
      droppedAttributesCount: uint32,
    }),
  ),
  droppedEventsCount: uint32,
  links: many(
    schema('Link', F.SPAN_LINK, {
      traceId,
      spanId,
      traceState: text,
      attributes,
      droppedAttributesCount: uint32,
      flags: { kind: FIXED_32 },
    }),
  ),
  droppedLinksCount: uint32,
  status: one(schema('Status', F.STATUS, { message: text, code: enumeration('STATUS_CODE', F.STATUS_CODE) })),
  flags: { kind: FIXED_32 },
})
const SCOPE_SPANS = schema('ScopeSpans', F.SCOPE_SPANS, {
  scope: one(SCOPE),
  spans: many(SPAN),
  schemaUrl: text,
})
const RESOURCE_SPANS = schema('ResourceSpans', F.RESOURCE_SPANS, {
  resource: one(RESOURCE),
  scopeSpans: many(SCOPE_SPANS),
  schemaUrl: text,
})

// Metrics

const exemplars = many(
  schema('Exemplar', F.EXEMPLAR, {
    filteredAttributes: attributes,
    timeUnixNano: time,
    asDouble: member(double),
    asInt: member({ kind: SFIXED_64 }),
    spanId,
    traceId,
  }),
)
const NUMBER_DATA_POINT = schema('NumberDataPoint', F.NUMBER_DATA_POINT, {
  attributes,
  startTimeUnixNano: time,
  timeUnixNano: time,
  asDouble: member(double),
  asInt: member({ kind: SFIXED_64 }),
  exemplars,
  flags: uint32,
})
const HISTOGRAM_DATA_POINT = schema('HistogramDataPoint', F.HISTOGRAM_DATA_POINT, {
  attributes,
  startTimeUnixNano: time,
  timeUnixNano: time,
  count: { kind: FIXED_64 },
  sum: optionalDouble,
  bucketCounts: list(FIXED_64),
  explicitBounds: list(DOUBLE),
  exemplars,
  flags: uint32,
  min: optionalDouble,
  max: optionalDouble,
})
const BUCKETS = schema('Buckets', F.BUCKETS, { offset: { kind: SINT_32 }, bucketCounts: list(UINT_64) })
const EXPONENTIAL_HISTOGRAM_DATA_POINT = schema(
  'ExponentialHistogramDataPoint',
  F.EXPONENTIAL_HISTOGRAM_DATA_POINT,
  {
    attributes,
    startTimeUnixNano: time,
    timeUnixNano: time,
    count: { kind: FIXED_64 },
    sum: optionalDouble,
    scale: { kind: SINT_32 },
    zeroCount: { kind: FIXED_64 },
    positive: one(BUCKETS),
    negative: one(BUCKETS),
    flags: uint32,
    exemplars,
    min: optionalDouble,
    max: optionalDouble,
    zeroThreshold: double,
  },
)
const SUMMARY_DATA_POINT = schema('SummaryDataPoint', F.SUMMARY_DATA_POINT, {
  attributes,
  startTimeUnixNano: time,
  timeUnixNano: time,
  count: { kind: FIXED_64 },
  sum: double,
  quantileValues: many(schema('ValueAtQuantile', F.VALUE_AT_QUANTILE, { quantile: double, value: double })),
  flags: uint32,
})
const METRIC = schema('Metric', F.METRIC, {
  name: text,
  description: text,
  unit: text,
  gauge: member(one(schema('Gauge', F.GAUGE, { dataPoints: many(NUMBER_DATA_POINT) }))),
  sum: member(
    one(
      schema('Sum', F.SUM, {
        dataPoints: many(NUMBER_DATA_POINT),
        aggregationTemporality: temporality,
        isMonotonic: { kind: BOOL },
      }),
    ),
  ),
  histogram: member(
    one(
      schema('Histogram', F.HISTOGRAM, {
        dataPoints: many(HISTOGRAM_DATA_POINT),
        aggregationTemporality: temporality,
      }),
    ),
  ),
  exponentialHistogram: member(
    one(
      schema('ExponentialHistogram', F.EXPONENTIAL_HISTOGRAM, {
        dataPoints: many(EXPONENTIAL_HISTOGRAM_DATA_POINT),
        aggregationTemporality: temporality,
      }),
    ),
  ),
  summary: member(one(schema('Summary', F.SUMMARY, { dataPoints: many(SUMMARY_DATA_POINT) }))),
  metadata: attributes,
})
const SCOPE_METRICS = schema('ScopeMetrics', F.SCOPE_METRICS, {
  scope: one(SCOPE),
  metrics: many(METRIC),
  schemaUrl: text,
})
const RESOURCE_METRICS = schema('ResourceMetrics', F.RESOURCE_METRICS, {
  resource: one(RESOURCE),
  scopeMetrics: many(SCOPE_METRICS),
  schemaUrl: text,
})

// Logs

const LOG_RECORD = schema('LogRecord', F.LOG_RECORD, {
  timeUnixNano: time,
  observedTimeUnixNano: time,
  severityNumber: enumeration('SEVERITY_NUMBER', F.SEVERITY_NUMBER),
  severityText: text,
  body: one(ANY_VALUE),
  attributes,
  droppedAttributesCount: uint32,
  flags: { kind: FIXED_32 },
  traceId,
  spanId,
  eventName: text,
})
const SCOPE_LOGS = schema('ScopeLogs', F.SCOPE_LOGS, {
  scope: one(SCOPE),
  logRecords: many(LOG_RECORD),
  schemaUrl: text,
})
const RESOURCE_LOGS = schema('ResourceLogs', F.RESOURCE_LOGS, {
  resource: one(RESOURCE),
  scopeLogs: many(SCOPE_LOGS),
  schemaUrl: text,
})

/** The Export*ServiceRequest of each signal. */
export const REQUEST = {
  traces: schema('ExportTraceServiceRequest', F.EXPORT_TRACE_SERVICE_REQUEST, {
    resourceSpans: many(RESOURCE_SPANS),
  }),
  metrics: schema('ExportMetricsServiceRequest', F.EXPORT_METRICS_SERVICE_REQUEST, {
    resourceMetrics: many(RESOURCE_METRICS),
  }),
  logs: schema('ExportLogsServiceRequest', F.EXPORT_LOGS_SERVICE_REQUEST, {
    resourceLogs: many(RESOURCE_LOGS),
  }),
} as const
