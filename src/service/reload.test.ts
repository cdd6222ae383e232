/** Whoever asks for a reload is answered, one runs at a time, and what came of them is counted. */
import { expect, test } from 'vitest'
import { TestMeter } from '../../test/support/meter.ts'
import { silentLogger } from '../component/logger.ts'
import type { LoadedConfig } from '../config/load.ts'
import { ConfigError } from '../errors.ts'
import type { Changes } from './changes.ts'
import { Reloader, reloadTelemetry } from './reload.ts'

const PROBLEM = { file: 'c.yaml', line: 3, column: 5, path: 'processors.x', message: 'unknown' }
const CHANGES: Changes = { kept: ['a'], restarted: ['b'], added: [], removed: [] }

function reloader(load: () => Promise<{ warnings: (typeof PROBLEM)[] }>, changes: () => Changes | undefined) {
  const meter = new TestMeter()
  const made = new Reloader({
    load: () => load() as unknown as Promise<LoadedConfig>, // The parts that a reloader looks at.
    apply: async () => changes(),
    logger: silentLogger,
    telemetry: meter.instruments(reloadTelemetry, {}),
  })
  return { made, meter }
}

test('it is reloaded, unchanged or refused, with warnings and with places', async () => {
  const outcomes: (Error | Changes | undefined)[] = [CHANGES, undefined, new ConfigError([PROBLEM])]
  let outcome: Error | Changes | undefined
  const { made, meter } = reloader(
    async () => {
      outcome = outcomes.shift()
      if (outcome instanceof Error) throw outcome
      return { warnings: [PROBLEM] }
    },
    () => (outcome instanceof Error ? undefined : outcome),
  )
  const warnings = ['c.yaml:3:5: processors.x: unknown']
  expect(await made.reload('signal')).toEqual({ result: 'reloaded', changes: CHANGES, warnings })
  expect(await made.reload('files')).toEqual({ result: 'unchanged', warnings })
  expect(meter.read('config_last_reload_successful')).toBe(1)
  expect(await made.reload('admin')).toEqual({ result: 'refused', problems: warnings })
  for (const result of ['reloaded', 'unchanged', 'refused']) {
    expect(meter.read('config_reloads', { result })).toBe(1)
  }
  expect(meter.read('config_last_reload_successful')).toBe(0)
  expect(Math.abs(meter.read('config_last_reload_timestamp') - Date.now() / 1000)).toBeLessThan(60)
})

test('who asks during a reload shares the next one, which reads the files again', async () => {
  const ends: (() => void)[] = []
  const { made, meter } = reloader(
    () => new Promise((resolve) => ends.push(() => resolve({ warnings: [] }))),
    () => CHANGES,
  )
  const first = made.reload('signal')
  const others = [made.reload('files'), made.reload('admin')]
  expect(ends).toHaveLength(1)
  ends[0]?.()
  await first
  await new Promise((resolve) => setImmediate(resolve))
  expect(ends).toHaveLength(2)
  ends[1]?.()
  expect(await Promise.all(others)).toHaveLength(2)
  expect(meter.read('config_reloads', { result: 'reloaded' })).toBe(2)
})
