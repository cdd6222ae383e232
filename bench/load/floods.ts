/**
 * What do hostile clients do to the others? For each attack: p99 of ordinary gRPC requests before and during it, what was counted,
 * and the memory afterwards.
 *
 *     node bench/load/floods.ts [--connections 10000] [--rounds 3] [--seconds 4] [--only WORD]
 *
 * Two shards. Ordinary clients send 200 requests a second of 10 spans over 8 connections, open loop. Floods come over 4 connections
 * that are opened anew ten times a second each; holding attacks keep `--connections` open and drip bytes. On a machine with few
 * cores the attacker takes CPU from all others, which is in the figures.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { createAuthority, createCertificate } from '../../test/support/certificates.ts'
import { freePort } from '../../test/support/peers.ts'
import { type RunningWeir, startWeir } from '../../test/support/weir.ts'
import { runLoad } from '../support/load.ts'

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

const { values } = parseArgs({
  options: {
    connections: { type: 'string', default: '10000' },
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '4' },
    only: { type: 'string', default: '' },
  },
})
const [rounds, seconds] = [Number(values.rounds), Number(values.seconds)]

async function start(): Promise<{ weir: RunningWeir; metricsUrl: string }> {
  const port = await freePort()
  const { cert, key } = createCertificate(createAuthority(), 'localhost')
  const readers = [{ pull: { exporter: { prometheus: { host: '127.0.0.1', port } } } }]
  const grpc = { endpoint: '127.0.0.1:0' }
  const weir = await startWeir({
    receivers: {
      otlp: { protocols: { grpc, http: { endpoint: '127.0.0.1:0' } } },
      'otlp/tls': { protocols: { grpc: { ...grpc, tls: { cert_pem: cert, key_pem: key } } } },
    },
    exporters: { nop: {} },
    service: {
      shards: 2,
      telemetry: { metrics: { readers } },
      pipelines: { traces: { receivers: ['otlp', 'otlp/tls'], exporters: ['nop'] } },
    },
  })
  return { weir, metricsUrl: `http://127.0.0.1:${port}/metrics` }
}

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

/** Sums of one metric over all its series, or by reason. */
async function read(url: string, metric: string): Promise<Map<string, number>> {
  const sums = new Map<string, number>()
  for (const line of (await (await fetch(url)).text()).split('\n')) {
    if (!line.startsWith(`${metric}{`)) continue
    const reason = /reason="([^"]*)"/.exec(line)?.[1] ?? ''
    sums.set(reason, (sums.get(reason) ?? 0) + Number(line.split(' ').at(-1)))
  }
  return sums
}

async function counts(url: string): Promise<Map<string, number>> {
  const closed = await read(url, 'otelcol_receiver_closed_connections')
  const failed = await read(url, 'otelcol_receiver_failed_requests')
  return new Map([...closed, ...[...failed].map(([reason, count]) => [`request ${reason}`, count] as const)])
}

const rssMb = (pid: number) =>
  Math.round(Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024)
/** CPU of Weir while this runs, in percent of one core: the part of the picture that a busy machine does not blur. */
async function withCpu<T>(run: () => Promise<T>): Promise<readonly [result: T, percent: number]> {
  const ticks = () => {
    const fields = readFileSync(`/proc/${weir.pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
    return Number(fields[11]) + Number(fields[12])
  }
  const [before, startMs] = [ticks(), performance.now()]
  const result = await run()
  return [result, ((ticks() - before) * 1000) / (performance.now() - startMs)]
}

const median = (list: number[]) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)] ?? Number.NaN

const { weir, metricsUrl } = await start()
const port = (target: 'grpc' | 'http' | 'tls') =>
  target === 'tls'
    ? weir.port('receivers/otlp/tls/protocols/grpc')
    : weir.port(`receivers/otlp/protocols/${target}`)
const measure = (length = seconds) =>
  runLoad({
    protocol: 'grpc',
    port: port('grpc'),
    connections: 8,
    items: 10,
    serial: 0,
    seconds: length,
    calls: 8,
    rate: 200,
  })
const connections = async () =>
  [...(await read(metricsUrl, 'otelcol_receiver_connections')).values()].reduce(
    (sum, count) => sum + count,
    0,
  )

/** Used heap and what lies outside of it: what the memory limiter steers by. */
const ledgerMb = async () =>
  Math.round(
    [...(await read(metricsUrl, 'otelcol_process_memory_ledger')).values()].reduce(
      (sum, bytes) => sum + bytes,
      0,
    ) /
      2 ** 20,
  )

console.log(
  `Node ${process.version}, ${cpus().length} cores, file descriptors ${/Max open files\s+(\d+)/.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]}`,
)
await measure(3)
console.log(
  '| attack | p99 before, ms | during | ratio | CPU % before / during | errors | held | counted in a round | RSS MB during / after |',
)
console.log('| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |')
for (const [name, target] of ATTACKS) {
  if (!name.includes(values.only)) continue
  const before: number[] = []
  const during: number[] = []
  const ratios: number[] = []
  const cpuBefore: number[] = []
  const cpuDuring: number[] = []
  let errors = 0
  let held = 0
  let rssDuring = 0
  let ledgerDuring = 0
  const countedBefore = await counts(metricsUrl)
  for (let round = 0; round < rounds; round++) {
    const [quiet, quietCpu] = await withCpu(() => measure())
    const attacker = await attack(name, port(target))
    const [loud, loudCpu] = await withCpu(() => measure())
    cpuBefore.push(quietCpu)
    cpuDuring.push(loudCpu)
    held = await connections()
    rssDuring = Math.max(rssDuring, rssMb(weir.pid))
    ledgerDuring = Math.max(ledgerDuring, await ledgerMb())
    attacker.removeAllListeners('exit')
    attacker.kill('SIGKILL')
    before.push(quiet.p99Ms)
    during.push(loud.p99Ms)
    ratios.push(loud.p99Ms / quiet.p99Ms)
    errors += loud.errors + (loud.refusals?.lost ?? 0)
    for (let wait = 0; wait < 50 && (await connections()) > 0; wait++) await sleep(100)
  }
  const counted = [...(await counts(metricsUrl))]
    .map(
      ([reason, count]) => [reason, Math.round((count - (countedBefore.get(reason) ?? 0)) / rounds)] as const,
    )
    .filter(([, count]) => count > 0)
    .map(([reason, count]) => `${reason} ${count}`)
  const cells = [
    name,
    median(before).toFixed(1),
    median(during).toFixed(1),
    median(ratios).toFixed(2),
    `${median(cpuBefore).toFixed(0)} / ${median(cpuDuring).toFixed(0)}`,
    errors,
    held,
    counted.join(', '),
    `${rssDuring} / ${rssMb(weir.pid)}`,
    `${ledgerDuring} / ${await ledgerMb()}`,
  ]
  console.log(`| ${cells.join(' | ')} |`)
}
const complaints = weir.log.filter((line) => line.level === 'error' || line.level === 'raw')
console.log(
  `errors in the log: ${complaints.length}${complaints.length > 0 ? ` ${JSON.stringify(complaints[0])}` : ''}`,
)
console.log(`exit code ${await weir.stop()}`)
await weir[Symbol.asyncDispose]()
process.exit(0)
