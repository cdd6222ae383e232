/** One run: a fresh collector (and sink), warmed up, then loaded; CPU from after the warm-up until all is settled. */

import type { LoadPlan, LoadResult } from '../load/plan.ts'
import type { SinkCounts } from '../load/sink.ts'
import { type RunningCollector, startCollector } from './collectors.ts'
import { Helper } from './helper.ts'
import type { Contender, Row, Run } from './question.ts'

export interface Sink {
  readonly environment: Readonly<Record<string, string>>
  counts(): Promise<SinkCounts>
  /** Writes which numbered spans came to a file. */
  writeSpans(path: string): Promise<SinkCounts>
  stop(): void
}

export async function startSink(mode: 'bytes' | 'spans' = 'bytes', cores?: string): Promise<Sink> {
  const helper = new Helper('sink.ts', [mode], cores)
  const { grpcPort, httpPort } = await helper.next<{ grpcPort: number; httpPort: number }>()
  return {
    environment: { BENCH_SINK_GRPC_PORT: String(grpcPort), BENCH_SINK_HTTP_PORT: String(httpPort) },
    counts: () => helper.ask<SinkCounts>(''),
    writeSpans: (path) => helper.ask<SinkCounts>(path),
    stop: () => helper.stop(),
  }
}

export const sleep = (seconds: number) => new Promise((resolve) => setTimeout(resolve, seconds * 1000))

/** How long a collector that still sends is waited for: what comes late is part of the cost. */
const LATE_SECONDS = 60
const LOOK_SECONDS = 0.5
/** A collector that uses less than this share of a core, and sends nothing, has nothing left. */
const IDLE_SHARE = 0.06

/** Until what is held was decided and sent. */
async function settled(row: Row, running: RunningCollector, sink: Sink | undefined): Promise<void> {
  await sleep(row.length.settleSeconds)
  if (sink === undefined) return
  let [bytes, cpu] = [-1, running.cpuMicros()]
  let quiet = 0
  for (let waited = 0; waited < LATE_SECONDS && quiet < 2; waited += LOOK_SECONDS) {
    await sleep(LOOK_SECONDS)
    const [bytesNow, cpuNow] = [(await sink.counts()).bytes, running.cpuMicros()]
    const idle = (cpuNow - cpu) / 1e6 / LOOK_SECONDS < IDLE_SHARE
    quiet = bytesNow === bytes && idle ? quiet + 1 : 0
    bytes = bytesNow
    cpu = cpuNow
  }
}

export async function measure(row: Row, contender: Contender): Promise<Run> {
  const sink = row.sink === true ? await startSink() : undefined
  const driver = new Helper('driver.ts')
  let running: RunningCollector | undefined
  try {
    const environment = { ...row.environment, ...sink?.environment }
    const config = contender.config ?? row.config
    running = await startCollector(contender.collector, config, environment, contender.arguments)
    return await loaded(row, running, driver, sink)
  } finally {
    driver.stop()
    await running?.stop()
    sink?.stop()
  }
}

async function loaded(
  row: Row,
  running: RunningCollector,
  driver: Helper,
  sink: Sink | undefined,
): Promise<Run> {
  const { warmUpSeconds, seconds } = row.length
  const port = row.load.protocol === 'grpc' ? running.grpcPort : running.httpPort
  const plan = { ...row.load, port }
  const ask = (more: Partial<LoadPlan>) => driver.ask<LoadResult>(JSON.stringify({ ...plan, ...more }))
  const warm = await ask({ seconds: warmUpSeconds, serial: 1 })
  await settled(row, running, sink)
  const sinkBefore = await sink?.counts()
  const before = running.cpuMicros()
  const load = await ask({ seconds, serial: warm.nextSerial })
  const busy = running.cpuMicros() - before
  await settled(row, running, sink)
  const cpuMicros = running.cpuMicros() - before
  const sinkAfter = await sink?.counts()
  const sinkMicros = (sinkAfter?.cpuMicros ?? 0) - (sinkBefore?.cpuMicros ?? 0)
  if (load.items === 0) throw new Error(`nothing was taken: ${JSON.stringify(load)}`)
  return {
    cpuMicrosPerItem: cpuMicros / load.items,
    peakRssMb: running.peakRssBytes() / 1e6,
    p50Ms: load.p50Ms,
    p99Ms: load.p99Ms,
    itemsPerSecond: load.items / load.seconds,
    collectorCores: busy / 1e6 / load.seconds,
    driverCores: load.driverCpuShare,
    sinkCores: sinkMicros / 1e6 / load.seconds,
    driverCpuMicrosPerItem: load.driverCpuMicrosPerItem,
    sinkCpuMicrosPerItem: sinkMicros / load.items,
    sentBytesPerItem: ((sinkAfter?.bytes ?? 0) - (sinkBefore?.bytes ?? 0)) / load.items,
    errors: load.errors,
  }
}
