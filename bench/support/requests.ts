/**
 * What the load sends: encoded once, several variants of each kind (services, hosts), with the places that are renewed for every
 * request written down: trace ids (protobuf and JSON), times of data points and log records.
 */
import { gzipSync } from 'node:zlib'
import { JsonBuffer } from '../../src/otlp/json-buffer.ts'
import { encodeJson } from '../../src/otlp/json-encode.ts'
import { logs, metrics } from '../../test/support/otlp.ts'
import { randomSource, tracePayload, writeTraceIds } from './payload.ts'

export interface RequestSettings {
  readonly kind: 'traces' | 'json-traces' | 'metrics' | 'logs'
  readonly items: number
  readonly gzip?: boolean
  /** Traces: pads each span to about this size. */
  readonly spanBytes?: number
  readonly spansPerTrace?: number
  /** Traces: span ids are made of serial and index, so that a sink can tell which spans came. */
  readonly numberedSpans?: boolean
}

export interface Request {
  readonly bytes: Buffer
  readonly items: number
  /** Where in `bytes` something is renewed, and how many bytes from there must stay in one piece. */
  readonly places: Int32Array
  readonly pieceBytes: number
  /** Writes what is new in the request number `serial` into a copy of the bytes, whose places these are. */
  renew(bytes: Buffer, places: Int32Array, serial: number): void
}

const NOWHERE = new Int32Array(0)

export function makeRequest(settings: RequestSettings, variant: number): Request {
  const made = MAKERS[settings.kind](settings, variant + 1)
  if (settings.gzip !== true) return made
  // Compressed bytes cannot be renewed in place: the same traces come again, which only tail sampling would notice.
  return { ...made, bytes: gzipSync(made.bytes), places: NOWHERE, renew: () => {} }
}

const MAKERS = { traces, 'json-traces': jsonTraces, metrics: metricPoints, logs: logRecords }

function traces({ items, spansPerTrace, spanBytes, numberedSpans }: RequestSettings, seed: number): Request {
  const { bytes, traceIdAt, traceOf } = tracePayload(items, seed, spansPerTrace, spanBytes)
  const numbered = numberedSpans === true
  return {
    bytes,
    items,
    places: traceIdAt,
    pieceBytes: numbered ? SPAN_NUMBER_END : 16,
    renew(target, places, serial) {
      writeTraceIds(target, places, traceOf, serial)
      if (numbered) writeSpanNumbers(target, places, serial)
    },
  }
}

/** A numbered span id, behind the trace id with its tag and length: two bytes to find it by, the serial, the index. */
export const SPAN_NUMBER_MARK = Buffer.from([0x12, 8, 0xc5, 0x3a])
const SPAN_NUMBER_END = 26

function writeSpanNumbers(bytes: Buffer, places: Int32Array, serial: number): void {
  for (let span = 0; span < places.length; span++) {
    const at = places[span]! + 18
    bytes[at] = 0xc5
    bytes[at + 1] = 0x3a
    bytes.writeUInt32LE(serial, at + 2)
    bytes.writeUInt16LE(span, at + 6)
  }
}

const HEX = Buffer.from('0123456789abcdef')

function jsonTraces({ items }: RequestSettings, seed: number): Request {
  const payload = tracePayload(items, seed)
  const out = new JsonBuffer()
  encodeJson('traces', [payload.bytes], out)
  const bytes = Buffer.from(out.view())
  const places = findAll(bytes, Buffer.from('"traceId":"'), 11)
  if (places.length !== items) throw new Error(`${places.length} trace ids in the JSON of ${items} spans`)
  return {
    bytes,
    items,
    places,
    pieceBytes: 8,
    // Eight digits of the serial are enough to make the traces new ones.
    renew(target, at, serial) {
      for (let span = 0; span < at.length; span++) {
        for (let digit = 0; digit < 8; digit++)
          target[at[span]! + digit] = HEX[(serial >>> (digit * 4)) & 15]!
      }
    },
  }
}

/** The time that stands in every item until it is renewed: 8 bytes that stand nowhere else. */
const TIME = 1_790_000_060_123_456_789n
const START = 1_790_000_000_000_000_000n

