/**
 * What do hostile clients do to the others? For each attack: p99 of ordinary gRPC requests before, during
 * and after it in alternating rounds, what was counted, and memory before, at its most, and when the
 * attackers are gone.
 *
 *     node bench/load/floods.ts [--connections 10000] [--rounds 3] [--seconds 3] [--only WORD] [--no-write]
 *
 * The whole takes about 15 minutes, says at the end whether all is well, and writes bench/results/floods.json
 * and the table of docs/security.md; exit code 1 when it is not well (0 with --no-write).
 *
 * Two shards. Ordinary clients send 1000 requests a second of 10 spans over 8 connections, open loop. Floods
 * come over 4 connections that are opened anew ten times a second each; holding attacks keep `--connections`
 * open and drip bytes. On a machine with few cores attacker and attacked take CPU from all others; how much of
 * what these feel comes of that is told by the same attack on a second Weir.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { report } from '../../test/faults/support/settings.ts'
import { counts, readMetric, rssMb, startTarget, type Target } from '../support/flood-target.ts'
import {
  complaints,
  type FloodResult,
  type FloodRound,
  type Memory,
  memoryReturned,
  ratioOf,
  TABLE_HEAD,
  tableRow,
  writeFloods,
} from '../support/floods-table.ts'
import { Helper } from '../support/helper.ts'
import type { LoadPlan, LoadResult } from './plan.ts'

const ATTACKS: readonly (readonly [name: string, target: 'grpc' | 'http' | 'tls'])[] = [
  ['rapid reset', 'grpc'],
  ['CONTINUATION without end', 'grpc'],
  ['overflow of the connection window', 'grpc'],
  ['PING', 'grpc'],
  ['SETTINGS', 'grpc'],
  ['empty DATA', 'grpc'],
  ['PRIORITY', 'grpc'],
  ['HPACK bomb', 'grpc'],
  ['TLS junk', 'tls'],
  ['idle gRPC', 'grpc'],
  ['silent gRPC', 'grpc'],
  ['slow gRPC messages', 'grpc'],
  ['slow HTTP headers', 'http'],
  ['slow HTTP bodies', 'http'],
]
const LIMIT_MS = 60_000
/** From the last connection to the first look: what it took to open them is not what it takes to hold them. */
const SWING_MS = 2000
const LOOK_MS = 200
/** How long memory may take to be given back. */
const CALM_MS = 5000

const { values } = parseArgs({
  options: {
    connections: { type: 'string', default: '10000' },
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '3' },
    only: { type: 'string', default: '' },
    'no-write': { type: 'boolean', default: false },
  },
})
const [roundCount, seconds] = [Number(values.rounds), Number(values.seconds)]

