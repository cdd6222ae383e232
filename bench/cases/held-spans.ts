/** Memory of what tail sampling holds: RSS before and after, when nothing has been decided yet. */
import type { LoadResult } from '../load/plan.ts'
import { startCollector } from '../support/collectors.ts'
import { Helper } from '../support/helper.ts'
import { sleep } from '../support/measure.ts'
import { type Contender, GO, type Question, type Row, type Run, SHORT, WEIR } from '../support/question.ts'

const REQUEST_SPANS = 100
const SPANS_PER_TRACE = 5
/** Brings code and pools to their working size; what it holds is not in the growth. */
const WARM_UP_REQUESTS = 20

async function measure(row: Row, contender: Contender): Promise<Run> {
  const spans = Number(row.name.split(' ')[0]?.replaceAll(',', '')) * SPANS_PER_TRACE
  const driver = new Helper('driver.ts')
  const running = await startCollector(contender.collector, row.config)
  try {
    const plan = { ...row.load, port: running.grpcPort }
    const ask = async (requests: number, serial: number) => {
      const result = await driver.ask<LoadResult>(JSON.stringify({ ...plan, requests, serial }))
      if (result.errors > 0) throw new Error(`${result.errors} requests were refused`)
      return result
    }
    await ask(WARM_UP_REQUESTS, 1)
    await sleep(2)
    const [idleBytes, cpuBefore] = [running.rssBytes(), running.cpuMicros()]
    const load = await ask(spans / REQUEST_SPANS, 1000)
    await sleep(spans > 100_000 ? 5 : 2)
    const heldBytes = running.rssBytes() - idleBytes
    return {
      cpuMicrosPerItem: (running.cpuMicros() - cpuBefore) / load.items,
      peakRssMb: running.peakRssBytes() / 1e6,
      p50Ms: load.p50Ms,
      p99Ms: load.p99Ms,
      itemsPerSecond: load.items / load.seconds,
      collectorCores: (running.cpuMicros() - cpuBefore) / 1e6 / load.seconds,
      driverCores: load.driverCpuShare,
      sinkCores: 0,
      driverCpuMicrosPerItem: load.driverCpuMicrosPerItem,
      sinkCpuMicrosPerItem: 0,
      sentBytesPerItem: 0,
      errors: load.errors,
      more: {
        heldBytes,
        bytesPerSpan: heldBytes / spans,
        peakBytes: running.peakRssBytes() - idleBytes,
        spans,
      },
    }
  } finally {
    driver.stop()
    await running.stop()
  }
}

const row = (traces: number, goals: Partial<Row> = {}): Row => ({
  name: `${traces.toLocaleString('en-US')} held traces`,
  config: 'held-spans.yaml',
  load: { protocol: 'grpc', items: REQUEST_SPANS, connections: 32, spansPerTrace: SPANS_PER_TRACE },
  contenders: [WEIR, GO],
  length: SHORT,
  maxRounds: 3,
  ...goals,
})

export default {
  name: 'held-spans',
  title: 'Memory of held spans',
  about:
    'Growth of RSS in bytes for each span that tail sampling holds: about 420 bytes encoded, five spans a trace, after a warm-up of ' +
    '2,000 spans. With 1,000 traces the noise of the process is as large as what is held.',
  rows: [
    row(1000),
    row(10_000),
    row(100_000, { goal: 0.3, stretch: 0.22 }),
    row(1_000_000, { goal: 0.3, stretch: 0.22 }),
  ],
  figure: { label: 'RSS bytes/span', digits: 0, pick: (run) => run.more?.['bytesPerSpan'] ?? 0 },
  details: [
    { label: 'growth MB', digits: 1, pick: (run) => (run.more?.['heldBytes'] ?? 0) / 1e6 },
    { label: 'growth at the peak MB', digits: 1, pick: (run) => (run.more?.['peakBytes'] ?? 0) / 1e6 },
    { label: 'CPU us/item to take in', digits: 2, pick: (run) => run.cpuMicrosPerItem },
    { label: 'p99 ms', digits: 1, pick: (run) => run.p99Ms },
  ],
  measure,
  runSeconds: (item) => (item.name.startsWith('1,000,000') ? 45 : 8),
} satisfies Question
