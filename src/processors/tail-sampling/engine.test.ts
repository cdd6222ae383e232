import { expect, test } from 'vitest'
import { createProcessor, type TestOptions } from '../../../test/support/create-test.ts'
import { keptTraces, request, spansByTrace, type TestSpan } from '../../../test/support/tail-sampling.ts'
import definition from './index.ts'

const P = 'processor_tail_sampling_'
const errors = { name: 'errors', type: 'status_code', status_code: { status_codes: ['ERROR'] } }
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

test('always_sample keeps everything, and shutdown decides at once', async () => {
  const tail = await started({ policies: [everything] })
  await tail.consume(request(ok('a'), ok('b'), ok('a')))
  await tail[Symbol.asyncDispose]()
  expect(spansByTrace(tail.sink.take())).toEqual(
    new Map([
      ['a', 2],
      ['b', 1],
    ]),
  )
  expect(tail.meter.read(`${P}spans_on_memory`)).toBe(0)
  await expect(tail.consume(request(ok('c')))).rejects.toThrow('stopping')
})
