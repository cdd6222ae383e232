/**
 * The load: sends pre-encoded requests over gRPC (frames straight on sockets) or HTTP (autocannon), checks every answer, and says
 * what came of it. Its own process, so that its cost is not the collector's.
 *
 *     node bench/load/driver.ts '{"protocol":"grpc","port":4317,"connections":32,"requests":5000,"items":100,"serial":0}'
 *
 * Without an argument it takes plans (plan.ts) as lines of JSON on stdin, one after the other, and answers each with a line.
 */
import { createInterface } from 'node:readline'
import { makeRequest, type Request, type RequestSettings } from '../support/requests.ts'
import { closedLoop, openLoop } from './grpc-load.ts'
import { httpLoad } from './http-load.ts'
import type { LoadPlan, LoadResult } from './plan.ts'

export type { LoadPlan, LoadResult } from './plan.ts'

const VARIANTS = 16
/** Large requests take as much memory as this, at most, in their variants. */
const VARIANT_BYTES = 32 * 2 ** 20

const made = new Map<string, readonly Request[]>()

/** Encoding the requests is no part of the load: it is done once, before the clock runs. */
function variantsOf(plan: LoadPlan): readonly Request[] {
  const { kind = 'traces', items, gzip, spanBytes, spansPerTrace, numberedSpans } = plan
  const settings = { kind, items, gzip, spanBytes, spansPerTrace, numberedSpans } as RequestSettings
  const key = JSON.stringify(settings)
  let variants = made.get(key)
  if (variants === undefined) {
    const first = makeRequest(settings, 0)
    const count = Math.max(2, Math.min(VARIANTS, Math.floor(VARIANT_BYTES / first.bytes.length)))
    variants = [first, ...Array.from({ length: count - 1 }, (_, index) => makeRequest(settings, index + 1))]
    made.set(key, variants)
  }
  return variants
}

async function load(plan: LoadPlan): Promise<LoadResult> {
  const variants = variantsOf(plan)
  const cpu = process.cpuUsage()
  const startedMs = performance.now()
  const run = plan.protocol === 'http' ? httpLoad : plan.rate === undefined ? closedLoop : openLoop
  const counts = await run(plan, variants)
  const used = process.cpuUsage(cpu)
  const seconds = (performance.now() - startedMs) / 1000
  const items = counts.requests * plan.items
  const cpuMicros = used.user + used.system
  return {
    ...counts,
    items,
    seconds,
    driverCpuMicrosPerItem: cpuMicros / Math.max(1, items),
    driverCpuShare: cpuMicros / 1e6 / seconds,
  }
}

if (process.argv[2] !== undefined) {
  console.log(JSON.stringify(await load(JSON.parse(process.argv[2]) as LoadPlan)))
  process.exit(0)
}
for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await load(JSON.parse(line) as LoadPlan)))
}
process.exit(0)
