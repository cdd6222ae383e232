import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createProcessor, Sink } from '../../../test/support/create-test.ts'
import {
  type Attributes,
  attributesOf,
  Double,
  decodeBatch,
  logs,
  type Plain,
  traces,
} from '../../../test/support/otlp.ts'
import type { Batch } from '../../otlp/batch.ts'
import definition from './index.ts'
import { probabilityToThreshold } from './threshold.ts'

const MOST = 2n ** 56n

interface SpanInput {
  readonly traceId?: string
  readonly traceState?: string
  readonly attributes?: Attributes
}

function sampler(config: object, signal: 'traces' | 'logs' = 'traces') {
  return createProcessor(definition, { sampling_percentage: 50, ...config }, { signal })
}

async function run(made: ReturnType<typeof sampler>, batch: Batch): Promise<Plain[]> {
  await made.consume(batch)
  return made.sink.take().flatMap((output) => {
    const [resources] = Object.values(decodeBatch(output)) as [Plain[]]
    return resources.flatMap((resource) =>
      (resource.scopeSpans ?? resource.scopeLogs).flatMap((scope: Plain) => scope.spans ?? scope.logRecords),
    )
  })
}

/** The tracestate of the span when it is kept ('' when it has none), undefined when it is dropped. */
async function span(config: object, input: SpanInput): Promise<string | undefined> {
  await using made = sampler(config)
  const [kept] = await run(made, traces({ spans: [{ name: 'a', ...input }] }))
  return kept && (kept.traceState ?? '')
}

/** The attributes of the record when it is kept. */
async function record(config: object, attributes: Attributes, traceId?: string) {
  await using made = sampler(config, 'logs')
  const [kept] = await run(made, logs({ logs: [{ body: 'a', attributes, ...(traceId && { traceId }) }] }))
  return kept && attributesOf(kept.attributes)
}

const id = (randomness: string) => `000000000000000000${randomness}`

function fnv(seed: number, bytes: Uint8Array): bigint {
  const seedBytes = Buffer.alloc(4)
  seedBytes.writeUInt32LE(seed)
  let hash = 0x811c9dc5n
  for (const byte of [...seedBytes, ...bytes]) hash = ((hash ^ BigInt(byte)) * 0x01000193n) & 0xffffffffn
  return hash
}

function hashRandomness(seed: number, bytes: Uint8Array): bigint {
  const hash = fnv(seed, bytes)
  const bucket = hash & 0x3fffn
  const rest = hash >> 18n
  return ((16383n - bucket) << 42n) | ((rest ^ (rest << 10n)) << 14n) | bucket
}

const hex14 = (value: bigint) => value.toString(16).padStart(14, '0')
const thresholdText = (value: bigint) => hex14(value).replace(/0+$/, '') || '0'

test('thresholds have the digits that the precision asks for, and more near 0 and 1', () => {
  const f = (percentage: number, precision: number) => {
    const threshold = probabilityToThreshold(percentage / 100, precision)!
    return thresholdText((BigInt(threshold.high) << 28n) | BigInt(threshold.low))
  }
  expect(f(100, 4)).toBe('0')
  expect(f(50, 4)).toBe('8')
  expect(f(25, 4)).toBe('c')
  expect(f(10, 4)).toBe('e666')
  expect(f(100 / 3, 4)).toBe('aaab')
  expect(f(1, 4)).toBe('fd70a')
  expect(f(0.1, 4)).toBe('ffbe77')
  expect(f(90, 4)).toBe('199a')
  expect(f(99, 4)).toBe('028f6')
  expect(f(10, 1)).toBe('e')
  expect(f(10, 14)).toBe('e6666666666666')
  expect(probabilityToThreshold(2 ** -57, 4)).toBeUndefined()
  expect(probabilityToThreshold(1.01, 4)).toBeUndefined()
})

