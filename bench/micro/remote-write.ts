/**
 * What does it cost to turn data points into remote write requests? 100 points (40 sums, 30 gauges, 30 histograms of
 * 12 buckets) of one resource whose six attributes become labels; translation, request bytes and Snappy, no socket.
 *
 *     node bench/micro/remote-write.ts
 */
import os from 'node:os'
import { cutRequests } from '../../src/exporters/prometheus-remote-write/requests.ts'
import { Translator } from '../../src/exporters/prometheus-remote-write/translate.ts'
import { encodeSnappyBlock } from '../../src/net/snappy.ts'
import { metrics } from '../../test/support/otlp.ts'

const ROUNDS = 9
const BATCHES = 1500
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

let bytes = 0
let packed = 0
/** Compressed while it is written, or afterwards by the general encoder. */
function once(general: boolean): void {
  translator.translate(batch.chunks)
  const { table } = translator
  if (general) packed = encodeSnappyBlock(table.out.bytes.subarray(0, table.out.length)).length
  else bytes = cutRequests(table).reduce((sum, request) => sum + request.block.length, 0)
  if (translator.table.count !== SERIES) throw new Error(`${translator.table.count} series`)
}

function measure(general: boolean): number[] {
  const results: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    const before = process.cpuUsage()
    for (let count = 0; count < BATCHES; count++) once(general)
    const { user, system } = process.cpuUsage(before)
    results.push((user + system) / (BATCHES * POINTS))
  }
  return results.sort((left, right) => left - right)
}

for (let count = 0; count < BATCHES; count++) once(count % 2 === 0)
console.log(`${os.cpus()[0]?.model}, Node ${process.version}, ${ROUNDS} rounds of ${BATCHES} batches`)
for (const general of [false, true]) {
  const results = measure(general)
  const median = results[ROUNDS >> 1] ?? 0
  const name = general ? 'translated, general encoder on top' : 'translated and compressed as written'
  const spread = `${results[0]?.toFixed(3)} to ${results.at(-1)?.toFixed(3)}`
  console.log(`${name}: ${median.toFixed(3)} us of CPU per data point (${spread}), ${SERIES} series a batch`)
}
console.log(
  `request ${translator.table.out.length} bytes; ${bytes} as written, ${packed} by the general encoder`,
)
