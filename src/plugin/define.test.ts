import { expect, expectTypeOf, test } from 'vitest'
import { z } from 'zod'
import { traces } from '../../test/support/otlp.ts'
import { counter } from '../component/telemetry.ts'
import { harness } from '../testing/harness.ts'
import { spansOf } from '../testing/read.ts'
import { buildLogs } from './build.ts'
import { defineExtension, defineProcessor } from './define.ts'
import { size } from './fields.ts'

test('what is left out has defaults, and types come from schema and table', async () => {
  const definition = defineProcessor({
    type: 'short',
    config: z.strictObject({ most: size().prefault('1KiB') }),
    telemetry: { seen: counter('processor_short_seen', '{span}', 'Seen.') },
    edit({ config, telemetry }) {
      expectTypeOf(config.most).toBeNumber()
      return { span: () => telemetry.seen.add(config.most) }
    },
  })
  expect(definition).toMatchObject({
    kind: 'processor',
    stability: 'development',
    signals: ['traces', 'metrics', 'logs'],
  })
  await using made = harness(definition)
  const batch = traces({ spans: ['a', 'b'] })
  await made.consume(batch)
  expect(made.meter.read('processor_short_seen')).toBe(2048)
  expect(made.sink.take()).toEqual([batch])
})

test('process() may wait, return another batch, and batches may pass each other', async () => {
  const waits: (() => void)[] = []
  const definition = defineProcessor({
    type: 'waiting',
    edit: () => ({
      async process(batch) {
        for (const span of batch.spans()) {
          await new Promise<void>((resolve) => void waits.push(resolve))
          span.name += '!'
        }
      },
    }),
  })
  await using made = harness(definition)
  const both = [made.consume(traces({ spans: ['a'] })), made.consume(traces({ spans: ['b'] }))]
  for (const go of waits.splice(0).reverse()) go()
  await Promise.all(both)
  expect(
    spansOf(...made.sink.take())
      .map(({ name }) => name)
      .sort(),
  ).toEqual(['a!', 'b!'])
  await expect(harness(junk({})).consume(traces({ spans: ['a'] }))).rejects.toThrow(/returned an object/)
  await expect(harness(junk(buildLogs({ logs: ['a'] }))).consume(traces({ spans: ['a'] }))).rejects.toThrow(
    /of logs/,
  )
})

const junk = (answer: unknown) =>
  defineProcessor({ type: 'junk', edit: () => ({ process: () => answer as undefined }) })

test('a batch of which nothing is left is not passed on; an empty one that came is', async () => {
  await using made = harness(defineProcessor({ type: 'none', edit: () => ({ span: (span) => span.drop() }) }))
  await made.consume(traces({ spans: ['a', 'b'] }))
  expect(made.sink.take()).toEqual([])
})

test('timers run until shutdown, and their errors are logged', async () => {
  let ticks = 0
  const made = harness(
    defineExtension({
      type: 'ticking',
      create({ every, after }) {
        every(1000, () => {
          ticks++
          if (ticks === 2) throw new Error('second tick')
        })
        after(1500, async () => {
          throw new Error('later')
        })
        return {}
      },
    }),
  )
  await made.clock.advance(3000)
  expect(ticks).toBe(3)
  expect(made.logged.map(({ error }) => String(error))).toEqual(['Error: later', 'Error: second tick'])
  await made.shutdown()
  await made.shutdown()
  expect(made.clock.pendingTimers).toBe(0)
})

test('sizes are read with units', () => {
  const f = (text: string | number, want: number) => expect(size().parse(text)).toBe(want)
  f('64MiB', 67_108_864)
  f('1.5KB', 1500)
  f('2KB', 2000)
  f(7, 7)
  for (const wrong of ['', 'MiB', '1TiB', '-1', true])
    expect(size().safeParse(wrong).success, String(wrong)).toBe(false)
})
