/** Captures over two shards: taps that are asked as shards are, a clock that the test moves, real files. */
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, assert, expect, test } from 'vitest'
import { request, spansByTrace } from '../../test/support/tail-sampling.ts'
import { systemClock } from '../component/clock.ts'
import { silentLogger } from '../component/logger.ts'
import { Batch } from '../otlp/batch.ts'
import { ArrivalTimes, TIMES_SUFFIX } from '../otlp/capture-format.ts'
import { ScriptedClock } from '../testing/clock.ts'
import { TestMeter } from '../testing/meter.ts'
import { Sink } from '../testing/sink.ts'
import { Captures, captureTelemetry } from './capture.ts'
import { type CaptureQuestion, readAnswer, Taps } from './taps.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'weir-capture-'))
afterAll(() => rmSync(folder, { recursive: true }))
const settings = { directory: path.join(folder, 'made'), max_size_mib: 10, max_duration: 60_000 }
const trace = (id: string) => request({ trace: id })

function framesOf(file: string): Batch[] {
  const bytes = readFileSync(file)
  const batches: Batch[] = []
  for (let at = 0; at < bytes.length; at += 4 + bytes.readUInt32BE(at))
    batches.push(new Batch('traces', [bytes.subarray(at + 4, at + 4 + bytes.readUInt32BE(at))]))
  return batches
}

function world() {
  const shards = [new Taps(systemClock), new Taps(systemClock)]
  const meter = new TestMeter()
  const sink = new Sink()
  const heads = shards.map((taps) => ({
    traces: taps.head('traces', sink),
    other: taps.head('traces/other', sink),
  }))
  let asked = () => {}
  const captures = new Captures({
    gather: async (_scope, question) => {
      const answers = shards.map((taps) => taps.respond(question))
      asked()
      return answers
    },
    clock: systemClock,
    logger: silentLogger,
    telemetry: meter.instruments(captureTelemetry, {}),
  })
  /** Resolves when the shards are next asked. */
  const question = () => new Promise<void>((resolve) => (asked = resolve))
  return { captures, heads, shards, sink, meter, question }
}

test('what enters the pipeline on any shard is in the file, in order, with its time; everything passes on', async () => {
  const { captures, heads, sink, meter, question } = world()
  await heads[0]?.traces.consume(trace('a0')) // Before it.
  const stop = new AbortController()
  const first = question()
  const done = captures.run(
    settings,
    { pipeline: 'traces', durationMs: 30_000, limitBytes: 1e6 },
    stop.signal,
  )
  await first
  const beganMs = Date.now()
  await heads[0]?.traces.consume(trace('a1'))
  await heads[1]?.traces.consume(Batch.concat([trace('a2'), trace('a3')])) // Two chunks are one message.
  await heads[1]?.other.consume(trace('b1'))
  await expect(
    captures.run(settings, { pipeline: 'x', durationMs: 1, limitBytes: 1 }, stop.signal),
  ).rejects.toThrow(/under way/)
  expect(meter.read('capture_running')).toBe(1)
  await question()
  await heads[0]?.traces.consume(trace('a4'))
  stop.abort()
  const result = await done
  await heads[0]?.traces.consume(trace('a5')) // After it.
  expect(result).toMatchObject({ pipeline: 'traces', messages: 3, missed: 0, ended: 'stopped' })
  assert.deepEqual([...spansByTrace(framesOf(result.file)).keys()].sort(), ['a1', 'a2', 'a3', 'a4'])
  expect(result.bytes).toBe(statSync(result.file).size)
  expect(statSync(result.file).mode & 0o777).toBe(0o600)
  const times = new ArrivalTimes(readFileSync(`${result.file}${TIMES_SUFFIX}`))
  const arrived = [0, 1, 2].map((index) => times.at(index) ?? 0)
  expect(arrived.toSorted((a, b) => a - b)).toEqual(arrived)
  for (const ms of arrived) assert(ms >= beganMs && ms <= Date.now())
  expect(times.at(3)).toBeUndefined()
  expect(meter.read('capture_messages')).toBe(3)
  expect(meter.read('capture_running')).toBe(0)
  expect(sink.itemCount).toBe(7)
})

test('a shard that has started again, or has a new configuration, goes on with the capture', async () => {
  const { captures, heads, shards, sink, question } = world()
  const first = question()
  const stop = new AbortController()
  const done = captures.run(
    settings,
    { pipeline: 'traces', durationMs: 30_000, limitBytes: 1e6 },
    stop.signal,
  )
  await first
  await heads[0]?.traces.consume(trace('d1'))
  await question()
  shards[0] = new Taps(systemClock)
  const head = shards[0].head('traces', sink)
  await question()
  await head.consume(trace('d2'))
  stop.abort()
  const { file, messages } = await done
  expect(messages).toBe(2)
  assert.deepEqual([...spansByTrace(framesOf(file)).keys()].sort(), ['d1', 'd2'])
})

test('it ends when the file is full, and when the time is over', async () => {
  const { captures, heads, question } = world()
  const first = question()
  const size = trace('c1').byteLength
  const done = captures.run(
    settings,
    { pipeline: 'traces', durationMs: 30_000, limitBytes: 2.5 * (size + 4) },
    new AbortController().signal,
  )
  await first
  for (const id of ['c1', 'c2', 'c3', 'c4']) await heads[0]?.traces.consume(trace(id))
  const result = await done
  expect(result).toMatchObject({ messages: 2, ended: 'size' })
  expect(framesOf(result.file)).toHaveLength(2)
  const short = await captures.run(
    settings,
    { pipeline: 'traces', durationMs: 20, limitBytes: 1e6 },
    new AbortController().signal,
  )
  expect(short).toMatchObject({ messages: 0, ended: 'duration' })
})

test('a shard holds so much and no more, and forgets a capture that nobody asks about', async () => {
  const clock = new ScriptedClock()
  const taps = new Taps(clock)
  const sink = new Sink()
  const head = taps.head('traces', sink)
  const ask = (question: CaptureQuestion) => readAnswer(taps.respond(JSON.stringify(question)))
  const question = { id: 1, pipeline: 'traces', last: false }
  ask(question)
  const large = new Batch('traces', [Buffer.alloc(5_000_000)], 1)
  for (let count = 0; count < 5; count++) await head.consume(large)
  const { messages, missed } = ask(question)
  expect([messages.length, missed]).toEqual([3, 2])
  await clock.advance(6000)
  await head.consume(large)
  expect(ask({ ...question, last: true }).messages).toHaveLength(0)
  await head.consume(large)
  expect(ask({ ...question, id: 2 })).toEqual({ messages: [], missed: 0 })
  expect(sink.batches).toHaveLength(7)
})
