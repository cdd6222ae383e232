import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ScriptedClock, settle } from '../../../test/support/clock.ts'
import { createProcessor, Sink, type TestOptions } from '../../../test/support/create-test.ts'
import { TestHost } from '../../../test/support/host.ts'
import { decodeBatch, logs, type Plain, traces } from '../../../test/support/otlp.ts'
import type { Consumer } from '../../component/define.ts'
import { InvalidError, RetryableError, ShutdownError } from '../../errors.ts'
import { Batch } from '../../otlp/batch.ts'
import { BATCHES_IN_FLIGHT } from './batcher.ts'
import definition from './index.ts'

/** Spans named first, first+1, ... */
function spans(count: number, first = 0, more: object = {}): Batch {
  return traces({ ...more, spans: Array.from({ length: count }, (_, index) => String(first + index)) })
}

function names(batch: Batch): string[] {
  return decodeBatch(batch).resourceSpans.flatMap((resource: Plain) =>
    (resource.scopeSpans ?? []).flatMap((scope: Plain) =>
      (scope.spans ?? []).map((span: Plain) => span.name),
    ),
  )
}

/** A next stage that answers when it is told to. */
class SlowSink implements Consumer {
  readonly calls: { batch: Batch; resolve: () => void; reject: (error: unknown) => void }[] = []
  consume(batch: Batch): Promise<void> {
    return new Promise((resolve, reject) => this.calls.push({ batch, resolve, reject }))
  }
}

function make(config: object, options: TestOptions = {}) {
  const host = options.host ?? new TestHost(new ScriptedClock())
  return createProcessor(definition, config, { ...options, host })
}

/** The state of a promise, after all that is ready has run. */
async function state(promise: Promise<void>): Promise<unknown> {
  let result: unknown = 'waiting'
  promise.then(
    () => {
      result = 'done'
    },
    (error) => {
      result = error
    },
  )
  await settle()
  return result
}

describe('when a batch is sent', () => {
  test('at send_batch_size, the whole pile', async () => {
    await using batch = make({ send_batch_size: 10, timeout: '10s' })
    await batch.consume(spans(6))
    expect(batch.sink.batches).toHaveLength(0)
    await batch.consume(spans(7, 6))
    await settle()
    const [sent] = batch.sink.take()
    expect(sent?.itemCount).toBe(13)
    expect(names(sent!)).toEqual(Array.from({ length: 13 }, (_, index) => String(index)))
    expect(batch.meter.read('processor_batch_batch_size_trigger_send')).toBe(1)
    expect(batch.meter.read('processor_batch_batch_send_size_sum')).toBe(13)
    expect(batch.meter.read('processor_batch_batch_send_size_bytes_sum')).toBe(sent?.byteLength)
  })

  test('when the freely running timer fires; a batch sent by size starts it anew', async () => {
    await using batch = make({ send_batch_size: 10, timeout: '1s' })
    await batch.consume(spans(1))
    await batch.clock.advance(400)
    await batch.consume(spans(10)) // The timer starts anew at 400.
    await settle()
    expect(batch.sink.take().map((sent) => sent.itemCount)).toEqual([11])
    await batch.clock.advance(900)
    await batch.consume(spans(2)) // At 1300.
    await batch.clock.advance(99)
    expect(batch.sink.batches).toHaveLength(0)
    await batch.clock.advance(1) // At 1400.
    expect(batch.sink.take().map((sent) => sent.itemCount)).toEqual([2])
    expect(batch.meter.read('processor_batch_timeout_trigger_send')).toBe(1)
    await batch.clock.advance(2500) // At 3900: two idle firings at 2400 and 3400.
    await batch.consume(spans(3))
    await batch.clock.advance(499)
    expect(batch.sink.batches).toHaveLength(0)
    await batch.clock.advance(1)
    expect(batch.sink.take().map((sent) => sent.itemCount)).toEqual([3])
  })

  test('at once with timeout 0 or send_batch_size 0; an empty request is nothing to send', async () => {
    for (const config of [{ timeout: 0 }, { send_batch_size: 0 }]) {
      await using batch = make(config)
      await batch.consume(spans(1))
      await batch.consume(new Batch('traces', [], 0))
      await settle()
      expect(batch.sink.take().map((sent) => sent.itemCount)).toEqual([1])
      expect(batch.clock.pendingTimers).toBe(0)
    }
  })

  test('in pieces of send_batch_max_size; what is not due stays', async () => {
    await using batch = make({ send_batch_size: 4, send_batch_max_size: 5, timeout: '1s' })
    await batch.consume(spans(13))
    await settle()
    expect(batch.sink.take().map((sent) => names(sent).length)).toEqual([5, 5])
    await batch.consume(spans(1, 13))
    await settle()
    expect(batch.sink.take().map(names)).toEqual([['10', '11', '12', '13']])
    await batch.consume(spans(9, 20))
    await settle()
    expect(batch.sink.take().map((sent) => sent.itemCount)).toEqual([5, 4])
    await using atOnce = make({ timeout: 0, send_batch_size: 0, send_batch_max_size: 2 })
    await atOnce.consume(spans(5))
    await settle()
    expect(atOnce.sink.take().map((sent) => sent.itemCount)).toEqual([2, 2, 1])
  })

  test('nothing is lost, doubled or reordered for random requests and sizes', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 20 }),
        fc.integer({ min: 0, max: 25 }),
        fc.integer({ min: 0, max: 10 }),
        fc.boolean(),
        async (sizes, size, extra, holdsCaller) => {
          const most = extra === 0 ? 0 : Math.max(1, size) + extra - 1
          const config = { send_batch_size: size, send_batch_max_size: most, timeout: '1s' }
          await using batch = make(config, { holdsCaller })
          let total = 0
          const accepted = sizes.map((count) => batch.consume(spans(count, (total += count) - count)))
          await batch.clock.advance(2000)
          await Promise.all(accepted)
          const sent = batch.sink.take()
          expect(sent.flatMap(names)).toEqual(Array.from({ length: total }, (_, index) => String(index)))
          for (const each of sent) {
            expect(names(each).length).toBe(each.itemCount)
            if (most > 0) expect(each.itemCount).toBeLessThanOrEqual(most)
          }
        },
      ),
      { numRuns: 60 },
    )
  })
})

