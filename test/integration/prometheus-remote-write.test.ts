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
      prometheus_remote_write: {
        endpoint: `${prometheus}/api/v1/write`,
        tls: { insecure: true },
        ...exporter,
      },
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
  for (const time of input.times) moments.push(await instant(url, '{__name__=~".*stale.*"}', time + 1))
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
  const bad = weir.log.filter(
    ({ level, msg }) => level === 'error' || msg.includes('sending 1.0 from now on'),
  )
  expect(bad).toEqual([])
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

const MORE = {
  namespace: 'my_app',
  external_labels: { 'replica.id': 'r1', job: 'ext', kind: 'ext' },
  resource_to_telemetry_conversion: { enabled: true },
}
const VARIANTS: Readonly<Record<string, object>> = {
  '1.0 as it comes': V1,
  '2.0 as it comes': V2,
  '1.0 with namespace, external labels, resource labels, without suffixes and scopes': {
    ...V1,
    ...MORE,
    translation_strategy: 'UnderscoreEscapingWithoutSuffixes',
    disable_scope_info: true,
  },
  '2.0 with namespace, external labels, resource labels': { ...V2, ...MORE },
  '2.0 without translation': {
    ...V2,
    translation_strategy: 'NoTranslation',
    resource_to_telemetry_conversion: { enabled: true, exclude_service_attributes: true },
  },
  '2.0 with UTF-8 names and suffixes': {
    ...V2,
    translation_strategy: 'NoUTF8EscapingWithSuffixes',
    namespace: 'x',
  },
  '1.0 with metadata, without target_info': {
    ...V1,
    add_metric_suffixes: false,
    send_metadata: true,
    target_info: { enabled: false },
  },
}

for (const [title, settings] of Object.entries(VARIANTS)) {
  test(`remote write ${title}: the same series and samples as from Go`, async () => {
    const go = await throughGo(settings, held)
    const weir = await throughWeir(settings, held)
    expect(compareSeries(go.samples, weir.samples)).toEqual([])
    expect(weir.series).toEqual(go.series)
    expect(weir.moments).toEqual(go.moments)
    const second = 'protobuf_message' in settings && settings.protobuf_message === V2.protobuf_message
    const expected = second ? expectedExemplars(go) : go.exemplars
    expect(compareSeries(expected, weir.exemplars)).toEqual([])
    expect(weir.samples.size).toBeGreaterThan(60 * SERVICES.length)
    expect(weir.exemplars.size).toBe(6 * SERVICES.length)
    console.log(`${title}: ${weir.samples.size} series, ${weir.exemplars.size} with exemplars`)
  })
}

test('a namespace that is not a legal name is escaped, where Go sends it as it is', async () => {
  const settings = { ...V1, namespace: 'my-app' }
  const go = await throughGo(settings, allSamples)
  const weir = await throughWeir(settings, allSamples)
  const legal = new Map([...go].map(([key, series]) => [key.replace(/^my-app_/, 'my_app_'), series]))
  expect([...go.keys()].filter((key) => !key.startsWith('my-app_'))).toEqual([])
  expect(compareSeries(legal, weir)).toEqual([])
})

/** Written by hand: the service bare-1 (factor 4) after the last batch (index 3). */
const BARE: readonly (readonly [string, string])[] = [
  ['process_open_handles{code="200",http_method="GET",ok="true",path="/a\\"b\\\\c",ratio="0.25"}', '-12'],
  ['system_cpu_utilization_ratio{cpu="c0"}', '3.5'],
  ['room_temperature_celsius{}', '21.5'],
  ['_9lives{}', '9'],
  [
    'http_server_requests_total{code="200",http_method="GET",ok="true",path="/a\\"b\\\\c",ratio="0.25"}',
    '403',
  ],
  ['disk_io_bytes_per_second{}', '4000000000'],
  ['sent_bytes_total{}', '4938'],
  ['big_count_milliseconds_total{}', '9007199254740992'],
  ['queue_size{}', '1'],
  ['goes_stale{kind="stays"}', '1'],
  ['http_server_duration_seconds_count{route="/cart"}', '96'],
  ['http_server_duration_seconds_sum{route="/cart"}', '200'],
  ['http_server_duration_seconds_bucket{le="0.005",route="/cart"}', '16'],
  ['http_server_duration_seconds_bucket{le="0.25",route="/cart"}', '32'],
  ['http_server_duration_seconds_bucket{le="1",route="/cart"}', '32'],
  ['http_server_duration_seconds_bucket{le="1000000",route="/cart"}', '80'],
  ['http_server_duration_seconds_bucket{le="+Inf",route="/cart"}', '96'],
  ['no_bounds_bucket{le="+Inf"}', '16'],
  ['gc_pause_seconds{gen="old",quantile="0"}', '0.001'],
  ['gc_pause_seconds{gen="old",quantile="0.5"}', '0.04'],
  ['gc_pause_seconds{gen="old",quantile="1"}', '2'],
  ['gc_pause_seconds_count{gen="old"}', '43'],
  ['gc_pause_seconds_sum{gen="old"}', '3'],
  ['value_infinite{sign="plus"}', '+Inf'],
  ['value_nan{}', 'NaN'],
]
const ABSENT = [
  'dropped_delta_total',
  'delta_histogram_count',
  'delta_exponential',
  'coarse_duration_seconds',
]
const ENDED = ['goes_stale{kind="ends"}', 'stale_histogram_count', 'stale_exponential', 'stale_summary_count']

for (const settings of [V1, V2]) {
  test(`query API after ${settings.protobuf_message}: what was sent, under its Prometheus name`, async () => {
    await throughWeir(settings, async (url) => {
      const own = async (query: string, time = lastTime + 1) => Object.values(await instant(url, query, time))
      for (const [series, value] of BARE) {
        const query = series.replace('{', '{job="bare",instance="bare-1",').replace(',}', '}')
        expect(await own(query), query).toEqual([value])
      }
      for (const name of ABSENT) expect(await own(`${name}{job="bare"}`), name).toEqual([])
      for (const series of ENDED) {
        expect(await own(`${series}`), series).toEqual([])
        expect(await own(series, input.times.at(-2)! + 1), series).toHaveLength(SERVICES.length)
      }
      const native = await own('histogram_count(rpc_duration_seconds{job="bare"})')
      expect(native).toEqual(['192'])
      expect(await own('histogram_sum(rpc_duration_seconds{job="bare"})')).toEqual(['552'])
      expect(Number((await own('histogram_quantile(0.5, rpc_duration_seconds{job="bare"})'))[0])).toBeCloseTo(
        0.96,
        1,
      )
      expect(await instant(url, 'target_info{job="retail/shop",instance="shop-1"}', lastTime + 1)).toEqual({
        'target_info{cloud_zones="[\\"a\\",\\"b\\"]",host_name="alpha",instance="shop-1",job="retail/shop",process_pid="4711"}':
          '1',
      })
      const info = await instant(url, 'count by (job) (target_info)', lastTime + 1)
      expect(info).toEqual({
        '{job="retail/shop"}': '2',
        '{job="pay"}': '1',
        '{job="fleet"}': '6',
        '{}': '1', // Known by its instance alone.
      })
    })
  })
}
