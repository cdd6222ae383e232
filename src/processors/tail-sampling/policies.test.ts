/**
 * Policies against a plain reference: random traces as objects, the rules of each policy written down once
 * more in the most direct way, and the same traces, encoded and spread over interleaved requests, through the
 * processor. Decisions are compared trace by trace. The seed is printed when a case fails.
 */
import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createProcessor } from '../../../test/support/create-test.ts'
import { TestHost } from '../../../test/support/host.ts'
import { Double, type Value } from '../../../test/support/otlp.ts'
import { keptTraces, request, type TestSpan, traceId } from '../../../test/support/tail-sampling.ts'
import type { Batch } from '../../otlp/batch.ts'
import definition from './index.ts'

// biome-ignore lint/suspicious/noExplicitAny: policies as users write them.
type Raw = any

function values(span: TestSpan, key: string): { value: Value; onSpan: boolean }[] {
  const found: { value: Value; onSpan: boolean }[] = []
  if (span.resource && key in span.resource) found.push({ value: span.resource[key] ?? null, onSpan: false })
  if (span.attributes && key in span.attributes)
    found.push({ value: span.attributes[key] ?? null, onSpan: true })
  return found
}

/** The rules, once more: true is sampled, 'dropped' is dropped. */
function decide(policy: Raw, spans: readonly TestSpan[]): boolean | 'dropped' {
  const block = policy[policy.type]
  const any = (test: (value: Value, onSpan: boolean) => boolean) => {
    const hit = spans.some((span) => values(span, block.key).some(({ value, onSpan }) => test(value, onSpan)))
    return hit !== (block.invert_match ?? false)
  }
  switch (policy.type) {
    case 'always_sample':
      return true
    case 'latency': {
      const start = Math.min(...spans.map((span) => span.startMs ?? 1000))
      const end = Math.max(...spans.map((span) => span.endMs ?? 1001))
      return Math.floor(Number((end - start).toFixed(6))) > block.threshold_ms
    }
    case 'status_code': {
      const codes = block.status_codes.map((code: string) => ['UNSET', 'OK', 'ERROR'].indexOf(code))
      return spans.some((span) => codes.includes(span.status ?? 0))
    }
    case 'numeric_attribute': {
      const least = block.min_value ? BigInt(block.min_value) : -(2n ** 63n)
      const most = block.max_value ? BigInt(block.max_value) : 2n ** 63n - 1n
      return any((value) => {
        const int = typeof value === 'number' || typeof value === 'bigint' ? BigInt(value) : 0n
        return int >= least && int <= most
      })
    }
    case 'string_attribute':
      return any((value, onSpan) => {
        const text = typeof value === 'string' ? value : ''
        if (onSpan && text === '') return false
        if (!block.enabled_regex_matching) return text !== '' && block.values.includes(text)
        return block.values.some((pattern: string) => new RegExp(pattern).test(text))
      })
    case 'boolean_attribute':
      return any((value) => (value === true) === (block.value ?? false))
    case 'trace_flags':
      return spans.some((span) => ((span.flags ?? 0) & 1) === 1)
    case 'span_count':
      return spans.length >= (block.min_spans ?? 0) && (!block.max_spans || spans.length <= block.max_spans)
    case 'probabilistic':
      return hash(block.hash_salt || 'default-hash-seed', spans[0]?.trace ?? '') <= block.threshold
    case 'trace_state':
      return spans.some((span) => {
        const entry = (span.traceState ?? '').split(',').find((part) => part.startsWith(`${block.key}=`))
        return entry !== undefined && block.values.includes(entry.slice(block.key.length + 1))
      })
    case 'not':
      return decide(block.not_sub_policy, spans) !== true
    case 'and':
      return block.and_sub_policy.every((sub: Raw) => decide(sub, spans) === true)
    case 'drop':
      return block.drop_sub_policy.every((sub: Raw) => decide(sub, spans) === true) ? 'dropped' : false
    default:
      throw new Error(policy.type)
  }
}

function hash(salt: string, trace: string): bigint {
  let state = 0xcbf29ce484222325n
  for (const byte of Buffer.concat([Buffer.from(salt), traceId(trace)]))
    state = ((state ^ BigInt(byte)) * 0x100000001b3n) % 2n ** 64n
  return state
}

function isKept(policies: readonly Raw[], spans: readonly TestSpan[]): boolean {
  const results = policies.map((policy) => decide(policy, spans))
  return !results.includes('dropped') && results.includes(true)
}

