/**
 * The fuzzer. Everything comes from the seed; a line of JSON for each target, exit code 1 when something was found.
 *
 *     npm run fuzz -- --target json --count 1000000 --seed 7     one target
 *     npm run fuzz -- --count 300000                             all of them, each in a process of its own
 *     npm run fuzz -- --full                                     the same with 10 million inputs
 *     npm run fuzz -- --target json --seconds 60 --count 1000000 the same, for a minute at most
 *     npm run fuzz -- --target json --input FILE                 one input again
 *
 * RSS tells of leaks only when the allocator keeps little of what was freed, so `npm run fuzz` has glibc use one arena and return what
 * is free: with an arena for each thread of V8, RSS goes up in steps of tens of MB while heap and buffers stay where they are.
 *
 * What is found is written to a file in the folder for temporary files; under a name in corpus/<target>/ it is run by every test run.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Worker } from 'node:worker_threads'
import { fuzz } from '../property/http2-fuzz.ts'
import { type FuzzResult, fuzzTarget } from './target.ts'
import { HTTP2, SHARES, TARGETS } from './targets/index.ts'

const FULL = 10_000_000
const COUNT = 300_000
/** One input may not hold the process longer; then it is written down and the process ends. */
const HANG_MS = 20_000
const WATCHED_BYTES = 64 * 1024
/** Growth of RSS behind the warm-up, and of heap and buffers: these go up and down with caches and the pool of payload (16 MB). */
export const MAX_GROWTH_MB = 64
export const MAX_HELD_GROWTH_MB = 32

interface Options {
  readonly seed: number
  readonly count: number
  readonly limitSeconds: number | undefined
}

/** A thread that ends the process when one input takes too long, and leaves that input behind. */
function watch(name: string): (input: Uint8Array) => void {
  const memory = new SharedArrayBuffer(8 + WATCHED_BYTES)
  const head = new Int32Array(memory, 0, 2)
  const bytes = new Uint8Array(memory, 8)
  const file = join(tmpdir(), `weir-fuzz-${name}-hang-${process.pid}`)
  const code = `
    const { workerData: { memory, file, hangMs } } = require('node:worker_threads')
    const head = new Int32Array(memory, 0, 2)
    let last = -1
    setInterval(() => {
      const now = Atomics.load(head, 0)
      if (now === last && now > 0) {
        require('node:fs').writeFileSync(file, Buffer.from(memory, 8, Atomics.load(head, 1)))
        require('node:fs').writeSync(2, 'hang: ' + file + '\\n')
        process.kill(process.pid, 'SIGKILL')
      }
      last = now
    }, hangMs)`
  new Worker(code, { eval: true, workerData: { memory, file, hangMs: HANG_MS } }).unref()
  return (input) => {
    const kept = input.subarray(0, WATCHED_BYTES)
    bytes.set(kept)
    Atomics.store(head, 1, kept.length)
    Atomics.add(head, 0, 1)
  }
}

/** The result of a target, in one shape for all; true when all is well. */
async function runTarget(name: string, { seed, count, limitSeconds }: Options): Promise<boolean> {
  if (name === HTTP2) {
    const { problems, frames: inputs, ...more } = await fuzz(seed, count)
    const seen = { target: HTTP2, inputs, ...more, findings: problems.map((error) => ({ error })) }
    return told(seen)
  }
  const make = TARGETS[name]
  if (make === undefined) throw new RangeError(`no target ${name}: ${Object.keys(SHARES).join(', ')}`)
  const onProgress = (inputs: number) => {
    if (count >= 1e6 && inputs % (4096 * 64) === 0) console.error(`${name}: ${inputs}`)
  }
  const result = await fuzzTarget(await make(), {
    name,
    seed,
    count,
    limitSeconds,
    onInput: watch(name),
    onProgress,
  })
  const findings = result.findings.map((finding, index) => kept(result, finding, index))
  return told({ ...result, findings })
}

function kept({ target, seed }: FuzzResult, finding: FuzzResult['findings'][number], index: number) {
  const file = join(tmpdir(), `weir-fuzz-${target}-${seed}-${index}`)
  writeFileSync(file, finding.input)
  return { error: finding.error, file }
}

interface Told {
  readonly target: string
  readonly inputs: number
  readonly findings: readonly unknown[]
  readonly rssGrowthMb: number
  readonly heldGrowthMb?: number
}

function told(result: Told): boolean {
  console.log(JSON.stringify(result))
  const { findings, rssGrowthMb, heldGrowthMb = 0 } = result
  return findings.length === 0 && !(rssGrowthMb > MAX_GROWTH_MB || heldGrowthMb > MAX_HELD_GROWTH_MB)
}

/** Each in a process of its own, so that the memory that is measured is that of one target. */
function runAll({ seed, count }: Options): boolean {
  let well = true
  const startMs = performance.now()
  for (const [name, share] of Object.entries(SHARES)) {
    const own = [
      '--target',
      name,
      '--count',
      String(Math.ceil((count * share) / 1000)),
      '--seed',
      String(seed),
    ]
    const script = process.argv[1] ?? ''
    const { status } = spawnSync(process.execPath, [...process.execArgv, script, ...own], {
      stdio: 'inherit',
    })
    well &&= status === 0
  }
  const seconds = Math.round((performance.now() - startMs) / 1000)
  console.log(JSON.stringify({ target: 'all', seed, inputs: count, seconds, well }))
  return well
}

async function runOne(name: string, file: string): Promise<boolean> {
  const target = await TARGETS[name]?.()
  console.log(await target?.run(readFileSync(file)))
  return true
}

const { values } = parseArgs({
  options: {
    target: { type: 'string', default: 'all' },
    count: { type: 'string' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
    full: { type: 'boolean', default: false },
    input: { type: 'string' },
    seconds: { type: 'string' },
  },
})
const options: Options = {
  seed: Number(values.seed),
  count: values.full ? FULL : Number(values.count ?? COUNT),
  limitSeconds: values.seconds === undefined ? undefined : Number(values.seconds),
}
const { target, input } = values
const well =
  input !== undefined
    ? await runOne(target, input)
    : target === 'all'
      ? runAll(options)
      : await runTarget(target, options)
process.exit(well ? 0 : 1)
