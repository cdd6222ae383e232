import { describe, expect, test } from 'vitest'
import { attributesOf, decode, type Plain } from '../../../test/support/otlp.ts'
import { ScrapeEncoder } from './encode.ts'
import { compileRelabel, relabelField } from './relabel.ts'
import type { ScrapeLimits, ScrapeOptions } from './sample-labels.ts'
import { ScrapeState } from './scrape-state.ts'

const NO_LIMITS: ScrapeLimits = {
  sampleLimit: 0,
  labelLimit: 0,
  labelNameLengthLimit: 0,
  labelValueLengthLimit: 0,
}

interface Options extends Partial<Omit<ScrapeOptions, 'labels' | 'relabel' | 'limits' | 'externalLabels'>> {
  labels?: Record<string, string>
  external?: Record<string, string>
  rules?: object[]
  limits?: Partial<ScrapeLimits>
}

/** One target; scrape() gives what one body becomes, as text per data point and as the decoded request. */
function target(options: Options = {}) {
  const labels = new Map(Object.entries({ job: 'j', instance: 'h:1', ...options.labels }))
  const state = new ScrapeState({
    discovered: new Map([...labels, ['__scheme__', 'http']]),
    honorLabels: false,
    honorTimestamps: true,
    trackTimestampsStaleness: false,
    trimSuffixes: false,
    legacyNames: false,
    ...options,
    labels,
    externalLabels: new Map(Object.entries(options.external ?? {})),
    relabel: compileRelabel(relabelField().parse(options.rules ?? []) ?? []),
    limits: { ...NO_LIMITS, ...options.limits },
  })
  const encoder = new ScrapeEncoder(state)
  let timeMs = 1000
  return {
    state,
    encode: (): Plain => decode('metrics', encoder.encode()?.bytes ?? new Uint8Array(0)),
    scrape(body: string, openMetrics = false): { request: Plain; points: string[]; count: number } {
      state.begin((timeMs += 1000))
      try {
        state.add(Buffer.from(body), openMetrics)
      } catch (error) {
        state.discard()
        const failed = encoder.encode()
        const request = failed ? decode('metrics', failed.bytes) : {}
        throw Object.assign(error as Error, { points: lines(request) })
      }
      const encoded = encoder.encode()
      const request = encoded ? decode('metrics', encoded.bytes) : { resourceMetrics: [] }
      return { request, points: lines(request), count: encoded?.points ?? 0 }
    },
  }
}

/** `name{attributes} value @ms flags`, one line per point. */
function lines(request: Plain): string[] {
  const found: string[] = []
  for (const resource of request.resourceMetrics ?? [])
    for (const scope of resource.scopeMetrics)
      for (const metric of scope.metrics) {
        const data = metric.gauge ?? metric.sum ?? metric.histogram ?? metric.summary
        for (const point of data.dataPoints) found.push(line(metric.name, point))
      }
  return found
}

function line(name: string, point: Plain): string {
  const pairs = Object.entries(attributesOf(point.attributes)).map(([key, value]) => `${key}=${value}`)
  const value =
    point.flags === 1
      ? 'stale'
      : (point.asDouble ??
        `${point.count}/${point.sum ?? '-'}[${point.bucketCounts ?? point.quantileValues?.map((one: Plain) => one.value) ?? ''}]`)
  return `${name}{${pairs.join(',')}} ${value} @${String(point.timeUnixNano).slice(0, -6)}`
}

const metricsOf = (request: Plain): Plain[] => request.resourceMetrics[0].scopeMetrics[0].metrics

