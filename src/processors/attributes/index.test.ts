import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  actionArbitrary,
  applyActions,
  attributesArbitrary,
} from '../../../test/support/attribute-actions.ts'
import { createProcessor } from '../../../test/support/create-test.ts'
import {
  attributesOf,
  Double,
  decodeBatch,
  encode,
  logs,
  metrics,
  type Plain,
  traces,
} from '../../../test/support/otlp.ts'
import { ConfigError } from '../../errors.ts'
import { Batch } from '../../otlp/batch.ts'
import definition from './index.ts'

const MARK = [{ key: 'mark', value: true, action: 'insert' }]

async function edit(batch: Batch, config: object): Promise<Batch> {
  await using attributes = createProcessor(definition, config, { signal: batch.signal })
  await attributes.consume(batch)
  return attributes.sink.take()[0]!
}

/** All items of a decoded request; of metrics the data points. */
function itemsOf(request: Plain): Plain[] {
  const resources: Plain[] = request.resourceSpans ?? request.resourceLogs ?? request.resourceMetrics ?? []
  const scopes: Plain[] = resources.flatMap(
    (group) => group.scopeSpans ?? group.scopeLogs ?? group.scopeMetrics ?? [],
  )
  return scopes.flatMap((scope) =>
    scope.metrics === undefined
      ? (scope.spans ?? scope.logRecords ?? [])
      : scope.metrics.flatMap((metric: Plain) => dataOf(metric).dataPoints ?? []),
  )
}

function dataOf(metric: Plain): Plain {
  return metric.gauge ?? metric.sum ?? metric.histogram ?? metric.exponentialHistogram ?? metric.summary ?? {}
}

/** Which items the actions were applied to. */
async function marked(batch: Batch, match: object): Promise<boolean[]> {
  const output = await edit(batch, { actions: MARK, ...match })
  expect(output.itemCount).toBe(batch.itemCount)
  return itemsOf(decodeBatch(output)).map((item) => attributesOf(item.attributes)['mark'] === true)
}

const strict = (properties: object) => ({ match_type: 'strict', ...properties })
const regexp = (properties: object) => ({ match_type: 'regexp', ...properties })

describe('edits', () => {
  const five = metrics({
    metrics: [
      { name: 'g', gauge: { dataPoints: [{ asInt: 1, attributes: { k: 'v' } }, { asDouble: 2 }] } },
      { name: 's', sum: { dataPoints: [{ asInt: 1 }], isMonotonic: true, aggregationTemporality: 2 } },
      { name: 'h', histogram: { dataPoints: [{ count: 1, bucketCounts: [1], attributes: { k: 'v' } }] } },
      { name: 'e', exponentialHistogram: { dataPoints: [{ count: 1, scale: 2 }] } },
      { name: 'y', summary: { dataPoints: [{ count: 1, quantileValues: [{ quantile: 0.5, value: 1 }] }] } },
    ],
  })

  test('data points of all five kinds, and nothing else of them', async () => {
    const output = await edit(five, { actions: MARK })
    const without = decodeBatch(output)
    for (const point of itemsOf(without)) {
      expect(attributesOf(point.attributes)).toMatchObject({ mark: true })
      point.attributes = point.attributes.filter((pair: Plain) => pair.key !== 'mark')
      if (point.attributes.length === 0) delete point.attributes
    }
    expect(without).toEqual(decodeBatch(five))
  })

  test('a batch in which nothing changes is handed on as it is', async () => {
    expect(await edit(five, { actions: [{ key: 'absent', action: 'delete' }] })).toBe(five)
    expect(await edit(five, { actions: MARK, include: strict({ metric_names: ['other'] }) })).toBe(five)
  })

  test('decode(edit(bytes)) equals edit(decode(bytes)) for random items and actions', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('traces' as const, 'logs' as const, 'metrics' as const),
        fc.array(fc.array(fc.array(attributesArbitrary, { maxLength: 3 }), { maxLength: 3 }), {
          maxLength: 3,
        }),
        fc.array(actionArbitrary, { minLength: 1, maxLength: 5 }),
        async (signal, shape, actions) => {
          const item = (attributes: Plain[]) =>
            signal === 'metrics'
              ? { histogram: { dataPoints: [{ attributes, flags: 1 }] } }
              : { attributes, flags: 1 }
          const [suffix, name] = {
            traces: ['Spans', 'spans'],
            logs: ['Logs', 'logRecords'],
            metrics: ['Metrics', 'metrics'],
          }[signal]
          const request = {
            [`resource${suffix}`]: shape.map((scopes) => ({
              resource: { attributes: [{ key: 'a', value: { stringValue: 'resource' } }] },
              [`scope${suffix}`]: scopes.map((items) => ({ scope: { name: 's' }, [name!]: items.map(item) })),
            })),
          }
          const batch = new Batch(signal, [encode(signal, request)])
          const output = await edit(batch, { actions })
          expect(output.itemCount).toBe(batch.itemCount)
          const want = itemsOf(decodeBatch(batch)).map((each) => applyActions(each.attributes ?? [], actions))
          expect(itemsOf(decodeBatch(output)).map((each) => each.attributes ?? [])).toEqual(want)
        },
      ),
      { numRuns: 200 },
    )
  })
})

