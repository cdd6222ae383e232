/**
 * Whatever the configuration and the order of events, the books close: spans taken = held + kept + sampled
 * out + dropped, no trace comes out by halves unless a part of it came late or was pushed out, and nothing is
 * left after shutdown.
 */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createProcessor } from '../../../test/support/create-test.ts'
import { request, spansByTrace, type TestSpan } from '../../../test/support/tail-sampling.ts'
import definition from './index.ts'

const P = 'processor_tail_sampling_'
const errors = { name: 'errors', type: 'status_code', status_code: { status_codes: ['ERROR'] } }
const dropping = {
  name: 'no',
  type: 'drop',
  drop: { drop_sub_policy: [{ name: 'flagged', type: 'trace_flags' }] },
}

const configs = fc.record({
  decision_wait: fc.constantFrom('1s', '3s'),
  decision_wait_after_root_received: fc.constantFrom('0s', '1s'),
  num_traces: fc.constantFrom(1, 3, 10, 1000),
  decision_cache: fc.record({
    sampled_cache_size: fc.constantFrom(0, 1, 100),
    non_sampled_cache_size: fc.constantFrom(0, 1, 100),
  }),
  sampling_strategy: fc.constantFrom('trace-complete', 'span-ingest'),
  maximum_trace_size_bytes: fc.constantFrom(0, 400),
  drop_pending_traces_on_shutdown: fc.boolean(),
  block_on_overflow: fc.boolean(),
  policies: fc.constantFrom([errors], [errors, dropping]),
})

const span = fc
  .record({
    trace: fc.integer({ min: 1, max: 30 }).map((id) => id.toString(16)),
    status: fc.constantFrom(0, 0, 0, 2),
    flags: fc.constantFrom(0, 0, 0, 1),
    root: fc.boolean(),
    resource: fc.constantFrom({ a: '1' }, { a: '2' }),
    name: fc.constantFrom('x', 'y'.repeat(200)),
  })
  .map((made): TestSpan => made)
const step = fc.oneof(
  { weight: 4, arbitrary: fc.array(span, { minLength: 1, maxLength: 12 }) },
  fc.integer({ min: 100, max: 2500 }),
)

test('spans taken are held, kept, sampled out or dropped', async () => {
  let kept = 0
  await fc.assert(
    fc.asyncProperty(
      configs,
      fc.array(step, { maxLength: 40 }),
      fc.boolean(),
      async (config, steps, fails) => {
        const tail = createProcessor(definition, config)
        await tail.start()
        if (fails) tail.sink.fail = (batch) => (batch.itemCount % 2 === 0 ? new Error('no') : undefined)
        const read = (name: string, labels = {}) => tail.meter.read(P + name, labels)
        const dropped = () =>
          ['num_traces', 'downstream', 'shutdown', 'broken'].reduce(
            (sum, reason) => sum + read('dropped_spans', { reason }),
            0,
          )
        const volatile = () => tail.meter.read('volatile_items', { otel_signal: 'traces' })
        let taken = 0
        const answers: Promise<void>[] = []
        let refused = 0
        for (const item of steps) {
          if (typeof item === 'number') await tail.clock.advance(item)
          else {
            taken += item.length
            const answer = tail.consume(request(...item)).catch(() => {
              refused++
            })
            answers.push(answer)
            if (!config.block_on_overflow) await answer
          }
        }
        if (!config.block_on_overflow) {
          await tail.clock.advance(1000) // A tick: counters are up to date.
          const gone = read('kept_spans') + read('sampled_out_spans') + dropped()
          expect(gone + read('spans_on_memory')).toBe(taken)
          // All of it has been handed on or refused by now: what is held is what a crash would cost.
          expect(volatile()).toBe(read('spans_on_memory'))
          expect(read('sampling_traces_on_memory')).toBeLessThanOrEqual(config.num_traces)
          expect(read('sampling_traces_on_memory')).toBe(tail.host.budget('num_traces', 0).used())
        }
        await tail[Symbol.asyncDispose]()
        await Promise.all(answers)
        const gone = read('kept_spans') + read('sampled_out_spans') + dropped()
        expect(read('spans_on_memory')).toBe(0)
        expect(volatile()).toBe(0)
        expect(read('live_bytes')).toBe(0)
        expect(tail.host.budget('num_traces', 0).used()).toBe(0)
        if (refused === 0) expect(gone).toBe(taken)
        else expect(gone).toBeLessThanOrEqual(taken) // A refused request may have been taken in part.
        const out = [...spansByTrace(tail.sink.take()).values()].reduce((sum, spans) => sum + spans, 0)
        expect(out).toBe(read('kept_spans'))
        kept += out
      },
    ),
    { numRuns: 500 },
  )
  expect(kept).toBeGreaterThan(300)
})