describe('hash_seed', () => {
  test('agrees with the plain computation for random ids, seeds and percentages', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ minLength: 16, maxLength: 16 }).filter((bytes) => bytes.some((byte) => byte !== 0)),
        fc.integer({ min: 0, max: 0xffffffff }),
        fc.integer({ min: 1, max: 10_000 }),
        async (bytes, seed, hundredths) => {
          const percentage = Math.fround(hundredths / 100)
          const kept = BigInt(Math.trunc(Math.fround(percentage * Math.fround(163.84))))
          const randomness = hashRandomness(seed, bytes)
          const want =
            (randomness & 0x3fffn) < kept
              ? `ot=rv:${hex14(randomness)};th:${thresholdText((16384n - kept) << 42n)}`
              : undefined
          const config = { sampling_percentage: hundredths / 100, hash_seed: seed }
          expect(await span(config, { traceId: Buffer.from(bytes).toString('hex') })).toBe(want)
        },
      ),
      { numRuns: 150 },
    )
  })

  test('what says already how it was sampled is dropped, or kept as it is', async () => {
    for (const traceState of ['ot=th:8', 'ot=rv:80000000000000', 'broken', 'ot=th:xyz']) {
      expect(await span({ sampling_percentage: 100 }, { traceState })).toBeUndefined()
      expect(await span({ sampling_percentage: 100, fail_closed: false }, { traceState })).toBe(traceState)
    }
  })

  test('other vendors and fields are kept, and the result is normalised', async () => {
    const traceState = ' a=1 ,ot=x:y;z:, t@v=2 3'
    const kept = await span({ sampling_percentage: 100 }, { traceState })
    expect(kept).toMatch(/^ot=rv:[0-9a-f]{14};th:0;x:y;z:,a=1,t@v=2 3$/)
  })

  test('of several ot entries the last counts', async () => {
    const kept = await span({ sampling_percentage: 100 }, { traceState: 'ot=th:8;a:1,v=1,ot=b:2' })
    expect(kept).toMatch(/^ot=rv:[0-9a-f]{14};th:0;b:2,v=1$/)
  })

  test('0, and what rounds to no bucket, drops everything; above 100 keeps everything', async () => {
    expect(await span({ sampling_percentage: 0 }, {})).toBeUndefined()
    expect(await span({ sampling_percentage: 0.005 }, {})).toBeUndefined()
    expect(await span({ sampling_percentage: 250 }, {})).toMatch(/;th:0$/)
  })

  test('log records by trace id, or by an attribute', async () => {
    const config = { sampling_percentage: 100, hash_seed: 7 }
    const traceId = '0102030405060708090a0b0c0d0e0f10'
    const byId = hex14(hashRandomness(7, Buffer.from(traceId, 'hex')))
    const all = { 'sampling.threshold': '0' }
    expect(await record(config, {}, traceId)).toEqual({ ...all, 'sampling.randomness': byId })
    expect(await record(config, {})).toBeUndefined()
    const source = { ...config, attribute_source: 'record', from_attribute: 'k' }
    const byText = { ...all, 'sampling.randomness': hex14(hashRandomness(7, Buffer.from('text'))) }
    expect(await record(source, { k: 'text' }, traceId)).toEqual({ k: 'text', ...byText })
    const byInt = { ...all, 'sampling.randomness': hex14(hashRandomness(7, Buffer.from('12'))) }
    expect(await record(source, { k: 12 })).toEqual({ k: 12n, ...byInt })
    expect(await record(source, {}, traceId)).toBeUndefined()
    expect(await record({ ...config, from_attribute: 'k' }, { k: 'text' })).toEqual({ k: 'text', ...byText })
    expect(await record(config, { 'sampling.threshold': '8' }, traceId)).toBeUndefined()
    expect(await record({ ...config, fail_closed: false }, {})).toEqual(all)
    expect(await span({ fail_closed: false }, { traceId: '00'.repeat(16) })).toBe('ot=rv:ffffffffffffff;th:0')
    expect(await record({ ...config, fail_closed: false }, { 'sampling.threshold': '8' }, traceId)).toEqual({
      'sampling.threshold': '8',
    })
  })
})

