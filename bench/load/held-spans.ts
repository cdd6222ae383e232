/**
 * How much memory does a collector take while tail sampling holds 400,000 spans?
 *
 *     node bench/load/held-spans.ts [ROUNDS] [SPANS] [SHARDS]
 *
 * Both collectors get bench/configs/traces-tail-sampling.yaml with a decision_wait of 60 s (the
 * measurement must be done before), a short warm-up, and then the load: gRPC, 32 connections, 100 spans a
 * request (36 KB). RSS is read before the load, at its peak and 5 s after the last answer. Growth is against
 * what the process took before the load began, warmed up.
 */
import { execFileSync } from 'node:child_process'
import os from 'node:os'
import { type CollectorName, startCollector } from '../support/collectors.ts'
import { runLoad } from '../support/load.ts'

const ROUNDS = Number(process.argv[2] ?? 3)
const SPANS = Number(process.argv[3] ?? 400_000)
const SHARDS = process.argv[4] ?? '2'
const ITEMS = 100
const WARM_UP_REQUESTS = 20
const DECISION_WAIT_S = 60
const MIB = 2 ** 20

interface Growth {
  readonly idleMib: number
  readonly heldMib: number
  readonly peakMib: number
}

async function measure(name: CollectorName, round: number): Promise<Growth> {
  const environment = { BENCH_DECISION_WAIT: `${DECISION_WAIT_S}s` }
  const extra = name === 'weir' ? ['--set', `service.shards=${SHARDS}`] : []
  const collector = await startCollector(name, 'traces-tail-sampling.yaml', environment, extra)
  try {
    const plan = { protocol: 'grpc' as const, port: collector.grpcPort, connections: 32, items: ITEMS }
    await load({ ...plan, requests: WARM_UP_REQUESTS, serial: 900_000 })
    await pause(3000)
    const idle = collector.rssBytes()
    const startMs = performance.now()
    await load({ ...plan, requests: SPANS / ITEMS, serial: round * 100_000 })
    await pause(5000)
    const held = collector.rssBytes()
    if (performance.now() - startMs > DECISION_WAIT_S * 1000)
      throw new Error('decisions began too early: too slow')
    return {
      idleMib: idle / MIB,
      heldMib: (held - idle) / MIB,
      peakMib: (collector.peakRssBytes() - idle) / MIB,
    }
  } finally {
    await collector.stop()
  }
}

async function load(plan: Parameters<typeof runLoad>[0]): Promise<void> {
  const result = await runLoad(plan)
  if (result.errors > 0 || result.requests !== plan.requests)
    throw new Error(`${result.requests} of ${plan.requests} requests, ${result.errors} errors`)
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
}

const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim()
console.log(`${os.cpus()[0]?.model}, ${os.availableParallelism()} cores, Node ${process.version}, ${commit}`)
console.log(`${SPANS} spans held, ${ITEMS} a request, gRPC; Weir on ${SHARDS} shards; ${ROUNDS} rounds, MiB`)
const results: Record<CollectorName, Growth[]> = { weir: [], otelcol: [] }
for (let round = 0; round < ROUNDS; round++) {
  for (const name of ['weir', 'otelcol'] as const) {
    const growth = await measure(name, round)
    results[name].push(growth)
    const [idle, held, peak] = [growth.idleMib, growth.heldMib, growth.peakMib].map(Math.round)
    console.log(`${name}: idle ${idle}, growth ${held} while held, ${peak} at the peak`)
  }
}
const [weir, otelcol] = [results.weir, results.otelcol].map((list) => ({
  held: median(list.map(({ heldMib }) => heldMib)),
  peak: median(list.map(({ peakMib }) => peakMib)),
}))
if (weir && otelcol) {
  const ratio = (a: number, b: number) => (a / b).toFixed(2)
  console.log(
    `held: ${Math.round(weir.held)} / ${Math.round(otelcol.held)} = ${ratio(weir.held, otelcol.held)}`,
  )
  console.log(
    `peak: ${Math.round(weir.peak)} / ${Math.round(otelcol.peak)} = ${ratio(weir.peak, otelcol.peak)}`,
  )
}
