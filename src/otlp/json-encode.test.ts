import { expect, test } from 'vitest'
import { encode, logs, metrics, type Plain, traces } from '../../test/support/otlp.ts'
import { WireError } from '../errors.ts'
import type { Batch, Signal } from './batch.ts'
import { encodeJson, JsonBuffer } from './json-encode.ts'
import { WireWriter } from './wire.ts'

function json(signal: Signal, ...chunks: Uint8Array[]): string {
  const out = new JsonBuffer(8)
  encodeJson(signal, chunks, out)
  return Buffer.from(out.take()).toString()
}
const jsonOf = (batch: Batch) => JSON.parse(json(batch.signal, ...batch.chunks))

function anyValue(value: Plain): Plain {
  const bytes = encode('logs', { resourceLogs: [{ scopeLogs: [{ logRecords: [{ body: value }] }] }] })
  return JSON.parse(json('logs', bytes)).resourceLogs[0].scopeLogs[0].logRecords[0].body
}

test('a span in full', () => {
  const batch = traces({
    resource: { 'service.name': 'shop' },
    schemaUrl: 'u1',
    scope: { name: 'lib', version: '1', attributes: { a: 1 } },
    scopeSchemaUrl: 'u2',
    spans: [
      {
        name: 'GET',
        traceId: '5b8efff798038103d269b633813fc60c',
        spanId: 'eee19b7ec3c1b174',
        parentSpanId: '0102030405060708',
        traceState: 'a=b',
        kind: 2,
        startTimeUnixNano: 1544712660300000001n,
        endTimeUnixNano: 18446744073709551615n,
        attributes: {
          i: 1n,
          s: '',
          b: false,
          d: 0.5,
          bytes: Buffer.from([1, 2]),
          list: ['x', null],
          map: { k: 1.25 },
        },
        events: [{ timeUnixNano: '5', name: 'e', attributes: { x: true } }],
        links: [{ traceId: '5b8efff798038103d269b633813fc60c', spanId: 'eee19b7ec3c1b174', flags: 256 }],
        status: { code: 2, message: 'bad' },
        flags: 257,
      },
    ],
  })
  expect(jsonOf(batch)).toEqual({
    resourceSpans: [
      {
        resource: { attributes: [{ key: 'service.name', value: { stringValue: 'shop' } }] },
        scopeSpans: [
          {
            scope: { name: 'lib', version: '1', attributes: [{ key: 'a', value: { intValue: '1' } }] },
            spans: [
              {
                traceId: '5b8efff798038103d269b633813fc60c',
                spanId: 'eee19b7ec3c1b174',
                traceState: 'a=b',
                parentSpanId: '0102030405060708',
                name: 'GET',
                kind: 2,
                startTimeUnixNano: '1544712660300000001',
                endTimeUnixNano: '18446744073709551615',
                attributes: [
                  { key: 'i', value: { intValue: '1' } },
                  { key: 's', value: { stringValue: '' } },
                  { key: 'b', value: { boolValue: false } },
                  { key: 'd', value: { doubleValue: 0.5 } },
                  { key: 'bytes', value: { bytesValue: 'AQI=' } },
                  { key: 'list', value: { arrayValue: { values: [{ stringValue: 'x' }, {}] } } },
                  {
                    key: 'map',
                    value: { kvlistValue: { values: [{ key: 'k', value: { doubleValue: 1.25 } }] } },
                  },
                ],
                events: [
                  { timeUnixNano: '5', name: 'e', attributes: [{ key: 'x', value: { boolValue: true } }] },
                ],
                links: [
                  { traceId: '5b8efff798038103d269b633813fc60c', spanId: 'eee19b7ec3c1b174', flags: 256 },
                ],
                status: { message: 'bad', code: 2 },
                flags: 257,
              },
            ],
            schemaUrl: 'u2',
          },
        ],
        schemaUrl: 'u1',
      },
    ],
  })
})

