/**
 * Scenario: requests that are small to send and made to cost much or to break what reads them: nesting, millions of empty messages,
 * groups, overlong and lying lengths, text that is none, keys that are names of JavaScript; by HTTP and gRPC, through a whole pipeline.
 * Guarantee: each is answered 400 / INVALID_ARGUMENT, or taken at a bounded cost of memory; what is taken comes out as it was meant;
 * ordinary requests go through in between.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { request } from '../support/http.ts'
import { traces } from '../support/otlp.ts'
import { block, frame, grpcMessage, RawClient, REQUEST, TYPE } from '../support/raw-http2.ts'
import { type RunningWeir, startWeir } from '../support/weir.ts'
import { lenField, varint } from './wire-mutations.ts'

const MIB = 2 ** 20
/** A request that is taken costs at most this many times its bytes, and this much for what is loaded with the first ones. */
const AMPLIFICATION = 32
/** The same where every span is edited and written as JSON, and be it empty: a `{}` becomes 56 bytes of text. */
const JSON_AMPLIFICATION = 40
const ROOM_BYTES = 24 * MIB
const PATH = '/opentelemetry.proto.collector.trace.v1.TraceService/Export'
const GOOD = traces({ resource: { 'service.name': 'shop' }, spans: ['a', 'b'] }).bytes()

let weir: RunningWeir
beforeAll(async () => {
  const protocols = { grpc: { endpoint: '127.0.0.1:0' }, http: { endpoint: '127.0.0.1:0' } }
  weir = await startWeir({
    receivers: { otlp: { protocols }, 'otlp/file': { protocols }, 'otlp/edited': { protocols } },
    processors: {
      resource: { attributes: [{ key: 'env', value: 'test', action: 'upsert' }] },
      attributes: { actions: [{ key: 'k', value: 'v', action: 'upsert' }] },
    },
    exporters: { nop: {}, file: { path: './out.jsonl', flush_interval: '100ms' } },
    service: {
      shards: 1,
      telemetry: { metrics: { level: 'none' } },
      pipelines: {
        traces: { receivers: ['otlp'], processors: ['resource', 'attributes'], exporters: ['nop'] },
        'traces/file': { receivers: ['otlp/file'], exporters: ['file'] },
        'traces/edited': {
          receivers: ['otlp/edited'],
          processors: ['resource', 'attributes'],
          exporters: ['file'],
        },
      },
    },
  })
  await stillServes()
})
afterAll(async () => {
  expect(await weir.stop()).toBe(0)
  await weir[Symbol.asyncDispose]()
})

async function post(
  body: Uint8Array | string,
  type = 'application/x-protobuf',
  receiver = 'otlp',
): Promise<number> {
  const headers = { 'Content-Type': type }
  return (await request(weir.port(`receivers/${receiver}/protocols/http`), Buffer.from(body), { headers }))
    .status
}
const postJson = (text: string, receiver = 'otlp') => post(text, 'application/json', receiver)

async function call(message: Uint8Array): Promise<string> {
  const client = RawClient.open(weir.port('receivers/otlp/protocols/grpc'))
  client.send(frame(TYPE.HEADERS, 4, 1, block({ ...REQUEST, ':path': PATH })))
  const bytes = grpcMessage(message)
  const pieces: Buffer[] = []
  for (let at = 0; at < bytes.length; at += 16_384)
    pieces.push(frame(TYPE.DATA, at + 16_384 >= bytes.length ? 1 : 0, 1, bytes.subarray(at, at + 16_384)))
  client.send(...pieces)
  const status = await client.status(1)
  client.socket.destroy()
  return status
}

async function stillServes(): Promise<void> {
  expect([await post(GOOD), await call(GOOD)]).toEqual([200, '0'])
}

function memory(field: 'VmRSS' | 'VmHWM'): number {
  const status = readFileSync(`/proc/${weir.pid}/status`, 'utf8')
  return Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)?.[1]) * 1024
}

/** How far the memory of the collector goes up while this runs. */
async function growth(run: () => Promise<unknown>): Promise<number> {
  await sleep(200)
  writeFileSync(`/proc/${weir.pid}/clear_refs`, '5') // The high-water mark starts anew.
  const before = memory('VmRSS')
  await run()
  return memory('VmHWM') - before
}