describe('include and exclude', () => {
  const shop = traces(
    {
      resource: { 'service.name': 'shop', zone: 'eu' },
      scope: { name: 'http', version: '1.2' },
      spans: [
        { name: 'GET /cart', kind: 2, attributes: { code: 200, user: 'ann' } },
        { name: 'POST /cart', kind: 3, attributes: { code: 500, ratio: new Double(1), ok: false } },
      ],
    },
    {
      resource: { zone: 'us' },
      scope: { name: 'db' },
      spans: ['query', { name: 'GET', attributes: { code: 200 } }],
    },
  )
  const f = async (match: object, want: string) => {
    const bits = await marked(shop, match)
    expect(bits.map(Number).join('')).toBe(want)
  }

  test('spans by service, name, kind, attributes, resource and library', async () => {
    await f({}, '1111')
    await f({ include: strict({ services: ['shop', 'other'] }) }, '1100')
    await f({ include: strict({ services: ['<nil-service-name>'] }) }, '0011')
    await f({ include: strict({ span_names: ['query', 'GET /cart'] }) }, '1010')
    await f({ include: regexp({ span_names: ['GET'] }) }, '1001')
    await f({ include: strict({ span_kinds: ['SPAN_KIND_CLIENT'] }) }, '0100')
    await f({ include: regexp({ span_kinds: ['SERVER|CLIENT'] }) }, '1100')
    await f({ include: strict({ attributes: [{ key: 'code', value: 200 }] }) }, '1001')
    await f({ include: strict({ attributes: [{ key: 'code', value: 200 }, { key: 'user' }] }) }, '1000')
    await f({ include: strict({ attributes: [{ key: 'code', value: '200' }] }) }, '0000')
    await f(
      {
        include: strict({
          attributes: [
            { key: 'ratio', value: 1 },
            { key: 'ok', value: false },
          ],
        }),
      },
      '0100',
    )
    await f({ include: regexp({ attributes: [{ key: 'code', value: '^5..$' }] }) }, '0100')
    await f({ include: strict({ resources: [{ key: 'zone', value: 'us' }] }) }, '0011')
    await f(
      { include: regexp({ resources: [{ key: 'zone', value: '.' }, { key: 'service.name' }] }) },
      '1100',
    )
    await f({ include: strict({ libraries: [{ name: 'http', version: '1.2' }] }) }, '1100')
    await f({ include: strict({ libraries: [{ name: 'http', version: '' }, { name: 'db' }] }) }, '0011')
    await f({ include: strict({ libraries: [{ name: 'db', version: '' }] }) }, '0011')
  })

  test('all properties of a block have to match; exclude comes after include', async () => {
    await f({ include: strict({ services: ['shop'], span_names: ['query', 'GET /cart'] }) }, '1000')
    await f({ exclude: strict({ services: ['shop'] }) }, '0011')
    await f(
      { include: strict({ services: ['shop'] }), exclude: strict({ span_names: ['GET /cart'] }) },
      '0100',
    )
    await f(
      { include: regexp({ regexp: { cacheenabled: true, cachemaxnumentries: 1 }, span_names: ['GET'] }) },
      '1001',
    )
  })

  test('log records by body, severity text and number, attributes', async () => {
    const batch = logs({
      logs: [
        { body: 'started', severityNumber: 9, severityText: 'INFO' },
        { body: { event: 'failed' }, severityNumber: 17, severityText: 'ERROR', attributes: { k: 1 } },
        { body: 'plain' },
      ],
    })
    const g = async (properties: object, want: string) =>
      expect((await marked(batch, { include: properties })).map(Number).join('')).toBe(want)
    await g(strict({ log_bodies: ['plain', 'started'] }), '101')
    await g(regexp({ log_bodies: ['"failed"'] }), '010')
    await g(strict({ log_severity_texts: ['INFO'] }), '100')
    await g(strict({ log_severity_number: { min: 9 } }), '110')
    await g(strict({ log_severity_number: { min: 10, match_undefined: true } }), '011')
    await g(strict({ attributes: [{ key: 'k', value: 1 }], log_severity_number: { min: 17 } }), '010')
  })

  test('data points by metric name and resource, over several batches', async () => {
    const point = { dataPoints: [{ asInt: 1 }, { asInt: 2 }] }
    const a = metrics({
      resource: { r: 1 },
      metrics: [
        { name: 'cpu.time', sum: point },
        { name: 'up', gauge: point },
      ],
    })
    const b = metrics({ resource: { r: 2 }, metrics: [{ name: 'up', gauge: point }] })
    await using attributes = createProcessor(
      definition,
      {
        actions: MARK,
        include: regexp({ metric_names: ['^cpu', 'u$'], resources: [{ key: 'r', value: '1' }] }),
      },
      { signal: 'metrics' },
    )
    for (const batch of [a, b, a]) await attributes.consume(batch)
    const bits = attributes.sink.take().map((batch) =>
      itemsOf(decodeBatch(batch))
        .map((item) => Number(attributesOf(item.attributes)['mark'] === true))
        .join(''),
    )
    expect(bits).toEqual(['1100', '00', '1100'])
  })
})