test('several chunks become one document, no chunk an empty one', () => {
  const names = jsonOf(logs({ logs: ['a'] }))
  expect(names.resourceLogs).toHaveLength(1)
  const chunks = [logs({ logs: ['a'] }), logs({ logs: ['b'] }, { logs: [] })].map((batch) => batch.bytes())
  expect(JSON.parse(json('logs', ...chunks)).resourceLogs).toHaveLength(3)
  expect(json('logs')).toBe('{}')
  expect(json('logs', new Uint8Array(0))).toBe('{}')
})

test('integers of 64 bits are strings with every digit', () => {
  for (const want of [
    '0',
    '1',
    '-1',
    '999999999',
    '1000000000',
    '4294967295',
    '4294967296',
    '9007199254740993',
    '10000000000000000000',
    '-9223372036854775808',
    '9223372036854775807',
  ]) {
    const signed = BigInt.asIntN(64, BigInt(want)).toString()
    expect(anyValue({ intValue: signed })).toEqual({ intValue: signed })
  }
})

test('doubles are the shortest text that gives them back', () => {
  for (const want of [
    0,
    -0,
    1,
    -1.5,
    0.1,
    0.25,
    19.99,
    100,
    1e6,
    123456789.123456,
    1e-7,
    0.0000001,
    1e21,
    2 ** 53,
    5e-324,
    Number.MAX_VALUE,
    1 / 3,
    0.30000000000000004,
    999999999.999999,
  ]) {
    const found = anyValue({ doubleValue: want }).doubleValue
    expect(found).toBe(want)
    const bytes = encode('logs', {
      resourceLogs: [{ scopeLogs: [{ logRecords: [{ body: { doubleValue: want } }] }] }],
    })
    const text = /"doubleValue":([^}]*)/.exec(json('logs', bytes))?.[1]
    expect(text).toBe(
      Object.is(want, -0) ? '-0' : want < 1e-6 && want > 0 ? String(want) : JSON.stringify(want),
    )
  }
  expect(anyValue({ doubleValue: Number.NaN })).toEqual({ doubleValue: 'NaN' })
  expect(anyValue({ doubleValue: Number.POSITIVE_INFINITY })).toEqual({ doubleValue: 'Infinity' })
  expect(anyValue({ doubleValue: Number.NEGATIVE_INFINITY })).toEqual({ doubleValue: '-Infinity' })
})

test('defaults are left out, presence is kept', () => {
  const point = { asInt: 0n, flags: 0, timeUnixNano: 0n }
  const [metric] = jsonOf(metrics({ metrics: [{ name: '', gauge: { dataPoints: [point] } }] }))
    .resourceMetrics[0].scopeMetrics[0].metrics
  expect(metric).toEqual({ gauge: { dataPoints: [{ asInt: '0' }] } })
  const histogram = { count: 0n, sum: 0, min: 0, bucketCounts: [0n, 3n], explicitBounds: [0] }
  const found = jsonOf(
    metrics({ metrics: [{ histogram: { dataPoints: [histogram], aggregationTemporality: 2 } }] }),
  )
  expect(found.resourceMetrics[0].scopeMetrics[0].metrics[0].histogram).toEqual({
    dataPoints: [{ sum: 0, bucketCounts: ['0', '3'], explicitBounds: [0], min: 0 }],
    aggregationTemporality: 2,
  })
})

test('strings: escapes, other scripts, bytes that are not UTF-8', () => {
  for (const text of [
    '',
    'a"b\\c/d',
    '\b\f\n\r\t\u0000\u001f\u007f',
    '\u00e9\u20ac\u{1f600}',
    '\u2028',
    'x'.repeat(70_000),
  ])
    expect(anyValue({ stringValue: text })).toEqual({ stringValue: text })
  const f = (content: number[], want: string) => {
    const resource = new WireWriter().begin(1).len(3, Uint8Array.from(content)).end().finish()
    expect(JSON.parse(json('logs', resource)).resourceLogs[0].schemaUrl).toBe(want)
  }
  f([0x61, 0xff, 0x62], 'a\ufffdb')
  f([0xc3, 0xa9, 0x22, 0xc3], '\u00e9"\ufffd')
  f([0xed, 0xa0, 0x80], '\ufffd\ufffd\ufffd')
  f([0xf0, 0x9f, 0x98], '\ufffd')
})

