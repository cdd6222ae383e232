/**
 * Scenario: a million trace ids and points of series, a hundred thousand values of a request header, tens of thousands of names of
 * metrics and labels, all made up by somebody outside.
 * Guarantee: what is kept of them has a limit, what is over it is refused or pushed out and counted, and the heap does not grow with
 * what came.
 */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { DownstreamError } from '../../src/errors.ts'
import pullExporter from '../../src/exporters/prometheus/index.ts'
import {
  familyOptions,
  config as pushConfig,
  RW1,
} from '../../src/exporters/prometheus-remote-write/config.ts'
import { cutRequests } from '../../src/exporters/prometheus-remote-write/requests.ts'
import { Translator } from '../../src/exporters/prometheus-remote-write/translate.ts'
import { Batch } from '../../src/otlp/batch.ts'
import batchProcessor from '../../src/processors/batch/index.ts'
import tailSampling from '../../src/processors/tail-sampling/index.ts'
import { createExporter, createProcessor } from '../support/create-test.ts'
import { metrics, traces } from '../support/otlp.ts'

const MANY = 1_000_000
const PER_REQUEST = 1000
const MB = 2 ** 20

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void // What the flag above exposes.

/** How much more is on the heap and beside it afterwards, as far as it can be collected. */
async function growth(run: () => Promise<void>): Promise<number> {
  const used = () => {
    collect()
    const { heapUsed, external } = process.memoryUsage()
    return heapUsed + external
  }
  const before = used()
  await run()
  return used() - before
}

test('values of metadata: as many batches as the limit says, the others are refused', async () => {
  const limit = 100
  const config = {
    metadata_keys: ['tenant'],
    metadata_cardinality_limit: limit,
    timeout: '1h',
    send_batch_size: 1,
  }
  await using made = createProcessor(batchProcessor, config)
  await made.start()
  const chunk = traces({ spans: ['a'] }).bytes()
  let refused = 0
  const grown = await growth(async () => {
    for (let index = 0; index < MANY / 10; index++) {
      const context = { metadata: new Map([['tenant', [`t${index}`]]]) }
      await made.consume(new Batch('traces', [chunk], 1, context)).catch((error: unknown) => {
        expect(error).toBeInstanceOf(DownstreamError)
        refused++
      })
    }
  })
  expect(made.meter.read('processor_batch_metadata_cardinality')).toBe(limit)
  expect(refused).toBe(MANY / 10 - limit)
  expect(grown).toBeLessThan(32 * MB)
}, 120_000)

/** One request of many spans, each of a trace of its own; the ids are changed in place for the next one. */
class ManyTraces {
  readonly #bytes = Buffer.from(
    traces({
      spans: Array.from({ length: PER_REQUEST }, (_, index) => ({
        name: 's',
        traceId: `f00dfeed${index.toString(16).padStart(24, '0')}`,
      })),
    }).bytes(),
  )
  #places: number[] = []

  constructor() {
    const marker = Buffer.from('f00dfeed', 'hex')
    for (let at = this.#bytes.indexOf(marker); at >= 0; at = this.#bytes.indexOf(marker, at + 16))
      this.#places.push(at)
    expect(this.#places).toHaveLength(PER_REQUEST)
  }

  request(number: number): Batch {
    const bytes = Buffer.from(this.#bytes)
    for (const at of this.#places) bytes.writeUInt32BE(number, at + 4)
    return new Batch('traces', [bytes], PER_REQUEST)
  }
}

test('trace ids: num_traces are held, the oldest give way and are counted', async () => {
  const limit = 1000
  const policies = [{ name: 'all', type: 'always_sample' }]
  const decision_cache = { sampled_cache_size: 1000, non_sampled_cache_size: 1000 }
  const config = { decision_wait: '10m', num_traces: limit, policies, decision_cache }
  await using made = createProcessor(tailSampling, config)
  await made.start()
  const many = new ManyTraces()
  for (let number = 0; number < 50; number++) await made.consume(many.request(number))
  const grown = await growth(async () => {
    for (let number = 50; number < MANY / PER_REQUEST; number++) await made.consume(many.request(number))
  })
  await made.clock.advance(1000) // Counts are told once a second.
  const read = (name: string, labels = {}) => made.meter.read(`processor_tail_sampling_${name}`, labels)
  expect(read('new_trace_id_received')).toBe(MANY)
  expect(read('sampling_traces_on_memory')).toBe(limit)
  expect(read('sampling_trace_dropped_too_early')).toBe(MANY - limit)
  expect(read('dropped_spans', { reason: 'num_traces' })).toBe(MANY - limit)
  expect(grown).toBeLessThan(24 * MB) // Eight spare slabs and the tables among it.
}, 120_000)

/** Points with labels that are all different. */
function points(number: number): Batch {
  const dataPoints = Array.from({ length: PER_REQUEST }, (_, index) => ({
    asInt: 1,
    timeUnixNano: 1_700_000_000_000_000_000n,
    attributes: { user: `u${number}-${index}` },
  }))
  return metrics({ resource: { 'service.name': 's' }, metrics: [{ name: 'g', gauge: { dataPoints } }] })
}

test('series: max_series are held to be scraped, points of others are dropped and counted', async () => {
  const limit = 1000
  await using made = createExporter(
    pullExporter,
    { endpoint: 'localhost:0', max_series: limit },
    { signal: 'metrics' },
  )
  const requests = Array.from({ length: 20 }, (_, number) => points(number))
  const rounds = MANY / PER_REQUEST / 20
  for (const request of requests) await made.consume(request)
  const grown = await growth(async () => {
    for (let round = 1; round < rounds; round++) for (const request of requests) await made.consume(request)
  })
  expect(made.meter.read('exporter_prometheus_series')).toBe(limit)
  expect(made.meter.read('exporter_prometheus_dropped_data_points', { reason: 'cardinality' })).toBe(
    rounds * 19_000,
  )
  expect(grown).toBeLessThan(16 * MB)
}, 120_000)

test('series: what remote write remembers of names and labels has an end', async () => {
  const translator = new Translator(
    familyOptions(pushConfig.parse({ endpoint: 'http://push' }), RW1),
    3e6,
    () => {},
  )
  const translate = (from: number, to: number) => {
    for (let number = from; number < to; number++) {
      const list = Array.from({ length: 100 }, (_, index) => ({
        name: `metric.${number}.${index}`,
        gauge: {
          dataPoints: [
            { asInt: 1, timeUnixNano: 1n, attributes: { [`label.${number}.${index}`]: `v${index}` } },
          ],
        },
      }))
      translator.translate(metrics({ resource: { 'service.name': `s${number}` }, metrics: list }).chunks)
      cutRequests(translator.table)
    }
  }
  translate(0, 150)
  const grown = await growth(async () => translate(150, 400))
  expect(grown).toBeLessThan(32 * MB)
}, 120_000)