test('text 0.0.4 becomes metrics of all types', () => {
  const { request, count } = target().scrape(`# HELP c Help
# TYPE c counter
c{a="b"} 3
# TYPE g gauge
g -1.5 1700000000123
u 7
# TYPE h histogram
h_bucket{le="0.5"} 1
h_bucket{le="1"} 4
h_bucket{le="+Inf"} 6
h_sum 4.5
h_count 6
# TYPE s summary
s{quantile="0.5"} 1
s{quantile="0.9"} 2
s_sum 3
s_count 4
# TYPE nocount histogram
nocount_bucket{le="1"} 1
# TYPE nosum histogram
nosum_count 2
# TYPE c_created gauge
c_created 17
`)
  const time = '2000000000'
  const type = (word: string) => [{ key: 'prometheus.type', value: { stringValue: word } }]
  expect(count).toBe(7)
  expect(metricsOf(request)).toEqual([
    {
      name: 'c',
      description: 'Help',
      metadata: type('counter'),
      sum: {
        dataPoints: [
          { timeUnixNano: time, asDouble: 3, attributes: [{ key: 'a', value: { stringValue: 'b' } }] },
        ],
        aggregationTemporality: 2,
        isMonotonic: true,
      },
    },
    {
      name: 'g',
      metadata: type('gauge'),
      gauge: { dataPoints: [{ timeUnixNano: '1700000000123000000', asDouble: -1.5 }] },
    },
    { name: 'u', metadata: type('unknown'), gauge: { dataPoints: [{ timeUnixNano: time, asDouble: 7 }] } },
    {
      name: 'h',
      metadata: type('histogram'),
      histogram: {
        dataPoints: [
          {
            timeUnixNano: time,
            count: '6',
            sum: 4.5,
            bucketCounts: ['1', '3', '2'],
            explicitBounds: [0.5, 1],
          },
        ],
        aggregationTemporality: 2,
      },
    },
    {
      name: 's',
      metadata: type('summary'),
      summary: {
        dataPoints: [
          {
            timeUnixNano: time,
            count: '4',
            sum: 3,
            quantileValues: [
              { quantile: 0.5, value: 1 },
              { quantile: 0.9, value: 2 },
            ],
          },
        ],
      },
    },
    {
      name: 'nosum',
      metadata: type('histogram'),
      histogram: {
        dataPoints: [{ timeUnixNano: time, count: '2', bucketCounts: ['2'] }],
        aggregationTemporality: 2,
      },
    },
    {
      name: 'c_created',
      metadata: type('gauge'),
      gauge: { dataPoints: [{ timeUnixNano: time, asDouble: 17 }] },
    },
  ])
  expect(attributesOf(request.resourceMetrics[0].resource.attributes)).toEqual({
    'service.name': 'j',
    'server.address': 'h',
    'service.instance.id': 'h:1',
    'server.port': '1',
    'url.scheme': 'http',
  })
})

test('OpenMetrics brings units, start times, exemplars, info and state sets', () => {
  const { request } = target().scrape(
    `# TYPE req_seconds counter
# UNIT req_seconds seconds
req_seconds_total{a="b"} 3 # {trace_id="0102030405060708090a0b0c0d0e0f10",span_id="0102030405060708",x="y"} 0.5 1.5
req_seconds_created{a="b"} 1700000000.25
# TYPE h histogram
h_bucket{le="1"} 2 # {trace_id="zz"} 0.3
h_bucket{le="+Inf"} 2
h_count 2
h_sum 1
h_created 1700000001
# TYPE i info
i_info{v="1"} 1
# TYPE st stateset
st{st="on"} 1
# TYPE gh gaugehistogram
gh_bucket{le="+Inf"} 3
gh_gcount 3
gh_gsum 4
# EOF
`,
    true,
  )
  const [counter, histogram, info, stateset, ...rest] = metricsOf(request)
  expect(rest).toEqual([])
  expect(counter).toMatchObject({ name: 'req_seconds_total', unit: 's' })
  expect(counter.sum.dataPoints[0]).toMatchObject({
    startTimeUnixNano: '1700000000250000000',
    asDouble: 3,
    exemplars: [
      {
        timeUnixNano: '1500000000',
        asDouble: 0.5,
        traceId: Buffer.from('0102030405060708090a0b0c0d0e0f10', 'hex'),
        spanId: Buffer.from('0102030405060708', 'hex'),
        filteredAttributes: [{ key: 'x', value: { stringValue: 'y' } }],
      },
    ],
  })
  expect(histogram.histogram.dataPoints[0]).toMatchObject({
    startTimeUnixNano: '1700000001000000000',
    bucketCounts: ['2', '0'],
    exemplars: [
      {
        timeUnixNano: '2000000000',
        asDouble: 0.3,
        filteredAttributes: [{ key: 'trace_id', value: { stringValue: 'zz' } }],
      },
    ],
  })
  expect(info).toMatchObject({ name: 'i', sum: { aggregationTemporality: 2 } })
  expect(info.sum.isMonotonic).toBeUndefined()
  expect(stateset).toMatchObject({ name: 'st', sum: { aggregationTemporality: 2 } })
})

