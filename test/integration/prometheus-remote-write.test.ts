/**
 * Remote write 1.0 and 2.0 to a real Prometheus, beside the Go collector with the same exporter settings and a Prometheus
 * of its own. Guarantee: both hold the same series with the same samples; what differs is listed in docs/prometheus.md.
 */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { connects, freePort, startPeer, startPrometheus } from '../support/peers.ts'
import { startWeir } from '../support/weir.ts'
import { promInput, SERVICES } from './support/prom-input.ts'
import {
  allExemplars,
  allSamples,
  compareSeries,
  instant,
  postAll,
  type Series,
  seriesNames,
} from './support/prom-query.ts'

const V1 = { protobuf_message: 'prometheus.WriteRequest' }
const V2 = { protobuf_message: 'io.prometheus.write.v2.Request' }
const GATE = '--feature-gates=+exporter.prometheusremotewritexporter.enableSendingRW2'
const HTTP = 'receivers/otlp/protocols/http'

const input = promInput()
const bodies = input.batches.map((batch) => Buffer.concat(batch.chunks))
const [firstTime, lastTime] = [input.times[0]!, input.times.at(-1)!]

function config(receiver: string, prometheus: string, exporter: object, service: object) {
  return {
    receivers: { otlp: { protocols: { http: { endpoint: receiver } } } },
    exporters: {
      prometheus_remote_write: { endpoint: `${prometheus}/api/v1/write`, tls: { insecure: true }, ...exporter },
    },
    service: {
      ...service,
      telemetry: { metrics: { level: 'none' } },
      pipelines: { metrics: { receivers: ['otlp'], exporters: ['prometheus_remote_write'] } },
    },
  }
}

/** All that a Prometheus holds after one collector has sent the input to it and has ended. */
interface Held {
  readonly samples: Map<string, Series>
  readonly exemplars: Map<string, Series>
  readonly series: readonly string[]
  /** What an instant query gives between the batches and after the last one, so that stale markers show. */
  readonly moments: readonly Record<string, string>[]
}

async function held(url: string): Promise<Held> {
  const moments = []
  for (const time of input.times)
    moments.push(await instant(url, '{__name__=~".*stale.*"}', time + 1))
  return {
    samples: await allSamples(url),
    exemplars: await allExemplars(url, firstTime - 600, lastTime + 600),
    series: await seriesNames(url, firstTime - 600, lastTime + 600),
    moments,
  }
}

async function throughWeir<T>(exporter: object, ask: (url: string) => Promise<T>): Promise<T> {
  await using prometheus = await startPrometheus()
  await using weir = await startWeir(config('127.0.0.1:0', prometheus.url, exporter, { shards: 2 }))
  await postAll(weir.address(HTTP), 'metrics', bodies)
  expect(await weir.stop()).toBe(0) // It drains its queue first.
  expect(weir.log.filter(({ level }) => level === 'error')).toEqual([])
  return await ask(prometheus.url)
}

async function throughGo<T>(exporter: object, ask: (url: string) => Promise<T>): Promise<T> {
  const port = await freePort()
  await using prometheus = await startPrometheus()
  const address = `127.0.0.1:${port}`
  const go = await startPeer('otelcol', {
    files: { 'config.yaml': JSON.stringify(config(address, prometheus.url, exporter, {})) },
    arguments: (folder) => ['--config', join(folder, 'config.yaml'), GATE],
    ready: () => connects(port),
  })
  try {
    await postAll(address, 'metrics', bodies)
  } finally {
    await go.stop()
  }
  return await ask(prometheus.url)
}

/** The exemplars of `http.server.duration`, by bucket: nanoseconds after the second are the place in the list. */
const BUCKET_EXEMPLARS: Readonly<Record<string, readonly [number, string]>> = {
  '0.005': [1, '0.004'],
  '1': [2, '0.3'],
  '1000000': [3, '77'],
}

function bucketExemplars(le: string): string[] {
  const [place, value] = BUCKET_EXEMPLARS[le]!
  const trace = `"${'ab'.repeat(15)}0${place - 1}"`
  return input.times.map(
    (time, index) =>
      `${time + place / 1000} ${value} {span_id="${'cd'.repeat(7)}0${index}",trace_id=${trace}}`,
  )
}

/** What Go's exemplars would be without the two differences that docs/prometheus.md lists for 2.0. */
function expectedExemplars(go: Held): Map<string, Series> {
  const expected = new Map<string, Series>()
  for (const [key, series] of go.exemplars)
    if (!/exemplar[._](gauge|updown)/.test(key)) expected.set(key, series)
  expect(go.exemplars.size - expected.size, 'exemplars of gauges in Go').toBe(2 * SERVICES.length)
  for (const [key, { labels }] of go.samples) {
    const { __name__: name = '', le = '' } = labels
    if (!/http[._]server[._]duration.*_bucket$/.test(name) || !(le in BUCKET_EXEMPLARS)) continue
    expect(go.exemplars.has(key), `${key} in Go`).toBe(false)
    expected.set(key, { labels, values: bucketExemplars(le) })
  }
  return expected
}

interface Variant {
  readonly settings: object
  /** The namespace as it is in the configuration and in the names; they differ where Go does not escape it. */
  readonly namespace?: readonly [string, string]
}

const MORE = {
  namespace: 'my_app',
  external_labels: { 'replica.id': 'r1', job: 'ext', kind: 'ext' },
  resource_to_telemetry_conversion: { enabled: true },
}
const VARIANTS: Readonly<Record<string, Variant>> = {
  '1.0 as it comes': { settings: V1 },
  '2.0 as it comes': { settings: V2 },
  '1.0 with namespace, external labels, resource labels, without suffixes and scopes': {
    settings: {
      ...V1,
      ...MORE,
      translation_strategy: 'UnderscoreEscapingWithoutSuffixes',
      disable_scope_info: true,
    },
  },
  '2.0 with namespace, external labels, resource labels': { settings: { ...V2, ...MORE } },
  '2.0 without translation': {
    settings: {
      ...V2,
      translation_strategy: 'NoTranslation',
      resource_to_telemetry_conversion: { enabled: true, exclude_service_attributes: true },
    },
  },
  '2.0 with UTF-8 names and suffixes': {
    settings: { ...V2, translation_strategy: 'NoUTF8EscapingWithSuffixes', namespace: 'x' },
  },
  '1.0 with metadata, without target_info': {
    settings: { ...V1, add_metric_suffixes: false, send_metadata: true, target_info: { enabled: false } },
  },
}

for (const [title, { settings }] of Object.entries(VARIANTS)) {
  test(`remote write ${title}: the same series and samples as from Go`, async () => {
    const go = await throughGo(settings, held)
    const weir = await throughWeir(settings, held)
    expect(compareSeries(go.samples, weir.samples)).toEqual([])
    expect(weir.series).toEqual(go.series)
    expect(weir.moments).toEqual(go.moments)
    const second = 'protobuf_message' in settings && settings.protobuf_message === V2.protobuf_message
    const expected = second ? expectedExemplars(go) : go.exemplars
    expect(compareSeries(expected, weir.exemplars)).toEqual([])
    expect(weir.samples.size).toBeGreaterThan(70 * SERVICES.length)
    expect(weir.exemplars.size).toBe(7 * SERVICES.length)
    console.log(`${title}: ${weir.samples.size} series, ${weir.exemplars.size} with exemplars`)
  })
}
