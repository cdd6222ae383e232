import assert from 'node:assert/strict'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  Double,
  decodeMessage,
  encode,
  metrics,
  type Plain,
  START_TIME,
  TRACE_ID,
} from '../../../test/support/otlp.ts'
import { decodeSnappyBlock } from '../../net/snappy.ts'
import { Batch } from '../../otlp/batch.ts'
import type { FamilyOptions } from './families.ts'
import { cutRequests } from './requests.ts'
import type { WriteRequest } from './series.ts'
import { type DropReason, Translator } from './translate.ts'

const T = Number(START_TIME / 1_000_000n)
const at = { timeUnixNano: START_TIME }
const STALE = 0x7ff0000000000002n

const unpack = (request: WriteRequest) => decodeSnappyBlock(request.block, 1e8)

interface Options extends Partial<Omit<FamilyOptions, 'base'>> {
  readonly base?: Partial<FamilyOptions['base']>
}

function familyOptions(options: Options = {}): FamilyOptions {
  return {
    namespace: '',
    targetInfo: true,
    metadata: false,
    startTimestamps: false,
    customBuckets: false,
    classicToo: false,
    ...options,
    base: {
      strategy: 'UnderscoreEscapingWithSuffixes',
      external: new Map(),
      scope: 'present',
      resourceLabels: undefined,
      labelStyle: 'collapse',
      targetInfo: 'informative',
      ...options.base,
    },
  }
}

function series(batch: Batch, options: Options = {}) {
  const drops: [DropReason, string, number][] = []
  const translator = new Translator(familyOptions(options), 3_000_000, (...drop) => drops.push(drop))
  translator.translate(batch.chunks)
  const requests = cutRequests(translator.table)
  const { table } = translator
  if (!table.hasMore) {
    const plain = table.out.bytes.subarray(0, table.out.length)
    assert.ok(Buffer.concat(requests.map(unpack)).equals(plain), 'a block is not what was written')
  }
  const decoded = requests.flatMap(
    (request) => decodeMessage('prometheus.WriteRequest', unpack(request)).timeseries ?? [],
  )
  return { decoded, drops, text: decoded.map(describeSeries) }
}

function describeSeries(one: Plain): string {
  const labels = one.labels.map((label: Plain) => `${label.name}=${label.value}`).join(' ')
  const samples = (one.samples ?? []).map(
    (sample: Plain) => `${numberText(sample.value)}@${Number(sample.timestamp) - T}`,
  )
  const exemplars = (one.exemplars ?? []).map(
    (exemplar: Plain) =>
      `#${(exemplar.labels ?? []).map((label: Plain) => `${label.name}=${label.value}`).join(' ')} ${exemplar.value ?? 0}`,
  )
  return [`{${labels}}`, ...samples, ...exemplars].join(' ')
}

function numberText(value: number | undefined): string {
  return value === undefined ? '0' : Number.isNaN(value) ? 'NaN' : String(value)
}

const gauge = (name: string, point: object, extra: object = {}) => ({
  name,
  ...extra,
  gauge: { dataPoints: [{ ...at, ...point }] },
})
const sum = (name: string, point: object, isMonotonic = true, aggregationTemporality = 2) => ({
  name,
  sum: { dataPoints: [{ ...at, ...point }], isMonotonic, aggregationTemporality },
})