test('target_info becomes resource attributes; scope labels and otel_scope_info become scopes', () => {
  const { request } = target({ external: { cluster: 'east' } }).scrape(`# TYPE target_info gauge
target_info{env="prod"} 1
otel_scope_info{otel_scope_name="lib",otel_scope_version="2",color="red"} 1
a{otel_scope_name="lib",otel_scope_version="2",otel_scope_schema_url="http://s",otel_scope_x="y",z="1"} 1
b 2
`)
  const [resource] = request.resourceMetrics
  expect(attributesOf(resource.resource.attributes)).toMatchObject({ env: 'prod', cluster: 'east' })
  const [lib, other] = resource.scopeMetrics
  expect(lib.scope).toMatchObject({ name: 'lib', version: '2' })
  expect(attributesOf(lib.scope.attributes)).toEqual({ x: 'y', color: 'red' })
  expect(lib.schemaUrl).toBe('http://s')
  expect(lines({ resourceMetrics: [{ scopeMetrics: [lib] }] })).toEqual(['a{cluster=east,z=1} 1 @2000'])
  expect(other.scope).toEqual({ name: 'weir/receiver/prometheus', version: '0.1.0' })
})

describe('staleness', () => {
  test('stale points come under the resource and scope that the series had', () => {
    const made = target()
    const of = (request: Plain) =>
      request.resourceMetrics.map((resource: Plain) => [
        attributesOf(resource.resource.attributes)['env'],
        attributesOf(resource.scopeMetrics[0].scope.attributes)['color'],
      ])
    const info = 'target_info{env="x"} 1\notel_scope_info{otel_scope_name="s",color="red"} 1\n'
    expect(of(made.scrape(`${info}a{otel_scope_name="s"} 1\n`).request)).toEqual([['x', 'red']])
    expect(of(made.scrape(`${info}a{otel_scope_name="s"} 1\n`).request)).toEqual([['x', 'red']])
    made.state.begin(9000) // The target is gone.
    expect(of(made.encode())).toEqual([['x', 'red']])
    const bare = made.scrape('a{otel_scope_name="s"} 1\n')
    expect(of(bare.request)).toEqual([[undefined, undefined]])
  })

  test('a series that is gone gets one stale point, as does all when a scrape fails', () => {
    const { scrape } = target()
    expect(scrape('a 1\nb 2\n').points).toEqual(['a{} 1 @2000', 'b{} 2 @2000'])
    expect(scrape('b 3\n').points).toEqual(['a{} stale @3000', 'b{} 3 @3000'])
    expect(scrape('b 4\n').points).toEqual(['b{} 4 @4000'])
    expect(() => scrape('b 5\nbroken\n')).toThrow(expect.objectContaining({ points: ['b{} stale @5000'] }))
    expect(() => scrape('b 5\nbroken\n')).toThrow(expect.objectContaining({ points: [] }))
    expect(scrape('b 6\n').points).toEqual(['b{} 6 @7000'])
  })

  test('what was never there does not go stale when the first scrape fails', () => {
    const { scrape } = target()
    expect(() => scrape('a 1\nb{otel_scope_name="s"} 1\nbroken\n')).toThrow(
      expect.objectContaining({ points: [] }),
    )
    expect(scrape('a 1\n').points).toEqual(['a{} 1 @3000'])
  })

  test('a series whose comments change lives on; it goes stale when that scrape fails', () => {
    const { scrape } = target()
    expect(scrape('# TYPE a gauge\na 1\n').points).toEqual(['a{} 1 @2000'])
    expect(scrape('# TYPE a counter\na 2\n').points).toEqual(['a{} 2 @3000'])
    expect(scrape('# TYPE a counter\n# HELP a New.\na 3\n').points).toEqual(['a{} 3 @4000'])
    expect(() => scrape('# TYPE a gauge\na 4\nbroken\n')).toThrow(
      expect.objectContaining({ points: ['a{} stale @5000'] }),
    )
  })

  test('a histogram goes stale as one point, with its bounds and without counts', () => {
    const { scrape } = target()
    scrape('# TYPE h histogram\nh_bucket{le="1"} 1\nh_bucket{le="+Inf"} 2\nh_sum 3\nh_count 2\n')
    const [metric] = metricsOf(scrape('').request)
    expect(metric.histogram.dataPoints).toEqual([
      { timeUnixNano: '3000000000', flags: 1, bucketCounts: ['0', '0'], explicitBounds: [1] },
    ])
  })

  test('series with a time of their own are not tracked unless told so', () => {
    const plain = target()
    expect(plain.scrape('a 1 500\n').points).toEqual(['a{} 1 @500'])
    expect(plain.scrape('').points).toEqual([])
    const tracked = target({ trackTimestampsStaleness: true })
    tracked.scrape('a 1 500\n')
    expect(tracked.scrape('').points).toEqual(['a{} stale @3000'])
    const ignored = target({ honorTimestamps: false })
    expect(ignored.scrape('a 1 500\n').points).toEqual(['a{} 1 @2000'])
    expect(ignored.scrape('').points).toEqual(['a{} stale @3000'])
  })

  test('series that change places, come back, or change type are told apart', () => {
    const { scrape, state } = target()
    scrape('a 1\nb 2\nc 3\n')
    expect(state.added).toBe(3)
    expect(scrape('c 3\na 1\nb 2\nd 4\n').points.sort()).toEqual(
      ['a{} 1', 'b{} 2', 'c{} 3', 'd{} 4'].map((one) => `${one} @3000`),
    )
    expect(state.added).toBe(1)
    expect(scrape('# TYPE a counter\na 5\nb 1\nc 1\nd 1\n').points).toEqual([
      'b{} 1 @4000',
      'c{} 1 @4000',
      'd{} 1 @4000',
      'a{} 5 @4000',
    ])
    expect(state.added).toBe(0)
    for (let round = 0; round < 5; round++) scrape('b 1\n')
    expect(scrape('a 1\nb 1\n').points).toContain('a{} 1 @10000')
    expect(state.added).toBe(1)
  })
})

