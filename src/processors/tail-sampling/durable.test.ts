/** What lies in a log is done with when each of its spans is decided and, if kept, with whoever took it. */
import { expect, test } from 'vitest'
import { createProcessor, type TestOptions } from '../../../test/support/create-test.ts'
import { TestJournal, track } from '../../../test/support/delivery.ts'
import { request, spansByTrace, type TestSpan } from '../../../test/support/tail-sampling.ts'
import type { Consumer } from '../../component/define.ts'
import { DownstreamError, RefusedError, RetryableError, ShutdownError } from '../../errors.ts'
import type { Batch } from '../../otlp/batch.ts'
import type { Delivery } from '../../otlp/delivery.ts'
import definition from './index.ts'

const P = 'processor_tail_sampling_'
const errors = { name: 'errors', type: 'status_code', status_code: { status_codes: ['ERROR'] } }
const ok = (trace: string, more: Partial<TestSpan> = {}): TestSpan => ({ trace, root: false, ...more })
const bad = (trace: string, more: Partial<TestSpan> = {}): TestSpan => ok(trace, { status: 2, ...more })

/** The next stage: takes at once, and is done when the test says so. */
function stage() {
  const made = {
    releases: true,
    batches: [] as Batch[],
    held: [] as Delivery[],
    fail: undefined as Error | undefined,
    async consume(batch: Batch) {
      if (made.fail) throw made.fail
      // Its bytes may be used again when this has settled.
      made.batches.push(batch.with(batch.chunks.map((chunk) => Buffer.from(chunk))))
      batch.context.delivery?.hold()
      if (batch.context.delivery) made.held.push(batch.context.delivery)
    },
    done(error?: Error) {
      for (const delivery of made.held.splice(0)) delivery.settle(error)
    },
  }
  return made satisfies Consumer
}

async function started(config: Record<string, unknown> = {}, options: TestOptions = {}) {
  const next = stage()
  const raw = { decision_wait: '2s', policies: [errors], ...config }
  const made = createProcessor(definition, raw, { next, ...options })
  await made.start()
  const read = (name: string, labels = {}) => made.meter.read(P + name, labels)
  return { ...made, next, read, stop: () => made.processor.shutdown?.(AbortSignal.timeout(1000)) }
}

const states = (requests: readonly { state: unknown }[]) => requests.map(({ state }) => state)

test('sampled out is done at the decision, kept when the next stage is', async () => {
  await using tail = await started()
  const requests = [track(), track(), track()]
  await tail.consume(request(ok('a'))) // Without a log, before and after.
  await requests[0]?.consume(tail.processor, request(ok('1'), ok('2')))
  await requests[1]?.consume(tail.processor, request(ok('2'), ok('3'), bad('3')))
  await requests[2]?.consume(tail.processor, request(bad('4')))
  await tail.consume(request(bad('b')))
  expect(states(requests)).toEqual(['held', 'held', 'held'])
  await tail.clock.advance(3000)
  expect(states(requests)).toEqual(['done', 'held', 'held'])
  tail.next.done()
  expect(states(requests)).toEqual(['done', 'done', 'done'])
  expect([...spansByTrace(tail.next.batches)].sort()).toEqual([
    ['3', 2],
    ['4', 1],
    ['b', 1],
  ])
})

test('late spans, of kept traces and of others', async () => {
  await using tail = await started()
  await tail.consume(request(bad('1'), ok('2')))
  await tail.clock.advance(3000)
  const requests = [track(), track()]
  await requests[0]?.consume(tail.processor, request(ok('1')))
  await requests[1]?.consume(tail.processor, request(bad('2')))
  await tail.clock.advance(0)
  expect(states(requests)).toEqual(['held', 'done'])
  tail.next.done()
  expect(states(requests)).toEqual(['done', 'done'])
})

