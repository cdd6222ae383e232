import { expect, test } from 'vitest'
import { decode, encode, encodeMessage, traces } from '../../test/support/otlp.ts'
import { WireError } from '../errors.ts'
import type { Signal } from './batch.ts'
import { RESOURCE_SPANS, SPAN } from './fields.ts'
import { checkChunk, receiveRequest } from './receive.ts'
import { FieldCursor, WireWriter } from './wire.ts'

/** A request with one span that holds these bytes. */
function spanRequest(span: Uint8Array): Uint8Array {
  const writer = new WireWriter()
  return writer.begin(1).begin(RESOURCE_SPANS.scopeSpans).len(2, span).end().end().finish()
}

function attribute(anyValue: Uint8Array): Uint8Array {
  return new WireWriter().begin(SPAN.attributes).string(1, 'k').len(2, anyValue).end().finish()
}

function nested(levels: number): Uint8Array {
  let value = new WireWriter().string(1, 'x').finish()
  for (let level = 0; level < levels; level++) {
    const array = new WireWriter().len(1, value).finish()
    value = new WireWriter().len(5, array).finish()
  }
  return value
}

test('what cannot be decoded is refused with the offset, at any depth', () => {
  const f = (request: Uint8Array, message: RegExp) => {
    let thrown: unknown
    try {
      receiveRequest('traces', request)
    } catch (error) {
      thrown = error
    }
    expect(thrown).toBeInstanceOf(WireError)
    expect((thrown as WireError).message).toMatch(message) // It was just seen to be one.
  }
  f(Uint8Array.of(0x0a), /cut off/)
  f(Uint8Array.of(0x0a, 5, 1), /runs past the request at byte 0/)
  f(Uint8Array.of(0x0a, 0xff, 0xff, 0xff, 0xff, 0x7f), /more than 32 bits/)
  f(Uint8Array.of(0x08, 1), /wire type 0 in field 1/)
  f(Uint8Array.of(0x00), /field number 0/)
  f(Uint8Array.of(0x0b, 0x0c), /wire type 3/)
  f(Uint8Array.of(0x1b, 0x1c), /wire type 3/)
  f(spanRequest(Uint8Array.of(0x9b, 0x02, 0x9c, 0x02)), /wire type 3/) // A group in an unknown field.
  f(spanRequest(Uint8Array.of(0x0e)), /wire type 6/)
  f(spanRequest(new WireWriter().len(SPAN.traceId, new Uint8Array(15)).finish()), /trace id of 15 bytes/)
  f(spanRequest(new WireWriter().len(SPAN.spanId, new Uint8Array(16)).finish()), /span id of 16 bytes/)
  f(spanRequest(new WireWriter().len(SPAN.parentSpanId, new Uint8Array(1)).finish()), /span id of 1 bytes/)
  f(spanRequest(new WireWriter().uintField(SPAN.name, 1).finish()), /wire type 0 in field 5/)
  f(spanRequest(new WireWriter().len(SPAN.startTimeUnixNano, new Uint8Array(8)).finish()), /wire type|length/)
  f(spanRequest(attribute(Uint8Array.of(0x0a, 9, 1))), /runs past/)
  f(spanRequest(attribute(Uint8Array.of(0x18, 0x80))), /cut off/)
  f(spanRequest(attribute(Uint8Array.from([0x18, ...Array(10).fill(0xff), 1]))), /more than 64 bits/)
  f(spanRequest(attribute(Uint8Array.from([0x18, ...Array(9).fill(0xff), 2]))), /more than 64 bits/)
  f(spanRequest(attribute(Uint8Array.of(0x21, 1, 2, 3))), /runs past/)
  f(spanRequest(attribute(nested(60))), /nested too deeply/)
  f(spanRequest(attribute(nested(10_000))), /nested too deeply/)
})