const value: fc.Arbitrary<Value> = fc.oneof(
  fc.constantFrom('', 'GET', 'POST', 'checkout', '/api/x', '200', 'true'),
  fc.integer({ min: -5, max: 500 }),
  fc.constantFrom(-3, 1, 200, 250, 499, Number.MAX_SAFE_INTEGER), // The bounds themselves.
  fc.constantFrom(2n ** 62n, -(2n ** 62n), 9_007_199_254_740_993n),
  fc.boolean(),
  fc.constantFrom(new Double(200), new Double(1.5), null),
)
const attributes = fc.dictionary(fc.constantFrom('method', 'code', 'cached', 'other'), value, { maxKeys: 3 })
const span = fc.record(
  {
    resource: fc.oneof(fc.constant({ service: 'a' }), attributes),
    scope: fc.constantFrom('', 'lib'),
    startMs: fc.nat(2000),
    endMs: fc.oneof(fc.nat(4000), fc.constantFrom(1000.5, 1999.999999, 2000.000001)),
    status: fc.constantFrom(0, 0, 0, 1, 2),
    attributes,
    traceState: fc.constantFrom('', 'vendor=a', 'other=b,vendor=b', 'vendor=c,x=y'),
    flags: fc.constantFrom(0, 0, 0, 1, 256, 257),
    root: fc.boolean(),
  },
  { requiredKeys: [] },
)
/** Spans of up to 40 traces, in the order in which they arrive. */
const stream = fc
  .array(fc.record({ trace: fc.nat(39), span }), { minLength: 1, maxLength: 150 })
  .map((list) => list.map(({ trace, span }): TestSpan => ({ ...span, trace: idOf(trace) })))

function idOf(trace: number): string {
  return createHash('md5').update(String(trace)).digest('hex').replace(/^0/, '1')
}

const basic: fc.Arbitrary<Raw> = fc.oneof(
  ...[
    fc.constantFrom(['OK'], ['ERROR'], ['UNSET'], ['OK', 'ERROR']).map((status_codes) => ({
      type: 'status_code',
      status_code: { status_codes },
    })),
    fc
      .constantFrom(0, 500, 999, 1000, 1999)
      .map((threshold_ms) => ({ type: 'latency', latency: { threshold_ms } })),
    fc
      .record({
        key: fc.constantFrom('code', 'method'),
        min_value: fc.constantFrom(-3, 0, 1, 200),
        max_value: fc.constantFrom(250, 499, Number.MAX_SAFE_INTEGER),
        invert_match: fc.boolean(),
      })
      .map((numeric_attribute) => ({ type: 'numeric_attribute', numeric_attribute })),
    fc
      .record({
        key: fc.constantFrom('method', 'code'),
        values: fc.constantFrom(['GET'], ['GET', '', 'checkout'], ['nothing']),
        invert_match: fc.boolean(),
      })
      .map((string_attribute) => ({ type: 'string_attribute', string_attribute })),
    fc
      .record({
        key: fc.constantFrom('method', 'code'),
        values: fc.constantFrom(['^G'], ['api', 'out$'], ['^$']),
        enabled_regex_matching: fc.constant(true),
        cache_max_size: fc.constantFrom(0, 1, 5),
        invert_match: fc.boolean(),
      })
      .map((string_attribute) => ({ type: 'string_attribute', string_attribute })),
    fc
      .record({ key: fc.constantFrom('cached', 'code'), value: fc.boolean(), invert_match: fc.boolean() })
      .map((boolean_attribute) => ({ type: 'boolean_attribute', boolean_attribute })),
    fc.constant({ type: 'trace_flags' }),
    fc
      .record({ min_spans: fc.nat(4), max_spans: fc.constantFrom(0, 3, 6) })
      .map((span_count) => ({ type: 'span_count', span_count })),
    fc
      .constantFrom(['a'], ['b', 'zz'])
      .map((values) => ({ type: 'trace_state', trace_state: { key: 'vendor', values } })),
    fc.constantFrom('', 'salt').map((hash_salt) => ({
      type: 'probabilistic',
      probabilistic: { hash_salt, sampling_percentage: 50, threshold: 2n ** 63n - 1n },
    })),
  ],
)
const inverse = basic.map((not_sub_policy) => ({ type: 'not', not: { not_sub_policy } }))
const some = fc.array(fc.oneof({ weight: 3, arbitrary: basic }, inverse), { minLength: 1, maxLength: 3 })
const policy: fc.Arbitrary<Raw> = fc.oneof(
  { weight: 5, arbitrary: basic },
  inverse,
  some.map((and_sub_policy) => ({ type: 'and', and: { and_sub_policy } })),
  some.map((drop_sub_policy) => ({ type: 'drop', drop: { drop_sub_policy } })),
)
const policies = fc
  .array(policy, { minLength: 1, maxLength: 4 })
  .map((list) => list.map((entry, index) => ({ name: `p${index}`, ...entry })))