describe('chunks', () => {
  test('many small and large ones are joined into few chunks, in order', async () => {
    await using batch = make({ send_batch_size: 3001, timeout: '1s' })
    const large = spans(100, 0, { resource: { pad: 'p'.repeat(5000) } })
    for (let index = 0; index < 1450; index++) await batch.consume(spans(1, index))
    await batch.consume(large)
    for (let index = 0; index < 1451; index++) await batch.consume(spans(1, index))
    await settle()
    const [sent] = batch.sink.take()
    expect(sent?.itemCount).toBe(3001)
    expect(sent?.chunks.length).toBeLessThan(12)
    // Nothing refers to what came in: its memory may be used again.
    large.chunks[0]!.fill(0)
    const order = Array.from({ length: 1451 }, (_, index) => String(index))
    expect(names(sent!)).toEqual([...order.slice(0, 1450), ...order.slice(0, 100), ...order])
    // Each chunk is a request by itself, and bytes once sent are never written again.
    const before = sent!.chunks.map((chunk) => Buffer.from(chunk))
    for (let index = 0; index < 3001; index++) await batch.consume(spans(1, 9999))
    await settle()
    expect(sent!.chunks.map((chunk) => Buffer.from(chunk))).toEqual(before)
    const perChunk = sent!.chunks.map((chunk) => new Batch('traces', [chunk]).itemCount)
    expect(perChunk.reduce((sum, count) => sum + count)).toBe(3001)
  })
})

