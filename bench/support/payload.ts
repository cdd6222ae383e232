/**
 * Pre-encoded OTLP trace requests for the load: realistic spans (10 attributes, about 360 bytes each), several services and
 * scopes. The trace ids can be renewed in place, so that every request that is sent brings new traces.
 */
import { SPAN } from '../../src/otlp/fields.ts'
import { WireWriter } from '../../src/otlp/wire.ts'

export interface Payload {
  readonly bytes: Buffer
  readonly items: number
  /** Where the 16 bytes of each span's trace id begin, and which of the request's traces it belongs to. */
  readonly traceIdAt: Int32Array
  readonly traceOf: Int32Array
}

/** Small, seeded, good enough to spread ids and values. */
export function randomSource(seed: number): () => number {
  let state = seed >>> 0 || 1
  return () => {
    state ^= state << 13
    state >>>= 0
    state ^= state >>> 17
    state ^= state << 5
    state >>>= 0
    return state / 4_294_967_296
  }
}

const ROUTES = ['/api/checkout', '/api/cart', '/api/catalogue/items', '/healthz', '/api/users/profile']

/**
 * `spansPerTrace` spans share a trace; one trace in 20 has an error, one in 20 is slower than a second. `spanBytes` pads each span
 * with one more attribute to about that size.
 */
export function tracePayload(spans: number, seed = 1, spansPerTrace = 5, spanBytes = 0): Payload {
  const random = randomSource(seed)
  const writer = new WireWriter(spans * 400 + 512)
  writer.begin(1, spans * 380)
  writer.begin(1, 200)
  attribute(writer, 1, 'service.name', `service-${Math.floor(random() * 8)}`)
  attribute(writer, 1, 'service.version', '1.14.2')
  attribute(writer, 1, 'host.name', `host-${Math.floor(random() * 32)}.cluster.internal`)
  attribute(writer, 1, 'deployment.region', 'eu-central-1')
  attribute(writer, 1, 'telemetry.sdk.language', 'nodejs')
  writer.end()
  writer.begin(2, spans * 370)
  writer.begin(1, 40)
  writer.string(1, '@opentelemetry/instrumentation-http').string(2, '0.57.1')
  writer.end()
  const traces = Math.ceil(spans / spansPerTrace)
  const startNanos = 1_790_000_000_000_000_000n
  for (let span = 0; span < spans; span++) writeSpan(writer, random, span % traces, startNanos, spanBytes)
  writer.end().end()
  const bytes = Buffer.from(writer.finish())
  const places = findTraceIds(bytes, spans)
  const traceOf = new Int32Array(spans)
  for (let span = 0; span < spans; span++) {
    traceOf[span] = span % traces
    bytes.writeUInt32BE(Math.imul((span % traces) + 1, 0x85ebca6b) >>> 0, (places[span] ?? 0) + 8)
  }
  const payload = { bytes, items: spans, traceIdAt: places, traceOf }
  renewTraceIds(payload, seed)
  return payload
}

const MARK = 0x5eed5eed
/** About what a span takes that is not padded, the key of the padding included. */
const PLAIN_SPAN_BYTES = 400