test('pushed out, too large and broken spans are counted, and done', async () => {
  await using tail = await started({ num_traces: 1, maximum_trace_size_bytes: 500 })
  const requests = [track(), track(), track()]
  await requests[0]?.consume(tail.processor, request(ok('1')))
  await requests[1]?.consume(tail.processor, request(ok('2')))
  expect([...states(requests), tail.read('dropped_spans', { reason: 'num_traces' })]).toEqual([
    'done',
    'held',
    'held',
    1,
  ])
  await requests[2]?.consume(tail.processor, request(ok('2', { name: 'x'.repeat(600) })))
  await tail.clock.advance(0)
  expect(states(requests)).toEqual(['done', 'done', 'done'])
  expect(tail.read('traces_dropped_too_large')).toBe(1)
})

test('what the next stage refuses for now is for the log; for good it is dropped and counted', async () => {
  await using tail = await started()
  const lost = () => tail.read('dropped_spans', { reason: 'downstream' })
  const first = track()
  await first.consume(tail.processor, request(bad('1'), ok('2')))
  await tail.consume(request(bad('1')))
  tail.next.fail = new RefusedError('full')
  await tail.clock.advance(3000)
  expect(first.state).toBeInstanceOf(RefusedError)
  expect(lost()).toBe(1)
  const second = track()
  await second.consume(tail.processor, request(bad('3')))
  tail.next.fail = new DownstreamError('never')
  await tail.clock.advance(3000)
  expect([second.state, lost()]).toEqual(['done', 2])
  const third = track()
  await third.consume(tail.processor, request(bad('4')))
  tail.next.fail = undefined
  await tail.clock.advance(3000)
  tail.next.done(new RetryableError('gone'))
  expect(third.state).toBeInstanceOf(RetryableError)
})

test('at shutdown nothing is decided early that lies in logs alone; nothing of it counts as lost', async () => {
  const tail = await started()
  const requests = [track(), track(), track()]
  await requests[0]?.consume(tail.processor, request(bad('1')))
  await requests[1]?.consume(tail.processor, request(bad('2')))
  await tail.consume(request(ok('2'))) // No log has this one: its trace is decided now.
  await requests[2]?.consume(tail.processor, request(ok('3')))
  await tail.clock.advance(100)
  const stopped = tail.stop()
  await stopped
  tail.next.done()
  expect(requests[0]?.state).toBeInstanceOf(ShutdownError)
  expect(requests[1]?.state).toBe('done')
  expect(requests[2]?.state).toBeInstanceOf(ShutdownError)
  expect([...spansByTrace(tail.next.batches)]).toEqual([['2', 2]])
  expect(tail.read('dropped_spans', { reason: 'shutdown' })).toBe(0)
  expect(tail.host.budget('num_traces', 0).used()).toBe(0)
})

test('drop_pending_traces_on_shutdown drops and counts all the same', async () => {
  const tail = await started({ drop_pending_traces_on_shutdown: true })
  const held = track()
  await held.consume(tail.processor, request(bad('1'), bad('1')))
  await tail.stop()
  expect([held.state, tail.read('dropped_spans', { reason: 'shutdown' })]).toEqual(['done', 2])
})

test('a decision on spans of several requests is noted in their logs before any of them is done', async () => {
  await using tail = await started()
  const journals = [new TestJournal('a'), new TestJournal('b')]
  let write = () => {}
  journals[1]!.held = new Promise<void>((resolve) => (write = resolve))
  const requests = [track(journals[0]), track(journals[1]), track(journals[0])]
  await requests[0]?.consume(tail.processor, request(ok('1'), ok('2')))
  await requests[1]?.consume(tail.processor, request(ok('2')))
  await requests[2]?.consume(tail.processor, request(ok('3')))
  await tail.clock.advance(3000)
  expect(states(requests)).toEqual(['held', 'held', 'done'])
  write()
  await tail.clock.advance(0)
  expect(states(requests)).toEqual(['done', 'done', 'done'])
  for (const { notes } of journals) {
    expect(notes.map((note) => [note.stage, note.entries.length])).toEqual([
      ['processors/tail_sampling/traces', 17],
    ])
    expect(Buffer.from(notes[0]?.entries ?? []).toString('hex')).toBe(`${'2'.padStart(32, '0')}03`)
  }
})

