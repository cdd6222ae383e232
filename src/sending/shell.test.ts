import { describe, expect, test } from 'vitest'
import { settle } from '../../test/support/clock.ts'
import { TestHost } from '../../test/support/host.ts'
import { makeShell as make, namesOf, never, OFF, outcome, spans } from '../../test/support/shell.ts'
import { PartialError } from '../component/partial-error.ts'
import { DownstreamError, RefusedError, RetryableError, TooLargeError } from '../errors.ts'
import type { Batch } from '../otlp/batch.ts'

describe('queue', () => {
  test('acknowledges on acceptance and sends in order', async () => {
    const { shell, backend, counts } = make({ queue: { num_consumers: 1 } })
    await shell.consume(spans('a'))
    await shell.consume(spans('b', 'c'))
    await settle()
    expect(backend.delivered).toEqual(['a', 'b', 'c'])
    expect(counts()).toEqual({ sent: 3, failed: 0, refused: 0, held: 0, inFlight: 0 })
  })

  test('what a crash would lose: items in the queue, unless their senders wait or a log has them', async () => {
    const held = (made: ReturnType<typeof make>) =>
      made.meter.read('volatile_items', { otel_signal: 'traces' })
    const made = make({ queue: { num_consumers: 1 } })
    made.backend.script.push('hang')
    await made.shell.consume(spans('a', 'b'))
    await made.shell.consume(spans('c'))
    expect(held(made)).toBe(3)
    await made.clock.advance(60_000) // Cut off, and tried again.
    expect(made.counts().sent).toBe(3)
    expect(held(made)).toBe(0)

    const waiting = make({ queue: { wait_for_result: true } })
    waiting.backend.script.push('hang')
    const answer = waiting.shell.consume(spans('a'))
    expect(held(waiting)).toBe(0)
    await waiting.clock.advance(60_000)
    await answer
    expect(held(waiting)).toBe(0)
  })

  test('a batch without items is dropped with success', async () => {
    const { shell, backend } = make()
    await shell.consume(spans())
    await settle()
    expect(backend.attempts).toEqual([])
  })

  test('counts what is in flight; a full queue refuses at once, retryably, and takes again later', async () => {
    const { shell, backend, counts, logger } = make({ queue: { queue_size: 2, num_consumers: 1 } })
    let release = () => {}
    backend.script.push(new Promise<void>((resolve) => (release = resolve)))
    await shell.consume(spans('a'))
    await shell.consume(spans('b'))
    expect(await outcome(shell.consume(spans('c')))).toBeInstanceOf(RefusedError)
    expect(counts()).toMatchObject({ held: 2, inFlight: 1, refused: 1 })
    expect(logger.of('sending queue refused data')[0]?.fields).toMatchObject({
      error: 'sending queue is full',
      refused_items: 1,
    })
    release()
    await settle()
    await shell.consume(spans('c'))
    await settle()
    expect(backend.delivered).toEqual(['a', 'b', 'c'])
  })

  test('the limit is one budget for all shards', async () => {
    const host = new TestHost()
    const one = make({ host, queue: { queue_size: 2 } })
    const other = make({ host, queue: { queue_size: 2 } })
    one.backend.always = other.backend.always = () => new Promise<void>(() => {})
    await one.shell.consume(spans('a'))
    await other.shell.consume(spans('b'))
    expect(await outcome(one.shell.consume(spans('c')))).toBeInstanceOf(RefusedError)
    expect(await outcome(other.shell.consume(spans('c')))).toBeInstanceOf(RefusedError)
  })

  test('num_consumers is shared out over the shards, one at least', async () => {
    const f = async (shards: number, want: number) => {
      const host = Object.assign(new TestHost(), { shards })
      const { shell, backend } = make({ host, queue: { num_consumers: 10 } })
      backend.always = () => new Promise<void>(() => {})
      for (let index = 0; index < 20; index++) await shell.consume(spans('a'))
      expect(backend.attempts.length).toBe(want)
    }
    await f(1, 10)
    await f(4, 3)
    await f(64, 1)
  })

  test('sizes by items and by bytes; what can never fit is refused for good', async () => {
    const f = async (queue: object, batch: Batch, want: unknown) => {
      const { shell, counts } = make({ queue })
      const result = await outcome(shell.consume(batch))
      if (want === 'ok') expect(result).toBe('ok')
      else expect(result).toBeInstanceOf(want)
      expect(counts().refused).toBe(want === 'ok' ? 0 : batch.itemCount)
    }
    const three = spans('a', 'b', 'c')
    await f({ sizer: 'items', queue_size: 3 }, three, 'ok')
    await f({ sizer: 'items', queue_size: 2 }, three, TooLargeError)
    await f({ sizer: 'bytes', queue_size: three.byteLength }, three, 'ok')
    await f({ sizer: 'bytes', queue_size: three.byteLength - 1 }, three, TooLargeError)
    await f({ sizer: 'requests', queue_size: 1 }, three, 'ok')
  })

  test('block_on_overflow waits for space, in order, until the deadline of the caller', async () => {
    const { shell, backend, clock, counts } = make({
      queue: { queue_size: 1, num_consumers: 1, block_on_overflow: true },
    })
    let release = () => {}
    backend.script.push(new Promise<void>((resolve) => (release = resolve)))
    await shell.consume(spans('a'))
    const b = outcome(shell.consume(spans('b')))
    const context = { metadata: new Map(), deadlineMs: clock.monotonicMs() + 500 }
    const late = outcome(shell.consume(spans('late').withContext(context)))
    await clock.advance(501)
    expect(await late).toBeInstanceOf(RefusedError)
    release()
    await settle()
    expect(await b).toBe('ok')
    await settle()
    expect(backend.delivered).toEqual(['a', 'b'])
    expect(counts()).toMatchObject({ sent: 2, refused: 1, held: 0 })
    expect(clock.pendingTimers).toBe(0)
  })

  test('space that another shard gives back lets waiting callers in', async () => {
    const host = new TestHost()
    const settings = { host, queue: { queue_size: 1, block_on_overflow: true } }
    const [one, other] = [make(settings), make(settings)]
    let release = () => {}
    one.backend.script.push(new Promise<void>((resolve) => (release = resolve)))
    await one.shell.consume(spans('a'))
    const waiting = outcome(other.shell.consume(spans('b')))
    release()
    await host.clock.advance(50)
    expect(await waiting).toBe('ok')
    expect(other.backend.delivered).toEqual(['b'])
  })

  test('wait_for_result holds the caller and tells it the result', async () => {
    const { shell, backend, counts, logger } = make({ queue: { wait_for_result: true } })
    backend.script.push(new DownstreamError('no such tenant'))
    expect(await outcome(shell.consume(spans('a')))).toMatchObject({ message: 'no such tenant' })
    expect(await outcome(shell.consume(spans('b')))).toBe('ok')
    expect(counts()).toMatchObject({ sent: 1, failed: 1, held: 0 })
    expect(logger.of('data dropped by exporter')).toEqual([])
  })
})

