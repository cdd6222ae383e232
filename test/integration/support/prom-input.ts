/**
 * Metrics of every type, from several services, in batches that follow each other in time. What the interop suites send to
 * Weir and to the Go collector alike.
 */
import type { Batch } from '../../../src/otlp/batch.ts'
import { type Attributes, Double, metrics } from '../../support/otlp.ts'

type Record_ = Readonly<Record<string, unknown>>

/** Seconds between two batches. */
const STEP_S = 10
const CUMULATIVE = 2
const DELTA = 1
/** DataPointFlags: no recorded value. */
const STALE = 1

export interface PromInput {
  readonly batches: readonly Batch[]
  /** Unix seconds of each batch. */
  readonly times: readonly number[]
}

/** Batches whose last one lies a few seconds before now. */
export function promInput(count = 4, services = SERVICES): PromInput {
  const last = Math.floor(Date.now() / 1000) - 5
  const times = Array.from({ length: count }, (_, index) => last - (count - 1 - index) * STEP_S)
  return { times, batches: times.map((time, index) => batchOf(services, time, times[0]! - 60, index, count)) }
}

export interface PromService {
  readonly resource: Attributes
  readonly scope?: { readonly name?: string; readonly version?: string; readonly attributes?: Attributes }
  /** Makes the values of this service its own. */
  readonly factor: number
}

export const SERVICES: readonly PromService[] = [
  {
    factor: 1,
    scope: { name: 'shop.meter', version: '1.2.3', attributes: { 'build.id': 7 } },
    resource: {
      'service.namespace': 'retail',
      'service.name': 'shop',
      'service.instance.id': 'shop-1',
      'host.name': 'alpha',
      'process.pid': 4711,
      'cloud.zones': ['a', 'b'],
    },
  },
  {
    factor: 2,
    scope: { name: 'shop.meter', version: '1.2.3' },
    resource: {
      'service.namespace': 'retail',
      'service.name': 'shop',
      'service.instance.id': 'shop-2',
      'host.name': 'beta',
    },
  },
  { factor: 3, scope: { name: 'pay.meter' }, resource: { 'service.name': 'pay', 'k8s.pod.name': 'pay-0' } },
  { factor: 4, resource: { 'service.name': 'bare', 'service.instance.id': 'bare-1' } },
  { factor: 5, resource: { 'service.name': 'lonely' } },
  { factor: 6, resource: { 'service.instance.id': 'nameless-1', color: 'red' } },
  { factor: 7, scope: { name: 'anonymous' }, resource: { color: 'blue' } },
  ...Array.from({ length: 6 }, (_, index) => ({
    factor: 10 + index,
    scope: { name: 'fleet', version: '0.1' },
    resource: { 'service.name': 'fleet', 'service.instance.id': `fleet-${index}`, region: 'eu' },
  })),
]

function batchOf(
  services: readonly PromService[],
  time: number,
  start: number,
  index: number,
  count: number,
): Batch {
  return metrics(
    ...services.map(({ resource, scope, factor }) => ({
      resource,
      ...(scope && { scope }),
      metrics: metricsOf({ time, start, index, count, factor }),
    })),
  )
}

interface Moment {
  readonly time: number
  readonly start: number
  readonly index: number
  readonly count: number
  readonly factor: number
}

function metricsOf(moment: Moment): Record_[] {
  return [
    ...numbers(moment),
    ...odd(moment),
    ...histograms(moment),
    ...exponentials(moment),
    ...summaries(moment),
  ]
}

const nanos = (seconds: number, offset = 0n) => BigInt(seconds) * 1_000_000_000n + offset