/** Spreads the spans over requests, and those over shards by trace; gives the ids that were kept. */
async function sample(
  policies: readonly Raw[],
  spans: readonly TestSpan[],
  shards: number,
): Promise<string[]> {
  const host = new TestHost()
  const config = JSON.parse(
    JSON.stringify({ decision_wait: '1s', policies }, (key, value) =>
      key === 'threshold' ? undefined : value,
    ),
  )
  const made = Array.from({ length: shards }, () => createProcessor(definition, config, { host }))
  for (const processor of made) await processor.start()
  for (let at = 0; at < spans.length; at += 7) {
    const part = spans.slice(at, at + 7)
    for (const [shard, processor] of made.entries()) {
      const own = part.filter((span) => traceId(span.trace).readUInt8(15) % shards === shard)
      if (own.length > 0) await processor.consume(request(...own))
    }
  }
  await host.clock.advance(2500)
  const batches: Batch[] = []
  for (const processor of made) {
    batches.push(...processor.sink.take())
    await processor[Symbol.asyncDispose]()
  }
  return keptTraces(batches)
}

function expected(policies: readonly Raw[], spans: readonly TestSpan[]): string[] {
  const byTrace = Map.groupBy(spans, (span) => span.trace)
  return [...byTrace]
    .filter(([, own]) => isKept(policies, own))
    .map(([trace]) => trace)
    .sort()
}

test('decisions are those of the reference, trace by trace', async () => {
  let kept = 0
  let discarded = 0
  await fc.assert(
    fc.asyncProperty(policies, stream, async (policies, spans) => {
      const want = expected(policies, spans)
      kept += want.length
      discarded += new Set(spans.map((span) => span.trace)).size - want.length
      expect(await sample(policies, spans, 1)).toEqual(want)
    }),
    { numRuns: 400 },
  )
  expect(Math.min(kept, discarded)).toBeGreaterThan(500) // The cases are not all alike.
})

test('each basic policy agrees with the reference on its own, plain and inverted', async () => {
  await fc.assert(
    fc.asyncProperty(basic, stream, fc.boolean(), async (entry, spans, inverted) => {
      const named = inverted
        ? { name: 'p', type: 'not', not: { not_sub_policy: entry } }
        : { name: 'p', ...entry }
      expect(await sample([named], spans, 1)).toEqual(expected([named], spans))
    }),
    { numRuns: 600 },
  )
})

test('shards that own the traces decide as one does', async () => {
  await fc.assert(
    fc.asyncProperty(policies, stream, fc.constantFrom(2, 8), async (policies, spans, shards) => {
      expect(await sample(policies, spans, shards)).toEqual(await sample(policies, spans, 1))
    }),
    { numRuns: 60 },
  )
})

test('num_traces and rates are those of the process, however many shards there are', async () => {
  const host = new TestHost()
  Object.defineProperty(host, 'shards', { value: 2 })
  const rate = { name: 'r', type: 'rate_limiting', rate_limiting: { spans_per_second: 3, burst_capacity: 6 } }
  const make = () =>
    createProcessor(definition, { decision_wait: '1s', num_traces: 10, policies: [rate] }, { host })
  const [one, two] = [make(), make()]
  await one.start()
  await two.start()
  const id = (index: number) => ({ trace: (index + 1).toString(16), root: false })
  await one.consume(request(...Array.from({ length: 10 }, (_, index) => id(index))))
  expect(host.budget('num_traces', 10).used()).toBe(10)
  // The other shard may hold one all the same; then the first gives up what it has above its part, bit by
  // bit.
  await two.consume(request(...Array.from({ length: 3 }, (_, index) => id(100 + index))))
  expect(host.budget('num_traces', 10).used()).toBe(11)
  await one.consume(request(id(200), id(201)))
  await two.consume(request(id(110)))
  expect(host.budget('num_traces', 10).used()).toBeLessThanOrEqual(10)
  await host.clock.advance(2500)
  expect(one.sink.itemCount + two.sink.itemCount).toBe(6)
  await one[Symbol.asyncDispose]()
  await two[Symbol.asyncDispose]()
  expect(host.budget('num_traces', 10).used()).toBe(0)
})