test('unknown fields, and known ones of another wire type, are left out', () => {
  const log = new WireWriter()
    .begin(1)
    .string(900, 'x')
    .uintField(3, 7)
    .string(3, 'u')
    .fixed32Field(99, 1)
    .end()
  expect(json('logs', log.finish())).toBe('{"resourceLogs":[{"schemaUrl":"u"}]}')
})

test('scalars given twice, lists in runs and oneofs with two members are resolved as protobuf does', () => {
  const record = new WireWriter().begin(1).begin(2).begin(2)
  record
    .string(3, 'first')
    .len(6, Uint8Array.of(10, 1, 97))
    .uintField(2, 9)
    .len(6, Uint8Array.of(10, 1, 98))
  record.string(3, 'second').uintField(2, 0).begin(5).uintField(3, 1).string(1, 'text').end()
  expect(
    JSON.parse(json('logs', record.end().end().end().finish())).resourceLogs[0].scopeLogs[0].logRecords[0],
  ).toEqual({
    severityText: 'second',
    attributes: [{ key: 'a' }, { key: 'b' }],
    body: { stringValue: 'text' },
  })
})

test('numbers of a repeated field that are not packed', () => {
  const point = new WireWriter().begin(1).begin(2).begin(2).begin(9).begin(1)
  point
    .fixed64Field(6, 1n)
    .fixed64Field(6, 2n)
    .len(6, Uint8Array.of(3, 0, 0, 0, 0, 0, 0, 0))
    .len(6, new Uint8Array(0))
  const bytes = point.end().end().end().end().end().finish()
  const [metric] = JSON.parse(json('metrics', bytes)).resourceMetrics[0].scopeMetrics[0].metrics
  expect(metric.histogram.dataPoints[0].bucketCounts).toEqual(['1', '2', '3'])
})

test('broken bytes and nesting without an end are refused and leave the buffer as it was', () => {
  const out = new JsonBuffer()
  out.byte(0x20)
  expect(() => encodeJson('logs', [Uint8Array.of(10, 5, 1)], out)).toThrow(WireError)
  const record = new WireWriter().begin(1).begin(2).begin(2).begin(5)
  for (let depth = 0; depth < 200; depth++) record.begin(5).begin(1)
  for (let depth = 0; depth < 404; depth++) record.end()
  expect(() => encodeJson('logs', [record.finish()], out)).toThrow(/nested too deeply/)
  expect(out.length).toBe(1)
})

test('a long text is set aside in parts: each way to take it gives the same, and what is taken back is gone', () => {
  const letters = Buffer.from('abcdefghijklmnopqrstuvwxyz'.repeat(4000))
  const write = (out: JsonBuffer) => {
    let want = ''
    for (let turn = 0; turn < 40; turn++) {
      out.integer(turn)
      out.string(letters, turn, letters.length)
      const mark = out.length
      for (let more = 0; more < turn; more++) out.raw(letters) // Up to four parts and back.
      out.truncate(mark)
      want += `${turn}"${letters.toString().slice(turn)}"`
    }
    expect(out.length).toBe(want.length)
    return want
  }
  const out = new JsonBuffer(64)
  const want = write(out)
  expect(Buffer.from(out.view()).toString() === want).toBe(true)
  expect(Buffer.from(out.bytes.subarray(0, out.length)).toString() === want).toBe(true)
  expect(Buffer.from(out.take()).toString() === want).toBe(true)
  expect(out.length).toBe(0)
  const other = new JsonBuffer(64)
  write(other)
  const parts = other.takeParts()
  expect(parts.length).toBeGreaterThan(2)
  expect(Buffer.concat(parts).toString() === want).toBe(true)
  const taken = Buffer.concat(parts)
  write(other)
  expect(Buffer.concat(parts).equals(taken)).toBe(true) // Nobody writes to what was handed out.
  other.clear()
  other.ascii('x')
  expect(other.takeParts().map(String)).toEqual(['x'])
})
