/**
 * Scenario: a part of the fuzzer's inputs for every target, each target in a process of its own for the sake of its memory, and every
 * input that was ever kept. WEIR_SEED repeats a run; `npm run fuzz -- --full` is the whole of it.
 * Guarantee: what is hostile is refused by an error of its kind; nothing is thrown past that, hangs or grows. test/property/http2-frames
 * does the same for HTTP/2.
 */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { RUN } from '../property/run.ts'
import { fuzzTarget, keptInputs, type Target } from './target.ts'
import { HTTP2, SHARES, TARGETS } from './targets/index.ts'

const COUNT = 300_000
/** Of a target; what a slow machine does not get done by then is left out. */
const LIMIT_SECONDS = 3
const SCRIPT = join(import.meta.dirname, 'run.ts')
const run = promisify(execFile)

const names = Object.keys(SHARES).filter((name) => name !== HTTP2)

test.each(names)(
  '%s: nothing that comes gets past it',
  async (name) => {
    const count = Math.ceil((COUNT * (SHARES[name] ?? 0)) / 1000)
    const flags = [
      '--expose-gc',
      '--max-semi-space-size=8',
      SCRIPT,
      '--target',
      name,
      '--count',
      String(count),
    ]
    const more = ['--seed', String(RUN.seed), '--seconds', String(LIMIT_SECONDS)]
    const env = { ...process.env, MALLOC_ARENA_MAX: '1', MALLOC_TRIM_THRESHOLD_: '131072' }
    const { stdout } = await run(process.execPath, [...flags, ...more], { env }).catch((error) => error)
    const result = JSON.parse(stdout)
    expect(result).toMatchObject({ target: name, findings: [] })
    expect(result.rssGrowthMb).toBeLessThanOrEqual(64)
    expect(result.heldGrowthMb).toBeLessThanOrEqual(32)
    // Both happened: inputs that passed, and but for damaged logs, which always open, inputs that did not.
    expect(result.accepted).toBeGreaterThan(0)
    expect(result.inputs).toBeGreaterThan(name === 'storage' ? 20 : result.accepted)
  },
  120_000,
)

describe('inputs that were kept', () => {
  for (const name of names)
    for (const [title, input] of keptInputs(name))
      test(`${name}: ${title}`, async () => {
        const target = await TARGETS[name]?.()
        expect(await target?.run(input)).toBeTypeOf('boolean')
      })
})

describe('the judge', () => {
  const judge = (outcome: () => boolean | Promise<boolean>) => {
    const target: Target = { seeds: () => [], next: (draw) => draw.bytes(9), run: outcome }
    return fuzzTarget(target, { name: 'none', seed: 1, count: 3 })
  }

  test('what is thrown, rejected, left unhandled or slow is a finding, with its input', async () => {
    const f = async (outcome: () => boolean | Promise<boolean>, want: RegExp) => {
      const { findings } = await judge(outcome)
      expect(findings[0]?.error).toMatch(want)
      expect(findings[0]?.input).toBeInstanceOf(Uint8Array)
    }
    await f(() => {
      throw new Error('thrown')
    }, /thrown/)
    await f(() => Promise.reject(new Error('rejected')), /rejected/)
    await f(() => {
      Promise.reject(new Error('forgotten'))
      return true
    }, /unhandled.*forgotten/)
    await f(() => new Promise((resolve) => setTimeout(resolve, 1100, true)), /took 1\d\d\d ms/)
  })

  test('the same seed makes the same inputs', async () => {
    const seen = async (seed: number) => {
      const target = await TARGETS['bodies']?.()
      const inputs: string[] = []
      const onInput = (input: Uint8Array) => void inputs.push(Buffer.from(input).toString('hex'))
      if (target) await fuzzTarget(target, { name: 'bodies', seed, count: 50, onInput })
      return inputs
    }
    const first = await seen(7)
    expect(first).toHaveLength(50)
    expect(await seen(7)).toEqual(first)
    expect(await seen(8)).not.toEqual(first)
  })
})
