import http from 'node:http'
import net from 'node:net'
import { gunzipSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createExporter } from '../../../test/support/create-test.ts'
import { Double, metrics, START_TIME, TRACE_ID } from '../../../test/support/otlp.ts'
import type { Batch } from '../../otlp/batch.ts'
import definition from './index.ts'
import { joinParts } from './join.ts'
import { chooseForm } from './scrape.ts'

const OPEN = 'application/openmetrics-text; version=1.0.0'

async function exporter(config: object = {}) {
  const made = createExporter(definition, { endpoint: '127.0.0.1:0', ...config }, { signal: 'metrics' })
  await made.start()
  const port = made.host.listeners[0]?.port ?? 0
  const get = (path = '/metrics', headers: Record<string, string> = {}, method = 'GET') =>
    new Promise<{ status: number; headers: http.IncomingHttpHeaders; body: Buffer }>((resolve, reject) => {
      const request = http.request(
        { port, host: '127.0.0.1', path, headers, method, agent: false },
        (response) => {
          const chunks: Buffer[] = []
          response.on('data', (chunk) => chunks.push(chunk))
          response.on('end', () =>
            resolve({
              status: response.statusCode ?? 0,
              headers: response.headers,
              body: Buffer.concat(chunks),
            }),
          )
        },
      )
      request.on('error', reject)
      request.end()
    })
  return {
    made,
    port,
    get,
    text: async (accept?: string) => (await get('/metrics', accept ? { accept } : {})).body.toString(),
    lines: async () => samples((await get()).body.toString()),
    consume: (batch: Batch) => made.consume(batch),
    dropped: (reason: string) => made.meter.read('exporter_prometheus_dropped_data_points', { reason }),
    [Symbol.asyncDispose]: () => made[Symbol.asyncDispose](),
  }
}

function samples(text: string): string[] {
  return text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
}

const plain = { without_scope_info: true }
const at = (offsetMs: number) => START_TIME + BigInt(offsetMs) * 1_000_000n
const gauge = (name: string, value: number, more: object = {}, timeMs = 0) => ({
  name,
  gauge: { dataPoints: [{ asDouble: value, timeUnixNano: at(timeMs), ...more }] },
})
const sum = (
  name: string,
  value: number,
  startMs: number,
  timeMs: number,
  delta = true,
  isMonotonic = true,
) => ({
  name,
  sum: {
    dataPoints: [{ asInt: value, startTimeUnixNano: at(startMs), timeUnixNano: at(timeMs) }],
    isMonotonic,
    aggregationTemporality: delta ? 1 : 2,
  },
})
const histogram = (
  counts: number[],
  bounds: number[],
  startMs: number,
  timeMs: number,
  delta = true,
  more = {},
) => ({
  name: 'h',
  histogram: {
    dataPoints: [
      {
        count: counts.reduce((total, count) => total + count, 0),
        sum: 1,
        bucketCounts: counts,
        explicitBounds: bounds,
        startTimeUnixNano: at(startMs),
        timeUnixNano: at(timeMs),
        ...more,
      },
    ],
    aggregationTemporality: delta ? 1 : 2,
  },
})

const exemplar = {
  timeUnixNano: at(500),
  asDouble: 0.7,
  traceId: Buffer.from(TRACE_ID, 'hex'),
  spanId: Buffer.from('0102030405060708', 'hex'),
  filteredAttributes: [{ key: 'left', value: { stringValue: 'out' } }],
}