test('after a crash the rest of a trace follows the decision that was noted', async () => {
  const noted = async (first: TestSpan, second: TestSpan) => {
    const tail = await started()
    const journal = new TestJournal()
    await track(journal).consume(tail.processor, request(first))
    await track(journal).consume(tail.processor, request(second))
    await tail.clock.advance(3000)
    await tail.stop()
    return journal.notes
  }
  const keep = await noted(bad('1'), ok('1'))
  const discard = await noted(ok('2'), ok('2'))
  await using tail = await started()
  await tail.consume(request(ok('1'))) // Came before the log was read back.
  const requests = [track(undefined, keep), track(undefined, discard), track()]
  await requests[0]?.consume(tail.processor, request(ok('1'), ok('1')))
  await requests[1]?.consume(tail.processor, request(bad('2')))
  await requests[2]?.consume(tail.processor, request(bad('2'))) // New, and nothing is known to it.
  await tail.clock.advance(0)
  expect(states(requests)).toEqual(['held', 'done', 'held'])
  expect([...spansByTrace(tail.next.batches)]).toEqual([['1', 3]])
})

test('what a crash left is decided on when no more of it comes, though it comes slowly', async () => {
  await using tail = await started()
  tail.host.recovery.reader().found(4)
  const requests = [1, 2, 3].map(() => track(undefined, [], 0))
  await requests[0]?.consume(tail.processor, request(ok('1')))
  await tail.clock.advance(2500)
  await requests[1]?.consume(tail.processor, request(ok('2')))
  await tail.clock.advance(2000)
  expect(states(requests)).toEqual(['held', 'held', 'held'])
  await requests[2]?.consume(tail.processor, request(bad('1')))
  await tail.clock.advance(3000)
  expect([...spansByTrace(tail.next.batches)]).toEqual([['1', 2]])
  expect(states(requests)).toEqual(['held', 'done', 'held'])
})

test('what a crash left is decided on when all of it has come; the time before the crash counts', async () => {
  await using tail = await started({ decision_wait: '10s' })
  const reader = tail.host.recovery.reader()
  expect(tail.host.recovery.pending()).toBe(true) // It has not looked yet.
  reader.found(3)
  const requests = [30, 3, 8].map((age) => track(undefined, [], age))
  const fresh = track()
  await fresh.consume(tail.processor, request(ok('1'), bad('3')))
  await requests[0]?.consume(tail.processor, request(bad('1')))
  await requests[1]?.consume(tail.processor, request(ok('2')))
  await tail.clock.advance(3000)
  expect(states(requests)).toEqual(['held', 'held', 'held'])
  await requests[2]?.consume(tail.processor, request(bad('3')))
  for (const _ of requests) reader.handedOn()
  expect(tail.host.recovery.pending()).toBe(false)
  await tail.clock.advance(1000)
  expect([...spansByTrace(tail.next.batches)]).toEqual([['1', 2]])
  expect(states(requests)).toEqual(['held', 'held', 'held'])
  await tail.clock.advance(3000)
  expect([...spansByTrace(tail.next.batches)].sort()).toEqual([
    ['1', 2],
    ['3', 2],
  ])
  await tail.clock.advance(4000)
  expect(states(requests)).toEqual(['held', 'done', 'held'])
  tail.next.done()
  expect(states([...requests, fresh])).toEqual(['done', 'done', 'done', 'done'])
})

test('block_on_overflow: a request that waits for room is held until all of it is taken and decided', async () => {
  await using tail = await started({ block_on_overflow: true, num_traces: 1 })
  const requests = [track(), track()]
  const taken = requests.map((held, index) => held.consume(tail.processor, request(ok(`${index + 1}`))))
  await tail.clock.advance(3000)
  expect(states(requests)).toEqual(['done', 'held'])
  await tail.clock.advance(4000)
  await Promise.all(taken)
  expect(states(requests)).toEqual(['done', 'done'])
})