/** A request of one span with these fields. */
const spanRequest = (...fields: Uint8Array[]) =>
  lenField(10, lenField(18, lenField(18, Buffer.concat(fields))))
/** An attribute of a span with this AnyValue. */
const attribute = (value: Uint8Array) =>
  lenField(74, Buffer.concat([lenField(10, Buffer.from('k')), lenField(18, value)]))
const many = (piece: Uint8Array, count: number) => Buffer.alloc(piece.length * count, piece)

function nested(levels: number, ...tags: number[]): Buffer {
  let value = lenField(10, Buffer.from('x'))
  for (let level = 0; level < levels; level++) for (const tag of tags) value = lenField(tag, value)
  return value
}

const REFUSED: Readonly<Record<string, () => Uint8Array>> = {
  'lists nested 10,000 deep': () => spanRequest(attribute(nested(10_000, 10, 42))),
  'maps nested 10,000 deep': () => spanRequest(attribute(nested(10_000, 18, 10, 50))),
  'nested 51 deep, one too many': () => spanRequest(attribute(nested(51, 10, 42))),
  groups: () =>
    spanRequest(Buffer.concat([many(Buffer.from([0x9b, 2]), 10_000), many(Buffer.from([0x9c, 2]), 10_000)])),
  'a length of eleven bytes': () => Buffer.concat([Buffer.from([0x0a]), varint(5, 9), Buffer.alloc(5)]),
  'a length of 4 GB': () => Buffer.concat([Buffer.from([0x0a]), varint(2 ** 32 - 1), Buffer.alloc(9)]),
  'a length of 2^63': () => Buffer.from('0affffffffffffffff7f', 'hex'),
  'a number of 80 bits': () =>
    spanRequest(Buffer.concat([Buffer.from([0x50]), many(Buffer.from([0xff]), 11), Buffer.from([1])])),
  'a length that reaches over its parent': () =>
    lenField(10, lenField(18, lenField(18, Buffer.from([0x2a, 9, 65])))),
  'a trace id of 17 bytes': () => spanRequest(lenField(10, Buffer.alloc(17))),
  'field 0': () => spanRequest(Buffer.from([0x02, 0])),
}

const TAKEN: Readonly<Record<string, () => Uint8Array>> = {
  'a million empty ResourceSpans': () => many(Buffer.from([0x0a, 0]), 1_000_000),
  'a million empty ScopeSpans': () => lenField(10, many(Buffer.from([0x12, 0]), 1_000_000)),
  'a million empty spans': () => lenField(10, lenField(18, many(Buffer.from([0x12, 0]), 1_000_000))),
  'a million empty attributes': () => spanRequest(many(Buffer.from([0x4a, 0]), 1_000_000)),
  'a million times the same name': () => spanRequest(many(Buffer.from([0x2a, 1, 65]), 1_000_000)),
  'a resource in a million parts': () => lenField(10, many(Buffer.from([0x0a, 0]), 1_000_000)),
  'a million unknown fields': () => spanRequest(many(Buffer.from([0xc8, 1, 1]), 1_000_000)),
  'a list of a million nothings': () =>
    spanRequest(attribute(lenField(42, many(Buffer.from([0x0a, 0]), 1_000_000)))),
}

describe('protobuf that is refused:', () => {
  test.each(Object.entries(REFUSED))('%s', async (_, make) => {
    expect([await post(make()), await call(make())]).toEqual([400, '3'])
    await stillServes()
  })
})

describe('protobuf that is taken at a bounded cost:', () => {
  test.each(Object.entries(TAKEN))('%s', async (_, make) => {
    const body = make()
    const bound = ROOM_BYTES + AMPLIFICATION * body.length
    expect(await growth(async () => expect(await post(body)).toBe(200))).toBeLessThan(bound)
    expect(await growth(async () => expect(await call(body)).toBe('0'))).toBeLessThan(bound)
    await stillServes()
  })

  test('a million empty spans, written as JSON', async () => {
    const body = lenField(10, lenField(18, many(Buffer.from([0x12, 0]), 1_000_000)))
    const send = async () => expect(await post(body, 'application/x-protobuf', 'otlp/file')).toBe(200)
    expect(await growth(send)).toBeLessThan(ROOM_BYTES + JSON_AMPLIFICATION * body.length)
  })

  test('a name that is not UTF-8, as in the Go collector; a tag in more bytes than it needs', async () => {
    expect(await post(spanRequest(lenField(42, Buffer.from([0xff, 0xfe, 0xc0]))))).toBe(200)
    expect(await post(spanRequest(Buffer.concat([varint(42, 3), varint(1, 3), Buffer.from('n')])))).toBe(200)
  })
})

