/**
 * The JavaScript SDK's JSON and protobuf serializers, given the same telemetry: its JSON, decoded here, means what its protobuf
 * means; and its protobuf, written as JSON here, is decoded to the same.
 */
import {
  JsonLogsSerializer,
  JsonMetricsSerializer,
  JsonTraceSerializer,
  ProtobufLogsSerializer,
  ProtobufMetricsSerializer,
  ProtobufTraceSerializer,
} from '@opentelemetry/otlp-transformer'
import { expect, test } from 'vitest'
import type { Signal } from '../../src/otlp/batch.ts'
import { decodeJson } from '../../src/otlp/json-decode.ts'
import { encodeJson, JsonBuffer } from '../../src/otlp/json-encode.ts'
import type { Plain } from '../support/otlp.ts'
import { meaning } from './json-random.ts'

const resource = {
  attributes: { 'service.name': 'shop', pid: 42 },
  schemaUrl: 'https://example.test/1',
  asyncAttributesPending: false,
}
const instrumentationScope = { name: 'lib', version: '1.2.3', schemaUrl: 'https://example.test/2' }
const attributes = {
  s: 'text \u00e9\n',
  i: 12,
  d: 1.5,
  b: false,
  list: ['a', 'b'],
  numbers: [1, 2.5],
  bytes: new Uint8Array([1, 2]),
}
const context = { traceId: '5b8efff798038103d269b633813fc60c', spanId: 'eee19b7ec3c1b174', traceFlags: 1 }
const start: [number, number] = [1_544_712_660, 123_456_789]
const end: [number, number] = [1_544_712_661, 987_654_321]

function same(signal: Signal, json: Uint8Array | undefined, protobuf: Uint8Array | undefined): Plain {
  if (!json || !protobuf) throw new Error('the SDK gave nothing')
  const want = meaning(signal, protobuf)
  expect(meaning(signal, decodeJson(signal, json))).toEqual(want)
  const out = new JsonBuffer()
  encodeJson(signal, [protobuf], out)
  expect(meaning(signal, decodeJson(signal, out.take()))).toEqual(want)
  return want
}

test('spans', () => {
  const span = {
    name: 'GET /',
    kind: 1,
    spanContext: () => context,
    parentSpanContext: { ...context, spanId: '0102030405060708' },
    startTime: start,
    endTime: end,
    duration: [1, 0],
    ended: true,
    status: { code: 2, message: 'bad' },
    attributes,
    links: [{ context, attributes: { a: 1 } }],
    events: [{ name: 'e', time: start, attributes: { x: true } }],
    resource,
    instrumentationScope,
    droppedAttributesCount: 1,
    droppedEventsCount: 0,
    droppedLinksCount: 2,
  }
  const spans = [
    span,
    { ...span, name: '', attributes: {}, links: [], events: [], parentSpanContext: undefined },
  ] as Plain
  const found = same(
    'traces',
    JsonTraceSerializer.serializeRequest(spans),
    ProtobufTraceSerializer.serializeRequest(spans),
  )
  expect(found.resourceSpans[0].scopeSpans[0].spans[0].startTimeUnixNano).toBe('1544712660123456789')
})

test('metrics of every kind', () => {
  const metric = (name: string, dataPointType: number, value: Plain, more: Plain = {}) => ({
    descriptor: {
      name,
      description: 'd',
      unit: '1',
      type: 'COUNTER',
      valueType: more.valueType ?? 1,
      advice: {},
    },
    aggregationTemporality: 1,
    dataPointType,
    isMonotonic: true,
    dataPoints: [{ startTime: start, endTime: end, attributes, value }],
  })
  const metrics = {
    resource,
    scopeMetrics: [
      {
        scope: instrumentationScope,
        metrics: [
          metric('sum', 3, 0.1),
          metric('int', 3, 7, { valueType: 0 }),
          metric('gauge', 2, -1.25),
          metric('histogram', 0, {
            buckets: { boundaries: [1, 2.5], counts: [3, 0, 4] },
            sum: 9.5,
            count: 7,
            min: 0,
            max: 8,
          }),
          metric('exponential', 1, {
            sum: 9.5,
            count: 7,
            min: 0,
            max: 8,
            scale: -2,
            zeroCount: 3,
            positive: { offset: -4, bucketCounts: [1, 300] },
            negative: { offset: 0, bucketCounts: [] },
          }),
        ],
      },
    ],
  } as Plain
  const found = same(
    'metrics',
    JsonMetricsSerializer.serializeRequest(metrics),
    ProtobufMetricsSerializer.serializeRequest(metrics),
  )
  expect(found.resourceMetrics[0].scopeMetrics[0].metrics).toHaveLength(5)
})

test('log records', () => {
  const record = {
    hrTime: start,
    hrTimeObserved: end,
    severityNumber: 17,
    severityText: 'ERROR',
    body: { a: [1, 'x', { b: true }] },
    eventName: 'e',
    attributes,
    spanContext: context,
    resource,
    instrumentationScope,
    droppedAttributesCount: 0,
  }
  const records = [record, { ...record, body: 'line', spanContext: undefined }] as Plain
  const found = same(
    'logs',
    JsonLogsSerializer.serializeRequest(records),
    ProtobufLogsSerializer.serializeRequest(records),
  )
  expect(found.resourceLogs[0].scopeLogs[0].logRecords[1].body).toEqual({ stringValue: 'line' })
})
