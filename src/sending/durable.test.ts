/**
 * The queue in memory, in front of requests that lie in a log: they are done when they are sent, or dropped
 * and counted.
 */
import { expect, test } from 'vitest'
import { settle } from '../../test/support/clock.ts'
import { track } from '../../test/support/delivery.ts'
import { makeShell as make, spans } from '../../test/support/shell.ts'
import { DownstreamError, RefusedError, ShutdownError } from '../errors.ts'

test('done when sent, however many batches that takes, and when dropped and counted', async () => {
  const batch = { min_size: 3, max_size: 4, flush_timeout: '200ms' }
  const { shell, backend, counts, clock } = make({ queue: { batch } })
  const first = track()
  await first.consume(shell, spans('a', 'b', 'c', 'd', 'e'))
  await settle()
  expect([first.state, backend.delivered]).toEqual(['held', ['a', 'b', 'c', 'd']])
  await clock.advance(200)
  expect(first.state).toBe('done')
  backend.script.push(new DownstreamError('never'))
  const second = track()
  await second.consume(shell, spans('f', 'g', 'h'))
  await settle()
  expect([second.state, counts().failed]).toEqual(['done', 3])
})

test('a full queue refuses: the log has it, and nothing is held here', async () => {
  const { shell, backend } = make({ queue: { queue_size: 1 } })
  backend.always = () => new Promise<void>(() => {})
  const requests = [track(), track()]
  for (const request of requests) await request.consume(shell, spans('a'))
  expect(requests[0]?.state).toBe('held')
  expect(requests[1]?.state).toBeInstanceOf(RefusedError)
})

test('at the stop, what was not sent stays in the log and does not count as lost; the rest does', async () => {
  const { shell, backend, counts } = make({ queue: { num_consumers: 1 } })
  backend.always = () => new Promise<void>(() => {})
  const requests = [track(), track()]
  for (const request of requests) await request.consume(shell, spans('a', 'b'))
  await shell.consume(spans('c'))
  await shell.shutdown?.(AbortSignal.timeout(20))
  for (const request of requests) expect(request.state).toBeInstanceOf(ShutdownError)
  expect(counts().failed).toBe(1)
})