function renewTimes(bytes: Buffer, places: Int32Array, serial: number): void {
  const nanos = TIME + BigInt(serial) * 1_000_000n
  const [low, high] = [Number(nanos & 0xffffffffn), Number(nanos >> 32n)]
  for (const at of places) {
    bytes.writeUInt32LE(low, at)
    bytes.writeUInt32LE(high, at + 4)
  }
}

function timed(bytes: Buffer, items: number, each: number): Request {
  const mark = Buffer.alloc(8)
  mark.writeBigUInt64LE(TIME)
  const places = findAll(bytes, mark, 0)
  if (places.length !== items * each) throw new Error(`${places.length} times in ${items} items`)
  return { bytes, items, places, pieceBytes: 8, renew: renewTimes }
}

const BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]
const range = (count: number) => Array.from({ length: count }, (_, index) => index)
const resourceOf = (seed: number) => ({
  'service.name': `service-${seed % 8}`,
  'service.namespace': 'shop',
  'service.instance.id': `service-${seed % 8}-7f9c6d5b4-x2x${seed}`,
  'host.name': `host-${seed}.eu-west-1.example.internal`,
  'deployment.environment.name': 'staging',
  'telemetry.sdk.language': 'nodejs',
})

/** 4 of 10 points are sums, 3 gauges, 3 histograms of 12 bounds; cumulative. */
function metricPoints({ items }: RequestSettings, seed: number): Request {
  const random = randomSource(seed)
  const [sums, gauges] = [Math.ceil(items * 0.4), Math.ceil(items * 0.3)]
  const point = (index: number) => ({
    startTimeUnixNano: START,
    timeUnixNano: TIME,
    attributes: {
      'http.request.method': 'GET',
      'http.route': `/api/v1/items/${index}`,
      'http.response.status_code': 200,
      'server.address': 'shop.example.internal',
    },
  })
  const sum = range(sums).map((index) => ({ ...point(index), asInt: Math.floor(random() * 1e6) }))
  const gauge = range(gauges).map((index) => ({ ...point(index), asDouble: random() * 1e3 }))
  const histogram = range(items - sums - gauges).map((index) => {
    const bucketCounts = range(BOUNDS.length + 1).map(() => Math.floor(random() * 50))
    const count = bucketCounts.reduce((total, value) => total + value, 0)
    return { ...point(index), count, sum: random() * 100, bucketCounts, explicitBounds: BOUNDS }
  })
  const batch = metrics({
    resource: resourceOf(seed),
    scope: { name: 'bench', version: '1.0.0' },
    metrics: [
      {
        name: 'http.server.requests',
        unit: '{request}',
        sum: { isMonotonic: true, aggregationTemporality: 2, dataPoints: sum },
      },
      { name: 'process.memory.usage', unit: 'By', gauge: { dataPoints: gauge } },
      {
        name: 'http.server.request.duration',
        unit: 's',
        histogram: { aggregationTemporality: 2, dataPoints: histogram },
      },
    ],
  })
  return timed(Buffer.concat(batch.chunks), items, 1)
}

function logRecords({ items }: RequestSettings, seed: number): Request {
  const random = randomSource(seed)
  const records = range(items).map((index) => ({
    timeUnixNano: TIME,
    observedTimeUnixNano: TIME,
    severityNumber: index % 20 === 0 ? 17 : 9,
    severityText: index % 20 === 0 ? 'ERROR' : 'INFO',
    body: `GET /api/v1/items/${Math.floor(random() * 1e6)} answered 200 in ${Math.floor(random() * 900)} ms`,
    attributes: {
      'http.request.method': 'GET',
      'http.route': '/api/v1/items/{id}',
      'http.response.status_code': 200,
      'client.address': `10.0.${Math.floor(random() * 255)}.7`,
      'thread.name': `worker-${index % 16}`,
    },
  }))
  const scope = { name: 'bench.logger', version: '1.0.0' }
  return timed(Buffer.concat(logs({ resource: resourceOf(seed), scope, logs: records }).chunks), items, 2)
}

function findAll(bytes: Buffer, mark: Buffer, shift: number): Int32Array {
  const found: number[] = []
  for (let at = bytes.indexOf(mark); at >= 0; at = bytes.indexOf(mark, at + 1)) found.push(at + shift)
  return Int32Array.from(found)
}