describe('retry', () => {
  test('waits grow by the multiplier up to the cap', async () => {
    const { shell, backend, clock, counts } = make({
      retry: { initial_interval: '1s', multiplier: 2, max_interval: '3s' },
    })
    for (let index = 0; index < 4; index++) backend.script.push(new RetryableError('down'))
    await shell.consume(spans('a'))
    await clock.advance(60_000)
    expect(backend.attempts.map((attempt) => attempt.atMs)).toEqual([0, 1000, 3000, 6000, 9000])
    expect(counts()).toMatchObject({ sent: 1, failed: 0, held: 0 })
  })

  test('a delay that the backend asks for raises the wait and never lowers it', async () => {
    const { shell, backend, clock } = make({ retry: { initial_interval: '1s', multiplier: 1 } })
    backend.script.push(new RetryableError('slow', { retryAfterMs: 7000 }))
    backend.script.push(new RetryableError('slow', { retryAfterMs: 10 }))
    await shell.consume(spans('a'))
    await clock.advance(60_000)
    expect(backend.attempts.map((attempt) => attempt.atMs)).toEqual([0, 7000, 8000])
  })

  test('gives up at once when the next wait would pass the budget, and says what was lost', async () => {
    const { shell, backend, clock, counts, logger } = make({
      retry: { initial_interval: '1s', multiplier: 1, max_interval: '1s', max_elapsed_time: '2500ms' },
    })
    backend.always = () => new RetryableError('down')
    await shell.consume(spans('a', 'b'))
    await clock.advance(2000)
    expect(backend.attempts.length).toBe(3)
    expect(counts()).toMatchObject({ sent: 0, failed: 2, held: 0 })
    expect(logger.of('data dropped by exporter')).toEqual([
      {
        level: 'error',
        message: 'data dropped by exporter',
        fields: { error: 'down', dropped_items: 2, advice: expect.stringContaining('max_elapsed_time') },
      },
    ])
    expect(logger.of('sending failed; will be retried').length).toBe(2)
  })

  test('permanent errors and foreign errors are not retried', async () => {
    for (const error of [new DownstreamError('400'), new TypeError('bug')]) {
      const { shell, backend, clock, counts } = make()
      backend.script.push(error)
      await shell.consume(spans('a'))
      await clock.advance(600_000)
      expect(backend.attempts.length).toBe(1)
      expect(counts()).toMatchObject({ sent: 0, failed: 1, held: 0 })
    }
  })

  test('without a queue the caller waits, and its deadline ends the retries', async () => {
    const { shell, backend, clock, counts } = make({ queue: OFF, retry: { initial_interval: '1s' } })
    backend.always = () => new RetryableError('down')
    const context = { metadata: new Map(), deadlineMs: clock.monotonicMs() + 2000 }
    const result = outcome(shell.consume(spans('a').withContext(context)))
    await clock.advance(1000)
    expect(await result).toMatchObject({ message: 'down', retryable: true })
    expect(backend.attempts.length).toBe(2)
    expect(counts()).toMatchObject({ failed: 1, inFlight: 0 })
  })

  test('of a partial failure only the failed part is sent again, and every part is counted', async () => {
    const { shell, backend, clock, counts } = make({ queue: OFF })
    const failed = spans('c')
    backend.script.push(new PartialError('some', { failed, droppedItems: 1 }))
    const result = outcome(shell.consume(spans('a', 'b', 'c')))
    await clock.advance(10_000)
    expect(await result).toBeInstanceOf(DownstreamError)
    expect(backend.attempts.map((attempt) => attempt.names)).toEqual([['a', 'b', 'c'], ['c']])
    expect(counts()).toMatchObject({ sent: 2, failed: 1 })
  })

  test('an attempt that hangs is cut off by the time limit and retried', async () => {
    const { shell, backend, clock, counts } = make({ timeoutMs: 3000, retry: { initial_interval: '1s' } })
    backend.script.push('hang')
    await shell.consume(spans('a'))
    await clock.advance(4000)
    expect(backend.aborted).toBe(1)
    expect(backend.attempts.map((attempt) => attempt.atMs)).toEqual([0, 4000])
    expect(counts()).toMatchObject({ sent: 1, failed: 0 })
    expect(clock.pendingTimers).toBe(0)
  })

  test('failures in a row are reported as a status, and so is the recovery', async () => {
    const { shell, backend, clock, host } = make({ retry: { initial_interval: '1s', multiplier: 1 } })
    for (let index = 0; index < 5; index++) backend.script.push(new RetryableError('down'))
    await shell.consume(spans('a'))
    await clock.advance(30_000)
    await shell.consume(spans('b'))
    await settle()
    expect(host.statuses.map(({ status }) => status)).toEqual(['recoverable_error', 'ok'])
  })
})

