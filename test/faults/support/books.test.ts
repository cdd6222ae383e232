/** The books tell what came twice because of a crash from what came twice for another reason. */
import { expect, test } from 'vitest'
import { Books } from './books.ts'
import { Replays } from './replays.ts'
import { isKept, serialsOf } from './spans.ts'

test('twice, with and without a crash', () => {
  const books = new Books(10)
  for (const serial of [1, 2]) {
    books.send(serial)
    books.deliver(serial)
  }
  books.deliver(1)
  expect([books.duplicates, books.duplicatesWithoutCrash]).toEqual([1, 1])
  books.crash()
  books.deliver(2)
  expect([books.duplicates, books.duplicatesWithoutCrash]).toEqual([2, 1])
})

test('replayed: in flight at the crash, or all of it delivered long before', () => {
  let nowMs = 0
  const replays = new Replays(1000, 3, 2000, () => nowMs)
  const deliver = (first: number, part: 'first' | 'second', spans = 6) => {
    const kept = [...serialsOf(first, 3, part)].filter((serial) => isKept(Math.floor(serial / 4)))
    for (const serial of kept.slice(0, spans)) replays.deliver(serial)
  }
  const crash = () => {
    replays.crash()
    nowMs += 500
  }
  deliver(0, 'first')
  deliver(3, 'first') // One of these three traces is not kept.
  deliver(3, 'second', 3)
  nowMs = 1900
  deliver(0, 'second')
  nowMs = 2500
  crash()
  for (const first of [0, 3]) for (const part of ['first', 'second'] as const) deliver(first, part)
  expect([replays.requests, replays.done, replays.longestMs]).toEqual([4, 2, 2500])
  nowMs += 1000
  crash()
  deliver(0, 'first')
  expect([replays.requests, replays.done]).toEqual([5, 2])
})
