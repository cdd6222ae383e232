import { expect, test } from 'vitest'
import { createProcessor, type TestOptions } from '../../../test/support/create-test.ts'
import { TestHost } from '../../../test/support/host.ts'
import { keptTraces, request, spansByTrace, type TestSpan } from '../../../test/support/tail-sampling.ts'
import { Batch } from '../../otlp/batch.ts'
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

test('a trace is decided as a whole between W and W + 1 seconds after its first span', async () => {
  await using tail = await started({})
  await tail.clock.advance(500)
  await tail.consume(request(ok('a'), ok('b')))
  await tail.clock.advance(1000)
  await tail.consume(request(bad('a')))
  await tail.clock.advance(1499) // The tick at 3000 ms is the first that is 2 s after the first span.
  expect(tail.sink.batches).toEqual([])
  await tail.clock.advance(1)
  expect([...spansByTrace(tail.sink.take())]).toEqual([['a', 2]])
  const read = (decision: string, sampled: string) =>
    tail.meter.read(`${P}global_count_traces_sampled`, { decision, sampled })
  expect([read('sampled', 'true'), read('not_sampled', 'false')]).toEqual([1, 1])
  expect(tail.meter.read(`${P}new_trace_id_received`)).toBe(2)
  expect(tail.meter.read(`${P}spans_on_memory`)).toBe(0)
  expect(tail.meter.read(`${P}sampled_out_spans`)).toBe(1)
  expect(tail.meter.read(`${P}kept_spans`)).toBe(2)
})

test('the seed policies: errors, slow traces, a share', async () => {
  const policies = [
    errors,
    { name: 'slow', type: 'latency', latency: { threshold_ms: 1000 } },
    { name: 'all', type: 'probabilistic', probabilistic: { sampling_percentage: 0.0000001 } },
  ]
  await using tail = await started({ policies })
  await tail.consume(
    request(
      ok('a', { startMs: 0, endMs: 1 }),
      ok('b', { startMs: 0, endMs: 1001 }),
      ok('c', { startMs: 0, endMs: 1000.999999 }),
      bad('d'),
      ok('e', { startMs: 500, endMs: 600 }),
      ok('e', { startMs: 1500, endMs: 1600 }),
    ),
  )
  await tail.clock.advance(4000)
  expect(keptTraces(tail.sink.take())).toEqual(['b', 'd', 'e'])
  const sampled = (policy: string) =>
    tail.meter.read(`${P}count_traces_sampled`, { policy, sampled: 'true', decision: 'sampled' })
  expect([sampled('errors'), sampled('slow'), sampled('all')]).toEqual([1, 2, 0])
  expect(tail.meter.read(`${P}sampling_policy_execution_count`, { policy: 'slow' })).toBe(5)
})

test('num_traces pushes out the oldest trace, decided or not, and counts it', async () => {
  await using tail = await started({ num_traces: 2, policies: [everything] })
  await tail.consume(request(ok('a'), ok('a'), ok('b')))
  await tail.consume(request(ok('c'))) // a goes, with two spans.
  await tail.clock.advance(4000)
  expect(keptTraces(tail.sink.take())).toEqual(['b', 'c'])
  expect(tail.meter.read(`${P}sampling_trace_dropped_too_early`)).toBe(1)
  expect(tail.meter.read(`${P}dropped_spans`, { reason: 'num_traces' })).toBe(2)
  expect(tail.meter.read(`${P}sampling_traces_on_memory`)).toBe(2) // Decided ones stay.
  // b is late and known, then pushed out by d, then new.
  await tail.consume(request(ok('b'), ok('d'), ok('b')))
  expect(spansByTrace(tail.sink.take())).toEqual(new Map([['b', 1]]))
  await tail.clock.advance(4000)
  expect(spansByTrace(tail.sink.take())).toEqual(
    new Map([
      ['d', 1],
      ['b', 1],
    ]),
  )
  expect(tail.meter.read(`${P}sampling_trace_dropped_too_early`)).toBe(1)
})