test('at level detailed failures say of which kind they are', async () => {
  const { shell, backend, meter } = make({ detailed: true, retry: OFF })
  backend.script.push(new DownstreamError('no'), new RetryableError('down'), new TypeError('bug'))
  for (let index = 0; index < 3; index++) await shell.consume(spans('a'))
  await settle()
  const f = (error_type: string, error_permanent: string) =>
    expect(meter.read('exporter_send_failed_spans', { error_type, error_permanent })).toBe(1)
  f('DOWNSTREAM', 'true')
  f('RETRYABLE', 'false')
  f('UNKNOWN', 'true')
})

test('an exporter without sending settings gets one attempt and the caller its error', async () => {
  const { shell, backend, counts } = make({ plain: true })
  backend.script.push(new RetryableError('no'))
  expect(await outcome(shell.consume(spans('a')))).toMatchObject({ message: 'no' })
  expect(await outcome(shell.consume(spans('b')))).toBe('ok')
  expect(counts()).toMatchObject({ sent: 1, failed: 1 })
})

test('no item vanishes: ok, retryable, permanent and mixed outcomes, every id accounted for', async () => {
  const { shell, backend, clock, counts } = make({
    queue: { queue_size: 50, num_consumers: 3, batch: { min_size: 4, max_size: 6 } },
    retry: { initial_interval: '100ms', max_interval: '1s', max_elapsed_time: '10s' },
  })
  let attempts = 0
  const dropped: string[] = []
  backend.always = (batch) => {
    switch (attempts++ % 4) {
      case 1:
        return new RetryableError('later')
      case 2:
        dropped.push(...namesOf(batch))
        return new DownstreamError('never')
      case 3:
        return new PartialError('half', { failed: spans(namesOf(batch).at(-1) ?? '') })
      default:
        return undefined
    }
  }
  const accepted: string[] = []
  let offered = 0
  for (let round = 0; round < 300; round++) {
    const names = [`${round}-x`, `${round}-y`]
    offered += 2
    if ((await outcome(shell.consume(spans(...names)))) === 'ok') accepted.push(...names)
    if (round % 10 === 0) await clock.advance(50)
  }
  await clock.advance(60_000)
  await shell.shutdown?.(never())
  expect([...backend.delivered, ...dropped].sort()).toEqual(accepted.sort())
  const { sent, failed, refused, held } = counts()
  expect(sent).toBe(backend.delivered.length)
  expect(failed).toBe(dropped.length)
  expect(sent + failed + refused).toBe(offered)
  expect(held).toBe(0)
  expect(refused).toBeGreaterThan(0)
})