describe('config', () => {
  test('bad blocks are refused with their place', () => {
    const f = (include: object, path: string, message: RegExp) => {
      const result = definition.config.safeParse({ actions: MARK, include })
      const issues = result.error?.issues ?? []
      expect(issues.map((issue) => issue.path.join('.'))).toContain(path)
      expect(issues.map((issue) => issue.message).join()).toMatch(message)
    }
    f({ services: ['a'] }, 'include.match_type', /strict or regexp/)
    f(strict({}), 'include', /at least one of/)
    f(strict({ span_kinds: ['SERVER'] }), 'include.span_kinds.0', /is not one of/)
    f(regexp({ span_names: ['ok', '('] }), 'include.span_names.1', /invalid pattern/)
    f(regexp({ attributes: [{ key: 'a', value: 5 }] }), 'include.attributes.0.value', /text values only/)
    f(strict({ attributes: [{ key: '' }] }), 'include.attributes.0.key', /required/)
    f(strict({ services: ['a'], names: ['b'] }), 'include', /Unrecognized key/)
    expect(definition.config.safeParse({ actions: [{ key: 'k', value: 1 }] }).success).toBe(false)
    expect(definition.config.safeParse({ actions: [] }).success).toBe(false)
  })

  test('a property of another signal is an error of the pipeline', () => {
    const f = (signal: 'traces' | 'logs' | 'metrics', properties: object) =>
      expect(() =>
        createProcessor(definition, { actions: MARK, include: strict(properties) }, { signal }),
      ).toThrow(ConfigError)
    f('traces', { log_bodies: ['a'] })
    f('logs', { span_names: ['a'] })
    f('logs', { services: ['a'] })
    f('metrics', { attributes: [{ key: 'a' }] })
  })
})

test('broken bytes reject and do not throw', async () => {
  await using attributes = createProcessor(definition, { actions: MARK })
  await expect(attributes.consume(new Batch('traces', [Buffer.from([0x0a, 9, 1])], 1))).rejects.toThrow(
    /byte/,
  )
})