test('what the limits allow is accepted', () => {
  const f = (request: Uint8Array) => {
    expect(receiveRequest('traces', request)).toEqual({ chunk: request, itemCount: 1 })
    expect(checkChunk('traces', request)).toBe(1)
  }
  f(spanRequest(new Uint8Array(0)))
  f(spanRequest(attribute(nested(45))))
  f(spanRequest(attribute(Uint8Array.from([0x18, ...Array(9).fill(0xff), 1]))))
  f(spanRequest(new WireWriter().len(SPAN.traceId, new Uint8Array(0)).finish()))
  f(spanRequest(new WireWriter().len(SPAN.name, Uint8Array.of(0xff, 0xfe)).finish())) // Not UTF-8: as in Go.
  f(spanRequest(new WireWriter().uintField(SPAN.kind, 77).finish()))
})

test('packed and unpacked numbers are checked one by one', () => {
  const point = (bytes: Uint8Array) => {
    const metric = new WireWriter().begin(10).len(1, bytes).end().finish()
    return new WireWriter().begin(1).begin(2).len(2, metric).end().end().finish()
  }
  const buckets = (bytes: number[]) =>
    point(new WireWriter().begin(8).raw(Uint8Array.from(bytes)).end().finish())
  expect(receiveRequest('metrics', buckets([0x12, 3, 1, 0x80, 1])).itemCount).toBe(1)
  expect(receiveRequest('metrics', buckets([0x10, 1, 0x10, 2])).itemCount).toBe(1)
  expect(() => receiveRequest('metrics', buckets([0x12, 2, 1, 0x80]))).toThrow(WireError)
  const histogram = new WireWriter().begin(9).begin(1).len(6, new Uint8Array(12)).end().end().finish()
  const request = new WireWriter().begin(1).begin(2).len(2, histogram).end().end().finish()
  expect(() => receiveRequest('metrics', request)).toThrow(/packed 64-bit values in 12 bytes/)
})

test('a resource in two parts is merged, wherever the parts stand', () => {
  const resource = (key: string) =>
    encodeMessage('opentelemetry.proto.resource.v1.Resource', { attributes: [{ key, value: {} }] })
  const span = new WireWriter().begin(2).len(2, new Uint8Array(0)).end().finish()
  const writer = new WireWriter()
    .begin(1)
    .len(1, resource('a'))
    .raw(span)
    .string(3, 'old')
    .len(1, resource('b'))
  const request = writer.string(3, 'new').end().finish()
  const { chunk, itemCount } = receiveRequest('traces', request)
  expect(itemCount).toBe(1)
  const fields: number[] = []
  const cursor = new FieldCursor(chunk)
  cursor.next()
  const inner = new FieldCursor().enter(cursor)
  while (inner.next()) fields.push(inner.number)
  expect(fields).toEqual([2, 1, 3])
  expect(decode('traces', chunk)).toEqual(decode('traces', request))
  expect(decode('traces', chunk).resourceSpans[0]).toMatchObject({
    resource: { attributes: [{ key: 'a' }, { key: 'b' }] },
    schemaUrl: 'new',
  })
})

test('a legacy list of instrumentation libraries becomes scopes, unless there are scopes', () => {
  const f = (signal: Signal, items: string, suffix: string) => {
    const scope = { scope: { name: 'lib', version: '1' }, [items]: [{ name: 'x' }, {}], schemaUrl: 's' }
    const object = { [`resource${suffix}`]: [{ schemaUrl: 'u', [`scope${suffix}`]: [scope, scope] }] }
    const modern = encode(signal, object)
    // Only the number of the field differs.
    const cursor = new FieldCursor(modern)
    cursor.next()
    const writer = new WireWriter().begin(1)
    const both = new WireWriter().begin(1)
    const inner = new FieldCursor().enter(cursor)
    while (inner.next()) {
      both.raw(inner.raw())
      if (inner.number === 2) both.len(1000, inner.value())
      if (inner.number === 2) writer.len(1000, inner.value())
      else writer.raw(inner.raw())
    }
    for (const request of [writer.end().finish(), both.end().finish()]) {
      const { chunk, itemCount } = receiveRequest(signal, request)
      expect(decode(signal, chunk)).toEqual(decode(signal, modern))
      expect(itemCount).toBe(receiveRequest(signal, modern).itemCount)
      expect(chunk.length).toBe(modern.length)
    }
  }
  f('traces', 'spans', 'Spans')
  f('metrics', 'metrics', 'Metrics')
  f('logs', 'logRecords', 'Logs')
})