describe('types and temporality', () => {
  test('gauges and cumulative sums become one series each', () => {
    const batch = metrics({
      metrics: [
        gauge('temp', { asDouble: 1.5, attributes: { room: 'a' } }, { unit: 'Cel' }),
        sum('requests', { asInt: 7n }),
        sum('queue', { asInt: -3n }, false),
      ],
    })
    expect(series(batch).text).toEqual([
      '{__name__=temp_celsius room=a} 1.5@0',
      '{__name__=requests_total} 7@0',
      '{__name__=queue} -3@0',
    ])
  })

  test('delta and unspecified temporality are dropped, the rest goes on', () => {
    const histogram = (temporality: number) => ({
      name: `h${temporality}`,
      histogram: {
        dataPoints: [{ ...at, count: 1, bucketCounts: [1] }],
        aggregationTemporality: temporality,
      },
    })
    const batch = metrics({
      metrics: [sum('d', { asInt: 1n }, true, 1), histogram(1), histogram(0), gauge('g', { asInt: 1n })],
    })
    const { text, drops } = series(batch)
    expect(text).toEqual(['{__name__=g} 1@0'])
    expect(drops).toEqual([
      ['temporality', 'd', 1],
      ['temporality', 'h1', 1],
      ['temporality', 'h0', 1],
    ])
  })

  test('metrics without points or without a usable name are counted', () => {
    const batch = metrics({ metrics: [{ name: 'e', gauge: {} }, gauge('...', { asInt: 1n }), { name: 'n' }] })
    expect(series(batch).drops).toEqual([
      ['empty', 'e', 0],
      ['name', '...', 1],
      ['type', 'n', 0],
    ])
  })

  test('a histogram becomes cumulative buckets, sum and count; le has no exponent', () => {
    const point = { ...at, count: 10, sum: 12.5, bucketCounts: [1, 2, 3, 4], explicitBounds: [0.005, 1, 1e6] }
    const batch = metrics({
      metrics: [
        { name: 'lat', unit: 's', histogram: { aggregationTemporality: 2, dataPoints: [point] } },
        { name: 'bare', histogram: { aggregationTemporality: 2, dataPoints: [{ ...at, count: 3 }] } },
      ],
    })
    expect(series(batch).text).toEqual([
      '{__name__=lat_seconds_sum} 12.5@0',
      '{__name__=lat_seconds_count} 10@0',
      '{__name__=lat_seconds_bucket le=0.005} 1@0',
      '{__name__=lat_seconds_bucket le=1} 3@0',
      '{__name__=lat_seconds_bucket le=1000000} 6@0',
      '{__name__=lat_seconds_bucket le=+Inf} 10@0',
      '{__name__=bare_count} 3@0',
      '{__name__=bare_bucket le=+Inf} 3@0',
    ])
  })

  test('a summary becomes quantiles, sum and count', () => {
    const quantileValues = [{ quantile: 0, value: 1 }, { quantile: 0.99, value: 9 }, { quantile: 1 }]
    const batch = metrics({
      metrics: [{ name: 's', summary: { dataPoints: [{ ...at, count: 2, sum: 3, quantileValues }] } }],
    })
    expect(series(batch).text).toEqual([
      '{__name__=s_sum} 3@0',
      '{__name__=s_count} 2@0',
      '{__name__=s quantile=0} 1@0',
      '{__name__=s quantile=0.99} 9@0',
      '{__name__=s quantile=1} 0@0',
    ])
  })

  test('no recorded value is the stale marker, bit for bit, on every derived series', () => {
    const stale = { ...at, flags: 1 }
    const batch = metrics({
      metrics: [
        { name: 'g', gauge: { dataPoints: [stale] } },
        {
          name: 'h',
          histogram: {
            aggregationTemporality: 2,
            dataPoints: [{ ...stale, sum: 1, bucketCounts: [0, 0], explicitBounds: [1] }],
          },
        },
        { name: 's', summary: { dataPoints: [{ ...stale, quantileValues: [{ quantile: 0.5 }] }] } },
      ],
    })
    const translator = new Translator(familyOptions(), 300, () => {})
    translator.translate(batch.chunks)
    const bytes = Buffer.concat(cutRequests(translator.table).map(unpack))
    const marker = Buffer.alloc(8)
    marker.writeBigUInt64LE(STALE)
    let found = 0
    for (let from = bytes.indexOf(marker); from >= 0; from = bytes.indexOf(marker, from + 1)) found++
    expect(found).toBe(8)
    expect(translator.table.count).toBe(8)
  })

  test('an exponential histogram becomes a native one', () => {
    const point = {
      ...at,
      count: 12,
      sum: 5,
      scale: 1,
      zeroCount: 2,
      positive: { offset: -1, bucketCounts: [1, 0, 0, 3, 0, 0, 0, 4] },
      negative: { offset: 2, bucketCounts: [2] },
    }
    const batch = metrics({
      metrics: [{ name: 'e', exponentialHistogram: { aggregationTemporality: 2, dataPoints: [point] } }],
    })
    const [histogram] = series(batch).decoded[0].histograms
    expect(histogram).toMatchObject({
      countInt: '12',
      sum: 5,
      schema: 1,
      zeroThreshold: 1e-128,
      zeroCountInt: '2',
      positiveSpans: [{ length: 4 }, { offset: 3, length: 1 }],
      positiveDeltas: ['1', '-1', '0', '3', '1'],
      negativeSpans: [{ offset: 3, length: 1 }],
      negativeDeltas: ['2'],
      timestamp: String(T),
    })
  })

  test('finer scales are merged down to schema 8, coarser ones than -4 are dropped', () => {
    const of = (scale: number) => ({
      name: `e${scale}`,
      exponentialHistogram: {
        aggregationTemporality: 2,
        dataPoints: [{ ...at, count: 6, scale, positive: { offset: -3, bucketCounts: [1, 1, 1, 1, 1, 1] } }],
      },
    })
    const { decoded, drops } = series(metrics({ metrics: [of(10), of(-5)] }))
    expect(decoded[0].histograms[0]).toMatchObject({
      schema: 8,
      positiveSpans: [{ length: 2 }],
      positiveDeltas: ['3', '0'],
    })
    expect(drops).toEqual([['scale', 'e-5', 1]])
  })

  test('explicit histograms as native ones with custom bounds', () => {
    const point = { ...at, count: 6, sum: 2, bucketCounts: [1, 0, 5], explicitBounds: [0.5, 2] }
    const batch = metrics({
      metrics: [{ name: 'h', histogram: { aggregationTemporality: 2, dataPoints: [point] } }],
    })
    const only = series(batch, { customBuckets: true })
    expect(only.decoded).toHaveLength(1)
    expect(only.decoded[0].histograms[0]).toMatchObject({
      schema: -53,
      customValues: [0.5, 2],
      positiveSpans: [{ length: 3 }],
      positiveDeltas: ['1', '-1', '5'],
    })
    expect(series(batch, { customBuckets: true, classicToo: true }).decoded).toHaveLength(6)
  })
})