function numbers({ time, start, index, count, factor }: Moment): Record_[] {
  const times = { startTimeUnixNano: nanos(start), timeUnixNano: nanos(time, 123_456_789n) }
  const attributes = { 'http.method': 'GET', code: 200, ok: true, ratio: new Double(0.25), path: '/a"b\\c' }
  const exemplar = {
    timeUnixNano: nanos(time, 5_000_000n),
    asDouble: 0.5 * factor,
    traceId: `0102030405060708090a0b0c0d0e0f${(16 + index).toString(16)}`,
    spanId: '0102030405060708',
    filteredAttributes: { user: 'ann' },
  }
  const sum = (points: Record_[], isMonotonic: boolean, aggregationTemporality = CUMULATIVE) => ({
    sum: { dataPoints: points, isMonotonic, aggregationTemporality },
  })
  const last = index === count - 1
  return [
    {
      name: 'process.open_handles',
      description: 'Open handles.',
      gauge: { dataPoints: [{ ...times, attributes, asInt: -3n * BigInt(factor) }] },
    },
    {
      name: 'system.cpu.utilization',
      unit: '1',
      gauge: { dataPoints: [{ ...times, attributes: { cpu: 'c0' }, asDouble: 0.125 * factor + index }] },
    },
    { name: 'room.temperature', unit: 'Cel', gauge: { dataPoints: [{ ...times, asDouble: 21.5 }] } },
    { name: 'Odd.Näme-here', unit: '{thing}', gauge: { dataPoints: [{ ...times, asInt: 1 }] } },
    { name: '9lives', gauge: { dataPoints: [{ ...times, asInt: 9 }] } },
    {
      name: 'http.server.requests',
      unit: '{request}',
      description: 'Requests.',
      ...sum([{ ...times, attributes, asInt: BigInt(100 * factor + index), exemplars: [exemplar] }], true),
    },
    { name: 'disk.io', unit: 'By/s', gauge: { dataPoints: [{ ...times, asDouble: 1e9 * factor }] } },
    { name: 'sent.total.bytes', unit: 'By', ...sum([{ ...times, asDouble: 1234.5 * factor }], true) },
    { name: 'big.count', unit: 'ms', ...sum([{ ...times, asInt: 9_007_199_254_740_993n }], true) },
    { name: 'queue.size', unit: '{item}', ...sum([{ ...times, asInt: BigInt(factor - index) }], false) },
    { name: 'dropped.delta', ...sum([{ ...times, asInt: 5 }], true, DELTA) },
    {
      name: 'goes.stale',
      gauge: {
        dataPoints: [
          { ...times, attributes: { kind: 'stays' }, asInt: 1 },
          last
            ? { ...times, attributes: { kind: 'ends' }, flags: STALE }
            : { ...times, attributes: { kind: 'ends' }, asInt: 2 },
        ],
      },
    },
  ]
}

/** Labels, values and exemplars at the edges of what the translation allows. */
function odd({ time, start, index }: Moment): Record_[] {
  const times = { startTimeUnixNano: nanos(start), timeUnixNano: nanos(time, 123_456_789n) }
  const exemplar = { timeUnixNano: nanos(time, 9_000_000n), asInt: 3, filteredAttributes: { place: 'gauge' } }
  const gauge = (name: string, attributes: Attributes, value: Record_ = { asInt: 1 }) => ({
    name,
    gauge: { dataPoints: [{ ...times, attributes, ...value }] },
  })
  const sum = (name: string, isMonotonic: boolean, point: Record_) => ({
    name,
    sum: {
      dataPoints: [{ ...times, asInt: index, ...point }],
      isMonotonic,
      aggregationTemporality: CUMULATIVE,
    },
  })
  return [
    gauge('label.names', {
      'a.b': 'x',
      a_b: 'y',
      '0start': 'd',
      _private: 'p',
      'dots..twice': 't',
      __own__: 'o',
    }),
    gauge('label.values', {
      list: [1, 'two', new Double(0.5), true],
      map: { b: 1, a: { deep: 'x' } },
      bytes: new Uint8Array([1, 2, 254]),
      empty: '',
      text: 'quote " back \\ line \n end',
      big: 9_007_199_254_740_993n,
      tiny: new Double(1e-9),
      huge: new Double(1e21),
      whole: new Double(3),
    }),
    gauge('label.owned', { job: 'mine', instance: 'here', le: '5', quantile: '0.5', otel_scope_name: 'me' }),
    gauge('value.infinite', { sign: 'plus' }, { asDouble: Number.POSITIVE_INFINITY }),
    gauge('value.nan', {}, { asDouble: Number.NaN }),
    gauge('value.none', {}, {}),
    gauge('exemplar.gauge', {}, { asInt: 3, exemplars: [exemplar] }),
    sum('exemplar.updown', false, { exemplars: [exemplar] }),
    sum('exemplar.counter', true, {
      exemplars: [
        { ...exemplar, filteredAttributes: { short: 'kept' } },
        {
          ...exemplar,
          timeUnixNano: nanos(time, 11_000_000n),
          filteredAttributes: { long: 'x'.repeat(130) },
        },
      ],
    }),
    { ...sum('total_ratio', true, {}), unit: '1' },
    { ...gauge('typed.by.metadata', {}), metadata: { 'prometheus.type': 'unknown' } },
    { ...gauge('build.details', { version: '1' }), metadata: { 'prometheus.type': 'info' } },
    gauge('a:colon', {}),
    { ...gauge('per.unit', {}), unit: 'm/h' },
    { ...gauge('strange.unit', {}), unit: 'foo bar/{x}' },
    { ...gauge('percent.unit', {}), unit: '%' },
  ]
}

