/**
 * Requests are answered when they are stored, and kept until they are done with; a new run goes on with
 * what the last one left.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { createExtension } from '../../../test/support/create-extension.ts'
import { TestHost } from '../../../test/support/host.ts'
import { TestMeter } from '../../../test/support/meter.ts'
import { decodeBatch } from '../../../test/support/otlp.ts'
import { eventually } from '../../../test/support/peers.ts'
import { request } from '../../../test/support/tail-sampling.ts'
import { silentLogger } from '../../component/logger.ts'
import { DownstreamError, RefusedError, RetryableError, ShutdownError } from '../../errors.ts'
import fileStorage from '../../extensions/file-storage/index.ts'
import type { Batch } from '../../otlp/batch.ts'
import type { Decisions, Delivery } from '../../otlp/delivery.ts'
import { DurableIntake } from './durable.ts'
import { durableTelemetry } from './durable-telemetry.ts'

const folders: string[] = []
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})
function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'weir-durable-'))
  folders.push(folder)
  return folder
}

/** The next stage: takes at once, or throws what the test wants, and is done when the test says so. */
class Stage {
  readonly taken: { name: string; delivery: Delivery; decided: readonly Decisions[] }[] = []
  readonly answered: [string, boolean][] = []
  fail: Error | undefined
  refuse: RefusedError | undefined
  room: Promise<void> | undefined
  consume = async (batch: Batch) => {
    await this.room
    if (this.fail) throw this.fail
    const { delivery } = batch.context
    if (delivery === undefined) throw new TypeError('no delivery')
    delivery.hold()
    this.taken.push({ name: nameOf(batch), delivery, decided: delivery.decided })
  }
  refusal = () => this.refuse
  answer = (batch: Batch, accepted: boolean) => void this.answered.push([nameOf(batch), accepted])
  get names(): string[] {
    return this.taken.map(({ name }) => name)
  }
  done(name: string, error?: Error): void {
    this.taken.find((taken) => taken.name === name)?.delivery.settle(error)
  }
}

const nameOf = (batch: Batch): string => decodeBatch(batch).resourceSpans[0].scopeSpans[0].spans[0].name
const batch = (name: string, trace = '1') => request({ trace, name })

/** One run of a receiver on this folder. */
async function run(folder: string) {
  const storage = await createExtension(fileStorage, { directory: folder })
  const host = new TestHost()
  host.extensions.set('file_storage', storage.extension)
  const stage = new Stage()
  const meter = new TestMeter()
  const intake = new DurableIntake({
    id: 'otlp',
    storage: 'file_storage',
    host,
    logger: silentLogger,
    telemetry: meter.instruments(durableTelemetry, {}),
    next: { traces: { consume: stage.consume, refusal: stage.refusal, answered: stage.answer } },
  })
  await intake.start()
  const consumer = intake.consumers().traces
  if (consumer === undefined) throw new TypeError('no consumer')
  const made = {
    ...{ stage, meter, intake, clock: host.clock },
    send: (name: string, trace?: string) => consumer.consume(batch(name, trace)),
    read: (name: string, labels = {}) => meter.read(`receiver_log_${name}`, labels),
    /** As at the end of a process: whoever holds something lets go of it first. */
    async stop() {
      intake.stop()
      for (const { delivery } of stage.taken) delivery.settle(new ShutdownError('stopping'))
      await intake.close()
      await storage[Symbol.asyncDispose]()
    },
    /** Waits for what the disk takes its time for. */
    until: (names: readonly string[]) =>
      eventually(
        async () => stage.names,
        (found) => found.length >= names.length,
        5000,
      ).then((found) => expect(found).toEqual(names)),
  }
  return made
}