test('an attribute in a run that reaches past its span is refused', () => {
  const pair = new WireWriter().begin(SPAN.attributes).string(1, 'k').string(2, '').end().finish()
  // The second one is in itself in order, with a value whose last two bytes belong to the next span.
  const long = Uint8Array.of(0x4a, 9, 0x0a, 1, 0x6b, 0x12, 4, 0x0a, 2)
  const span = Buffer.concat([pair, long])
  const request = new WireWriter().begin(1).begin(2).len(2, span).len(2, pair).end().end().finish()
  expect(() => receiveRequest('traces', request)).toThrow(/runs past its message/)
})

test('a member of a oneof that comes back after another begins anew', () => {
  const gauge = (count: number) =>
    new WireWriter()
      .begin(5)
      .raw(Buffer.concat(Array(count).fill(Uint8Array.of(0x0a, 0))))
      .end()
      .finish()
  const sum = new WireWriter().len(7, new Uint8Array(0)).finish()
  const f = (metric: Uint8Array[], points: number) => {
    const request = new WireWriter().begin(1).begin(2).len(2, Buffer.concat(metric)).end().end().finish()
    const { chunk, itemCount } = receiveRequest('metrics', request)
    expect(itemCount).toBe(points)
    const metrics = decode('metrics', chunk).resourceMetrics[0].scopeMetrics[0].metrics
    expect(metrics).toEqual([{ gauge: { dataPoints: Array(points).fill({}) } }])
  }
  f([gauge(2), gauge(3)], 5)
  f([gauge(2), sum, gauge(3)], 3)
  f([sum, gauge(1), gauge(1)], 2)
})

test('a broken span in a legacy list is refused', () => {
  const request = new WireWriter()
    .begin(1)
    .begin(1000)
    .len(2, Uint8Array.of(0x0a, 3, 1, 2, 3))
    .end()
    .end()
    .finish()
  expect(() => receiveRequest('traces', request)).toThrow(/trace id of 3 bytes at byte 9/)
})

test('fields of the request beside its resources are dropped, after a check', () => {
  const [chunk = new Uint8Array(0)] = traces({ spans: ['a', 'b'] }).chunks
  const request = Buffer.concat([Uint8Array.of(0x12, 2, 1, 2), chunk, Uint8Array.of(0x98, 0x06, 1)])
  const received = receiveRequest('traces', request)
  expect(Buffer.from(received.chunk)).toEqual(chunk)
  expect(received.itemCount).toBe(2)
  expect(() => receiveRequest('traces', Buffer.concat([request, Uint8Array.of(0x12, 2, 1)]))).toThrow(
    WireError,
  )
  expect(() => checkChunk('traces', request)).toThrow(WireError)
})

test('a million empty resources are counted, not expanded', () => {
  const request = Buffer.alloc(2_000_000)
  for (let at = 0; at < request.length; at += 2) request[at] = 0x0a
  expect(receiveRequest('traces', request)).toEqual({ chunk: request, itemCount: 0 })
})

test('a resource in a million parts is merged without an object for each', () => {
  const parts = Buffer.alloc(2_000_000)
  for (let at = 0; at < parts.length; at += 2) parts[at] = 0x0a
  const before = process.memoryUsage().heapUsed
  const { chunk } = receiveRequest('traces', new WireWriter(parts.length + 8).len(1, parts).finish())
  expect(Buffer.from(chunk).toString('hex')).toBe('0a020a00')
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(30_000_000)
})

test('after a refusal the next request is read as if nothing had been', () => {
  const [chunk = new Uint8Array(0)] = traces({ spans: ['a', 'b', 'c'] }).chunks
  expect(() => receiveRequest('traces', chunk.subarray(0, chunk.length - 1))).toThrow(WireError)
  expect(receiveRequest('traces', chunk).itemCount).toBe(3)
})
