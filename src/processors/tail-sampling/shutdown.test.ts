import { expect, test } from 'vitest'
import { createProcessor, type TestOptions } from '../../../test/support/create-test.ts'
import { TestHost } from '../../../test/support/host.ts'
import { request, spansByTrace, type TestSpan } from '../../../test/support/tail-sampling.ts'
import definition from './index.ts'

const P = 'processor_tail_sampling_'
const errors = { name: 'errors', type: 'status_code', status_code: { status_codes: ['ERROR'] } }
const everything = { name: 'everything', type: 'always_sample' }

async function started(config: Record<string, unknown>, options: TestOptions = {}) {
  const made = createProcessor(definition, { decision_wait: '2s', policies: [errors], ...config }, options)
  await made.start()
  return made
}

const ok = (trace: string, more: Partial<TestSpan> = {}): TestSpan => ({ trace, root: false, ...more })

test('always_sample keeps everything, and shutdown decides at once', async () => {
  const tail = await started({ policies: [everything] })
  await tail.consume(request(ok('a'), ok('b'), ok('a')))
  await tail[Symbol.asyncDispose]()
  expect(spansByTrace(tail.sink.take())).toEqual(
    new Map([
      ['a', 2],
      ['b', 1],
    ]),
  )
  expect(tail.meter.read(`${P}spans_on_memory`)).toBe(0)
  await expect(tail.consume(request(ok('c')))).rejects.toThrow('stopping')
})

test('shutdown tells callers that wait to come back', async () => {
  const tail = await started({ block_on_overflow: true, num_traces: 1 })
  const held = tail.consume(request(ok('a'), ok('b')))
  const refused = expect(held).rejects.toThrow('stopping')
  await tail[Symbol.asyncDispose]()
  await refused
})

test('shutdown decides on everything also when ticks are overdue', async () => {
  const host = new TestHost()
  host.clock.every = () => ({ cancel() {} }) // The event loop is held up: no tick comes.
  const tail = await started({ policies: [everything] }, { host })
  await host.clock.advance(5500)
  await tail.consume(request(ok('a'), ok('b')))
  await tail[Symbol.asyncDispose]()
  expect(tail.sink.itemCount).toBe(2)
  expect(tail.meter.read(`${P}dropped_spans`, { reason: 'shutdown' })).toBe(0)
})

test('drop_pending_traces_on_shutdown discards what is undecided and counts it', async () => {
  const tail = await started({ drop_pending_traces_on_shutdown: true, policies: [everything] })
  await tail.consume(request(ok('a'), ok('b')))
  await tail[Symbol.asyncDispose]()
  await tail[Symbol.asyncDispose]()
  expect(tail.sink.batches).toEqual([])
  expect(tail.meter.read(`${P}dropped_spans`, { reason: 'shutdown' })).toBe(2)
  expect(tail.host.budget('num_traces', 1).used()).toBe(0)
})

test('shutdown gives up at the deadline and counts what is lost', async () => {
  const next = { consume: () => new Promise<void>(() => {}) } // Never takes anything.
  const tail = await started({ policies: [everything] }, { next })
  for (let index = 1; index <= 300; index++)
    await tail.consume(request(ok(index.toString(16), { name: 'x'.repeat(20_000) })))
  await tail.processor.shutdown?.(AbortSignal.timeout(50))
  // Some chunks are in flight: their spans are with the next stage. Everything else is counted.
  const lost = tail.meter.read(`${P}dropped_spans`, { reason: 'shutdown' })
  expect(lost).toBeGreaterThan(100)
  expect(tail.meter.read(`${P}spans_on_memory`)).toBe(0)
})

test('while the next stage is slow, decisions wait, and go on afterwards', async () => {
  const release: (() => void)[] = []
  let spans = 0
  const next = {
    consume(batch: { itemCount: number }) {
      spans += batch.itemCount
      return new Promise<void>((resolve) => release.push(resolve))
    },
  }
  const tail = await started({ policies: [everything] }, { next })
  for (let index = 1; index <= 2000; index++)
    await tail.consume(request(ok(index.toString(16), { name: 'x'.repeat(20_000) })))
  await tail.clock.advance(4000)
  const before = spans
  expect(before).toBeLessThan(2000)
  expect(release.length).toBe(8)
  while (spans < 2000) {
    for (const done of release.splice(0)) done()
    await tail.clock.advance(10)
  }
  for (const done of release.splice(0)) done()
  await tail[Symbol.asyncDispose]()
  expect(spans).toBe(2000)
  expect(tail.meter.read(`${P}kept_spans`)).toBe(2000)
})

test('what the next stage refuses is dropped and counted', async () => {
  await using tail = await started({ policies: [everything] })
  tail.sink.fail = () => new Error('no')
  await tail.consume(request(ok('a'), ok('b')))
  await tail.clock.advance(3000)
  expect(tail.meter.read(`${P}dropped_spans`, { reason: 'downstream' })).toBe(2)
  expect(tail.meter.read(`${P}kept_spans`)).toBe(0)
})

test('a very large trace goes out in several chunks, whole', async () => {
  await using tail = await started({ policies: [everything] })
  const many = Array.from({ length: 5000 }, () => ok('a', { name: 'x'.repeat(300) }))
  for (let part = 0; part < 3; part++) await tail.consume(request(...many))
  await tail.consume(request(ok('b', { name: 'y'.repeat(1_500_000) }))) // Larger than a slab.
  await tail.clock.advance(3000)
  const batches = tail.sink.take()
  expect(Math.max(...batches.map((batch) => batch.byteLength))).toBeLessThan(1_700_000)
  expect(spansByTrace(batches)).toEqual(
    new Map([
      ['a', 15_000],
      ['b', 1],
    ]),
  )
})
