import { expect, test } from 'vitest'
import { createProcessor } from '../../../test/support/create-test.ts'
import { TestHost } from '../../../test/support/host.ts'
import { request, type TestSpan } from '../../../test/support/tail-sampling.ts'
import { ScriptedClock } from '../../testing/clock.ts'
import definition from './index.ts'

/** Each look at the clock takes some time, so little that the way out is full before a slice ends. */
class BusyClock extends ScriptedClock {
  busyMs = 0
  override monotonicMs(): number {
    this.busyMs += 0.15
    return super.monotonicMs() + this.busyMs
  }
}

test('decisions let other work in between, also when the next stage takes everything at once', async () => {
  let turn = 0
  let counting = true
  const spansOfTurn = new Map<number, number>()
  await using tail = createProcessor(
    definition,
    { decision_wait: '2s', num_traces: 100_000, policies: [{ name: 'all', type: 'always_sample' }] },
    {
      host: new TestHost(new BusyClock()),
      next: {
        async consume({ itemCount }) {
          spansOfTurn.set(turn, (spansOfTurn.get(turn) ?? 0) + itemCount)
        },
      },
    },
  )
  await tail.start()
  const traces = 12_000
  for (let first = 1; first <= traces; first += 1000) {
    const spans: TestSpan[] = []
    for (let trace = first; trace < first + 1000; trace++)
      spans.push({ trace: trace.toString(16), name: 'n'.repeat(1000) })
    await tail.consume(request(...spans))
  }
  // Other work: it gets its turn, or not.
  const other = (): void => {
    turn++
    if (counting) setImmediate(other)
  }
  setImmediate(other)
  const sent = (): number => [...spansOfTurn.values()].reduce((sum, spans) => sum + spans, 0)
  await tail.clock.advance(4000)
  while (sent() < traces) await new Promise((resolve) => setImmediate(resolve))
  counting = false
  expect(Math.max(...spansOfTurn.values())).toBeLessThan(traces / 2)
})