function writeSpan(
  writer: WireWriter,
  random: () => number,
  trace: number,
  startNanos: bigint,
  spanBytes: number,
): void {
  const failed = trace % 20 === 3
  const slow = trace % 20 === 7
  const durationMs = slow ? 1500 : 5 + Math.floor(random() * 200)
  const start = startNanos + BigInt(Math.floor(random() * 1e6))
  const id = Buffer.alloc(16)
  id.writeUInt32LE(MARK, 0)
  writer.begin(2, 360)
  writer.len(SPAN.traceId, id)
  writer.len(SPAN.spanId, Buffer.from(Array.from({ length: 8 }, () => Math.floor(random() * 256))))
  writer.string(SPAN.name, `GET ${ROUTES[Math.floor(random() * ROUTES.length)]}`)
  writer.uintField(SPAN.kind, 2)
  writer.fixed64Field(SPAN.startTimeUnixNano, start)
  writer.fixed64Field(SPAN.endTimeUnixNano, start + BigInt(durationMs) * 1_000_000n)
  attribute(writer, SPAN.attributes, 'http.request.method', 'GET')
  attribute(writer, SPAN.attributes, 'url.path', ROUTES[Math.floor(random() * ROUTES.length)] ?? '/')
  attribute(writer, SPAN.attributes, 'http.route', '/api/:resource')
  attribute(writer, SPAN.attributes, 'server.address', 'shop.example.internal')
  attribute(writer, SPAN.attributes, 'user_agent.original', 'Mozilla/5.0 (X11; Linux x86_64)')
  attribute(writer, SPAN.attributes, 'network.protocol.version', '1.1')
  attribute(writer, SPAN.attributes, 'client.address', `10.0.${Math.floor(random() * 255)}.7`)
  integer(writer, SPAN.attributes, 'http.response.status_code', failed ? 500n : 200n)
  integer(writer, SPAN.attributes, 'server.port', 8080n)
  integer(writer, SPAN.attributes, 'http.response.body.size', BigInt(Math.floor(random() * 1e5)))
  if (spanBytes > PLAIN_SPAN_BYTES)
    attribute(
      writer,
      SPAN.attributes,
      'db.query.text',
      'select '.repeat(spanBytes).slice(0, spanBytes - PLAIN_SPAN_BYTES),
    )
  writer.begin(SPAN.status, 2)
  if (failed) writer.uintField(3, 2)
  writer.end()
  writer.fixed32Field(SPAN.flags, 0x101)
  writer.end()
}

function attribute(writer: WireWriter, field: number, key: string, value: string): void {
  writer
    .begin(field, key.length + value.length + 6)
    .string(1, key)
    .begin(2, value.length + 2)
  writer.string(1, value).end().end()
}

function integer(writer: WireWriter, field: number, key: string, value: bigint): void {
  writer
    .begin(field, key.length + 8)
    .string(1, key)
    .begin(2, 4)
    .int64Field(3, value)
    .end()
    .end()
}

function findTraceIds(bytes: Buffer, spans: number): Int32Array {
  const places = new Int32Array(spans)
  const mark = Buffer.from([0x0a, 16, 0, 0, 0, 0])
  mark.writeUInt32LE(MARK, 2)
  let at = -1
  for (let span = 0; span < spans; span++) {
    at = bytes.indexOf(mark, at + 1)
    if (at < 0) throw new Error('a trace id was not found')
    places[span] = at + 2
  }
  return places
}

/**
 * Gives the traces of the request new ids, made from `serial`: one serial, one set of traces. Bytes 8 to 11 tell the traces of one
 * request apart and stay.
 */
export function renewTraceIds(payload: Payload, serial: number): void {
  writeTraceIds(payload.bytes, payload.traceIdAt, payload.traceOf, serial)
}

export function writeTraceIds(
  bytes: Uint8Array,
  places: Int32Array,
  traceOf: Int32Array,
  serial: number,
): void {
  const mixed = Math.imul(serial, 0x9e3779b1)
  for (let span = 0; span < places.length; span++) {
    const at = places[span]!
    const last = Math.imul(serial ^ (traceOf[span]! * 7919), 0xc2b2ae35)
    bytes[at] = mixed
    bytes[at + 1] = mixed >>> 8
    bytes[at + 2] = mixed >>> 16
    bytes[at + 3] = mixed >>> 24
    bytes[at + 4] = serial
    bytes[at + 5] = serial >>> 8
    bytes[at + 6] = serial >>> 16
    bytes[at + 7] = serial >>> 24
    bytes[at + 12] = last
    bytes[at + 13] = last >>> 8
    bytes[at + 14] = last >>> 16
    bytes[at + 15] = last >>> 24
  }
}