describe('labels', () => {
  const one = (attributes: object, options: Options = {}, resource = {}, scope = {}) =>
    series(metrics({ resource, scope, metrics: [gauge('m', { asInt: 1n, attributes })] }), options).text

  test('names are sanitised and sorted by bytes', () => {
    expect(one({ 'http.method': 'GET', '9a': 'd', Z: 'z', a__b: 'u', _x: 'p', __r__: 'r' })).toEqual([
      '{Z=z __name__=m __r__=r a_b=u http_method=GET key_9a=d key_x=p} 1@0',
    ])
  })

  test('keys that sanitise alike are joined in the order of the keys, equal values once', () => {
    expect(one({ 'a.b': '2', 'a-b': '1', 'a b': '1' })).toEqual(['{__name__=m a_b=1;2} 1@0'])
  })

  test('values of every kind become text, empty ones are left out', () => {
    const attributes = {
      b: true,
      i: -5,
      d: new Double(0.25),
      y: Buffer.from('hi'),
      l: [1, 'x'],
      m: { k: 1 },
      e: '',
    }
    expect(one(attributes)).toEqual(['{__name__=m b=true d=0.25 i=-5 l=[1,"x"] m={"k":1} y=aGk=} 1@0'])
  })

  test('job and instance beat the point, the point beats external labels, scope labels come along', () => {
    const resource = { 'service.name': 's', 'service.namespace': 'n', 'service.instance.id': 'i' }
    const options: Options = {
      targetInfo: false,
      base: {
        external: new Map([
          ['env', 'ext'],
          ['zone', 'z'],
        ]),
      },
    }
    const scope = { name: 'lib', version: '1', attributes: { k: 'v' } }
    expect(one({ job: 'mine', env: 'own' }, options, resource, scope)).toEqual([
      '{__name__=m env=own instance=i job=n/s otel_scope_k=v otel_scope_name=lib otel_scope_version=1 zone=z} 1@0',
    ])
    expect(one({}, { base: { scope: 'none' } }, {}, scope)).toEqual(['{__name__=m} 1@0'])
  })

  test('resource attributes as labels replace those of the point', () => {
    const options: Options = { targetInfo: false, base: { resourceLabels: (key) => key !== 'secret' } }
    expect(one({ host: 'p', 'a.b': 'p' }, options, { host: 'r', a_b: 'r', secret: 'x' })).toEqual([
      '{__name__=m a_b=p;r host=r} 1@0',
    ])
  })

  test('__name__ and le of a point give way', () => {
    expect(one({ __name__: 'x', le: '5' })).toEqual(['{__name__=m le=5} 1@0'])
    const point = { ...at, count: 1, attributes: { le: 'x', __name__: 'y', q: '1' } }
    const batch = metrics({
      metrics: [{ name: 'h', histogram: { aggregationTemporality: 2, dataPoints: [point] } }],
    })
    expect(series(batch).text).toEqual([
      '{__name__=h_count le=x q=1} 1@0',
      '{__name__=h_bucket le=+Inf q=1} 1@0',
    ])
  })

  test('bytes that are not UTF-8 are repaired', () => {
    const chunk = Buffer.from(
      metrics({ metrics: [gauge('m', { asInt: 1n, attributes: { a: 'XY' } })] }).chunks[0]!,
    )
    chunk[chunk.indexOf('XY')] = 0xff
    expect(series(new Batch('metrics', [chunk])).text).toEqual(['{__name__=m a=\ufffdY} 1@0'])
  })
})

