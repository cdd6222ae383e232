/**
 * What does the check of a whole request at the door cost, per item?
 *
 *     node bench/micro/receive.ts
 *
 * `full` is receiveRequest; `framing` counts the items and looks no deeper; `protobufjs` decodes the same
 * bytes. CPU time of the process, best read on a quiet machine; rounds alternate between the variants.
 */
import { execFileSync } from 'node:child_process'
import os from 'node:os'
import { Batch, type Signal } from '../../src/otlp/batch.ts'
import { countItems } from '../../src/otlp/count.ts'
import { receiveRequest } from '../../src/otlp/receive.ts'
import { type Attributes, decode, logs, metrics, traces } from '../../test/support/otlp.ts'

const ROUNDS = 7
const SIGNALS: readonly Signal[] = ['traces', 'metrics', 'logs']

const RESOURCE: Attributes = {
  'service.name': 'checkout',
  'service.instance.id': 'checkout-7f9c-1',
  'deployment.environment.name': 'production',
  'host.name': 'node-17',
}

function attributes(seed: number): Attributes {
  return {
    'http.request.method': 'GET',
    'http.route': '/api/items/{id}',
    'http.response.status_code': 200 + (seed % 3) * 100,
    'url.path': `/api/items/${seed}`,
    'server.address': 'shop.local',
    'server.port': 8443,
    'client.address': `10.0.0.${seed % 250}`,
    'user.premium': seed % 2 === 0,
    'cache.ratio': seed / 7 + 0.1,
    'thread.id': seed,
  }
}

function numbers(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index)
}

function points(count: number, value: (index: number) => Readonly<Record<string, unknown>>) {
  return numbers(count).map((index) => ({
    timeUnixNano: 1_700_000_000_000_000_000n,
    attributes: { 'http.request.method': 'GET', 'http.route': `/r/${index}`, code: 200 },
    ...value(index),
  }))
}

const counter = points(40, (index) => ({ asInt: BigInt(index) }))
const gauge = points(30, (index) => ({ asDouble: index / 3 }))
const histogram = points(30, (index) => ({
  count: BigInt(index),
  sum: index,
  bucketCounts: numbers(13),
  explicitBounds: numbers(12).map((bound) => bound * 1.5),
}))

const BATCHES: Record<Signal, Batch> = {
  traces: traces({
    resource: RESOURCE,
    scope: { name: 'http', version: '1.2.3' },
    spans: numbers(100).map((index) => ({
      name: 'GET /api/items/{id}',
      parentSpanId: '0102030405060708',
      kind: 2,
      attributes: attributes(index),
      status: { code: 1 },
    })),
  }),
  metrics: metrics({
    resource: RESOURCE,
    metrics: [
      { name: 'requests', sum: { dataPoints: counter, aggregationTemporality: 2, isMonotonic: true } },
      { name: 'load', gauge: { dataPoints: gauge } },
      { name: 'duration', histogram: { dataPoints: histogram, aggregationTemporality: 2 } },
    ],
  }),
  logs: logs({
    resource: RESOURCE,
    logs: numbers(100).map((index) => ({
      body: `request ${index} served in ${index % 17} ms`,
      severityNumber: 9,
      severityText: 'INFO',
      attributes: attributes(index),
    })),
  }),
}

/** CPU microseconds per item of `run`, called `times` times; `run` returns the items it saw. */
function cost(times: number, run: () => number): number {
  const before = process.cpuUsage()
  let seen = 0
  for (let time = 0; time < times; time++) seen += run()
  const used = process.cpuUsage(before)
  if (seen !== times * 100) throw new Error(`saw ${seen} items, not ${times * 100}`)
  return (used.user + used.system) / seen
}

function summary(samples: number[]): string {
  const sorted = [...samples].sort((a, b) => a - b)
  const median = sorted[sorted.length >> 1] ?? 0
  return `${median.toFixed(4)} (${sorted[0]?.toFixed(4)} to ${sorted.at(-1)?.toFixed(4)})`
}

const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim()
console.log(`${os.cpus()[0]?.model}, ${os.cpus().length} cores, Node ${process.version}, commit ${commit}`)
console.log(`CPU microseconds per item: median of ${ROUNDS} rounds (least to most), 100 items a request`)
for (const signal of SIGNALS) {
  const bytes = Buffer.concat(BATCHES[signal].chunks)
  const variants: Record<string, { times: number; run: () => number }> = {
    full: { times: 10_000, run: () => receiveRequest(signal, bytes).itemCount },
    framing: { times: 10_000, run: () => countItems(signal, bytes) },
    protobufjs: {
      times: 200,
      run: () => (decode(signal, bytes) === null ? 0 : new Batch(signal, [bytes]).itemCount),
    },
  }
  const samples = new Map<string, number[]>()
  for (let round = -1; round < ROUNDS; round++) {
    for (const [name, { times, run }] of Object.entries(variants)) {
      const sample = cost(round < 0 ? Math.ceil(times / 4) : times, run)
      if (round >= 0) samples.set(name, [...(samples.get(name) ?? []), sample])
    }
  }
  for (const [name, values] of samples)
    console.log(
      `${signal.padEnd(8)} ${name.padEnd(11)} ${summary(values)} us/item, ${Math.round(bytes.length / 100)} B an item`,
    )
}
