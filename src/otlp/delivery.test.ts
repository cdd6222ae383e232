import { expect, test } from 'vitest'
import { TestJournal, track } from '../../test/support/delivery.ts'
import { DownstreamError, RetryableError } from '../errors.ts'
import { joinDeliveries } from './delivery.ts'

test('ends when the last holder is done; of several errors a retryable one counts', () => {
  const request = track()
  request.delivery.hold()
  request.delivery.hold()
  request.delivery.settle(new RetryableError('later'))
  request.delivery.settle(new DownstreamError('never'))
  expect(request.state).toBe('held')
  request.delivery.settle()
  expect(request.state).toMatchObject({ message: 'later' })
})

test('a joined delivery holds all of its requests, and notes in each log once', async () => {
  const journals = [new TestJournal('a'), new TestJournal('b')]
  const requests = [track(journals[0]), track(journals[0]), track(journals[1])]
  const joined = joinDeliveries(requests.map(({ delivery }) => delivery))
  for (const { delivery } of requests) delivery.settle()
  expect(requests.map(({ state }) => state)).toEqual(['held', 'held', 'held'])
  await joined.journal.note({ stage: 'tail', entries: new Uint8Array(1) })
  expect(journals.map(({ notes }) => notes.length)).toEqual([1, 1])
  joined.settle()
  expect(requests.map(({ state }) => state)).toEqual(['done', 'done', 'done'])
})
