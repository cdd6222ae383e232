import { expect, test } from 'vitest'
import { type Attributes, metrics } from '../../../test/support/otlp.ts'
import type { FamilyOptions } from './families.ts'
import { cutRequests } from './requests.ts'
import { Translator } from './translate.ts'

const options: FamilyOptions = {
  namespace: '',
  targetInfo: true,
  metadata: false,
  startTimestamps: false,
  customBuckets: false,
  classicToo: false,
  base: {
    strategy: 'UnderscoreEscapingWithSuffixes',
    external: new Map([['cluster', 'a']]),
    scope: 'present',
    resourceLabels: () => true,
    labelStyle: 'collapse',
    targetInfo: 'informative',
  },
}

/** One export of a service: points with plain, joined and displaced labels, in every type, at this second. */
function exportOf(service: string, second: number) {
  const times = { timeUnixNano: BigInt(1_700_000_000 + second) * 1_000_000_000n }
  const exemplars = [{ ...times, asDouble: 0.3, filteredAttributes: [] }]
  const sets: Attributes[] = [
    {},
    { a: 'x', b: 1 },
    { b: 1, a: 'x' },
    { 'a.b': 'x', a_b: 'y' },
    { le: '7', n: 'm' },
  ]
  const point = (index: number) => ({ ...times, asInt: second * 10 + index, attributes: sets[index] ?? {} })
  const histogram = (index: number, bounds: number[], more: object = {}) => ({
    ...times,
    count: 10 + second,
    bucketCounts: [1, 2, 7 + second],
    explicitBounds: bounds,
    attributes: sets[index] ?? {},
    ...more,
  })
  const cumulative = { aggregationTemporality: 2 }
  const points = sets.map((_, index) => point(index))
  return metrics({
    resource: { 'service.name': service, region: 'r', a_b: 'resource' },
    scope: { name: 'lib' },
    metrics: [
      { name: 'requests', sum: { ...cumulative, isMonotonic: true, dataPoints: points } },
      { name: 'level', gauge: { dataPoints: [...points, { ...point(1), flags: second % 2 }] } },
      {
        name: 'seconds',
        histogram: {
          ...cumulative,
          dataPoints: [
            ...sets.map((_, index) => histogram(index, [0.1, 1], { sum: 4 })),
            histogram(1, [0.5, 2], { sum: 4, exemplars }),
            histogram(1, [0.1, 1]),
          ],
        },
      },
      {
        name: 'summary',
        summary: {
          dataPoints: [{ ...times, count: 1, sum: 2, quantileValues: [{ quantile: 0.5, value: 1 }] }],
        },
      },
    ],
  }).chunks
}

test('a batch that repeats its points gives the same requests whether the points are known or not', () => {
  const exports = [exportOf('a', 1), exportOf('b', 1), exportOf('a', 2), exportOf('a', 2), exportOf('b', 3)]
  const chunks = [...exports.flat(), ...exportOf('a', 1), ...exportOf('c', 9)]
  const translator = new Translator(options, 3_000_000, () => {})
  const run = () => {
    translator.translate(chunks)
    const blocks = cutRequests(translator.table).map(({ block }) => Buffer.from(block).toString('hex'))
    return { blocks, series: translator.table.count, samples: translator.table.samples }
  }
  const first = run() // The batch before had no repetitions, so nothing is kept yet.
  expect(first.samples).toBeGreaterThan(first.series * 1.25)
  expect(run()).toEqual(first)
  expect(run()).toEqual(first)
})