const everything = metrics({
  resource: {
    'service.name': 'shop',
    'service.namespace': 'ns',
    'service.instance.id': 'i1',
    'host.name': 'h',
  },
  scope: { name: 'lib', version: '2', attributes: { a: 'b' } },
  scopeSchemaUrl: 'https://schema',
  metrics: [
    {
      name: 'requests',
      description: 'All "requests"\\\n.',
      sum: {
        isMonotonic: true,
        aggregationTemporality: 2,
        dataPoints: [
          { asInt: 1_000_000, startTimeUnixNano: at(0), timeUnixNano: at(1000), exemplars: [exemplar] },
        ],
      },
    },
    gauge('temp', -0.5, { attributes: { 'the.room': 'a"b\\c\nd', n: new Double(1) } }),
    histogram([1, 2, 3], [0.5, 1], 0, 1000, false, { exemplars: [exemplar] }),
    {
      name: 's',
      unit: 's',
      summary: {
        dataPoints: [
          { count: 2, sum: 3.5, timeUnixNano: at(1), quantileValues: [{ quantile: 1, value: 2 }] },
        ],
      },
    },
  ],
})

const LABELS =
  'instance="i1",job="ns/shop",otel_scope_a="b",otel_scope_name="lib",otel_scope_schema_url="https://schema",otel_scope_version="2"'