describe('proportional and equalizing', () => {
  const half = { mode: 'proportional', sampling_percentage: 50 }
  const equal = { mode: 'equalizing', sampling_percentage: 50 }

  test('decide by the last 7 bytes of the trace id, or by rv', async () => {
    for (const config of [half, equal]) {
      expect(await span(config, { traceId: id('80000000000000') })).toBe('ot=th:8')
      expect(await span(config, { traceId: id('7fffffffffffff') })).toBeUndefined()
      expect(await span(config, { traceId: id('00000000000001'), traceState: 'ot=rv:80000000000000' })).toBe(
        'ot=rv:80000000000000;th:8',
      )
      expect(await span(config, { traceId: '00'.repeat(16) })).toBeUndefined()
    }
  })

  test('proportional multiplies with the incoming probability, equalizing only lowers it', async () => {
    const input = (randomness: string, th: string) => ({ traceId: id(randomness), traceState: `ot=th:${th}` })
    expect(await span(half, input('c0000000000000', '8'))).toBe('ot=th:c')
    expect(await span(half, input('b0000000000000', '8'))).toBeUndefined()
    expect(await span(equal, input('c0000000000000', '4'))).toBe('ot=th:8')
    expect(await span(equal, input('f0000000000000', 'e'))).toBe('ot=th:e')
    expect(await span({ ...half, sampling_percentage: 100 }, input('f0000000000000', 'e'))).toBe('ot=th:e')
  })

  test('an incoming threshold above the randomness is an error, cleared if the span is kept', async () => {
    const input = { traceId: id('10000000000000'), traceState: 'ot=th:8;x:y' }
    expect(await span(equal, input)).toBeUndefined()
    expect(await span({ ...equal, fail_closed: false }, input)).toBe('ot=th:0;x:y')
  })

  test('log records carry it in attributes', async () => {
    const traceId = id('c0000000000000')
    expect(await record(half, { k: 1 }, traceId)).toEqual({ k: 1n, 'sampling.threshold': '8' })
    expect(await record(half, { 'sampling.threshold': '8' }, traceId)).toEqual({ 'sampling.threshold': 'c' })
    const randomness = { 'sampling.randomness': 'a0000000000000' }
    expect(await record(half, randomness)).toEqual({ ...randomness, 'sampling.threshold': '8' })
    expect(await record(half, { 'sampling.randomness': 'a' }, traceId)).toBeUndefined()
    expect(await record(half, {})).toBeUndefined()
  })

  test('agree with the plain computation for random thresholds', async () => {
    const digits = fc.bigInt({ min: 0n, max: MOST - 1n })
    await fc.assert(
      fc.asyncProperty(
        digits,
        fc.option(digits),
        fc.constantFrom('proportional', 'equalizing'),
        fc.integer({ min: 1, max: 999 }),
        async (randomness, incoming, mode, thousandths) => {
          const percentage = Math.fround(thousandths / 10)
          const toThreshold = (probability: number) => {
            const threshold = probabilityToThreshold(probability, 14)
            return threshold === undefined ? MOST : (BigInt(threshold.high) << 28n) + BigInt(threshold.low)
          }
          const own = toThreshold(percentage / 100)
          const product = toThreshold((Number(MOST - (incoming ?? 0n)) / 2 ** 56) * (percentage / 100))
          const larger = incoming !== null && incoming > own ? incoming : own
          const wanted = mode === 'equalizing' ? larger : product
          const kept = randomness !== 0n && (incoming ?? 0n) <= randomness && wanted <= randomness
          const final = incoming !== null && incoming > wanted ? incoming : wanted
          const config = { mode, sampling_percentage: thousandths / 10, sampling_precision: 14 }
          const traceState = incoming === null ? {} : { traceState: `ot=th:${hex14(incoming)}` }
          expect(await span(config, { traceId: id(hex14(randomness)), ...traceState })).toBe(
            kept ? `ot=th:${thresholdText(final)}` : undefined,
          )
        },
      ),
      { numRuns: 200 },
    )
  })
})