test('answered when stored, though nobody has taken it; released when done, kept for the next run when not', async () => {
  const folder = newFolder()
  const first = await run(folder)
  let giveUp: (error: Error) => void = () => {}
  first.stage.room = new Promise((_, reject) => (giveUp = reject))
  await first.send('never taken')
  expect([first.stage.names, first.stage.answered]).toEqual([[], [['never taken', true]]])
  first.stage.room = undefined
  for (const name of ['a', 'b', 'c']) await first.send(name)
  await first.until(['a', 'b', 'c'])
  await first.clock.advance(1000)
  expect([first.read('requests'), first.read('oldest_age')]).toEqual([4, 1])
  first.stage.done('b')
  first.stage.done('c', new ShutdownError('stopping'))
  first.intake.stop()
  giveUp(new ShutdownError('stopping'))
  await first.clock.advance(0)
  await first.stop()
  const second = await run(folder)
  await second.until(['never taken', 'a', 'c'])
  expect(second.read('recovered_items')).toBe(3)
  expect(second.stage.answered).toEqual([]) // They were counted as accepted when they were.
  for (const name of second.stage.names) second.stage.done(name)
  await second.stop()
  const third = await run(folder)
  await third.clock.advance(1000)
  expect([third.stage.names, third.read('requests')]).toEqual([[], 0])
  await third.stop()
})

test('what fails for now is read back and tried again, later each time; for good it is dropped and counted', async () => {
  const made = await run(newFolder())
  await made.send('a')
  await made.until(['a'])
  made.stage.done('a', new RetryableError('not now'))
  await made.clock.advance(999)
  expect(made.stage.names).toEqual(['a'])
  await made.clock.advance(251)
  await made.until(['a', 'a'])
  expect(made.read('retried_requests')).toBe(1)
  made.stage.taken[1]?.delivery.settle(new RetryableError('not now'))
  await made.clock.advance(1750)
  expect(made.stage.names).toEqual(['a', 'a'])
  await made.clock.advance(500)
  await made.until(['a', 'a', 'a'])
  made.stage.taken[2]?.delivery.settle(new DownstreamError('never'))
  expect(made.read('dropped_items', { signal: 'traces', reason: 'refused' })).toBe(1)
  await made.clock.advance(1000)
  expect(made.read('requests')).toBe(0)
  await made.stop()
})

test('while the next stage refuses, what comes is stored and waits its turn, in order', async () => {
  const made = await run(newFolder())
  made.stage.fail = new RefusedError('full')
  await made.send('a')
  await made.clock.advance(10)
  for (const name of ['b', 'c', 'd']) await made.send(name)
  expect(made.read('retried_requests')).toBe(1)
  made.stage.fail = undefined
  await made.clock.advance(1250)
  await eventually(
    async () => made.stage.names.length,
    (count) => count === 4,
    5000,
  )
  expect(made.stage.names.slice(0, 3)).toEqual(['b', 'c', 'd'])
  await made.stop()
})

test('a refusal comes before the log: the sender is told, and nothing is stored', async () => {
  const folder = newFolder()
  const made = await run(folder)
  made.stage.refuse = new RefusedError('memory')
  await expect(made.send('a')).rejects.toThrow('memory')
  expect(made.stage.answered).toEqual([['a', false]])
  made.intake.stop()
  made.stage.refuse = undefined
  await expect(made.send('b')).rejects.toBeInstanceOf(ShutdownError)
  await made.stop()
  const next = await run(folder)
  await next.clock.advance(1000)
  expect(next.stage.names).toEqual([])
  await next.stop()
})

test('decisions that were noted go along with the requests that hold their traces', async () => {
  const folder = newFolder()
  const first = await run(folder)
  await first.send('a', '1')
  await first.send('b', '2')
  await first.until(['a', 'b'])
  const entries = Buffer.concat([Buffer.alloc(15), Buffer.of(2, 7)])
  await first.intake.note({ stage: 'tail', entries })
  await first.stop()
  const second = await run(folder)
  await second.until(['a', 'b'])
  expect(second.stage.taken.map(({ decided }) => decided)).toEqual([[], [{ stage: 'tail', entries }]])
  await second.stop()
})
