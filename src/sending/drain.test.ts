/** Batching in the sending queue, and what becomes of held data at shutdown. */
import { describe, expect, test } from 'vitest'
import { settle } from '../../test/support/clock.ts'
import { makeShell as make, never, outcome, spans } from '../../test/support/shell.ts'
import { DownstreamError, RetryableError, ShutdownError } from '../errors.ts'

describe('batch', () => {
  const BATCH = { min_size: 3, max_size: 4, flush_timeout: '200ms' }

  test('joins up to min_size, splits at max_size, flushes after the time-out', async () => {
    const { shell, backend, clock, counts, meter } = make({ queue: { batch: BATCH }, detailed: true })
    await shell.consume(spans('a', 'b'))
    await settle()
    expect(backend.attempts).toEqual([])
    await shell.consume(spans('c', 'd', 'e'))
    await settle()
    expect(backend.attempts.map((attempt) => attempt.names)).toEqual([['a', 'b', 'c', 'd']])
    expect(counts().held).toBe(1)
    await clock.advance(200)
    expect(backend.attempts.map((attempt) => attempt.names)).toEqual([['a', 'b', 'c', 'd'], ['e']])
    expect(counts()).toMatchObject({ sent: 5, held: 0 })
    expect(meter.read('exporter_queue_batch_send_size')).toBe(2)
    expect(clock.pendingTimers).toBe(0)
  })

  test('a request is done when all batches with a part of it are; a failure reaches all contributors', async () => {
    const { shell, backend, clock } = make({ queue: { wait_for_result: true, batch: BATCH } })
    backend.script.push(new DownstreamError('bad batch'))
    const results = [outcome(shell.consume(spans('a', 'b'))), outcome(shell.consume(spans('c', 'd', 'e')))]
    let settled = 0
    for (const result of results) void result.then(() => settled++)
    await settle()
    expect(settled).toBe(1)
    await clock.advance(200)
    expect(await Promise.all(results)).toEqual([
      expect.objectContaining({ message: 'bad batch' }),
      expect.objectContaining({ message: 'bad batch' }),
    ])
    expect(backend.delivered).toEqual(['e'])
  })

  test('max_size in bytes splits without losing an item', async () => {
    const batch = { min_size: 0, max_size: 200, sizer: 'bytes' }
    const { shell, backend, counts } = make({ queue: { num_consumers: 1, batch } })
    const names = Array.from({ length: 50 }, (_, index) => `span-${index}`)
    await shell.consume(spans(...names))
    await settle()
    expect(backend.delivered).toEqual(names)
    expect(backend.attempts.length).toBeGreaterThan(5)
    expect(counts()).toMatchObject({ sent: 50, held: 0 })
  })

  test('each combination of metadata values has its own batch and keeps those values', async () => {
    const partition = { metadata_keys: ['X-Tenant'] }
    const { shell, backend } = make({ queue: { batch: { ...BATCH, min_size: 2, partition } } })
    const seen: unknown[] = []
    backend.always = (sent) => void seen.push([...sent.context.metadata])
    const from = (tenant: string, name: string) =>
      spans(name).withContext({
        metadata: new Map([
          ['x-tenant', [tenant]],
          ['other', [name]],
        ]),
      })
    await shell.consume(from('a', 'a1'))
    await shell.consume(from('b', 'b1'))
    await shell.consume(from('a', 'a2'))
    await shell.consume(from('b', 'b2'))
    await settle()
    expect(backend.attempts.map((attempt) => attempt.names)).toEqual([
      ['a1', 'a2'],
      ['b1', 'b2'],
    ])
    expect(seen).toEqual([[['x-tenant', ['a']]], [['x-tenant', ['b']]]])
  })
})

describe('shutdown', () => {
  test('flushes and drains with one attempt each, then stops the exporter', async () => {
    const { shell, backend, counts, logger } = make({
      queue: { num_consumers: 1, batch: { min_size: 2, flush_timeout: '1h' } },
    })
    let release = () => {}
    backend.script.push(new Promise<void>((resolve) => (release = resolve)))
    backend.script.push(new RetryableError('down'))
    await shell.consume(spans('a', 'b'))
    await shell.consume(spans('c', 'd'))
    await shell.consume(spans('e'))
    const done = shell.shutdown?.(never())
    await settle()
    expect(await outcome(shell.consume(spans('late')))).toBeInstanceOf(ShutdownError)
    release()
    await done
    expect(backend.delivered).toEqual(['a', 'b', 'e'])
    expect(counts()).toEqual({ sent: 3, failed: 2, refused: 1, held: 0, inFlight: 0 })
    expect(logger.of('data dropped by exporter')[0]?.fields).toMatchObject({ dropped_items: 2 })
    expect(backend.shutdowns).toBe(1)
    await shell.shutdown?.(never())
    expect(backend.shutdowns).toBe(1)
  })

  test('what waits for its retry gets a last attempt, unless the backend asked for a delay', async () => {
    const { shell, backend, counts, clock } = make()
    backend.script.push(new RetryableError('down'), new RetryableError('busy', { retryAfterMs: 60_000 }))
    await shell.consume(spans('a'))
    await shell.consume(spans('b'))
    await settle()
    await shell.shutdown?.(never())
    expect(backend.delivered).toEqual(['a'])
    expect(counts()).toMatchObject({ sent: 1, failed: 1, held: 0 })
    expect(clock.pendingTimers).toBe(0)
  })

  test('at the deadline what hangs is cut off and what is queued is counted', async () => {
    const { shell, backend, counts, logger } = make({ queue: { num_consumers: 1 }, timeoutMs: 0 })
    backend.script.push('hang')
    await shell.consume(spans('a'))
    await shell.consume(spans('b', 'c'))
    const deadline = new AbortController()
    const done = shell.shutdown?.(deadline.signal)
    await settle()
    deadline.abort()
    await done
    expect(backend.aborted).toBe(1)
    expect(counts()).toEqual({ sent: 0, failed: 3, refused: 0, held: 0, inFlight: 0 })
    const lost = logger.of('data dropped by exporter').map((line) => line.fields?.['dropped_items'])
    expect(lost).toEqual([1, 2])
  })

  test('works unstarted, and ends callers that wait for space', async () => {
    const { shell, backend } = make({ queue: { queue_size: 1, block_on_overflow: true } })
    backend.script.push('hang')
    await shell.consume(spans('a'))
    const waiting = outcome(shell.consume(spans('b')))
    await shell.shutdown?.(AbortSignal.abort())
    expect(await waiting).toBeInstanceOf(ShutdownError)
  })
})
