/** The books tell what was in flight at a crash from what came twice for another reason. */
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { Books } from './books.ts'

test('twice: in flight at the crash, delivered long before it, or without a crash', async () => {
  const f = async (inFlightMs: number, crash: boolean, want: [notInFlight: number, withoutCrash: number]) => {
    const books = new Books(10, inFlightMs)
    books.send(1)
    books.deliver(1)
    await sleep(20)
    if (crash) books.crash()
    books.deliver(1)
    expect([books.duplicates, books.duplicatesNotInFlight, books.duplicatesWithoutCrash]).toEqual([
      1,
      ...want,
    ])
  }
  await f(60_000, true, [0, 0])
  await f(5, true, [1, 0])
  await f(60_000, false, [0, 1])
})