describe('series', () => {
  test('all samples of one label set are in one series, by time, the last of equal times', () => {
    const point = (asInt: bigint, offsetMs: bigint) => ({
      asInt,
      timeUnixNano: START_TIME + offsetMs * 1_000_000n,
    })
    const batch = metrics(
      {
        metrics: [
          { name: 'm', gauge: { dataPoints: [point(3n, 30n), point(1n, 10n)] } },
          gauge('n', { asInt: 9n }),
        ],
      },
      { metrics: [{ name: 'm', gauge: { dataPoints: [point(2n, 20n), point(4n, 30n)] } }] },
    )
    expect(series(batch).text).toEqual(['{__name__=m} 1@10 2@20 4@30', '{__name__=n} 9@0'])
  })

  test('requests are cut before the limit, and hold every series once', () => {
    const dataPoints = Array.from({ length: 50 }, (_, i) => ({ ...at, asInt: i, attributes: { i: `v${i}` } }))
    const twice = [...dataPoints, { ...dataPoints[3], timeUnixNano: START_TIME + 5_000_000n }]
    for (const points of [dataPoints, twice]) {
      const translator = new Translator(familyOptions(), 300, () => {})
      translator.translate(metrics({ metrics: [{ name: 'm', gauge: { dataPoints: points } }] }).chunks)
      const requests = cutRequests(translator.table)
      const names = requests.flatMap((request) => {
        const bytes = unpack(request)
        const count = request.series
        expect(bytes.length).toBeLessThan(300)
        const list = decodeMessage('prometheus.WriteRequest', bytes).timeseries
        expect(list).toHaveLength(count)
        return list.map((one: Plain) => one.labels[1].value)
      })
      expect(new Set(names).size).toBe(50)
      expect(names).toHaveLength(50)
    }
  })

  test('target_info has the newest time of its resource and the rest of the attributes', () => {
    const resource = { 'service.name': 's', 'host.name': 'h', 'a..b': 'x' }
    const late = sum('d', { asInt: 1n, timeUnixNano: START_TIME + 9_000_000n }, true, 1)
    const { text } = series(metrics({ resource, metrics: [gauge('m', { asInt: 1n }), late] }), {
      namespace: 'ns',
    })
    expect(text).toEqual([
      '{__name__=ns_m job=s} 1@0',
      '{__name__=ns_target_info a__b=x host_name=h job=s} 1@9',
    ])
    expect(
      series(metrics({ resource: { 'service.name': 's' }, metrics: [gauge('m', { asInt: 1n })] })).text,
    ).toHaveLength(1)
    expect(
      series(metrics({ resource: { host: 's' }, metrics: [gauge('m', { asInt: 1n })] })).text,
    ).toHaveLength(1)
  })

  test('target_info takes its target also from an attribute or an external label, and a legal namespace', () => {
    const f = (resource: Record<string, string>, options: Options) =>
      series(metrics({ resource, metrics: [gauge('m', { asInt: 1n })] }), options).text.slice(1)
    const base = { external: new Map([['job', 'ext']]) }
    expect(f({ host: 'h' }, { base })).toEqual(['{__name__=target_info host=h job=ext} 1@0'])
    expect(f({ instance: 'i' }, {})).toEqual(['{__name__=target_info instance=i} 1@0'])
    expect(f({}, { base })).toEqual([])
    expect(f({ host: 'h' }, { base, namespace: '9my-app' })).toEqual([
      '{__name__=_9my_app_target_info host=h job=ext} 1@0',
    ])
  })

  test('exemplars stay with counters and with the first bucket that holds them', () => {
    const exemplar = (value: number, more: object = {}) => ({
      timeUnixNano: START_TIME,
      asDouble: value,
      ...more,
    })
    const ids = { traceId: Buffer.from(TRACE_ID, 'hex'), spanId: Buffer.from('0102030405060708', 'hex') }
    const point = { count: 3, bucketCounts: [1, 1, 1], explicitBounds: [1, 2] }
    const exemplars = [exemplar(2), exemplar(9), exemplar(0.5, ids)]
    const long = [{ key: 'k', value: { stringValue: 'x'.repeat(128) } }]
    const batch = metrics({
      metrics: [
        sum('c', {
          asInt: 1n,
          exemplars: [exemplar(1, { filteredAttributes: long }), { asInt: 4, timeUnixNano: START_TIME }],
        }),
        gauge('g', { asInt: 1n, exemplars: [exemplar(1)] }),
        { name: 'h', histogram: { aggregationTemporality: 2, dataPoints: [{ ...at, ...point, exemplars }] } },
      ],
    })
    expect(series(batch).text).toEqual([
      '{__name__=c_total} 1@0 # 1 # 4',
      '{__name__=g} 1@0',
      '{__name__=h_count} 3@0',
      `{__name__=h_bucket le=1} 1@0 #span_id=0102030405060708 trace_id=${TRACE_ID} 0.5`,
      '{__name__=h_bucket le=2} 2@0 # 2',
      '{__name__=h_bucket le=+Inf} 3@0 # 9',
    ])
  })
})

