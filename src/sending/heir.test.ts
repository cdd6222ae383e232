/** What becomes of a queue when a reload puts another exporter in its place. */
import { expect, test } from 'vitest'
import { settle } from '../../test/support/clock.ts'
import { TestHost } from '../../test/support/host.ts'
import { makeShell, never, outcome, spans } from '../../test/support/shell.ts'
import { RetryableError } from '../errors.ts'

const AWAY = () => new RetryableError('away')

function pair(queue: object) {
  const host = new TestHost()
  const old = makeShell({ host, queue })
  const heir = makeShell({ host, queue })
  old.backend.always = AWAY
  return { old, heir }
}

test('what waits, what is under way and what waits for its retry goes to the heir, and is counted once', async () => {
  const { old, heir } = pair({ num_consumers: 2 })
  let answer: (() => void) | undefined
  old.backend.script.push(
    new Promise((_, reject) => {
      answer = () => reject(AWAY())
    }),
  )
  for (const name of ['under way', 'in retry', 'waits', 'waits, too']) await old.shell.consume(spans(name))
  await settle()
  expect(old.backend.attempts.map(({ names }) => names)).toEqual([['under way'], ['in retry']])
  old.shell.handOver?.(heir.shell)
  const closed = old.shell.shutdown?.(never())
  await settle()
  answer?.()
  await closed
  await settle()
  expect([...heir.backend.delivered].sort()).toEqual(['in retry', 'under way', 'waits', 'waits, too'])
  expect(old.counts()).toMatchObject({ sent: 0, failed: 0, held: 0, inFlight: 0 })
  expect(heir.counts()).toMatchObject({ sent: 4, failed: 0, held: 0 })
  expect(old.logger.of('data dropped by exporter')).toEqual([])
})

test('a full queue moves whole: both are under one limit, and nothing counts twice', async () => {
  const { old, heir } = pair({ queue_size: 3, num_consumers: 1 })
  heir.backend.always = AWAY
  for (const name of ['a', 'b', 'c']) await old.shell.consume(spans(name))
  old.shell.handOver?.(heir.shell)
  await old.shell.shutdown?.(never())
  expect(heir.counts()).toMatchObject({ refused: 0, held: 3 })
  expect(await outcome(heir.shell.consume(spans('d')))).toMatchObject({ retryable: true })
  expect(old.counts().held).toBe(0)
})

test('callers that wait for the result get that of the heir', async () => {
  const { old, heir } = pair({ wait_for_result: true })
  const result = outcome(old.shell.consume(spans('a')))
  await settle()
  old.shell.handOver?.(heir.shell)
  await old.shell.shutdown?.(never())
  expect(await result).toBe('ok')
  expect(heir.backend.delivered).toEqual(['a'])
})

test('what the heir refuses gets one more attempt, and is counted as dropped when that fails', async () => {
  const { old, heir } = pair({})
  await old.shell.consume(spans('a'))
  await settle()
  await heir.shell.shutdown?.(never())
  old.shell.handOver?.(heir.shell)
  await old.shell.shutdown?.(never())
  expect(old.counts()).toMatchObject({ failed: 1, held: 0 })
  expect(old.logger.of('data dropped by exporter')).toHaveLength(1)
})

test('memory that was lent to the queue goes back when the heir has taken a copy', async () => {
  const { old, heir } = pair({ num_consumers: 1 })
  heir.backend.always = AWAY
  let holds = 0
  const lease = { hold: () => void holds++, release: () => void holds-- }
  const lent = spans('a')
  await old.shell.consume(lent.withContext({ ...lent.context, lease }))
  expect(holds).toBe(1)
  old.shell.handOver?.(heir.shell)
  await old.shell.shutdown?.(never())
  expect(holds).toBe(0)
  lent.chunks[0]?.fill(0) // Somebody else uses it now.
  heir.backend.always = undefined
  await heir.host.clock.advance(60_000)
  expect(heir.backend.delivered).toEqual(['a'])
})
