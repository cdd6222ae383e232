/**
 * What does the page that Prometheus scrapes cost: to take points in, and to write the text? 16 instances of 100 points each (40
 * sums, 30 gauges, 30 histograms of 12 bounds) with resource attributes as labels.
 *
 *     node bench/micro/prometheus-page.ts
 *
 * The scrape goes over loopback HTTP, as it does in life; its figure is for each line of samples. With gzip too, and as OpenMetrics.
 */
import http from 'node:http'
import { gunzipSync } from 'node:zlib'
import definition from '../../src/exporters/prometheus/index.ts'
import { Batch } from '../../src/otlp/batch.ts'
import { createExporter } from '../../test/support/create-test.ts'
import { compareSides, printMachine } from '../support/micro.ts'
import { makeRequest } from '../support/requests.ts'

const INSTANCES = 16
const POINTS = 100
const OPEN_METRICS = 'application/openmetrics-text; version=1.0.0'

const config = {
  endpoint: '127.0.0.1:0',
  resource_to_telemetry_conversion: { enabled: true },
  enable_open_metrics: true,
}
await using exporter = createExporter(definition, config, { signal: 'metrics' })
await exporter.start()
const port = exporter.host.listeners[0]?.port ?? 0
const agent = new http.Agent({ keepAlive: true })
const requests = Array.from({ length: INSTANCES }, (_, index) =>
  makeRequest({ kind: 'metrics', items: POINTS }, index),
)

let serial = 0
async function takeIn(): Promise<number> {
  for (const request of requests) {
    request.renew(request.bytes, request.places, ++serial)
    await exporter.consume(new Batch('metrics', [Buffer.from(request.bytes)], POINTS))
  }
  return INSTANCES * POINTS
}

function get(headers: Record<string, string>): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const request = http.get({ port, host: '127.0.0.1', path: '/metrics', headers, agent }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () => resolve(Buffer.concat(chunks)))
    })
    request.on('error', reject)
  })
}

const samplesOf = (page: Buffer) =>
  page
    .toString()
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#')).length

await takeIn()
const page = await get({})
const samples = samplesOf(page)
// 70 samples, 30 histograms of 13 buckets, sum and count; target_info once for each instance.
const least = INSTANCES * (70 + 30 * 15)
if (samples < least) throw new Error(`${samples} samples instead of ${least}`)

async function scrape(headers: Record<string, string>, unpack: boolean): Promise<number> {
  const body = await get(headers)
  if (!unpack && body.length < page.length / 2) throw new Error('the page is too short')
  return samples
}
if (samplesOf(gunzipSync(await get({ 'accept-encoding': 'gzip' }))) !== samples)
  throw new Error('the packed page is another')

printMachine()
console.log(`${samples} samples, ${page.length} bytes of text`)
await compareSides('data point', { 'take points in': takeIn })
await compareSides('sample', {
  'write the text': () => scrape({}, false),
  'write OpenMetrics': () => scrape({ accept: OPEN_METRICS }, false),
  'write the text, gzip': () => scrape({ 'accept-encoding': 'gzip' }, true),
})
agent.destroy()