test('labels of the target win, or with honor_labels those of the sample', () => {
  const body = 'a{job="x",env="y",exported_job="z"} 1\n'
  const labels = { env: 'prod' }
  const own = target({ labels }).scrape(body)
  expect(own.points).toEqual(['a{env=prod,exported_env=y,exported_exported_job=x,exported_job=z} 1 @2000'])
  const honored = target({ labels, honorLabels: true }).scrape(body)
  expect(honored.points).toEqual(['a{env=y,exported_job=z} 1 @2000'])
  expect(attributesOf(honored.request.resourceMetrics[0].resource.attributes)).toMatchObject({
    'service.name': 'x',
  })
})

test('metric relabelling drops and renames; a renamed metric has no type', () => {
  const rules = [
    { source_labels: ['__name__'], regex: 'drop.*', action: 'drop' },
    { source_labels: ['__name__'], regex: 'old_(.*)', target_label: '__name__', replacement: 'new_$1' },
    { regex: 'secret', action: 'labeldrop' },
  ]
  const { scrape, state } = target({ rules })
  const { request, points } = scrape('# TYPE old_x counter\nold_x{secret="1",a="b"} 1\ndrop_me 2\n')
  expect(points).toEqual(['new_x{a=b} 1 @2000'])
  expect(metricsOf(request)[0].gauge).toBeDefined()
  expect([state.scraped, state.kept, state.added]).toEqual([2, 1, 1])
})

