/**
 * `npm run bench`: CPU per item, memory and answer times of Weir, and of the Go collector where it is installed
 * (test/peers/build.sh otelcol), on the same YAML, in alternating runs. Prints the table, writes it to bench/README.md and the
 * figures to bench/results/latest.json.
 *
 *     npm run bench                      all cases, 5 rounds
 *     npm run bench -- --rounds 3 --only tail     fewer rounds; cases whose name has the word
 *     npm run bench -- --no-write        leaves bench/README.md alone
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { findPeer } from '../test/support/peers.ts'
import { CASES, type Case } from './cases.ts'
import { type CollectorName, startCollector } from './support/collectors.ts'
import { runLoad } from './support/load.ts'

interface Run {
  readonly cpuMicrosPerItem: number
  readonly peakRssMb: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly itemsPerSecond: number
  readonly driverCpuMicrosPerItem: number
  readonly errors: number
}

interface Result {
  readonly case: Case
  readonly runs: Partial<Record<CollectorName, Run[]>>
}

/** Waits after the load for what is held: decisions of tail sampling (2 s and a tick), batches. Their cost belongs to the items. */
const SETTLE_MS = 3500
const WARM_UP_SHARE = 0.6

async function measure(collector: CollectorName, item: Case): Promise<Run> {
  const running = await startCollector(collector, item.config)
  try {
    const port = item.protocol === 'grpc' ? running.grpcPort : running.httpPort
    const plan = {
      protocol: item.protocol,
      port,
      connections: item.connections,
      items: item.items,
      serial: 1,
    }
    const warmUp = Math.ceil(item.requests * WARM_UP_SHARE)
    await runLoad({ ...plan, requests: warmUp })
    await sleep(SETTLE_MS)
    const before = running.cpuMicros()
    const load = await runLoad({ ...plan, requests: item.requests, serial: warmUp + 1 })
    await sleep(SETTLE_MS)
    const items = load.requests * item.items
    return {
      cpuMicrosPerItem: (running.cpuMicros() - before) / items,
      peakRssMb: running.peakRssBytes() / 1e6,
      p50Ms: load.p50Ms,
      p99Ms: load.p99Ms,
      itemsPerSecond: items / load.seconds,
      driverCpuMicrosPerItem: load.driverCpuMicrosPerItem,
      errors: load.errors,
    }
  } finally {
    await running.stop()
  }
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1
    ? (sorted[middle] ?? 0)
    : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2
}

const figures = (runs: readonly Run[] | undefined, pick: (run: Run) => number) => (runs ?? []).map(pick)

function tableRow(result: Result): string {
  const weir = figures(result.runs.weir, (run) => run.cpuMicrosPerItem)
  const go = figures(result.runs.otelcol, (run) => run.cpuMicrosPerItem)
  const spread = (values: readonly number[]) =>
    values.length === 0
      ? '-'
      : `${median(values).toFixed(2)} (${Math.min(...values).toFixed(2)}-${Math.max(...values).toFixed(2)})`
  const ratio = go.length === 0 ? '-' : (median(weir) / median(go)).toFixed(2)
  const one = (runs: readonly Run[] | undefined, pick: (run: Run) => number, digits = 0) =>
    runs === undefined ? '-' : median(figures(runs, pick)).toFixed(digits)
  const errors = [...(result.runs.weir ?? []), ...(result.runs.otelcol ?? [])].reduce(
    (sum, run) => sum + run.errors,
    0,
  )
  return [
    result.case.name,
    spread(weir),
    spread(go),
    ratio,
    result.case.goal === undefined ? '' : `<= ${result.case.goal}`,
    `${one(result.runs.weir, (run) => run.peakRssMb)} / ${one(result.runs.otelcol, (run) => run.peakRssMb)}`,
    `${one(result.runs.weir, (run) => run.p50Ms, 1)} / ${one(result.runs.otelcol, (run) => run.p50Ms, 1)}`,
    `${one(result.runs.weir, (run) => run.p99Ms, 1)} / ${one(result.runs.otelcol, (run) => run.p99Ms, 1)}`,
    one(result.runs.weir, (run) => run.driverCpuMicrosPerItem, 2),
    String(errors),
  ].join(' | ')
}

const HEADER =
  '| case | Weir | Go collector | ratio | goal | peak RSS MB, Weir / Go | p50 ms | p99 ms | load CPU | errors |\n' +
  '| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |'

function document(results: readonly Result[], rounds: number): string {
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim()
  return `# Bench

CPU microseconds per item of the collector process (user and system time, from /proc), median and range of ${rounds} rounds, runs of
the two collectors alternating, the same YAML (bench/configs) for both. Requests of 100 spans of about 360 bytes over 32
connections unless the case says otherwise; each request brings new traces. Two shards, two Go threads of execution. Load CPU is what the driver
spends per item: it runs in a process of its own.

Machine: ${cpus().length} cores, ${cpus()[0]?.model ?? 'unknown'}. Node ${process.version}. Commit ${commit}. Quote ratios, not absolute times.

${HEADER}
${results.map((result) => `| ${tableRow(result)} |`).join('\n')}

Run it: \`npm run bench\` (\`--rounds N\`, \`--only WORD\`, \`--no-write\`). The Go collector comes from \`test/peers/build.sh otelcol\`.
Micro benches: \`node bench/micro/NAME.ts\`. Held spans: \`node bench/load/held-spans.ts\`.
`
}

const { values: flags } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    only: { type: 'string', default: '' },
    'no-write': { type: 'boolean', default: false },
  },
})
const rounds = Number(flags.rounds)
const collectors: CollectorName[] = findPeer('otelcol') === undefined ? ['weir'] : ['weir', 'otelcol']
if (collectors.length === 1)
  console.log('the Go collector is not installed: no ratio (test/peers/build.sh otelcol)')
const results: Result[] = []
for (const item of CASES.filter((candidate) => candidate.name.includes(flags.only))) {
  const runs: Partial<Record<CollectorName, Run[]>> = {}
  for (let round = 0; round < rounds; round++) {
    for (const collector of collectors) {
      const run = await measure(collector, item)
      ;(runs[collector] ??= []).push(run)
      console.log(
        `${item.name} | round ${round + 1} ${collector}: ${run.cpuMicrosPerItem.toFixed(2)} us/item`,
      )
    }
  }
  results.push({ case: item, runs })
  console.log(`${HEADER}\n| ${tableRow({ case: item, runs })} |\n`)
}
if (!flags['no-write']) {
  mkdirSync(join(import.meta.dirname, 'results'), { recursive: true })
  writeFileSync(join(import.meta.dirname, 'results/latest.json'), `${JSON.stringify(results, null, 1)}\n`)
  writeFileSync(join(import.meta.dirname, 'README.md'), document(results, rounds))
}