describe('exposition', () => {
  test('text 0.0.4', async () => {
    await using it = await exporter()
    await it.consume(everything)
    const { status, headers, body } = await it.get()
    expect(status).toBe(200)
    expect(headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8')
    expect(body.toString()).toBe(
      [
        '# HELP h ',
        '# TYPE h histogram',
        `h_bucket{${LABELS},le="0.5"} 1`,
        `h_bucket{${LABELS},le="1"} 3`,
        `h_bucket{${LABELS},le="+Inf"} 6`,
        `h_sum{${LABELS}} 1`,
        `h_count{${LABELS}} 6`,
        '# HELP requests_total All "requests"\\\\\\n.',
        '# TYPE requests_total counter',
        `requests_total{${LABELS}} 1e+06`,
        '# HELP s_seconds ',
        '# TYPE s_seconds summary',
        `s_seconds{${LABELS},quantile="1"} 2`,
        `s_seconds_sum{${LABELS}} 3.5`,
        `s_seconds_count{${LABELS}} 2`,
        '# HELP target_info Target metadata',
        '# TYPE target_info gauge',
        'target_info{host_name="h",instance="i1",job="ns/shop"} 1',
        '# HELP temp ',
        '# TYPE temp gauge',
        `temp{instance="i1",job="ns/shop",n="1",${LABELS.slice(28)},the_room="a\\"b\\\\c\\nd"} -0.5`,
        '',
      ].join('\n'),
    )
  })

  test('OpenMetrics 1.0 with exemplars, created and EOF, when enabled and asked for', async () => {
    await using it = await exporter({
      enable_open_metrics: true,
      without_scope_info: true,
      send_timestamps: true,
    })
    await it.consume(everything)
    const { headers, body } = await it.get('/metrics', { accept: `${OPEN},text/plain;q=0.5` })
    expect(headers['content-type']).toBe('application/openmetrics-text; version=1.0.0; charset=utf-8')
    const labels = 'instance="i1",job="ns/shop"'
    const mark = `# {trace_id="${TRACE_ID}",span_id="0102030405060708"} 0.7 1.7000000005e+09`
    expect(body.toString().split('\n')).toEqual([
      '# HELP h ',
      '# TYPE h histogram',
      `h_bucket{${labels},le="0.5"} 1 1.700000001e+09`,
      `h_bucket{${labels},le="1.0"} 3 1.700000001e+09 ${mark}`,
      `h_bucket{${labels},le="+Inf"} 6 1.700000001e+09`,
      `h_sum{${labels}} 1.0 1.700000001e+09`,
      `h_count{${labels}} 6 1.700000001e+09`,
      `h_created{${labels}} 1.7e+09`,
      '# HELP requests All \\"requests\\"\\\\\\n.',
      '# TYPE requests counter',
      `requests_total{${labels}} 1e+06 1.700000001e+09 ${mark}`,
      `requests_created{${labels}} 1.7e+09`,
      '# HELP s_seconds ',
      '# TYPE s_seconds summary',
      `s_seconds{${labels},quantile="1.0"} 2.0 1.700000000001e+09`,
      `s_seconds_sum{${labels}} 3.5 1.700000000001e+09`,
      `s_seconds_count{${labels}} 2 1.700000000001e+09`,
      '# HELP target_info Target metadata',
      '# TYPE target_info gauge',
      `target_info{host_name="h",${labels}} 1.0`,
      '# HELP temp ',
      '# TYPE temp gauge',
      `temp{${labels},n="1",the_room="a\\"b\\\\c\\nd"} -0.5 1.7e+09`,
      '# EOF',
      '',
    ])
    expect(await it.text()).toContain('requests_total{instance="i1",job="ns/shop"} 1e+06 1700000001000\n')
  })

  test('OpenMetrics is not given unless enabled', async () => {
    await using it = await exporter()
    await it.consume(metrics({ metrics: [gauge('g', 1)] }))
    expect(await it.text(OPEN)).not.toContain('EOF')
  })

  test('the form follows the Accept header', () => {
    const form = (accept: string | undefined, open = true) =>
      chooseForm(accept, open, false).contentType.split(';')[0]
    const [text, open] = ['text/plain', 'application/openmetrics-text']
    expect(form(undefined)).toBe(text)
    expect(form('*/*')).toBe(text)
    expect(form('image/png')).toBe(text)
    expect(form(`${OPEN}`, false)).toBe(text)
    expect(form(`text/plain;q=0.5,${OPEN};q=0.4`)).toBe(text)
    expect(form(`text/plain;q=0.3,${OPEN};q=0.4`)).toBe(open)
    expect(form('application/openmetrics-text;version=2.0.0,text/plain')).toBe(text)
    expect(form(`${OPEN};q=0,text/plain`)).toBe(text)
  })

  test('gzip when accepted; HEAD without body; other paths and methods are told so', async () => {
    await using it = await exporter(plain)
    await it.consume(metrics({ metrics: [gauge('g', 1)] }))
    const packed = await it.get('/metrics', { 'accept-encoding': 'gzip, deflate' })
    expect(packed.headers['content-encoding']).toBe('gzip')
    expect(gunzipSync(packed.body).toString()).toBe('# HELP g \n# TYPE g gauge\ng 1\n')
    expect(
      (await it.get('/metrics', { 'accept-encoding': 'gzip;q=0' })).headers['content-encoding'],
    ).toBeUndefined()
    const head = await it.get('/metrics', {}, 'HEAD')
    expect([head.status, head.body.length]).toEqual([200, 0])
    expect((await it.get('/')).status).toBe(404)
    expect((await it.get('/metrics?x=1')).status).toBe(200)
    expect((await it.get('/metrics', {}, 'POST')).status).toBe(405)
  })

  test('a malformed request line hurts nobody', async () => {
    await using it = await exporter(plain)
    for (const line of ['GET http://[ HTTP/1.1', 'GET //%%% HTTP/1.1', '\x00\x01\x02', 'GET /%zz HTTP/1.1']) {
      const socket = net.connect(it.port, '127.0.0.1')
      await new Promise<void>((resolve) => {
        socket.on('close', () => resolve())
        socket.on('error', () => {})
        socket.resume()
        socket.end(`${line}\r\nhost: a\r\nconnection: close\r\n\r\n`)
      })
    }
    expect((await it.get()).status).toBe(200)
  })

  test('an exemplar without ids is not written', async () => {
    await using it = await exporter({ ...plain, enable_open_metrics: true })
    const nameless = { timeUnixNano: at(500), asDouble: 1 }
    const point = { asInt: 1, timeUnixNano: at(1000), exemplars: [nameless] }
    await it.consume(
      metrics({
        metrics: [{ name: 'c', sum: { isMonotonic: true, aggregationTemporality: 2, dataPoints: [point] } }],
      }),
    )
    expect(samples(await it.text('application/openmetrics-text;version=1.0.0'))).toEqual(['c_total 1.0'])
  })

  test('UTF-8 names are quoted for who can read them, else escaped', async () => {
    await using it = await exporter({ ...plain, translation_strategy: 'NoTranslation' })
    await it.consume(metrics({ metrics: [gauge('a.b', 1, { attributes: { 'x.y': 'z' } }), gauge('c.d', 2)] }))
    expect(samples(await it.text('text/plain;version=0.0.4;escaping=allow-utf-8'))).toEqual([
      '{"a.b","x.y"="z"} 1',
      '{"c.d"} 2',
    ])
    expect(await it.lines()).toEqual(['a_b{x_y="z"} 1', 'c_d 2'])
    await it.consume(metrics({ metrics: [gauge('9lives', 3, { attributes: { '1st': 'a', 'b:c': 'd' } })] }))
    expect((await it.lines())[0]).toBe('_lives{_st="a",b_c="d"} 3')
  })

  test('const labels are on everything but target_info; namespace is on everything', async () => {
    await using it = await exporter({ ...plain, namespace: 'ns', const_labels: { zone: 'z' } })
    const resource = { 'service.name': 's', 'service.instance.id': 'i' }
    await it.consume(metrics({ resource, metrics: [gauge('g', 1)] }))
    expect(await it.lines()).toEqual([
      'ns_g{instance="i",job="s",zone="z"} 1',
      'ns_target_info{instance="i",job="s"} 1',
    ])
  })

  test('target_info needs both job and instance', async () => {
    await using it = await exporter(plain)
    for (const resource of [
      { 'service.name': 's', host: 'h' },
      { 'service.instance.id': 'i', host: 'h' },
    ])
      await it.consume(metrics({ resource, metrics: [gauge('g', 1)] }))
    expect(await it.lines()).toEqual(['g{job="s"} 1', 'g{instance="i"} 1'])
  })

  test('scope labels are there even when empty', async () => {
    await using it = await exporter()
    await it.consume(metrics({ metrics: [gauge('g', 1)] }))
    expect(await it.lines()).toEqual([
      'g{otel_scope_name="",otel_scope_schema_url="",otel_scope_version=""} 1',
    ])
  })
})

describe('state', () => {
  const linesAfter = async (config: object, ...items: object[]) => {
    await using it = await exporter({ ...plain, ...config })
    for (const item of items)
      await it.consume(metrics({ metrics: [item as Readonly<Record<string, unknown>>] }))
    return await it.lines()
  }

  test('the newest point stays, whatever the order', async () => {
    expect(await linesAfter({}, gauge('g', 1, {}, 10), gauge('g', 2, {}, 5))).toEqual(['g 1'])
    expect(await linesAfter({}, gauge('g', 1, {}, 10), gauge('g', 2, {}, 10))).toEqual(['g 2'])
    expect(await linesAfter({}, sum('c', 5, 0, 20, false), sum('c', 9, 0, 10, false))).toEqual(['c_total 5'])
  })

  test('delta sums add up where one begins at the end of the last, else begin anew', async () => {
    expect(await linesAfter({}, sum('c', 1, 0, 10), sum('c', 2, 10, 20), sum('c', 3, 20, 30))).toEqual([
      'c_total 6',
    ])
    expect(await linesAfter({}, sum('c', 1, 0, 10), sum('c', 2, 11, 20))).toEqual(['c_total 2'])
    expect(await linesAfter({}, sum('c', 1, 0, 10), sum('c', 2, 0, 5))).toEqual(['c_total 1'])
    expect(await linesAfter({}, sum('u', 1, 0, 10, true, false))).toEqual([])
  })

  test('delta histograms add up; gaps begin anew; overlaps are dropped; other bounds replace', async () => {
    const first = histogram([1, 1], [1], 0, 10)
    const shown = (a: number, b: number, bound = 1) => [
      `h_bucket{le="${bound}"} ${a}`,
      `h_bucket{le="+Inf"} ${b}`,
    ]
    const buckets = async (...items: object[]) => (await linesAfter({}, ...items)).slice(0, 2)
    expect(await buckets(first, histogram([2, 3], [1], 10, 20))).toEqual(shown(3, 7))
    expect(await buckets(first, histogram([2, 3], [1], 12, 20))).toEqual(shown(2, 5))
    expect(await buckets(first, histogram([2, 3], [1], 5, 20))).toEqual(shown(1, 2))
    expect(await buckets(first, histogram([2, 3], [2], 10, 20))).toEqual(shown(2, 5, 2))
  })

  test('bounds out of order are sorted, equal ones are one bucket', async () => {
    expect(await linesAfter({}, histogram([1, 2, 4, 8], [5, 1, 5], 0, 10, false))).toEqual([
      'h_bucket{le="1"} 2',
      'h_bucket{le="5"} 7',
      'h_bucket{le="+Inf"} 15',
      'h_sum 1',
      'h_count 15',
    ])
  })

  test('exponential histograms show count, sum and the +Inf bucket', async () => {
    const of = (scale: number) => ({
      name: 'e',
      exponentialHistogram: {
        aggregationTemporality: 2,
        dataPoints: [{ count: 3, sum: 2.5, scale, positive: { bucketCounts: [3] }, timeUnixNano: at(1) }],
      },
    })
    expect(await linesAfter({}, of(3))).toEqual(['e_bucket{le="+Inf"} 3', 'e_sum 2.5', 'e_count 3'])
    expect(await linesAfter({}, of(-5))).toEqual([])
  })

  test('a point without a value removes its series', async () => {
    const gone = { name: 'g', gauge: { dataPoints: [{ flags: 1, timeUnixNano: at(20) }] } }
    expect(await linesAfter({}, gauge('g', 1), gone)).toEqual([])
  })

  test('series expire by the time since they came, and give their place back', async () => {
    await using it = await exporter({ ...plain, metric_expiration: '1m', max_series: 1 })
    const { clock, meter } = it.made
    await it.consume(metrics({ metrics: [gauge('a', 1)] }))
    await it.consume(metrics({ metrics: [gauge('b', 1)] }))
    expect(await it.lines()).toEqual(['a 1'])
    expect(it.dropped('cardinality')).toBe(1)
    await clock.advance(59_000)
    expect(await it.lines()).toEqual(['a 1'])
    await clock.advance(2000)
    expect(await it.text()).toBe('')
    await it.consume(metrics({ metrics: [gauge('b', 1)] }))
    expect(await it.lines()).toEqual(['b 1'])
    await clock.advance(125_000) // Without a scrape.
    expect(meter.read('exporter_prometheus_series')).toBe(0)
  })

  test('the first type and help of a name stay', async () => {
    await using it = await exporter(plain)
    const described = (item: object, description: string) => ({ ...item, description })
    await it.consume(metrics({ metrics: [described(gauge('x', 1), 'one')] }))
    await it.consume(
      metrics({ metrics: [sum('x', 5, 0, 1, false, false), described(gauge('x', 2, {}, 1), 'two')] }),
    )
    expect(await it.text()).toBe('# HELP x one\n# TYPE x gauge\nx 2\n')
    await it.consume(metrics({ metrics: [{ ...histogram([1], [], 0, 1, false), name: 'x' }] }))
    expect(it.dropped('type_conflict')).toBe(1)
    const hint = { 'prometheus.type': 'unknown' }
    await it.consume(metrics({ metrics: [{ ...gauge('u', 1), metadata: hint }] }))
    expect(await it.text()).toContain('# TYPE u untyped')
  })

  test('two metrics or scopes with the same series: the first stays, the other is counted', async () => {
    await using it = await exporter(plain)
    await it.consume(metrics({ metrics: [gauge('a.b', 1), gauge('a_b', 2, {}, 1)] }))
    await it.consume(
      metrics(
        { scope: { name: 'one' }, metrics: [gauge('c', 1)] },
        { scope: { name: 'two' }, metrics: [gauge('c', 2, {}, 1)] },
        { scope: { name: 'one', version: '2' }, metrics: [gauge('c', 3, {}, 2)] },
      ),
    )
    expect(await it.lines()).toEqual(['a_b 1', 'c 3'])
    expect(it.dropped('duplicate')).toBe(2)
  })

  test('equal targets overwrite each other; target_info follows the last attributes', async () => {
    await using it = await exporter(plain)
    const of = (host: string, value: number) =>
      metrics({
        resource: { 'service.name': 's', 'service.instance.id': 'i', host },
        metrics: [gauge('g', value, {}, value)],
      })
    await it.consume(of('a', 1))
    await it.consume(of('b', 2))
    expect(await it.lines()).toEqual([
      'g{instance="i",job="s"} 2',
      'target_info{host="b",instance="i",job="s"} 1',
    ])
  })
})

test('shards are joined: one header a family, the earlier type wins', async () => {
  const form = { openMetrics: false, utf8: false, timestamps: false }
  const parts: Uint8Array[] = []
  const { writePart } = await import('./join.ts')
  const { FamilyStore } = await import('./families.ts')
  const { Accumulator } = await import('./accumulate.ts')
  const { baseOptions } = await import('./config.ts')
  const base = baseOptions(definition.config.parse({ endpoint: ':0', ...plain }))
  for (const [wallMs, service, item] of [
    [20, 'a', gauge('x', 1)],
    [10, 'b', gauge('x', 2)],
    [30, 'c', sum('x', 3, 0, 1, false, false)],
    [40, 'd', { ...histogram([1], [], 0, 1, false), name: 'x' }],
  ] as const) {
    const budget = { limit: 100, used: () => 0, tryTake: () => true, take() {}, give() {} }
    const store = new FamilyStore(budget)
    const silent = { onDropped() {}, onHelpConflict() {}, nowMs: () => 1, wallMs: () => wallMs }
    new Accumulator({ store, base, namespace: '', keepExemplars: false, ...silent }).add(
      metrics({ resource: { 'service.name': service, 'service.instance.id': 'i' }, metrics: [item] }).chunks,
    )
    parts.push(await writePart(store, form))
  }
  const { chunks, conflicts } = joinParts(parts, form)
  expect(Buffer.concat(chunks).toString()).toBe(
    [
      '# HELP target_info Target metadata',
      '# TYPE target_info gauge',
      ...['a', 'b', 'c', 'd'].map((job) => `target_info{instance="i",job="${job}"} 1`),
      '# HELP x ',
      '# TYPE x gauge',
      'x{instance="i",job="a"} 1',
      'x{instance="i",job="b"} 2',
      'x{instance="i",job="c"} 3',
      '',
    ].join('\n'),
  )
  expect(conflicts).toEqual(['x'])
})

test('random metrics give lines that can be read back, each series once', async () => {
  const key = fc.oneof(
    fc.constantFrom('a', 'a.b', 'a_b', 'le', 'job', '9'),
    fc.string({ maxLength: 4, unit: 'grapheme' }),
  )
  const attributes = fc.dictionary(key, fc.string({ maxLength: 4, unit: 'grapheme' }), { maxKeys: 5 })
  const items = fc.array(
    fc.record({
      name: fc.constantFrom('m', 'm.n', 'm_n', '9'),
      attributes,
      value: fc.double(),
      time: fc.nat(9),
    }),
    { maxLength: 12 },
  )
  const line =
    /^[A-Za-z_:][A-Za-z0-9_:]*(\{[A-Za-z_][A-Za-z0-9_]*="(\\["\\n]|[^"\\\n])*"(,[A-Za-z_][A-Za-z0-9_]*="(\\["\\n]|[^"\\\n])*")*\})? \S+$/u
  await fc.assert(
    fc.asyncProperty(items, async (given) => {
      await using it = await exporter({ without_scope_info: true })
      await it.consume(
        metrics({
          metrics: given.map((one) => gauge(one.name, one.value, { attributes: one.attributes }, one.time)),
        }),
      )
      const lines = await it.lines()
      for (const one of lines) expect(one).toMatch(line)
      const series = lines.map((one) => one.slice(0, one.lastIndexOf(' ')))
      expect(new Set(series).size).toBe(series.length)
    }),
    { numRuns: 60 },
  )
})
