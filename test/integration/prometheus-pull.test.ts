/**
 * The page of the `prometheus` exporter, beside the page of the Go collector with the same settings, and a real Prometheus
 * that scrapes it. Guarantee: the same lines but for the differences that docs/prometheus.md lists; with two shards nothing
 * is missing and nothing is there twice.
 */
import { spawnSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { eventually, findPeer, freePort, startGoCollector, startPrometheus } from '../support/peers.ts'
import { startWeir } from '../support/weir.ts'
import { promInput, SERVICES } from './support/prom-input.ts'
import { allExemplars, instant, metadata, postAll } from './support/prom-query.ts'

const HTTP = 'receivers/otlp/protocols/http'
const input = promInput()
const bodies = input.batches.map((batch) => Buffer.concat(batch.chunks))

function config(receiver: string, page: string, exporter: object, service: object) {
  return {
    receivers: { otlp: { protocols: { http: { endpoint: receiver } } } },
    exporters: { prometheus: { endpoint: page, ...exporter } },
    service: {
      ...service,
      telemetry: { metrics: { level: 'none' } },
      pipelines: { metrics: { receivers: ['otlp'], exporters: ['prometheus'] } },
    },
  }
}

async function fetchPage(address: string, accept: string): Promise<{ type: string; lines: string[] }> {
  const response = await fetch(`http://${address}/metrics`, accept === '' ? {} : { headers: { accept } })
  expect(response.status).toBe(200)
  const lines = (await response.text()).split('\n')
  expect(lines.pop()).toBe('')
  return { type: response.headers.get('content-type') ?? '', lines }
}

async function goPage(exporter: object, accept: string) {
  const [port, page] = [await freePort(), await freePort()]
  await using _ = await startGoCollector(config(`127.0.0.1:${port}`, `127.0.0.1:${page}`, exporter, {}), port)
  await postAll(`127.0.0.1:${port}`, 'metrics', bodies)
  return await fetchPage(`127.0.0.1:${page}`, accept)
}

async function weirPages(exporter: object, accept: string) {
  await using weir = await startWeir(config('127.0.0.1:0', '127.0.0.1:0', exporter, { shards: 2 }))
  await postAll(weir.address(HTTP), 'metrics', bodies)
  const pages = []
  // Over several connections, so that both shards answer.
  for (let count = 0; count < 6; count++)
    pages.push(await fetchPage(weir.address('exporters/prometheus'), accept))
  return pages
}

/** The lines of a page without what docs/prometheus.md lists, which is checked here and counted. */
interface Differences {
  readonly lines: string[]
  readonly created: number
  readonly emptyLabels: number
  readonly keptNames: number
  readonly keptOwned: number
  readonly unknownType: number
}

const KEPT_NAMES = /(^|["_ ])label[._]names\b/
const KEPT_OWNED = /(^|["_ ])label[._]owned\b/
const CREATED = /^\{?"?[^"{ ]*_created["{]/
const UNKNOWN_TYPE = /^# TYPE .*typed[._]by[._]metadata"? (gauge|unknown|untyped)$/

function withoutDifferences(page: readonly string[]): Differences {
  const lines: string[] = []
  const seen = { created: 0, emptyLabels: 0, keptNames: 0, keptOwned: 0, unknownType: 0 }
  for (const line of page) {
    if (CREATED.test(line)) seen.created++
    else if (KEPT_NAMES.test(line)) seen.keptNames++
    else if (KEPT_OWNED.test(line)) seen.keptOwned++
    else if (UNKNOWN_TYPE.test(line)) {
      if (!line.endsWith(' gauge')) seen.unknownType++
    } else {
      if (/[{,]empty="",/.test(line)) seen.emptyLabels++
      lines.push(exemplarMs(line.replace(/empty="",/, '')))
    }
  }
  return { lines: lines.sort(), ...seen }
}

/** Go writes the two labels of an exemplar in either order, and its time by way of a double of nanoseconds. */
function exemplarMs(line: string): string {
  return line.replace(
    / # \{(.*)\} ([^ ]+) ([0-9.e+]+)$/,
    (_, labels: string, value: string, time: string) => {
      const sorted = labels.split(',').sort().join(',')
      return ` # {${sorted}} ${value} ${Math.round(Number(time) * 1000)}`
    },
  )
}

function notIn(lines: readonly string[], others: readonly string[]): string[] {
  const known = new Set(others)
  return lines.filter((line) => !known.has(line))
}

const OPEN_METRICS = 'application/openmetrics-text;version=1.0.0'
const UTF8 = 'text/plain;version=1.0.0;escaping=allow-utf-8'
const UTF8_OPEN = `${OPEN_METRICS};escaping=allow-utf-8`
/** What Prometheus 3 sends. */
const LIKE_PROMETHEUS = `${UTF8_OPEN};q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,${UTF8};q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2`

interface Variant {
  readonly settings: object
  readonly accept: string
  /** Where Go needs other words for the same thing. */
  readonly goSettings?: object
}

const VARIANTS: Readonly<Record<string, Variant>> = {
  'text as it comes': { settings: {}, accept: '' },
  'OpenMetrics with times': {
    settings: { enable_open_metrics: true, send_timestamps: true },
    accept: OPEN_METRICS,
  },
  'OpenMetrics with namespace, constant labels and resource labels, without scopes': {
    settings: {
      enable_open_metrics: true,
      namespace: 'my_app',
      const_labels: { zone: 'z1' },
      resource_to_telemetry_conversion: { enabled: true },
      without_scope_info: true,
    },
    accept: LIKE_PROMETHEUS,
  },
  'text with times, without suffixes': {
    settings: { add_metric_suffixes: false, send_timestamps: true, namespace: 'my-app' },
    goSettings: {
      translation_strategy: 'UnderscoreEscapingWithoutSuffixes',
      send_timestamps: true,
      namespace: 'my-app',
    },
    accept: 'text/plain;version=0.0.4',
  },
  'text in UTF-8': { settings: { translation_strategy: 'NoTranslation' }, accept: UTF8 },
  'text escaped for a scraper without UTF-8': {
    settings: { translation_strategy: 'NoTranslation' },
    accept: '',
  },
  'OpenMetrics in UTF-8 with suffixes': {
    settings: { translation_strategy: 'NoUTF8EscapingWithSuffixes', enable_open_metrics: true },
    accept: UTF8_OPEN,
  },
}

for (const [title, { settings, goSettings, accept }] of Object.entries(VARIANTS)) {
  test(`page, ${title}: the lines of Go's page`, async () => {
    const go = await goPage(goSettings ?? settings, accept)
    const pages = await weirPages(settings, accept)
    const [weir] = pages
    expect(go.type.replace('; escaping=underscores', '')).toBe(weir!.type)
    const want = withoutDifferences(go.lines)
    const got = withoutDifferences(weir!.lines)
    expect(notIn(want.lines, got.lines), 'missing').toEqual([])
    expect(notIn(got.lines, want.lines), 'surplus').toEqual([])
    expect(got.lines).toEqual(want.lines)
    const scopes = !('without_scope_info' in settings)
    const services = SERVICES.length
    const { lines: _, ...wantCounts } = want
    expect(wantCounts).toEqual({
      created: 0,
      emptyLabels: services,
      keptNames: 0,
      keptOwned: scopes ? 0 : 3, // That of the one service that has neither job nor instance.
      unknownType: 0,
    })
    const { lines: __, ...gotCounts } = got
    expect(gotCounts).toEqual({
      created: 'enable_open_metrics' in settings ? CREATED_FAMILIES * services : 0,
      emptyLabels: 0,
      keptNames: services + 2,
      keptOwned: services + 2,
      unknownType: 1,
    })
    expectTidy(weir!.lines)
    for (const page of pages) expect([...page.lines].sort()).toEqual([...weir!.lines].sort())
    console.log(`${title}: ${weir!.lines.length} lines, ${go.lines.length} in Go`)
  })
}

/** Counters, histograms and summaries of the input that the page shows: a `_created` line of each series. */
const CREATED_FAMILIES = 14

/** HELP and TYPE stand once, in front of the samples; no series comes twice. */
function expectTidy(lines: readonly string[]): void {
  const samples = lines.filter((line) => !line.startsWith('#'))
  const keys = samples.map((line) => line.replace(/ # .*/, '').replace(/\} .*|^([^ {]+) .*/, '}$1'))
  expect(new Set(keys).size).toBe(keys.length)
  const headers = lines
    .filter((line) => /^# (HELP|TYPE)/.test(line))
    .map((line) => line.split(' ', 3).join(' '))
  expect(new Set(headers).size).toBe(headers.length)
}

test('promtool has nothing to say that it does not say of the page of Go', async () => {
  const tool = findPeer('promtool')
  if (tool === undefined) throw new Error('promtool is not installed')
  const check = (lines: readonly string[]) => {
    const run = spawnSync(tool, ['check', 'metrics'], { input: `${lines.join('\n')}\n` })
    return new Set(`${run.stdout}${run.stderr}`.split('\n').filter((line) => line !== ''))
  }
  const go = check((await goPage({}, '')).lines)
  const weir = check((await weirPages({}, ''))[0]!.lines)
  const more = [...weir].filter((line) => !go.has(line))
  expect(more).toEqual([
    'label_names no help text', // Families that Go leaves out.
    'label_owned no help text',
    'label_owned non-histogram metrics should not have "le" label',
    'label_owned non-summary metrics should not have "quantile" label',
  ])
})

test('Prometheus scrapes: every service once, with exemplars and metadata', async () => {
  const page = await freePort()
  const settings = { enable_open_metrics: true, resource_to_telemetry_conversion: { enabled: false } }
  await using weir = await startWeir(config('127.0.0.1:0', `127.0.0.1:${page}`, settings, { shards: 2 }))
  await postAll(weir.address(HTTP), 'metrics', bodies)
  await using prometheus = await startPrometheus([
    {
      job_name: 'weir',
      honor_labels: true,
      scrape_interval: '1s',
      static_configs: [{ targets: [`127.0.0.1:${page}`] }],
    },
  ])
  const ask = async (query: string) => Object.values(await instant(prometheus.url, query, Date.now() / 1000))
  await eventually(
    () => ask('up{job="weir"}'),
    (values) => values[0] === '1',
  )
  expect(await ask('count(http_server_requests_total)')).toEqual([String(SERVICES.length)])
  expect(await ask('http_server_requests_total{job="bare",instance="bare-1"}')).toEqual(['403'])
  expect(await ask('sum(http_server_duration_seconds_count)')).toEqual([
    String(SERVICES.reduce((sum, { factor }) => sum + 6 * 4 * factor, 0)),
  ])
  expect(await ask('gc_pause_seconds{job="bare",quantile="0.5"}')).toEqual(['0.04'])
  expect(await ask('goes_stale{job="bare"}')).toEqual(['1'])
  expect(await ask('count(target_info{job="fleet"})')).toEqual(['6'])
  expect(await ask('queue_size{job="bare"}')).toEqual(['1'])
  const families = await metadata(prometheus.url)
  expect(families['http_server_requests']?.[0] ?? families['http_server_requests_total']?.[0]).toMatchObject({
    type: 'counter',
    help: 'Requests.',
  })
  expect(families['http_server_duration_seconds']).toEqual([
    { type: 'histogram', help: 'How long.', unit: '' },
  ])
  expect(families['gc_pause_seconds']).toEqual([{ type: 'summary', help: 'Pauses.', unit: '' }])
  expect(families['process_open_handles']).toEqual([{ type: 'gauge', help: 'Open handles.', unit: '' }])
  const now = Date.now() / 1000
  const exemplars = await allExemplars(prometheus.url, now - 900, now + 60)
  const counters = [...exemplars.keys()].filter((key) => key.startsWith('http_server_requests_total{'))
  expect(counters).toHaveLength(SERVICES.length)
  const buckets = [...exemplars.keys()].filter((key) =>
    key.startsWith('http_server_duration_seconds_bucket{'),
  )
  expect(buckets).toHaveLength(3 * SERVICES.length)
})