test('random metrics: labels are sorted, unique and not empty, and no series comes twice', () => {
  const key = fc.oneof(
    fc.constantFrom('a', 'a.b', 'a_b', 'le', '__name__', 'job', '_', '9', 'Z'),
    fc.string({ maxLength: 6, unit: 'grapheme' }),
  )
  const attributes = fc.dictionary(key, fc.oneof(fc.string({ maxLength: 5 }), fc.boolean(), fc.integer()), {
    maxKeys: 8,
  })
  const point = fc.record({
    attributes,
    timeUnixNano: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    asDouble: fc.double(),
  })
  const list = fc.array(
    fc.record({
      name: fc.string({ maxLength: 5 }),
      unit: fc.constantFrom('', 's', '1', 'By/s', '{x}'),
      points: fc.array(point, { maxLength: 4 }),
      kind: fc.nat(2),
    }),
    { maxLength: 5 },
  )
  const property = fc.property(list, attributes, attributes, (given, resource, scope) => {
    const items = given.map(({ name, unit, points, kind }) => {
      if (kind === 0) return { name, unit, gauge: { dataPoints: points } }
      if (kind === 1)
        return { name, unit, sum: { dataPoints: points, isMonotonic: true, aggregationTemporality: 2 } }
      const dataPoints = points.map((one) => ({
        ...one,
        asDouble: undefined,
        count: 2,
        bucketCounts: [1, 1],
        explicitBounds: [1],
      }))
      return { name, unit, histogram: { dataPoints, aggregationTemporality: 2 } }
    })
    const batch = metrics({ resource, scope: { name: 's', attributes: scope }, metrics: items })
    const { decoded } = series(batch, {
      base: { resourceLabels: () => true, external: new Map([['a', 'ext']]) },
    })
    const seen = new Set<string>()
    for (const one of decoded) {
      const names: string[] = one.labels.map((label: Plain) => label.name)
      const sorted = [...new Set(names)].sort((l, r) => Buffer.compare(Buffer.from(l), Buffer.from(r)))
      assert.deepEqual(names, sorted)
      for (const label of one.labels) {
        assert.ok(label.value !== undefined && label.value !== '')
        assert.match(label.name, /^[A-Za-z_][A-Za-z0-9_]*$/)
      }
      const identity = JSON.stringify(one.labels)
      assert.ok(!seen.has(identity))
      seen.add(identity)
    }
  })
  fc.assert(property, { numRuns: 300 })
})

test('cut and random bytes give an error of the wire or nothing, never anything else', () => {
  const whole = encode('metrics', {
    resourceMetrics: [
      {
        scopeMetrics: [
          {
            metrics: [
              {
                name: 'm',
                gauge: {
                  dataPoints: [{ asDouble: 1, attributes: [{ key: 'a', value: { stringValue: 'b' } }] }],
                },
              },
            ],
          },
        ],
      },
    ],
  })
  fc.assert(
    fc.property(fc.nat(whole.length), fc.nat(whole.length), fc.nat(255), (cut, at, byte) => {
      const bytes = Buffer.from(whole.subarray(0, cut))
      if (at < bytes.length) bytes[at] = byte
      try {
        series(new Batch('metrics', [bytes]))
      } catch (error) {
        assert.equal((error as Error).name, 'WireError')
      }
    }),
    { numRuns: 500 },
  )
})