async function attack(name: string, port: number): Promise<ChildProcess> {
  const script = join(import.meta.dirname, 'attacker.ts')
  const child = spawn(process.execPath, [script, name, String(port), values.connections], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ready = new Promise<void>((resolve, reject) => {
    child.stdout.on('data', () => resolve())
    child.on('exit', () => reject(new Error(`the attacker ended: ${name}`)))
  })
  await Promise.race([ready, sleep(LIMIT_MS).then(() => Promise.reject(new Error('no attack in time')))])
  return child
}

/**
 * CPU of Weir while this runs, in percent of one core: the part of the picture that a busy machine does not
 * blur.
 */
async function withCpu<T>(run: () => Promise<T>): Promise<readonly [result: T, percent: number]> {
  const ticks = () => {
    const fields = readFileSync(`/proc/${weir.pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
    return Number(fields[11]) + Number(fields[12])
  }
  const [before, startMs] = [ticks(), performance.now()]
  const result = await run()
  return [result, ((ticks() - before) * 1000) / (performance.now() - startMs)]
}

const first = await startTarget()
const { weir, tidy, metricsUrl } = first
const driver = new Helper('driver.ts')
const second = await startTarget()
const port = (target: 'grpc' | 'http' | 'tls', { weir: of }: Target = first) =>
  target === 'tls'
    ? of.port('receivers/otlp/tls/protocols/grpc')
    : of.port(`receivers/otlp/protocols/${target}`)
const measure = (length = seconds) =>
  driver.ask<LoadResult>(
    JSON.stringify({
      protocol: 'grpc',
      port: port('grpc'),
      connections: 8,
      items: 10,
      serial: 0,
      seconds: length,
      calls: 8,
      rate: 1000,
    } satisfies LoadPlan),
  )
const connections = async (url = metricsUrl) =>
  [...(await readMetric(url, 'otelcol_receiver_connections')).values()].reduce((sum, count) => sum + count, 0)

/** Used heap and what lies outside of it: what the memory limiter steers by. */
const ledgerMb = async () =>
  Math.round(
    [...(await readMetric(metricsUrl, 'otelcol_process_memory_ledger')).values()].reduce(
      (sum, bytes) => sum + bytes,
      0,
    ) /
      2 ** 20,
  )

interface MemoryNow {
  readonly rss: number
  readonly ledger: number
}

/** Looks at the memory until it is told to stop. */
function watchMemory(): () => Promise<MemoryNow> {
  const most = { rss: 0, ledger: 0 }
  let watching = true
  const done = (async () => {
    while (watching) {
      most.rss = Math.max(most.rss, rssMb(weir.pid))
      most.ledger = Math.max(most.ledger, await ledgerMb())
      await sleep(LOOK_MS)
    }
  })()
  return async () => {
    watching = false
    await done
    return most
  }
}

/** Waits until the attackers are gone and the memory is back, or time is over. */
async function calm(before: MemoryNow, most: MemoryNow): Promise<MemoryNow> {
  const untilMs = performance.now() + CALM_MS
  tidy()
  while (true) {
    const after = { rss: rssMb(weir.pid), ledger: await ledgerMb() }
    const back = (key: keyof MemoryNow) =>
      memoryReturned({ before: before[key], most: most[key], after: after[key] })
    const all = (await connections()) === 0 && back('rss') && back('ledger')
    if (all || performance.now() > untilMs) return after
    await sleep(LOOK_MS)
  }
}

/** Ends the attack, and waits until its connections are gone. */
async function end(attacker: ChildProcess, { metricsUrl: url }: Target): Promise<void> {
  attacker.removeAllListeners('exit')
  attacker.kill('SIGKILL')
  for (let wait = 0; wait < 50 && (await connections(url)) > 0; wait++) await sleep(100)
}

/** p99 while the second Weir is attacked. */
async function elsewhere(name: string, target: 'grpc' | 'http' | 'tls'): Promise<number> {
  const attacker = await attack(name, port(target, second))
  await sleep(SWING_MS)
  const { p99Ms } = await measure()
  await end(attacker, second)
  return p99Ms
}

/** One attack in alternation with none: what is after one round is before the next. */
async function rounds(name: string, target: 'grpc' | 'http' | 'tls'): Promise<FloodResult> {
  const countedBefore = await counts(metricsUrl)
  const memoryBefore = { rss: rssMb(weir.pid), ledger: await ledgerMb() }
  const most = { ...memoryBefore }
  const list: FloodRound[] = []
  let [held, errors] = [0, 0]
  let [quiet, cpuBeforePercent] = await withCpu(() => measure())
  for (let round = 0; round < roundCount; round++) {
    const attacker = await attack(name, port(target))
    await sleep(SWING_MS)
    const memory = watchMemory()
    const [loud, cpuMeanwhilePercent] = await withCpu(() => measure())
    const seen = await memory()
    most.rss = Math.max(most.rss, seen.rss)
    most.ledger = Math.max(most.ledger, seen.ledger)
    held = await connections()
    await end(attacker, first)
    const elsewhereMs = await elsewhere(name, target)
    const [after, cpuAfter] = await withCpu(() => measure())
    const times = { beforeMs: quiet.p99Ms, meanwhileMs: loud.p99Ms, afterMs: after.p99Ms, elsewhereMs }
    list.push({ ...times, cpuBeforePercent, cpuMeanwhilePercent })
    errors += loud.errors + (loud.refusals?.lost ?? 0)
    ;[quiet, cpuBeforePercent] = [after, cpuAfter]
  }
  const memoryAfter = await calm(memoryBefore, most)
  const counted = [...(await counts(metricsUrl))]
    .map(
      ([reason, count]) =>
        [reason, Math.round((count - (countedBefore.get(reason) ?? 0)) / roundCount)] as const,
    )
    .filter(([, count]) => count > 0)
  const memoryOf = (key: keyof MemoryNow): Memory => ({
    before: memoryBefore[key],
    most: most[key],
    after: memoryAfter[key],
  })
  return {
    attack: name,
    date: new Date().toISOString().slice(0, 10),
    ...{ rounds: list, held, errors, counted: Object.fromEntries(counted) },
    rssMb: memoryOf('rss'),
    ledgerMb: memoryOf('ledger'),
  }
}

const descriptors = /Max open files\s+(\d+)/.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]
console.log(`Node ${process.version}, ${cpus().length} cores, file descriptors ${descriptors}`)
await measure(3)
tidy()
await sleep(CALM_MS / 2)
console.log(TABLE_HEAD)
const results: FloodResult[] = []
for (const [name, target] of ATTACKS) {
  if (!name.includes(values.only)) continue
  const result = await rounds(name, target)
  results.push(result)
  console.log(tableRow(result))
}
const errorLines = weir.log.filter((line) => line.level === 'error' || line.level === 'raw')
if (errorLines.length > 0)
  console.log(`errors in the log: ${errorLines.length} ${JSON.stringify(errorLines[0])}`)
driver.stop()
const code = await weir.stop()
await weir[Symbol.asyncDispose]()
await second.weir[Symbol.asyncDispose]()
const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim()
const about = { machine: `${cpus().length} cores, ${cpus()[0]?.model}`, node: process.version, commit }
const run = { ...about, connections: Number(values.connections), seconds, attacks: results }
if (!values['no-write'])
  writeFloods(
    run,
    ATTACKS.map(([name]) => name),
  )
const wrong = results.flatMap((result) => complaints(result).map((text) => `${result.attack}: ${text}`))
if (errorLines.length > 0) wrong.push(`${errorLines.length} errors in the log`)
if (code !== 0) wrong.push(`exit code ${code}`)
const worst = results.toSorted((a, b) => ratioOf(b) - ratioOf(a))[0]
report(
  `floods and ${values.connections} connections`,
  `${results.length} attacks, ${roundCount} rounds each`,
  {
    'p99 of others, worst ratio':
      worst === undefined ? '-' : `${ratioOf(worst).toFixed(2)} (${worst.attack})`,
    'failed requests of others': results.reduce((sum, { errors }) => sum + errors, 0),
    'most memory, MB': Math.max(...results.map(({ rssMb: { most } }) => most)),
    'not well': wrong.length === 0 ? 'none' : wrong.join('; '),
  },
)
console.log(wrong.length === 0 ? 'all well' : `NOT WELL: ${wrong.join('; ')}`)
process.exit(wrong.length === 0 || values['no-write'] ? 0 : 1)