const spanJson = (inside: string) => `{"resourceSpans":[{"scopeSpans":[{"spans":[{${inside}}]}]}]}`

describe('JSON that is taken at a bounded cost, edited and written as JSON:', () => {
  const list = (inside: string, count: number) => `[${`${inside},`.repeat(count).slice(0, -1)}]`
  test.each([
    ['700,000 empty spans', `{"resourceSpans":[{"scopeSpans":[{"spans":${list('{}', 700_000)}}]}]}`],
    [
      '160,000 spans with a name',
      `{"resourceSpans":[{"scopeSpans":[{"spans":${list('{"name":"a"}', 160_000)}}]}]}`,
    ],
    ['700,000 empty resources', `{"resourceSpans":${list('{}', 700_000)}}`],
    ['700,000 empty attributes', spanJson(`"attributes":${list('{}', 700_000)}`)],
    ['a text of control characters', spanJson(`"name":"${'\\u0001'.repeat(330_000)}"`)],
  ])('%s', async (_, text) => {
    const send = async () => expect(await postJson(text, 'otlp/edited')).toBe(200)
    expect(await growth(send)).toBeLessThan(ROOM_BYTES + JSON_AMPLIFICATION * text.length)
    await stillServes()
  })
})

describe('JSON', () => {
  const deep = 200_000
  test.each([
    ['lists', spanJson(`"x":${'['.repeat(deep)}`)],
    ['objects', spanJson(`"x":${'{"a":'.repeat(deep)}`)],
    ['values', spanJson(`"attributes":[{"key":"k","value":${'{"arrayValue":{"values":['.repeat(deep / 4)}`)],
    ['closed lists', spanJson(`"x":${'['.repeat(deep)}${']'.repeat(deep)}`)],
    ['an integer over 64 bits', spanJson('"startTimeUnixNano":18446744073709551616')],
    ['an integer with an exponent without end', spanJson('"startTimeUnixNano":1e999999999')],
    ['a string without end', '{"resourceSpans":"'],
    ['a name of an enum that is none', spanJson('"kind":"SPAN_KIND_NONE_SUCH"')],
    ['an id that is not hex', spanJson(`"traceId":"${'zz'.repeat(16)}"`)],
  ])('%s: 400', async (_, text) => {
    expect(await growth(async () => expect(await postJson(text)).toBe(400))).toBeLessThan(ROOM_BYTES)
    await stillServes()
  })

  test('keys of prototypes are data, integers exact in every form, enums by name or number', async () => {
    const attributes = [
      { key: '__proto__', value: { stringValue: 'carried' } },
      { key: 'constructor', value: { intValue: '-9223372036854775808' } },
      {
        key: 'toString',
        value: { kvlistValue: { values: [{ key: '__proto__', value: { boolValue: true } }] } },
      },
    ]
    const text = spanJson(
      `"name":"proto","kind":"SPAN_KIND_SERVER","__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},` +
        `"startTimeUnixNano":9007199254740993,"endTimeUnixNano":"18446744073709551615",` +
        `"status":{"code":2},"attributes":${JSON.stringify(attributes)}`,
    )
    expect(await postJson(text, 'otlp/file')).toBe(200)
    const spans = () =>
      readFileSync(join(weir.folder, 'out.jsonl'), 'utf8')
        .split('\n')
        .filter((line) => line.includes('"proto"'))
        .map((line) => JSON.parse(line).resourceSpans[0].scopeSpans[0].spans[0])
    await expect.poll(() => spans().length, { timeout: 10_000 }).toBe(1)
    const [span] = spans()
    expect(span).toMatchObject({
      kind: 2,
      startTimeUnixNano: '9007199254740993',
      endTimeUnixNano: '18446744073709551615',
      status: { code: 2 },
    })
    expect(span.attributes.slice(0, 3)).toEqual(attributes)
    expect(span.polluted).toBeUndefined()
  })
})