describe('acknowledgement', () => {
  test('on acceptance: a failure is logged, counted and not told to the caller', async () => {
    await using batch = make({ send_batch_size: 2 }, { signal: 'logs' })
    batch.sink.fail = () => new InvalidError('no')
    await batch.consume(logs({ logs: ['a', 'b', 'c'] }))
    await settle()
    expect(batch.meter.read('processor_batch_dropped_items', { signal: 'logs' })).toBe(3)
    expect(batch.meter.read('processor_batch_batch_send_size')).toBe(0)
  })

  test('what a crash would lose: items that were acknowledged, until the next stage has them or they are dropped', async () => {
    const held = (made: ReturnType<typeof make>) =>
      made.meter.read('volatile_items', { otel_signal: 'traces' })
    const sink = new SlowSink()
    const made = make({ timeout: '1h', send_batch_size: 10 }, { next: sink })
    await made.consume(spans(4))
    expect(held(made)).toBe(4)
    await made.consume(spans(8))
    await settle()
    expect(held(made)).toBe(12)
    sink.calls[0]?.resolve()
    await settle()
    expect(held(made)).toBe(0)
    await made.consume(spans(11))
    sink.calls[1]?.reject(new RetryableError('no'))
    await settle()
    expect(held(made)).toBe(0)

    const holding = make({ timeout: '1h', send_batch_size: 10 }, { next: sink, holdsCaller: true })
    const answer = holding.consume(spans(12))
    await settle()
    expect(held(holding)).toBe(0) // Its sender still has them.
    sink.calls[2]?.resolve()
    await answer
    expect(held(holding)).toBe(0)
  })

  test('held: every caller of a batch gets its outcome', async () => {
    const next = new SlowSink()
    await using batch = make({ send_batch_size: 4, timeout: '1s' }, { next, holdsCaller: true })
    const callers = [batch.consume(spans(1)), batch.consume(spans(2)), batch.consume(spans(1))]
    const later = batch.consume(spans(1))
    expect(await state(callers[0]!)).toBe('waiting')
    next.calls[0]!.reject(new RetryableError('later'))
    for (const outcome of await Promise.all(callers.map(state)))
      expect(outcome).toBeInstanceOf(RetryableError)
    expect(await state(later)).toBe('waiting')
    await batch.clock.advance(1000)
    next.calls[1]!.resolve()
    expect(await state(later)).toBe('done')
    expect(batch.meter.read('processor_batch_dropped_items', { signal: 'traces' })).toBe(0)
  })

  test('held: a caller whose items are split waits for all batches, and a retryable error wins', async () => {
    const next = new SlowSink()
    await using batch = make(
      { send_batch_size: 2, send_batch_max_size: 2, timeout: '1s' },
      { next, holdsCaller: true },
    )
    const caller = batch.consume(spans(5))
    next.calls[0]!.reject(new InvalidError('bad'))
    next.calls[1]!.reject(new RetryableError('busy'))
    expect(await state(caller)).toBe('waiting')
    await batch.clock.advance(1000)
    next.calls[2]!.resolve()
    expect(await state(caller)).toBeInstanceOf(RetryableError)
  })

  test('held: a caller with nothing left in the pile still waits for every batch under way', async () => {
    const next = new SlowSink()
    await using batch = make({ send_batch_size: 2, send_batch_max_size: 2 }, { next, holdsCaller: true })
    const caller = batch.consume(spans(4))
    next.calls[1]!.resolve()
    expect(await state(caller)).toBe('waiting')
    next.calls[0]!.resolve()
    expect(await state(caller)).toBe('done')
  })

  test('held: the batch is cut before the deadline of its earliest caller', async () => {
    await using batch = make({ send_batch_size: 100, timeout: '60s' }, { holdsCaller: true })
    const within = (deadlineMs: number) => ({
      context: { metadata: new Map(), deadlineMs: batch.clock.monotonicMs() + deadlineMs },
    })
    const callers = [batch.consume(spans(1)), batch.consume(spans(1, 1, within(10_000)))]
    await batch.clock.advance(100)
    callers.push(batch.consume(spans(1, 2, within(800))))
    await batch.clock.advance(399)
    expect(batch.sink.batches).toHaveLength(0)
    await batch.clock.advance(1)
    expect(batch.sink.take().map((sent) => sent.itemCount)).toEqual([3])
    await Promise.all(callers)
    const alone = batch.consume(spans(1, 3, within(10_000)))
    await batch.clock.advance(8999)
    expect(batch.sink.batches).toHaveLength(0)
    await batch.clock.advance(1)
    expect(batch.sink.take()).toHaveLength(1)
    await alone
  })

  test('backpressure: all slots busy, one more batch is made ready, then callers wait', async () => {
    for (const holdsCaller of [false, true]) {
      const next = new SlowSink()
      await using batch = make({ send_batch_size: 2, timeout: '1s' }, { next, holdsCaller })
      const callers = Array.from({ length: BATCHES_IN_FLIGHT + 3 }, (_, index) =>
        batch.consume(spans(2, index * 2)),
      )
      const states = await Promise.all(callers.map(state))
      const taken = Array.from(states, (_, index) =>
        !holdsCaller && index <= BATCHES_IN_FLIGHT ? 'done' : 'waiting',
      )
      expect(states).toEqual(taken)
      expect(next.calls).toHaveLength(BATCHES_IN_FLIGHT)
      for (let index = 0; index < callers.length; index++) {
        next.calls[index]!.resolve()
        await settle()
      }
      await Promise.all(callers)
      const order = Array.from({ length: callers.length * 2 }, (_, index) => String(index))
      expect(next.calls.flatMap((call) => names(call.batch))).toEqual(order)
    }
  })
})

