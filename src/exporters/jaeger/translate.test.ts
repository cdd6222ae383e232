import { describe, expect, test } from 'vitest'
import {
  type Attributes,
  Double,
  decodeMessage,
  messageType,
  type Plain,
  type SpanInput,
  START_TIME,
  TRACE_ID,
  traces,
} from '../../../test/support/otlp.ts'
import { Batch } from '../../otlp/batch.ts'
import { groupByResource } from './group.ts'
import { encodePostSpans } from './translate.ts'

function translate(batch: Batch): Plain[] {
  return groupByResource(batch.chunks).map((pieces) => {
    const { message, spanCount } = encodePostSpans(pieces)
    const request = decodeMessage('jaeger.api_v2.PostSpansRequest', message)
    expect(request.batch.spans?.length ?? 0).toBe(spanCount)
    return request.batch
  })
}

function translateSpan(span: SpanInput, scope?: { name?: string; version?: string }): Plain {
  const [batch] = translate(traces({ resource: { a: 'b' }, ...(scope ? { scope } : {}), spans: [span] }))
  return batch.spans[0]
}

const str = (key: string, vStr: string) => ({ key, vStr })
const id = (hex: string) => Buffer.from(hex, 'hex')

test('every part of a span finds its place', () => {
  const span = translateSpan(
    {
      name: 'GET /',
      spanId: '00000000000000aa',
      parentSpanId: '00000000000000bb',
      traceState: 'vendor=1',
      kind: 2,
      startTimeUnixNano: 1_700_000_000_123_456_789n,
      endTimeUnixNano: 1_700_000_002_000_000_001n,
      attributes: { 'http.route': '/' },
      status: { code: 2, message: 'boom' },
      events: [{ timeUnixNano: 1_700_000_001_000_000_002n, name: 'retry', attributes: { n: 2 } }],
      links: [{ traceId: 'ff'.repeat(16), spanId: '00000000000000cc' }],
      flags: 1,
    },
    { name: 'lib', version: '1.2' },
  )
  expect(span).toEqual({
    traceId: id(TRACE_ID),
    spanId: id('00000000000000aa'),
    operationName: 'GET /',
    references: [
      { traceId: id(TRACE_ID), spanId: id('00000000000000bb') },
      { traceId: id('ff'.repeat(16)), spanId: id('00000000000000cc'), refType: 1 },
    ],
    startTime: { seconds: '1700000000', nanos: 123_456_789 },
    duration: { seconds: '1', nanos: 876_543_212 },
    tags: [
      str('otel.scope.name', 'lib'),
      str('otel.scope.version', '1.2'),
      str('http.route', '/'),
      str('span.kind', 'server'),
      str('otel.status_code', 'ERROR'),
      { key: 'error', vType: 1, vBool: true },
      str('otel.status_description', 'boom'),
      str('w3c.tracestate', 'vendor=1'),
    ],
    logs: [
      {
        timestamp: { seconds: '1700000001', nanos: 2 },
        fields: [str('event', 'retry'), { key: 'n', vType: 2, vInt64: '2' }],
      },
    ],
  })
})

test('attributes of every kind become tags', () => {
  const f = (value: Attributes[string], want: object) =>
    expect(translateSpan({ attributes: { k: value } }).tags).toEqual([{ key: 'k', ...want }])
  f('text', { vStr: 'text' })
  f('', {})
  f('x'.repeat(5000), { vStr: 'x'.repeat(5000) })
  f(true, { vType: 1, vBool: true })
  f(false, { vType: 1 })
  f(-1n, { vType: 2, vInt64: '-1' })
  f(9_223_372_036_854_775_807n, { vType: 2, vInt64: '9223372036854775807' })
  f(new Double(1), { vType: 3, vFloat64: 1 })
  f(-0.5, { vType: 3, vFloat64: -0.5 })
  f(Buffer.from([0, 255]), { vType: 4, vBinary: Buffer.from([0, 255]) })
  f(['a', 1, true, null], { vStr: '["a",1,true,null]' })
  f({ b: { c: 'd' }, a: Buffer.from('hi') }, { vStr: '{"a":"aGk=","b":{"c":"d"}}' })
  f(null, {})
})

test('the process is the resource', () => {
  const f = (resource: Attributes | undefined, want: object) => {
    const group = resource === undefined ? { spans: ['a'] } : { resource, spans: ['a'] }
    expect(translate(traces(group))[0].process).toEqual(want)
  }
  f(
    { 'service.name': 'shop', host: 'h', n: 1 },
    {
      serviceName: 'shop',
      tags: [str('host', 'h'), { key: 'n', vType: 2, vInt64: '1' }],
    },
  )
  f({ host: 'h' }, { tags: [str('host', 'h')] })
  f({}, { serviceName: 'OTLPResourceNoServiceName' })
  f(undefined, { serviceName: 'OTLPResourceNoServiceName' })
})