function histograms({ time, start, index, count, factor }: Moment): Record_[] {
  const times = { startTimeUnixNano: nanos(start), timeUnixNano: nanos(time, 123_456_789n) }
  const n = BigInt(index + 1) * BigInt(factor)
  const last = index === count - 1
  const histogram = (points: Record_[], aggregationTemporality = CUMULATIVE) => ({
    histogram: { dataPoints: points, aggregationTemporality },
  })
  const exemplars = [0.004, 0.3, 77].map((asDouble, place) => ({
    timeUnixNano: nanos(time, BigInt(place + 1) * 1_000_000n),
    asDouble,
    traceId: `${'ab'.repeat(15)}0${place}`,
    spanId: `${'cd'.repeat(7)}0${index}`,
  }))
  const point = {
    ...times,
    attributes: { route: '/cart' },
    count: 6n * n,
    sum: 12.5 * Number(n),
    bucketCounts: [n, n, 0n, 3n * n, n],
    explicitBounds: [0.005, 0.25, 1, 1_000_000],
    exemplars,
  }
  const { sum: _, ...sumless } = point
  return [
    { name: 'http.server.duration', unit: 's', description: 'How long.', ...histogram([point]) },
    { name: 'no.sum', unit: 'ms', ...histogram([{ ...sumless, exemplars: [] }]) },
    {
      name: 'no.bounds',
      ...histogram([{ ...times, count: n, sum: 1.5, bucketCounts: [n], explicitBounds: [] }]),
    },
    { name: 'delta.histogram', ...histogram([point], DELTA) },
    {
      name: 'stale.histogram',
      ...histogram([last ? { ...times, flags: STALE } : { ...point, attributes: {}, exemplars: [] }]),
    },
  ]
}

function exponentials({ time, start, index, count, factor }: Moment): Record_[] {
  const last = index === count - 1
  const times = { startTimeUnixNano: nanos(start), timeUnixNano: nanos(time, 123_456_789n) }
  const n = BigInt(index + 1) * BigInt(factor)
  const point = {
    ...times,
    attributes: { route: '/pay' },
    scale: 3,
    count: 12n * n,
    sum: 34.5 * Number(n),
    zeroCount: 2n * n,
    zeroThreshold: 0.001,
    positive: { offset: -2, bucketCounts: [n, 2n * n, 0n, 0n, 0n, 0n, 3n * n, 2n * n] },
    negative: { offset: 1, bucketCounts: [n, 0n, n] },
    exemplars: [
      {
        timeUnixNano: nanos(time, 7_000_000n),
        asDouble: 1.5,
        traceId: 'ef'.repeat(16),
        spanId: '12'.repeat(8),
      },
    ],
  }
  const exponential = (points: Record_[], aggregationTemporality = CUMULATIVE) => ({
    exponentialHistogram: { dataPoints: points, aggregationTemporality },
  })
  return [
    { name: 'rpc.duration', unit: 's', description: 'Calls.', ...exponential([point]) },
    { name: 'fine.duration', unit: 's', ...exponential([{ ...point, scale: 12, exemplars: [] }]) },
    { name: 'coarse.duration', unit: 's', ...exponential([{ ...point, scale: -6, exemplars: [] }]) },
    { name: 'delta.exponential', ...exponential([point], DELTA) },
    {
      name: 'stale.exponential',
      ...exponential([
        last ? { ...times, scale: 3, flags: STALE } : { ...point, attributes: {}, exemplars: [] },
      ]),
    },
  ]
}

function summaries({ time, start, index, count, factor }: Moment): Record_[] {
  const times = { startTimeUnixNano: nanos(start), timeUnixNano: nanos(time, 123_456_789n) }
  const ended = { ...times, count: 2, sum: 1, quantileValues: [{ quantile: 0.5, value: 0.5 }] }
  return [
    {
      name: 'gc.pause',
      unit: 's',
      description: 'Pauses.',
      summary: {
        dataPoints: [
          {
            ...times,
            attributes: { gen: 'old' },
            count: BigInt(10 * factor + index),
            sum: 0.75 * factor,
            quantileValues: [
              { quantile: 0, value: 0.001 },
              { quantile: 0.5, value: 0.01 * factor },
              { quantile: 0.99, value: 0.1 },
              { quantile: 1, value: 2 },
            ],
          },
        ],
      },
    },
    {
      name: 'stale.summary',
      summary: { dataPoints: [index === count - 1 ? { ...ended, flags: STALE } : ended] },
    },
  ]
}