test('late spans follow the decision that is still in the table', async () => {
  const dropping = { name: 'no', type: 'drop', drop: { drop_sub_policy: [flagged] } }
  await using tail = await started({ policies: [errors, dropping] })
  await tail.consume(request(bad('a'), ok('b'), bad('c', { flags: 1 })))
  await tail.clock.advance(3000)
  expect(keptTraces(tail.sink.take())).toEqual(['a'])
  await tail.clock.advance(5000)
  await tail.consume(request(ok('a'), bad('b'), bad('c')))
  expect(spansByTrace(tail.sink.take())).toEqual(new Map([['a', 1]]))
  expect(tail.meter.read(`${P}sampling_late_span_age`)).toBe(3)
  expect(tail.meter.read(`${P}sampling_late_span_age_sum`)).toBe(15)
  expect(tail.meter.read(`${P}global_count_traces_sampled`, { decision: 'dropped', sampled: 'false' })).toBe(
    1,
  )
})

test('decision caches free the entry at once and answer for late spans', async () => {
  const decision_cache = { sampled_cache_size: 10, non_sampled_cache_size: 10 }
  await using tail = await started({ decision_cache, num_traces: 2 })
  await tail.consume(request(bad('a'), ok('b')))
  await tail.clock.advance(3000)
  expect(keptTraces(tail.sink.take())).toEqual(['a'])
  expect(tail.meter.read(`${P}sampling_traces_on_memory`)).toBe(0)
  await tail.consume(request(ok('a'), bad('b'), ok('a')))
  expect(spansByTrace(tail.sink.take())).toEqual(new Map([['a', 2]]))
  await tail.clock.advance(1000)
  const early = (sampled: string) => tail.meter.read(`${P}early_releases_from_cache_decision`, { sampled })
  expect([early('true'), early('false')]).toEqual([2, 1])
  expect(tail.meter.read(`${P}new_trace_id_received`)).toBe(2)
})

test('a forgotten trace is a new trace', async () => {
  const decision_cache = { sampled_cache_size: 1, non_sampled_cache_size: 1 }
  await using tail = await started({ decision_cache })
  await tail.consume(request(ok('a'), ok('b')))
  await tail.clock.advance(3000)
  await tail.consume(request(bad('a'), bad('b'))) // b is the last decided: discarded. a waits again.
  await tail.clock.advance(3000)
  expect(keptTraces(tail.sink.take())).toEqual(['a'])
})

test('the root span brings the decision forward, never back', async () => {
  await using tail = await started({
    decision_wait: '10s',
    decision_wait_after_root_received: '1s',
    policies: [everything],
  })
  await tail.consume(request(ok('a'), ok('b')))
  await tail.clock.advance(2500)
  await tail.consume(request(ok('a', { root: true })))
  await tail.clock.advance(1400)
  expect(tail.sink.batches).toEqual([])
  await tail.clock.advance(200)
  expect(keptTraces(tail.sink.take())).toEqual(['a'])
  await tail.clock.advance(6800) // 10.9 s
  expect(keptTraces(tail.sink.take())).toEqual([])
  await tail.consume(request(ok('b', { root: true })))
  await tail.clock.advance(100)
  expect(keptTraces(tail.sink.take())).toEqual(['b'])
})

test('a trace above maximum_trace_size_bytes is not sampled, at once', async () => {
  await using tail = await started({ maximum_trace_size_bytes: 1000, policies: [everything] })
  await tail.consume(request(ok('a', { name: 'x'.repeat(600) }), ok('b')))
  await tail.consume(request(ok('a', { name: 'x'.repeat(600) }), ok('a')))
  expect(tail.meter.read(`${P}traces_dropped_too_large`)).toBe(1)
  await tail.clock.advance(3000)
  expect(keptTraces(tail.sink.take())).toEqual(['b'])
  expect(tail.meter.read(`${P}sampled_out_spans`)).toBe(3)
})

