/**
 * What does one span cost between OTLP/JSON and protobuf, against JSON.parse with protobufjs?
 *
 *     node bench/micro/json.ts
 *
 * 100 spans of 10 attributes in one request, compact as SDKs write it, then the same text with white space. Rounds alternate
 * between the two sides; the result of every side is decoded and compared before anything is timed.
 */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { cpus } from 'node:os'
import { loadProtos } from '../../proto/load.ts'
import { decodeJson } from '../../src/otlp/json-decode.ts'
import { encodeJson, JsonBuffer } from '../../src/otlp/json-encode.ts'

const SPANS = 100
const ROUNDS = 7
const type = loadProtos().lookupType('opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest')

function request() {
  const spans = Array.from({ length: SPANS }, (_, index) => ({
    traceId: (0x1234567890abcdefn * BigInt(index + 1)).toString(16).padStart(32, '0').slice(-32),
    spanId: (0xabcdef12345n * BigInt(index + 1)).toString(16).padStart(16, '0').slice(-16),
    parentSpanId: '00f067aa0ba902b7',
    name: `GET /api/v1/orders/${index}`,
    kind: 2,
    startTimeUnixNano: String(1_700_000_000_123_456_789n + BigInt(index)),
    endTimeUnixNano: String(1_700_000_000_223_456_789n + BigInt(index)),
    attributes: [
      { key: 'http.request.method', value: { stringValue: 'GET' } },
      { key: 'url.path', value: { stringValue: `/api/v1/orders/${index}` } },
      { key: 'http.response.status_code', value: { intValue: '200' } },
      { key: 'server.address', value: { stringValue: 'shop.example.test' } },
      { key: 'server.port', value: { intValue: 8443 } },
      { key: 'network.protocol.version', value: { stringValue: '1.1' } },
      { key: 'user_agent.original', value: { stringValue: 'Mozilla/5.0 (X11; Linux x86_64)' } },
      { key: 'app.cache.hit', value: { boolValue: index % 2 === 0 } },
      { key: 'app.cart.total', value: { doubleValue: 19.99 + index } },
      { key: 'enduser.id', value: { stringValue: `user-${index * 7919}` } },
    ],
    droppedAttributesCount: 0,
    status: { code: 0 },
  }))
  const resource = { attributes: [{ key: 'service.name', value: { stringValue: 'shop' } }] }
  return { resourceSpans: [{ resource, scopeSpans: [{ scope: { name: 'bench' }, spans }] }] }
}

/** JSON.parse, ids from hex, then protobufjs: what a receiver does that uses libraries. */
function decodeByLibraries(body: Uint8Array): Uint8Array {
  const object = JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.length).toString())
  for (const resource of object.resourceSpans)
    for (const scope of resource.scopeSpans)
      for (const span of scope.spans)
        for (const key of ['traceId', 'spanId', 'parentSpanId']) span[key] = Buffer.from(span[key], 'hex')
  return type.encode(type.fromObject(object)).finish()
}

function encodeByLibraries(bytes: Uint8Array): Uint8Array {
  const object = type.toObject(type.decode(bytes), { longs: String, bytes: Buffer })
  for (const resource of object['resourceSpans'])
    for (const scope of resource.scopeSpans)
      for (const span of scope.spans)
        for (const key of ['traceId', 'spanId', 'parentSpanId']) span[key] = span[key].toString('hex')
  return Buffer.from(JSON.stringify(object))
}

const buffer = new JsonBuffer()
function encodeOwn(bytes: Uint8Array): Uint8Array {
  buffer.clear()
  encodeJson('traces', [bytes], buffer)
  return buffer.view()
}

/** Nanoseconds of CPU a span (user and system), one figure per round, the sides taking turns. */
function measure(sides: Record<string, () => Uint8Array>): void {
  const results = new Map(Object.keys(sides).map((name) => [name, [] as number[]]))
  let sum = 0
  for (let round = -2; round < ROUNDS; round++) {
    for (const [name, run] of Object.entries(sides)) {
      const until = process.hrtime.bigint() + 300_000_000n
      const start = process.cpuUsage()
      let spans = 0
      while (process.hrtime.bigint() < until) {
        for (let index = 0; index < 5; index++) sum += run().length
        spans += 5 * SPANS
      }
      const { user, system } = process.cpuUsage(start)
      if (round >= 0) results.get(name)?.push(((user + system) * 1000) / spans)
    }
  }
  for (const [name, figures] of results) {
    figures.sort((a, b) => a - b)
    const median = figures[ROUNDS >> 1]?.toFixed(0).padStart(7)
    console.log(
      `${name.padEnd(44)}${median} ns/span   (${figures[0]?.toFixed(0)} to ${figures.at(-1)?.toFixed(0)})`,
    )
  }
  assert.ok(sum > 0)
}

const object = request()
const compact = Buffer.from(JSON.stringify(object))
const spaced = Buffer.from(JSON.stringify(object, null, 1))
const wire = Buffer.from(decodeByLibraries(compact))
for (const text of [compact, spaced])
  assert.deepEqual(
    type.toObject(type.decode(decodeJson('traces', text))),
    type.toObject(type.decode(decodeJson('traces', compact))),
  )
assert.equal(
  type.decode(decodeJson('traces', compact)).toJSON()['resourceSpans'][0].scopeSpans[0].spans.length,
  SPANS,
)
assert.deepEqual(decodeJson('traces', encodeOwn(wire)), decodeJson('traces', compact))

const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim()
console.log(`${cpus()[0]?.model}, Node ${process.version}, commit ${commit}`)
console.log(
  `${SPANS} spans: ${compact.length} bytes of JSON, ${wire.length} of protobuf; median of ${ROUNDS} rounds`,
)
measure({
  'decode, compact': () => decodeJson('traces', compact),
  'decode, with white space': () => decodeJson('traces', spaced),
  'decode, JSON.parse and protobufjs': () => decodeByLibraries(compact),
  encode: () => encodeOwn(wire),
  'encode, protobufjs and JSON.stringify': () => encodeByLibraries(wire),
})
