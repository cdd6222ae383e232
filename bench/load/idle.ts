/**
 * What does a collector cost that has nothing to do, and how long does it take to start?
 *
 *     node bench/load/idle.ts [--runs 3] [--idle 20]
 *
 * Both collectors get bench/configs/idle.yaml. Weir starts from source: the first start with an empty compile cache, which is
 * what an installation does once, the others with a warm one. Shown are the milliseconds from spawn to the line that says
 * ready, the CPU until then, the resident memory after 5 s and the CPU of the time after that, as a share of one core. Medians;
 * the first start is one run.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { findPeer, freePort } from '../../test/support/peers.ts'
import { stop } from '../support/collectors.ts'

const ROOT = join(import.meta.dirname, '../..')
const CONFIG = join(ROOT, 'bench/configs/idle.yaml')
const SETTLE_MS = 5000
const START_LIMIT_MS = 30_000
/** Clock ticks per second of /proc/PID/stat: 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100

interface Run {
  readonly readyMs: number
  readonly startCpuMs: number
  readonly rssMb: number
  readonly cpuPercent: number
}

const { values } = parseArgs({
  options: { runs: { type: 'string', default: '3' }, idle: { type: 'string', default: '20' } },
})
const runs = Number(values.runs)
const idleMs = Number(values.idle) * 1000

const sleep = (ms: number) => new Promise<void>((resolve) => void setTimeout(resolve, ms))
const cpuMs = (pid: number) => {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return ((Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND) * 1000
}
const rssMb = (pid: number) =>
  Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024

async function measure(
  command: string,
  list: readonly string[],
  environment: Readonly<Record<string, string>>,
  watchMs: number,
): Promise<Run> {
  const env = {
    ...process.env,
    ...environment,
    BENCH_GRPC_PORT: String(await freePort()),
    BENCH_HTTP_PORT: String(await freePort()),
    BENCH_METRICS_PORT: String(await freePort()),
  }
  const beganMs = performance.now()
  const child = spawn(command, list, { env, stdio: ['ignore', 'ignore', 'pipe'] })
  try {
    await untilReady(child)
    const readyMs = performance.now() - beganMs
    const pid = child.pid ?? 0
    const startCpuMs = cpuMs(pid)
    await sleep(SETTLE_MS)
    const memory = rssMb(pid)
    const before = cpuMs(pid)
    await sleep(watchMs)
    const cpuPercent = watchMs > 0 ? ((cpuMs(pid) - before) / watchMs) * 100 : Number.NaN
    return { readyMs, startCpuMs, rssMb: memory, cpuPercent }
  } finally {
    await stop(child)
  }
}

function untilReady(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    let log = ''
    const fail = () => reject(new Error(`not ready: ${log.slice(-4096)}`))
    const timer = setTimeout(fail, START_LIMIT_MS)
    child.once('exit', fail)
    child.stderr?.on('data', (data) => {
      log += String(data)
      if (!/weir is ready|Everything is ready/.test(log)) return
      clearTimeout(timer)
      child.off('exit', fail)
      resolve()
    })
  })
}

function median(all: readonly Run[], pick: (run: Run) => number): number {
  const sorted = all.map(pick).sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}

function show(name: string, all: readonly Run[]): void {
  const cells = [
    `${median(all, (run) => run.readyMs).toFixed(0)} ms`,
    `${median(all, (run) => run.startCpuMs).toFixed(0)} ms`,
    `${median(all, (run) => run.rssMb).toFixed(0)} MB`,
    Number.isNaN(median(all, (run) => run.cpuPercent))
      ? ''
      : `${median(all, (run) => run.cpuPercent).toFixed(2)} %`,
  ]
  process.stdout.write(`| ${name} | ${cells.join(' | ')} |\n`)
}

async function repeat(run: (watchMs: number) => Promise<Run>): Promise<Run[]> {
  const all: Run[] = []
  for (let index = 0; index < runs; index++) all.push(await run(idleMs))
  return all
}

const cache = mkdtempSync(join(tmpdir(), 'weir-idle-'))
try {
  process.stdout.write(`Node ${process.version}, ${cpus().length} x ${cpus()[0]?.model}, ${runs} runs\n\n`)
  process.stdout.write(
    '| collector | ready | CPU to ready | RSS | idle CPU |\n| --- | --- | --- | --- | --- |\n',
  )
  const weir = (shards: number) => (watchMs: number) =>
    measure(
      process.execPath,
      [join(ROOT, 'src/weir.mjs'), '--config', CONFIG, '--set', `service.shards=${shards}`],
      { NODE_COMPILE_CACHE: cache },
      watchMs,
    )
  show('Weir, 2 shards, first start ever', [await weir(2)(0)])
  for (const shards of [2, 1, 0]) show(`Weir, ${shards} shards`, await repeat(weir(shards)))
  const go = findPeer('otelcol')
  if (go === undefined) process.stdout.write('otelcol is not installed: run test/peers/build.sh otelcol\n')
  else show('Go collector', await repeat((watchMs) => measure(go, ['--config', CONFIG], {}, watchMs)))
} finally {
  rmSync(cache, { recursive: true, force: true })
}