test('block_on_overflow holds callers until there is room', async () => {
  await using tail = await started({ block_on_overflow: true, num_traces: 2, policies: [everything] })
  const taken: string[] = []
  const send = (name: string, ...spans: TestSpan[]) =>
    tail.consume(request(...spans)).then(() => taken.push(name))
  void send('first', ok('a'), ok('b'), ok('c'), ok('d'))
  void send('second', ok('e'))
  await tail.clock.advance(2000)
  expect(taken).toEqual([])
  await tail.clock.advance(1000) // a and b are decided and make room.
  expect(taken).toEqual(['first'])
  await tail.clock.advance(3000)
  expect(taken).toEqual(['first', 'second'])
  await tail.clock.advance(4000)
  expect(keptTraces(tail.sink.take())).toEqual(['a', 'b', 'c', 'd', 'e'])
  expect(tail.meter.read(`${P}sampling_trace_dropped_too_early`)).toBe(0)
})

test('the policy label carries the name of the component', async () => {
  await using tail = await started({}, { id: 'tail_sampling/mine' })
  await tail.consume(request(bad('a')))
  await tail.clock.advance(3000)
  const labels = { policy: 'mine.errors', sampled: 'true', decision: 'sampled' }
  expect(tail.meter.read(`${P}count_traces_sampled`, labels)).toBe(1)
})

test('a jump of the wall clock changes no wait', async () => {
  await using tail = await started({ policies: [everything] })
  await tail.consume(request(ok('a')))
  tail.clock.jumpWall(3_600_000)
  await tail.clock.advance(1900)
  expect(tail.sink.batches).toEqual([])
  await tail.clock.advance(1100)
  expect(keptTraces(tail.sink.take())).toEqual(['a'])
})

test('a tracestate that cannot be read matches nothing and is counted', async () => {
  const state = { name: 's', type: 'trace_state', trace_state: { key: 'a', values: ['1'] } }
  await using tail = await started({ policies: [state] })
  const spans = [ok('a', { traceState: 'a=1,B=2' }), ok('b', { traceState: 'a=1' }), ok('c')]
  await tail.consume(request(...spans))
  await tail.clock.advance(3000)
  expect(keptTraces(tail.sink.take())).toEqual(['b'])
  expect(tail.meter.read(`${P}count_spans_with_unparseable_tracestate`)).toBe(1)
})

test('broken spans are dropped and counted; broken attributes fail the policy alone', async () => {
  const attribute = { name: 's', type: 'string_attribute', string_attribute: { key: 'a', values: ['1'] } }
  await using tail = await started({ policies: [attribute, errors] })
  const id = (last: number) => [0x0a, 16, ...new Array(15).fill(0), last]
  const span = (...bytes: number[]) => [0x12, bytes.length, ...bytes]
  const first = span(...id(1), 0x39, 1) // A start time of one byte.
  // A key that runs past its attribute; status error.
  const second = span(...id(2), 0x4a, 2, 0x0a, 9, 0x7a, 2, 0x18, 2)
  const spans = [...first, ...second]
  const scope = [0x12, spans.length, ...spans]
  await tail.consume(new Batch('traces', [Buffer.from([0x0a, scope.length, ...scope])], 2))
  await tail.clock.advance(3000)
  const kept = Buffer.concat(tail.sink.take().map((batch) => batch.bytes()))
  expect(kept.subarray(-second.length)).toEqual(Buffer.from(second))
  expect(kept.length).toBe(second.length + 4)
  expect(tail.meter.read(`${P}dropped_spans`, { reason: 'broken' })).toBe(1)
  expect(tail.meter.read(`${P}sampling_policy_evaluation_error`)).toBe(1)
})

test('ticks that come late do not shorten the wait', async () => {
  const host = new TestHost()
  let tick = () => {}
  host.clock.every = (_periodMs, run) => {
    tick = run
    return { cancel() {} }
  }
  await using tail = await started({ policies: [everything] }, { host })
  await host.clock.advance(5000) // The event loop was held up: no tick has come so far.
  await tail.consume(request(ok('a')))
  tick()
  await host.clock.advance(1999)
  tick()
  await host.clock.advance(0)
  expect(tail.sink.batches).toEqual([])
  await host.clock.advance(1001)
  tick()
  await host.clock.advance(0)
  expect(keptTraces(tail.sink.take())).toEqual(['a'])
})