describe('metadata_keys', () => {
  const from = (pairs: Record<string, string[]>) => ({
    context: { metadata: new Map(Object.entries(pairs)) },
  })

  test('one batch per combination of values; only listed keys go on; unset is not empty', async () => {
    await using batch = make({ send_batch_size: 100, timeout: '1s', metadata_keys: ['X-Tenant'] })
    await batch.consume(spans(1, 0, from({ 'x-tenant': ['a'], other: ['1'] })))
    await batch.consume(spans(2, 1, from({ 'x-tenant': ['b'] })))
    await batch.consume(spans(1, 3, from({ 'x-tenant': ['a'], other: ['2'] })))
    await batch.consume(spans(1, 4, from({ 'x-tenant': [] })))
    await batch.consume(spans(1, 5, from({})))
    await batch.clock.advance(1000)
    const sent = batch.sink
      .take()
      .map((each) => [names(each).join(), Object.fromEntries(each.context.metadata)])
    expect(sent).toEqual([
      ['0,3', { 'x-tenant': ['a'] }],
      ['1,2', { 'x-tenant': ['b'] }],
      ['4', { 'x-tenant': [] }],
      ['5', {}],
    ])
    expect(batch.meter.read('processor_batch_metadata_cardinality')).toBe(4)
  })

  test('a combination over the limit is refused for good, without blaming the sender', async () => {
    const config = { metadata_keys: ['tenant'], metadata_cardinality_limit: 2 }
    await using batch = make(config)
    await batch.consume(spans(1, 0, from({ tenant: ['a'] })))
    await batch.consume(spans(1, 0, from({ tenant: ['b'] })))
    expect(batch.meter.read('processor_batch_refused_items', { signal: 'traces' })).toBe(0)
    await expect(batch.consume(spans(3, 0, from({ tenant: ['c'] })))).rejects.toMatchObject({
      code: 'DOWNSTREAM',
      retryable: false,
    })
    expect(batch.meter.read('processor_batch_refused_items', { signal: 'traces' })).toBe(3)
    await batch.consume(spans(1, 0, from({ tenant: ['a'] })))
    expect(batch.meter.read('processor_batch_refused_items', { signal: 'traces' })).toBe(3)
  })
})

describe('shutdown', () => {
  test('flushes all, waiting callers included, may come twice, takes nothing afterwards', async () => {
    const next = new SlowSink()
    const batch = make({ send_batch_size: 2, timeout: '1s' }, { next })
    const callers = Array.from({ length: BATCHES_IN_FLIGHT + 2 }, (_, index) =>
      batch.consume(spans(2, index * 2)),
    )
    const stopped = batch[Symbol.asyncDispose]()
    for (let index = 0; index < callers.length; index++) {
      expect(await state(stopped)).toBe('waiting')
      next.calls[index]!.resolve()
      await settle()
    }
    await stopped
    await Promise.all(callers)
    expect(next.calls.map((call) => call.batch.itemCount)).toEqual(callers.map(() => 2))
    await batch[Symbol.asyncDispose]()
    await expect(batch.consume(spans(1))).rejects.toBeInstanceOf(ShutdownError)
    expect(batch.clock.pendingTimers).toBe(0)
  })

  test('a pile under the size is sent at once', async () => {
    const sink = new Sink()
    const batch = make({ timeout: '1h' }, { next: sink })
    await batch.consume(spans(3))
    await batch[Symbol.asyncDispose]()
    expect(sink.itemCount).toBe(3)
  })

  test('at the deadline the rest is counted as dropped', async () => {
    const next = new SlowSink()
    const batch = make({ send_batch_size: 2, timeout: '1s' }, { next })
    for (let index = 0; index < BATCHES_IN_FLIGHT + 1; index++) await batch.consume(spans(2))
    const waiting = batch.consume(spans(2))
    const refused = expect(waiting).rejects.toBeInstanceOf(ShutdownError)
    await batch.processor.shutdown?.(AbortSignal.abort())
    await refused
    expect(batch.meter.read('processor_batch_dropped_items', { signal: 'traces' })).toBe(2)
  })
})

test('bad configs are refused with their place', () => {
  const f = (config: object, path: string) => {
    const result = definition.config.safeParse(config)
    expect(result.error?.issues.map((issue) => issue.path.join('.'))).toEqual([path])
  }
  f({ timeout: '-1s' }, 'timeout')
  f({ send_batch_max_size: 100 }, 'send_batch_max_size')
  f({ metadata_keys: ['a', 'b', 'A'] }, 'metadata_keys.2')
  f({ send_batch_size: -1 }, 'send_batch_size')
  expect(definition.config.parse({})).toMatchObject({
    timeout: 200,
    send_batch_size: 8192,
    send_batch_max_size: 0,
  })
})