test('kind, status and scope are left out when unset', () => {
  const f = (span: SpanInput, tags: object[] | undefined, scope?: { name?: string; version?: string }) =>
    expect(translateSpan(span, scope).tags).toEqual(tags)
  f({}, undefined)
  f({ kind: 0, status: {} }, undefined)
  f({ kind: 99 }, undefined)
  for (const [kind, name] of ['', 'internal', 'server', 'client', 'producer', 'consumer'].entries())
    if (kind > 0) f({ kind }, [str('span.kind', name)])
  f({ status: { code: 1 } }, [str('otel.status_code', 'OK')])
  f({ status: { message: 'm' } }, [str('otel.status_description', 'm')])
  f({}, [str('otel.scope.version', '2')], { name: '', version: '2' })
})

describe('references', () => {
  const parentSpanId = '00000000000000bb'
  const other = { traceId: 'ff'.repeat(16), spanId: '00000000000000cc' }
  const childOf = { attributes: { 'opentracing.ref_type': 'child_of' } }
  const f = (span: SpanInput, want: [spanId: string, type: number][]) =>
    expect(
      (translateSpan(span).references ?? []).map((reference: Plain) => [
        reference.spanId.toString('hex'),
        reference.refType ?? 0,
      ]),
    ).toEqual(want)

  test('a root has none, an id of zeros is no parent', () => {
    f({}, [])
    f({ parentSpanId: '0000000000000000' }, [])
  })
  test('links follow, or are children by their attribute', () => {
    f({ links: [other] }, [[other.spanId, 1]])
    f({ links: [{ ...other, ...childOf }] }, [[other.spanId, 0]])
    f({ links: [{ ...other, attributes: { 'opentracing.ref_type': 'follows_from' } }] }, [[other.spanId, 1]])
  })
  test('a link to the parent only sets the type of the parent reference', () => {
    const toParent = { traceId: TRACE_ID, spanId: parentSpanId }
    f({ parentSpanId, links: [other, toParent] }, [
      [parentSpanId, 1],
      [other.spanId, 1],
    ])
    f({ parentSpanId, links: [{ ...toParent, ...childOf }] }, [[parentSpanId, 0]])
    f({ parentSpanId, links: [{ ...toParent, traceId: 'ff'.repeat(16) }] }, [
      [parentSpanId, 0],
      [parentSpanId, 1],
    ])
  })
})

test('times are exact over the whole range, and a span may end before it starts', () => {
  const f = (start: bigint, end: bigint) => {
    const { startTime, duration } = translateSpan({ startTimeUnixNano: start, endTimeUnixNano: end })
    const total = (time: Plain) => BigInt(time.seconds ?? 0) * 1_000_000_000n + BigInt(time.nanos ?? 0)
    expect(total(startTime)).toBe(start)
    expect(total(duration)).toBe(end - start)
    expect(Math.abs(duration.nanos ?? 0)).toBeLessThan(1_000_000_000)
  }
  f(0n, 0n)
  f(START_TIME, START_TIME)
  f(START_TIME, START_TIME + 1n)
  f(START_TIME + 1n, START_TIME)
  f(START_TIME, START_TIME - 5_000_000_001n)
  f(4_294_967_295n, 4_294_967_296n)
  f(1n, 9_223_372_036_854_775_807n)
  f(999_999_999n, 1_000_000_000n)
})

test('an event attribute takes the place of the event name', () => {
  const f = (event: object, want: object[] | undefined) =>
    expect(translateSpan({ events: [{ timeUnixNano: 5n, ...event }] }).logs[0].fields).toEqual(want)
  f({ name: 'a' }, [str('event', 'a')])
  f({ name: 'a', attributes: { event: 'b' } }, [str('event', 'b')])
  f({ attributes: { x: 'y' } }, [str('x', 'y')])
  f({}, undefined)
})

test('pieces of equal resources are joined, in order; others are batches of their own', () => {
  const a = traces({ resource: { 'service.name': 'a' }, spans: ['1'] })
  const b = traces(
    { resource: { 'service.name': 'b' }, spans: ['2', '3'] },
    { resource: { 'service.name': 'a' }, spans: ['4'] },
  )
  const batches = translate(Batch.concat([a, b]))
  const names = batches.map((batch) => [
    batch.process.serviceName,
    ...batch.spans.map((span: Plain) => span.operationName),
  ])
  expect(names).toEqual([
    ['a', '1', '4'],
    ['b', '2', '3'],
  ])
})

test('a large batch keeps its framing', () => {
  const spans = Array.from({ length: 2000 }, (_, index) => ({ name: `span ${index}`, attributes: { index } }))
  const [batch] = translate(traces({ resource: { 'service.name': 'x' }, spans }))
  expect(batch.spans.length).toBe(2000)
  expect(batch.spans[1999].tags).toEqual([{ key: 'index', vType: 2, vInt64: '1999' }])
  expect(messageType('jaeger.api_v2.PostSpansRequest').fields['batch']?.id).toBe(1)
})
