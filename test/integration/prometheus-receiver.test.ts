/**
 * The `prometheus` receiver beside that of the Go collector: both scrape the same targets with the same scrape_configs and write
 * what they get as OTLP JSON. Guarantee: the same resources, metrics, points, values, exemplars, stale markers; what differs
 * is listed in docs/prometheus.md. Each target is scraped by one shard only.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { eventually, freePort, startGoCollector, startPrometheus } from '../support/peers.ts'
import { startWeir } from '../support/weir.ts'
import { OPEN_METRICS_PAGE, TEXT_PAGE } from './support/prom-pages.ts'
import { type Page, readScrapes, type Scrape, scrapeLines, startTarget } from './support/prom-target.ts'

const OPEN_METRICS = 'application/openmetrics-text;version=1.0.0'

function config(path: string, jobs: readonly object[], health: string, service: object) {
  return {
    receivers: {
      prometheus: {
        config: { global: { scrape_interval: '1s', scrape_timeout: '1s' }, scrape_configs: jobs },
      },
    },
    exporters: { file: { path, flush_interval: '100ms' } },
    extensions: { health_check: { endpoint: health } },
    service: {
      ...service,
      extensions: ['health_check'],
      telemetry: { metrics: { level: 'none' } },
      pipelines: { metrics: { receivers: ['prometheus'], exporters: ['file'] } },
    },
  }
}

interface Both {
  readonly go: () => Scrape[]
  readonly weir: () => Scrape[]
}

/** Runs both while `act` does. */
async function scrapeWithBoth(jobs: readonly object[], act: (both: Both) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'weir-scrape-'))
  try {
    const health = await freePort()
    const [goPath, weirPath] = [join(folder, 'go.json'), join(folder, 'weir.json')]
    await using _ = await startGoCollector(config(goPath, jobs, `127.0.0.1:${health}`, {}), health)
    await using weir = await startWeir(config(weirPath, jobs, '127.0.0.1:0', { shards: 2 }))
    await act({ go: () => readScrapes(goPath), weir: () => readScrapes(weirPath) })
    expect(weir.log.filter(({ level }) => level === 'error')).toEqual([])
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const isOf = (job: string) => (scrape: Scrape) =>
  scrape.resource.includes(`service.name={"stringValue":"${job}"}`)

const timesOf = (scrapes: readonly Scrape[], job: string) =>
  [...new Set(scrapes.filter(isOf(job)).map(({ time }) => time))].sort()

/** What comes in every scrape but the first, once each. */
function settled(scrapes: readonly Scrape[], job: string): string[] {
  const [first] = timesOf(scrapes, job)
  const later = scrapes.filter((scrape) => isOf(job)(scrape) && scrape.time !== first)
  return linesOf(later)
}

async function compareJobs(jobs: readonly { readonly job_name: string }[], listed: RegExp) {
  let points = 0
  await scrapeWithBoth(jobs, async ({ go, weir }) => {
    const least = (scrapes: readonly Scrape[]) =>
      Math.min(...jobs.map(({ job_name }) => timesOf(scrapes, job_name).length))
    await eventually(
      async () => [least(go()), least(weir())],
      (counts) => counts.every((count) => count >= 3),
    )
    const [fromGo, fromWeir] = [go(), weir()]
    for (const { job_name: job } of jobs) {
      const want = settled(fromGo, job)
      const got = settled(fromWeir, job)
      expect(
        got.filter((line) => !want.includes(line)),
        `${job}: surplus`,
      ).toEqual([])
      expect(
        want.filter((line) => !got.includes(line) && !listed.test(line)),
        `${job}: missing`,
      ).toEqual([])
      expect(
        got.filter((line) => listed.test(line)),
        `${job}: listed, yet there`,
      ).toEqual([])
      points += got.length
    }
    // One shard scrapes: the intervals are whole ones.
    for (const { job_name: job } of jobs) {
      const times = timesOf(fromWeir, job).map((time) => Number(BigInt(time) / 1_000_000n))
      const gaps = times.slice(1).map((time, index) => time - times[index]!)
      expect(Math.min(...gaps), job).toBeGreaterThan(500)
    }
  })
  return points
}

const NOTHING = /$^/
const GAUGE_HISTOGRAM = / # sizes(_gcount|_gsum)? \| gauge /

const job = (name: string, address: string, more: object = {}) => ({
  job_name: name,
  static_configs: [{ targets: [address], labels: { env: 'test' } }],
  ...more,
})

test('text, OpenMetrics and the page of Prometheus itself: the same metrics as Go', async () => {
  await using prometheus = await startPrometheus()
  const fetchOwn = async (accept: string): Promise<Page> => {
    const response = await fetch(`${prometheus.url}/metrics`, { headers: { accept } })
    return { type: response.headers.get('content-type') ?? '', body: await response.text() }
  }
  await using text = await startTarget(TEXT_PAGE)
  await using open = await startTarget(OPEN_METRICS_PAGE)
  await using own = await startTarget(await fetchOwn(OPEN_METRICS))
  await using ownText = await startTarget(await fetchOwn('text/plain'))
  const jobs = [
    job('text', text.address),
    job('open', open.address),
    job('own', own.address),
    job('own-text', ownText.address),
  ]
  const points = await compareJobs(jobs, GAUGE_HISTOGRAM)
  expect(points).toBeGreaterThan(600)
  console.log(`pages: ${points} points`)
  expect(text.accepts.size).toBe(1) // Both ask for the same formats.
})

test('relabelling, honoured labels and times, limits and parameters: the same metrics as Go', async () => {
  await using target = await startTarget(TEXT_PAGE)
  const { address } = target
  const jobs = [
    job('honoured', address, { honor_labels: true, params: { module: ['a', 'b'] } }),
    job('untimed', address, { honor_timestamps: false }),
    job('limited', address, { sample_limit: 10 }),
    job('long-label', address, { label_value_length_limit: 3 }),
    job('relabelled', address, {
      relabel_configs: [
        { source_labels: ['__address__'], regex: '(.*):(.*)', target_label: 'host', replacement: '$1' },
        { source_labels: ['env'], action: 'uppercase', target_label: 'ENV' },
        { target_label: 'instance', replacement: 'renamed' },
      ],
      metric_relabel_configs: [
        { source_labels: ['__name__'], regex: 'latency_.*', action: 'drop' },
        { source_labels: ['room'], regex: '(a|b)', target_label: 'wing', replacement: 'west-$1' },
        {
          source_labels: ['__name__'],
          regex: 'plain_(.*)',
          target_label: '__name__',
          replacement: 'renamed_$1',
        },
        { regex: 'quantile_unused|kind', action: 'labeldrop' },
        { source_labels: ['code'], modulus: 7, target_label: 'bucket', action: 'hashmod' },
        { source_labels: ['__name__', 'kind'], regex: 'goes_away;second', action: 'drop' },
      ],
    }),
    job('broken', address, { metrics_path: '/metrics', fallback_scrape_protocol: 'PrometheusText0.0.4' }),
  ]
  const points = await compareJobs(jobs, NOTHING)
  console.log(`settings: ${points} points`)
})

/** The page after a change: series gone and come, a counter reset, other bounds, another type. */
function changedPage(phase: number): Page {
  const body = TEXT_PAGE.body
    .replace('phase 1\n', `phase ${phase}\n`)
    .replace('goes_away{kind="second"} 2\n', 'goes_away{kind="third"} 3\n')
    .replace('} 1027\n', '} 3\n')
    .replace('# TYPE plain_counter counter\nplain_counter 7', '# TYPE plain_counter gauge\nplain_counter 2')
    .replace('latency_seconds_bucket{route="/y",le="0.5"} 0\n', '')
    .replace('scoped{otel_scope_name="other",x="y"} 4\n', '')
    .replace('region="eu"', 'region="us"')
  return { ...TEXT_PAGE, body }
}

const pageOfPhase = (phase: number): Page => ({
  ...TEXT_PAGE,
  body: TEXT_PAGE.body.replace('phase 1\n', `phase ${phase}\n`),
})

const PHASES: readonly Page[] = [
  TEXT_PAGE,
  changedPage(2),
  { status: 500, type: 'text/plain', body: 'no' },
  pageOfPhase(4),
  { ...TEXT_PAGE, body: 'this is { not a page\n' },
  pageOfPhase(6),
]

test('a page that changes, fails and comes back: the same points and stale markers as Go', async () => {
  await using target = await startTarget(TEXT_PAGE)
  await scrapeWithBoth([job('changing', target.address)], async (both) => {
    const last = { go: '', weir: '' }
    for (const [index, page] of PHASES.entries()) {
      const since = { ...last }
      target.page = page
      const want = isGood(page) ? index + 1 : 0
      // A scrape that was under way when the page changed belongs to the phase before.
      const after = (name: 'go' | 'weir') =>
        both[name]().filter(
          ({ time, phase, isUp }) => time > since[name] && phase === want && isUp === want > 0,
        )
      const scrapes = (name: 'go' | 'weir') => new Set(after(name).map(({ time }) => time)).size
      await eventually(
        async () => [scrapes('go'), scrapes('weir')],
        (counts) => counts.every((count) => count >= 3),
      )
      const down = !isGood(page)
      const fromWeir = linesOf(after('weir'))
      if (down) expect(fromWeir.filter((line) => !line.includes('region='))).toEqual([])
      const got = down ? [...new Set(fromWeir.map(withoutTargetInfo))].sort() : fromWeir
      const fromGo = linesOf(after('go'))
      const fromGoGood = fromGo.filter((line) => !line.includes(NAN_AS_COUNT))
      expect(
        fromGo.length - fromGoGood.length,
        'histograms with the stale marker of a bucket as its count',
      ).toBe(index === 1 ? 1 : 0)
      expect(
        got.filter((line) => !fromGoGood.includes(line)),
        `phase ${index + 1}: surplus`,
      ).toEqual([])
      expect(
        fromGoGood.filter((line) => !got.includes(line)),
        `phase ${index + 1}: missing`,
      ).toEqual([])
      console.log(`phase ${index + 1}: ${got.length} points, ${got.filter(isStale).length} stale`)
      for (const name of ['go', 'weir'] as const)
        last[name] =
          both[name]()
            .map(({ time }) => time)
            .sort()
            .at(-1) ?? ''
    }
  })
})

const isGood = (page: Page) => page.status !== 500 && page.body.includes('phase ')
/** While a target is down, Go forgets what target_info said of the resource, also of the points that go stale. */
const withoutTargetInfo = (line: string) =>
  line.replace(/^.*? # /, (resource) =>
    resource.replace(/(env|region|service_version)=\{"stringValue":"[^"]*"\} /g, ''),
  )
/** 2^63: Go counts the stale marker of a bucket that is gone, where the histogram itself lives on. */
const NAN_AS_COUNT = '"9223372036854775808"'
const isStale = (line: string) => line.includes('"flags":1')
const linesOf = (scrapes: readonly Scrape[]) => [...new Set(scrapes.flatMap(scrapeLines))].sort()
