/** The fuzzer of http2-fuzz.ts over 200,000 frames, in a process of its own for the sake of its RSS. WEIR_SEED repeats a run. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import type { FuzzResult } from './http2-fuzz.ts'
import { RUN } from './run.ts'

const FRAMES = 200_000
const SCRIPT = join(import.meta.dirname, 'http2-fuzz.ts')

test(`nothing that a peer sends gets past its connection (seed ${RUN.seed})`, async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [
    '--expose-gc',
    '--max-semi-space-size=8',
    SCRIPT,
    '--frames',
    String(FRAMES),
    '--seed',
    String(RUN.seed),
  ])
  const result = JSON.parse(stdout) as FuzzResult
  expect(result).toMatchObject({ problems: [], heldBytes: 0 })
  expect(result.frames).toBeGreaterThanOrEqual(FRAMES)
  // Both ways of a conversation happened often: calls that got through, connections that ended with an error.
  expect(result.answered).toBeGreaterThan(result.connections)
  expect(result.ended).toBeGreaterThan(result.connections / 10)
  expect(result.rssGrowthMb).toBeLessThanOrEqual(64)
  expect(result.heapGrowthMb).toBeLessThanOrEqual(8)
}, 300_000)