describe('priority', () => {
  test('spans: 0 drops, a positive number keeps, whatever else is said', async () => {
    const f = (config: object, value: string | number | boolean | Double) =>
      span(config, { attributes: { 'sampling.priority': value } })
    for (const value of [0, '0', '0.0', new Double(0)])
      expect(await f({ sampling_percentage: 100 }, value)).toBeUndefined()
    for (const value of [1, '2.5', new Double(0.1)])
      expect(await f({ sampling_percentage: 0 }, value)).toBe('ot=th:0')
    for (const value of [-1, 'high', true, ''])
      expect(await f({ sampling_percentage: 0 }, value)).toBeUndefined()
    const broken = { traceState: '=', attributes: { 'sampling.priority': 1 } }
    expect(await span({}, broken)).toBe('=')
  })

  test('logs: a percentage; 0, above 100 and text do not count', async () => {
    const config = { mode: 'equalizing', sampling_percentage: 50, sampling_priority: 'p' }
    const low = id('30000000000000')
    expect(await record(config, { p: 90 }, low)).toEqual({ p: 90n, 'sampling.threshold': '199a' })
    expect(await record(config, { p: new Double(10) }, id('a0000000000000'))).toBeUndefined()
    for (const p of [0, 101, '90']) {
      expect(await record(config, { p }, low)).toBeUndefined()
      expect(await record(config, { p }, id('80000000000000'))).toMatchObject({ 'sampling.threshold': '8' })
    }
  })
})

test('counts items by policy, and hands on nothing when nothing is left', async () => {
  const sink = new Sink()
  await using made = createProcessor(
    definition,
    { mode: 'equalizing', sampling_percentage: 50 },
    { next: sink },
  )
  const spans = [
    { traceId: id('f0000000000000') },
    { traceId: id('10000000000000') },
    { traceId: id('10000000000000'), traceState: 'ot=rv:f0000000000000' },
    { traceId: '00'.repeat(16) },
    { traceId: id('10000000000000'), attributes: { 'sampling.priority': 1 } },
  ]
  await made.consume(traces({ spans }))
  expect(sink.take().map((batch) => batch.itemCount)).toEqual([3])
  const read = (policy: string, sampled: string) =>
    made.meter.read('processor_probabilistic_sampler_count_traces_sampled', { policy, sampled })
  expect(read('trace_id_w3c', 'true')).toBe(1)
  expect(read('trace_id_w3c', 'false')).toBe(1)
  expect(read('sampling_randomness', 'true')).toBe(1)
  expect(read('missing_randomness', 'false')).toBe(1)
  expect(read('sampling_priority', 'true')).toBe(1)
  await made.consume(traces({ spans: [spans[1]!] }))
  expect(sink.batches).toHaveLength(0)
})

test('bad configs are refused with their place', () => {
  const f = (config: object, path: string) => {
    const result = definition.config.safeParse(config)
    expect(result.error?.issues.map((issue) => issue.path.join('.'))).toEqual([path])
  }
  f({ sampling_percentage: -1 }, 'sampling_percentage')
  f({ sampling_percentage: 1e-18 }, 'sampling_percentage')
  f({ sampling_percentage: 1e39 }, 'sampling_percentage')
  f({ sampling_percentage: Number.NaN }, 'sampling_percentage')
  f({ mode: 'random' }, 'mode')
  f({ sampling_precision: 0 }, 'sampling_precision')
  f({ sampling_precision: 15 }, 'sampling_precision')
  f({ attribute_source: 'traceid' }, 'attribute_source')
})