test('a limit that is exceeded fails the whole scrape', () => {
  const f = (limits: Partial<ScrapeLimits>, body: string, message: string | undefined) => {
    const run = () => target({ limits }).scrape(body)
    if (message === undefined) expect(run).not.toThrow()
    else expect(run).toThrow(message)
  }
  f({ sampleLimit: 2 }, 'a 1\nb 2\n', undefined)
  f({ sampleLimit: 2 }, 'a 1\nb 2\nc 3\n', 'sample_limit exceeded (3 samples, limit 2)')
  f({ labelLimit: 4 }, 'a{b="1"} 1\n', undefined) // With job, instance and the name.
  f({ labelLimit: 4 }, 'a{b="1",c="2"} 1\n', 'label_limit exceeded (metric a, 5 labels, limit 4)')
  f({ labelNameLengthLimit: 8 }, 'a{b="1"} 1\n', undefined)
  f({ labelNameLengthLimit: 8 }, 'a{longer_name="1"} 1\n', 'label_name_length_limit')
  f({ labelValueLengthLimit: 3 }, 'a{b="123"} 1\n', undefined)
  f({ labelValueLengthLimit: 3 }, 'a{b="1234"} 1\n', 'label_value_length_limit')
})

test('bad samples are rejected and counted, the rest goes on', () => {
  const { scrape, state } = target()
  const body = 'a{b="1",b="2"} 1\n# TYPE h histogram\nh_bucket 3\nh_count 3\nok 1\nok 2\n'
  expect(scrape(body).points).toEqual(['h{} 3/-[3] @2000', 'ok{} 1 @2000'])
  expect([state.rejected, state.rejection]).toEqual([3, 'label "b" is there twice'])
})

test('names that are not legacy fail the scrape where they are not wanted', () => {
  expect(() => target({ legacyNames: true }).scrape('{"a.b"} 1\n')).toThrow('"a.b" is no valid metric name')
  expect(() => target({ legacyNames: true }).scrape('a{"b.c"="d"} 1\n')).toThrow(
    '"b.c" is no valid label name',
  )
})

test('suffixes of type and unit are trimmed when told so', () => {
  const body =
    '# TYPE a_seconds counter\n# UNIT a_seconds seconds\na_seconds_total 1\n# TYPE total counter\ntotal_total 1\n# EOF\n'
  const names = (trimSuffixes: boolean) =>
    metricsOf(target({ trimSuffixes }).scrape(body, true).request).map((metric) => metric.name)
  expect(names(true)).toEqual(['a', 'total'])
  expect(names(false)).toEqual(['a_seconds_total', 'total_total'])
})

test('buckets in any order, counts that fall, and bounds that are no numbers', () => {
  const { points } = target().scrape(
    '# TYPE h histogram\nh_bucket{le="+Inf"} 3\nh_bucket{le="2"} 5\nh_bucket{le="1"} 1\nh_count 4\nh_bucket{le="x"} 1\n',
  )
  expect(points).toEqual(['h{} 4/-[1,4,0] @2000'])
})

test('many scrapes of a changing target hold no more than what it shows', () => {
  const { scrape, state } = target()
  for (let round = 0; round < 200; round++)
    scrape(`# TYPE t${round} gauge\nt${round}{n="${round}"} 1\nstays 2\n`)
  expect(state.seriesCount).toBeLessThan(8)
  expect([...state.resources.values()][0]?.scopes.get('')?.families.size).toBe(2)
})
