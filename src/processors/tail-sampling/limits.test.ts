import { expect, test } from 'vitest'
import { createProcessor, type TestOptions } from '../../../test/support/create-test.ts'
import { keptTraces, request, spansByTrace, type TestSpan } from '../../../test/support/tail-sampling.ts'
import definition from './index.ts'

const P = 'processor_tail_sampling_'
const errors = { name: 'errors', type: 'status_code', status_code: { status_codes: ['ERROR'] } }
const flagged = { name: 'flagged', type: 'trace_flags' }
const everything = { name: 'everything', type: 'always_sample' }

async function started(config: Record<string, unknown>, options: TestOptions = {}) {
  const made = createProcessor(definition, { decision_wait: '2s', policies: [errors], ...config }, options)
  await made.start()
  return made
}

const ok = (trace: string, more: Partial<TestSpan> = {}): TestSpan => ({ trace, root: false, ...more })
const bad = (trace: string, more: Partial<TestSpan> = {}): TestSpan => ok(trace, { status: 2, ...more })

test('span-ingest decides as spans arrive', async () => {
  await using tail = await started({ sampling_strategy: 'span-ingest' })
  await tail.consume(request(ok('a'), ok('b')))
  expect(tail.sink.batches).toEqual([])
  await tail.consume(request(bad('a'), ok('b'))) // The spans that waited go along.
  expect(spansByTrace(tail.sink.take())).toEqual(new Map([['a', 2]]))
  await tail.consume(request(ok('a')))
  expect(spansByTrace(tail.sink.take())).toEqual(new Map([['a', 1]]))
  await tail.clock.advance(3000)
  expect(tail.sink.batches).toEqual([])
  expect(
    tail.meter.read(`${P}global_count_traces_sampled`, { decision: 'not_sampled', sampled: 'false' }),
  ).toBe(1)
  expect(tail.meter.read(`${P}sampled_out_spans`)).toBe(2)
  await tail.consume(request(bad('b'))) // Its wait was over: it is new.
  expect(keptTraces(tail.sink.take())).toEqual(['b'])
})

test('span-ingest: counts are those of the trace, a drop policy that may still match blocks', async () => {
  const dropping = { name: 'no', type: 'drop', drop: { drop_sub_policy: [flagged] } }
  const three = { name: 'three', type: 'span_count', span_count: { min_spans: 3 } }
  await using tail = await started({ sampling_strategy: 'span-ingest', policies: [three] })
  await tail.consume(request(ok('a'), ok('a'), ok('b')))
  await tail.consume(request(ok('a'), ok('b')))
  expect(spansByTrace(tail.sink.take())).toEqual(new Map([['a', 3]]))
  await using blocked = await started({ sampling_strategy: 'span-ingest', policies: [everything, dropping] })
  await blocked.consume(request(ok('a'), ok('b', { flags: 1 })))
  await blocked.clock.advance(3000)
  expect(blocked.sink.batches).toEqual([])
  const read = (decision: string) =>
    blocked.meter.read(`${P}global_count_traces_sampled`, { decision, sampled: 'false' })
  expect([read('dropped'), read('not_sampled')]).toEqual([1, 1])
})

test('a rate limits spans by a token bucket that starts full', async () => {
  const limited = { name: 'rate', type: 'rate_limiting', rate_limiting: { spans_per_second: 2 } }
  await using tail = await started({ policies: [limited] })
  await tail.consume(request(ok('a'), ok('b'), ok('b'), ok('c'), ok('d'), ok('d')))
  await tail.clock.advance(3000) // 4 tokens: a takes 1, b 2, c 1; none is left for d.
  expect(keptTraces(tail.sink.take())).toEqual(['a', 'b', 'c'])
  await tail.consume(request(ok('e'), ok('e'), ok('e'), ok('e'), ok('e'), ok('f')))
  await tail.clock.advance(3000) // Full again, but e is above the burst.
  expect(keptTraces(tail.sink.take())).toEqual(['f'])
})

test('bytes_limiting admits traces by their encoded size', async () => {
  const limited = { name: 'rate', type: 'bytes_limiting', bytes_limiting: { bytes_per_second: 1000 } }
  await using tail = await started({ policies: [limited] })
  await tail.consume(
    request(ok('a', { name: 'x'.repeat(1500) }), ok('b', { name: 'x'.repeat(1500) }), ok('c')),
  )
  await tail.clock.advance(3000)
  expect(keptTraces(tail.sink.take())).toEqual(['a', 'c'])
})

test('rate limiters spend tokens on traces that others keep, unless sample_on_first_match', async () => {
  const limited = {
    name: 'rate',
    type: 'rate_limiting',
    rate_limiting: { spans_per_second: 1, burst_capacity: 1 },
  }
  for (const first of [false, true]) {
    await using tail = await started({ policies: [errors, limited], sample_on_first_match: first })
    await tail.consume(request(bad('a'), ok('b')))
    await tail.clock.advance(3000)
    expect(keptTraces(tail.sink.take())).toEqual(first ? ['a', 'b'] : ['a'])
  }
})

test('composite: the first sub-policy that samples decides, within its share of the second', async () => {
  const composite = {
    max_total_spans_per_second: 10,
    policy_order: ['rest', 'errors'],
    composite_sub_policy: [errors, { name: 'rest', type: 'always_sample' }],
    rate_allocation: [{ policy: 'errors', percent: 30 }],
  }
  await using tail = await started({ policies: [{ name: 'c', type: 'composite', composite }] })
  // errors has 3 spans a second, the rest (10 / 2 subs) 5. A rejected trace spends nothing.
  const spans = [bad('a'), bad('a'), bad('b'), bad('b'), bad('c'), bad('d'), ok('e'), ok('e'), ok('e')]
  await tail.consume(request(...spans, ok('f'), ok('f'), ok('f'), ok('a1'), ok('a2'), ok('a3')))
  await tail.clock.advance(3000)
  expect(keptTraces(tail.sink.take())).toEqual(['a', 'a1', 'a2', 'c', 'e'])
  await tail.clock.advance(500)
  await tail.consume(request(bad('b1')))
  await tail.clock.advance(3000) // Another second: the counters start anew.
  expect(keptTraces(tail.sink.take())).toEqual(['b1'])
})

test('latency with an upper bound goes through spans in their order', async () => {
  const between = { name: 'l', type: 'latency', latency: { threshold_ms: 100, upper_threshold_ms: 200 } }
  await using tail = await started({ policies: [between] })
  const span = (trace: string, startMs: number, endMs: number) => ok(trace, { startMs, endMs })
  await tail.consume(
    request(
      ...[span('a', 0, 150), span('a', 0, 900)], // 150 ms is seen first: sampled.
      ...[span('b', 0, 900), span('b', 0, 150)], // Above the bound from the first span on.
      ...[span('c', 0, 100.999)], // 100 whole ms are not above the threshold.
      ...[span('d', 0, 101)],
      ...[span('e', 0, 200.999)], // 200 whole ms are within.
      ...[span('f', 0, 201)],
    ),
  )
  await tail.clock.advance(3000)
  expect(keptTraces(tail.sink.take())).toEqual(['a', 'd', 'e'])
})
