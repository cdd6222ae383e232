import { MessageChannel } from 'node:worker_threads'
import { afterEach, expect, test } from 'vitest'
import { TestJournal, track } from '../../test/support/delivery.ts'
import type { Consumer } from '../component/define.ts'
import { RetryableError, ShutdownError } from '../errors.ts'
import { Batch } from '../otlp/batch.ts'
import type { Delivery } from '../otlp/delivery.ts'
import { Link } from './link.ts'

const cleanups: (() => void)[] = []
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup()
})

/** A link to a stage that takes at once and is done when the test says so. */
function pair() {
  const held: Delivery[] = []
  const stage: Consumer = {
    releases: true,
    async consume({ context: { delivery } }) {
      delivery?.hold()
      if (delivery) held.push(delivery)
    },
  }
  const channel = new MessageChannel()
  const here = new Link(() => undefined, { sent() {} })
  const there = new Link((name) => (name === 'stage' ? stage : undefined), { sent() {} })
  here.connect(channel.port1)
  there.connect(channel.port2)
  cleanups.push(
    () => here.disconnect(),
    () => there.disconnect(),
  )
  const consumer: Consumer = { consume: (batch) => here.send('stage', batch, false) }
  return { here, there, held, consumer }
}

const batch = (metadata?: Map<string, string[]>) => {
  const bytes = Buffer.from('x'.repeat(5000))
  return new Batch('traces', [bytes], 1, metadata && { metadata })
}
const soon = () => new Promise((resolve) => setTimeout(resolve, 20))

test('taken frees credit and memory at once; done comes back later, with its error', async () => {
  const { here, held, consumer } = pair()
  const requests = [track(), track(), track()]
  for (const [index, request] of requests.entries())
    await request.consume(consumer, batch(index === 1 ? new Map([['tenant', ['a']]]) : undefined))
  expect(here.underWayBytes).toBe(0)
  expect(requests.map(({ state }) => state)).toEqual(['held', 'held', 'held'])
  held[0]?.settle()
  held[1]?.settle(new ShutdownError('stopping'))
  await soon()
  expect(requests[0]?.state).toBe('done')
  expect(requests[1]?.state).toBeInstanceOf(ShutdownError)
  expect(requests[2]?.state).toBe('held')
})

test('how long ago it came goes along, with and without a message', async () => {
  const { held, consumer } = pair()
  const ages = [undefined, 0, 7, 100_000]
  for (const metadata of [undefined, new Map([['tenant', ['a']]])])
    for (const age of ages) await track(undefined, [], age).consume(consumer, batch(metadata))
  expect(held.map(({ recoveredAge }) => recoveredAge)).toEqual([...ages, ...ages])
})

test('when the peer dies, what it held fails retryably, and what it tells later is not heard', async () => {
  const { here, held, consumer } = pair()
  const request = track()
  await request.consume(consumer, batch())
  here.disconnect()
  expect(request.state).toBeInstanceOf(RetryableError)
  held[0]?.settle()
  await soon()
  expect(request.state).toBeInstanceOf(RetryableError)
})

test('a stage that fails is told of by the promise, and nothing stays held', async () => {
  const { here } = pair()
  const request = track()
  await request.consume({ consume: (given) => here.send('unknown', given, false) }, batch())
  await soon()
  expect(request.state).toBeInstanceOf(RetryableError)
})

test('notes go to the journal of the request, and are known to be written before its end is told', async () => {
  const { held, consumer } = pair()
  const journal = new TestJournal()
  let write = () => {}
  journal.held = new Promise((resolve) => (write = resolve))
  const decided = [{ stage: 'tail', entries: Buffer.from('before') }]
  const request = track(journal, decided)
  await request.consume(consumer, batch())
  expect(held[0]?.decided.map(({ entries }) => Buffer.from(entries).toString())).toEqual(['before'])
  let noted = false
  const entries = Buffer.from('after')
  const done = held[0]?.journal.note({ stage: 'tail', entries }).then(() => {
    noted = true
    held[0]?.settle()
  })
  await soon()
  expect([noted, request.state]).toEqual([false, 'held'])
  write()
  await done
  await soon()
  expect(journal.notes.map(({ stage }) => stage)).toEqual(['tail'])
  expect(request.state).toBe('done')
})
