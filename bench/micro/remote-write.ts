/**
 * What does it cost to turn data points into remote write requests? 100 points (40 sums, 30 gauges, 30 histograms of
 * 12 buckets) of one resource whose six attributes become labels; translation, request bytes and Snappy, no socket.
 *
 *     node bench/micro/remote-write.ts
 *
 * Three ways: as it runs; with the general Snappy encoder on top; and 20 exports of the same series in one batch, as they
 * come out of a batch processor that waits long, so that every series has several samples.
 */
import os from 'node:os'
import { cutRequests } from '../../src/exporters/prometheus-remote-write/requests.ts'
import { Translator } from '../../src/exporters/prometheus-remote-write/translate.ts'
import { encodeSnappyBlock } from '../../src/net/snappy.ts'
import { metrics } from '../../test/support/otlp.ts'

const ROUNDS = 9
const BATCHES = 1000
const POINTS = 100
const SERIES = 40 + 30 + 30 * 15 + 1

const START = 1_700_000_000_000_000_000n
const bounds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]
const attributes = (index: number) => ({
  'http.request.method': 'GET',
  'http.route': `/api/v1/items/${index}`,
  'http.response.status_code': 200,
  'server.address': 'shop.example.org',
})
const times = { startTimeUnixNano: START, timeUnixNano: START + 60_000_000_000n }
const range = (count: number) => Array.from({ length: count }, (_, index) => index)
const batch = metrics({
  resource: {
    'service.name': 'checkout',
    'service.namespace': 'shop',
    'service.instance.id': 'checkout-7f9c6d5b4-x2x9z',
    'host.name': 'node-17.eu-west-1.example.org',
    'deployment.environment.name': 'production',
    'telemetry.sdk.language': 'nodejs',
  },
  scope: { name: 'bench', version: '1.0.0' },
  metrics: [
    {
      name: 'http.server.requests',
      unit: '{request}',
      sum: {
        isMonotonic: true,
        aggregationTemporality: 2,
        dataPoints: range(40).map((index) => ({
          ...times,
          asInt: 1000 + index,
          attributes: attributes(index),
        })),
      },
    },
    {
      name: 'process.memory.usage',
      unit: 'By',
      gauge: {
        dataPoints: range(30).map((index) => ({
          ...times,
          asDouble: 1.5 * index,
          attributes: attributes(index),
        })),
      },
    },
    {
      name: 'http.server.request.duration',
      unit: 's',
      histogram: {
        aggregationTemporality: 2,
        dataPoints: range(30).map((index) => ({
          ...times,
          count: 260,
          sum: 12.5,
          bucketCounts: range(13).map(() => 20),
          explicitBounds: bounds,
          attributes: attributes(index),
        })),
      },
    },
  ],
})

const translator = new Translator(
  {
    namespace: '',
    targetInfo: true,
    metadata: false,
    startTimestamps: false,
    customBuckets: false,
    classicToo: false,
    base: {
      strategy: 'UnderscoreEscapingWithSuffixes',
      external: new Map(),
      scope: 'present',
      resourceLabels: () => true,
      labelStyle: 'collapse',
      targetInfo: 'informative',
    },
  },
  3_000_000,
  (reason) => {
    throw new Error(`dropped: ${reason}`)
  },
)

const JOINED = 20
const joined = Array.from({ length: JOINED }, () => batch.chunks[0] ?? new Uint8Array(0))

let bytes = 0
let packed = 0

const ways: { readonly name: string; readonly batches: number; readonly run: () => void }[] = [
  {
    name: 'translated and compressed as written',
    batches: BATCHES,
    run() {
      translator.translate(batch.chunks)
      bytes = cutRequests(translator.table).reduce((sum, request) => sum + request.block.length, 0)
    },
  },
  {
    name: 'translated, general encoder on top',
    batches: BATCHES,
    run() {
      translator.translate(batch.chunks)
      const { out } = translator.table
      packed = encodeSnappyBlock(out.bytes.subarray(0, out.length)).length
    },
  },
  {
    name: `${JOINED} exports joined`,
    batches: BATCHES / JOINED,
    run() {
      translator.translate(joined)
      cutRequests(translator.table)
    },
  },
]

console.log(`${os.cpus()[0]?.model}, Node ${process.version}, ${ROUNDS} rounds of ${BATCHES} exports`)
for (const { name, batches, run } of ways) {
  const results: number[] = []
  for (let round = 0; round <= ROUNDS; round++) {
    const before = process.cpuUsage()
    for (let count = 0; count < batches; count++) run()
    if (translator.table.count !== SERIES) throw new Error(`${translator.table.count} series`)
    const { user, system } = process.cpuUsage(before)
    if (round > 0) results.push((user + system) / (BATCHES * POINTS)) // The first round warms up.
  }
  results.sort((left, right) => left - right)
  const spread = `${results[0]?.toFixed(3)} to ${results.at(-1)?.toFixed(3)}`
  console.log(`${name}: ${results[ROUNDS >> 1]?.toFixed(3)} us of CPU per data point (${spread})`)
}
console.log(`${SERIES} series an export; block ${bytes} bytes as written, ${packed} by the general encoder`)
