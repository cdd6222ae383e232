/** What lies in a log is taken at once, and done with when every batch that has items of it is. */
import { expect, test } from 'vitest'
import { createProcessor, type TestOptions } from '../../../test/support/create-test.ts'
import { track } from '../../../test/support/delivery.ts'
import { traces } from '../../../test/support/otlp.ts'
import type { Consumer } from '../../component/define.ts'
import { DownstreamError, RetryableError } from '../../errors.ts'
import type { Batch } from '../../otlp/batch.ts'
import type { Delivery } from '../../otlp/delivery.ts'
import definition from './index.ts'

const spans = (count: number) => traces({ resource: {}, spans: Array.from({ length: count }, () => 's') })

/** The next stage: takes at once, or throws what the test wants, and is done when the test says so. */
function stage() {
  const taken: (Delivery | undefined)[] = []
  const batches: Batch[] = []
  const made = {
    taken,
    batches,
    fail: undefined as Error | undefined,
    done: (index: number, error?: Error) => taken[index]?.settle(error),
    consume: async (batch: Batch) => {
      if (made.fail) throw made.fail
      batch.context.delivery?.hold()
      batches.push(batch)
      taken.push(batch.context.delivery)
    },
  }
  return made satisfies Consumer
}

async function make(config: object, options: TestOptions = {}) {
  const next = stage()
  const made = createProcessor(definition, config, { next, ...options })
  await made.start()
  const dropped = () => made.meter.read('processor_batch_dropped_items', { signal: 'traces' })
  return { ...made, next, dropped }
}

const states = (requests: readonly { state: unknown }[]) => requests.map(({ state }) => state)

test('requests are done when the batches with their items are, and a batch is not sent earlier for them', async () => {
  await using made = await make({ timeout: '1s', send_batch_size: 10, send_batch_max_size: 10 })
  const requests = [track(), track(), track()]
  await requests[0]?.consume(made.processor, spans(6))
  await made.processor.consume(spans(1)) // Of a sender without a log.
  await requests[1]?.consume(made.processor, spans(5)) // Its items go in two batches.
  await requests[2]?.consume(made.processor, spans(2))
  expect(made.next.batches.map(({ itemCount }) => itemCount)).toEqual([10])
  made.next.done(0)
  expect(states(requests)).toEqual(['done', 'held', 'held'])
  await made.clock.advance(1000)
  expect(made.next.batches.map(({ itemCount }) => itemCount)).toEqual([10, 4])
  expect(states(requests)).toEqual(['done', 'held', 'held'])
  made.next.done(1)
  expect(states(requests)).toEqual(['done', 'done', 'done'])
})

test('a refusal that is worth another try is for the log; what no log has is dropped and counted', async () => {
  await using made = await make({ send_batch_size: 10 })
  made.next.fail = new RetryableError('later')
  const request = track()
  await made.processor.consume(spans(3))
  await request.consume(made.processor, spans(7))
  await made.clock.advance(0)
  expect(request.state).toMatchObject({ message: 'later' })
  expect(made.dropped()).toBe(3)
  made.next.fail = new DownstreamError('never')
  const other = track()
  await other.consume(made.processor, spans(10))
  await made.clock.advance(0)
  expect([other.state, made.dropped()]).toEqual(['done', 13])
})

test('where callers are held, requests with a log are not; they get the outcome all the same', async () => {
  await using made = await make({ timeout: '1s', send_batch_size: 10 }, { holdsCaller: true })
  const requests = [track(), track()]
  let answered = false
  const caller = made.processor.consume(spans(4)).then(() => (answered = true))
  await requests[0]?.consume(made.processor, spans(4))
  expect([answered, ...states(requests)]).toEqual([false, 'held', 'held'])
  await made.clock.advance(1000)
  made.next.done(0)
  await caller
  expect(states(requests)).toEqual(['done', 'held'])
  made.next.fail = new DownstreamError('never')
  await requests[1]?.consume(made.processor, spans(10))
  await made.clock.advance(0)
  expect([requests[1]?.state, made.dropped()]).toMatchObject([{ message: 'never' }, 0])
})
