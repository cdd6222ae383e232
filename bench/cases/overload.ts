/**
 * Three times its own maximum: first the collector's maximum is found (what arrives at the sink while the load waits for answers),
 * then three times as much is offered for a minute whatever it answers. The collector has one core to itself, load and
 * sink share the other. The sink notes every span that comes, so that what was acknowledged can be looked for.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { LoadPlan, LoadResult } from '../load/plan.ts'
import { type RunningCollector, startCollector } from '../support/collectors.ts'
import { Helper } from '../support/helper.ts'
import { type Sink, sleep, startSink } from '../support/measure.ts'
import {
  type Contender,
  type Figure,
  GO,
  type Question,
  type Row,
  type Run,
  SHORT,
  WEIR,
} from '../support/question.ts'

const ITEMS = 100
const OFFERED = 3
const OVERLOAD_SECONDS = 60
const QUICK_SECONDS = 15
const PEAK_SECONDS = 10
/** Calls open on each connection while the maximum is looked for: the better of these counts. */
const PEAK_CALLS = [1, 4]
const DRAIN_SECONDS = 60
const LIMIT_MIB = 512
const [COLLECTOR_CORE, LOAD_CORE] = ['0', '1']

/** Waits until the sink gets no more. */
async function drained(sink: Sink): Promise<void> {
  let before = -1
  for (let second = 0; second < DRAIN_SECONDS; second += 2) {
    const { spans } = await sink.counts()
    if (spans === before) return
    before = spans
    await sleep(2)
  }
}

/** Spans a second that arrive at the sink while `load` runs. */
async function arriving(sink: Sink, load: () => Promise<LoadResult>, seconds: number) {
  const before = await sink.counts()
  const startMs = performance.now()
  const running = load()
  await sleep(seconds)
  const after = await sink.counts()
  const rate = ((after.spans - before.spans) / (performance.now() - startMs)) * 1000
  const cpu = after.cpuMicros - before.cpuMicros
  return { rate, sinkCpu: cpu, spans: after.spans - before.spans, load: await running }
}

/** Spans of acknowledged requests that the sink never got. */
function missing(acknowledgedFile: string, spansFile: string, firstSerial: number): number {
  const [acknowledged, spans] = [readFileSync(acknowledgedFile), readFileSync(spansFile)]
  let count = 0
  for (let bit = 0; bit < acknowledged.length * 8; bit++) {
    if ((acknowledged[bit >> 3]! & (1 << (bit & 7))) === 0) continue
    const first = (firstSerial + bit) * 128
    for (let number = first; number < first + ITEMS; number++) {
      if (((spans[number >> 3] ?? 0) & (1 << (number & 7))) === 0) count++
    }
  }
  return count
}

async function measure(row: Row, contender: Contender, quick: boolean): Promise<Run> {
  const folder = mkdtempSync(join(tmpdir(), 'weir-overload-'))
  const sink = await startSink('spans', LOAD_CORE)
  const driver = new Helper('driver.ts', [], LOAD_CORE)
  let running: RunningCollector | undefined
  try {
    const { environment } = sink
    running = await startCollector(contender.collector, row.config, environment, [], COLLECTOR_CORE)
    return await overloaded(row, running, driver, sink, folder, quick ? QUICK_SECONDS : OVERLOAD_SECONDS)
  } finally {
    driver.stop()
    await running?.stop()
    sink.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

async function overloaded(
  row: Row,
  running: RunningCollector,
  driver: Helper,
  sink: Sink,
  folder: string,
  seconds: number,
): Promise<Run> {
  const plan = { ...row.load, port: running.grpcPort }
  const ask = (more: Partial<LoadPlan>) => driver.ask<LoadResult>(JSON.stringify({ ...plan, ...more }))
  const warm = await ask({ seconds: 3, serial: 1 })
  await drained(sink)
  let [peakRate, serial] = [0, warm.nextSerial]
  for (const calls of PEAK_CALLS) {
    const firstSerial = serial
    const load = () => ask({ seconds: PEAK_SECONDS, serial: firstSerial, calls })
    const peak = await arriving(sink, load, PEAK_SECONDS)
    peakRate = Math.max(peakRate, peak.rate)
    serial = peak.load.nextSerial
    await drained(sink)
  }
  const acknowledgedFile = join(folder, 'acknowledged')
  const rate = Math.ceil((peakRate * OFFERED) / ITEMS)
  const cpuBefore = running.cpuMicros()
  const over = await arriving(
    sink,
    () => ask({ seconds, serial, rate, calls: 16, acknowledgedFile }),
    seconds,
  )
  const cpuMicros = running.cpuMicros() - cpuBefore
  await drained(sink)
  const [peakRss, spansFile] = [running.peakRssBytes(), join(folder, 'spans')]
  await running.stop()
  await sink.writeSpans(spansFile)
  const { load } = over
  const refusals = load.refusals
  if (refusals === undefined) throw new Error('the load had no rate')
  const offered = load.requests + load.errors + refusals.notSent
  return {
    cpuMicrosPerItem: cpuMicros / Math.max(1, over.spans),
    peakRssMb: peakRss / 1e6,
    p50Ms: load.p50Ms,
    p99Ms: load.p99Ms,
    itemsPerSecond: over.rate,
    collectorCores: cpuMicros / 1e6 / load.seconds,
    driverCores: load.driverCpuShare,
    sinkCores: over.sinkCpu / 1e6 / seconds,
    driverCpuMicrosPerItem: (load.driverCpuShare * load.seconds * 1e6) / (offered * ITEMS),
    sinkCpuMicrosPerItem: over.sinkCpu / Math.max(1, over.spans),
    sentBytesPerItem: 0,
    errors: refusals.otherStatus + refusals.lost,
    more: {
      peakPerSecond: peakRate,
      offeredPerSecond: (offered * ITEMS) / seconds,
      share: over.rate / peakRate,
      acknowledged: load.items,
      missing: missing(acknowledgedFile, spansFile, serial),
      rssShare: peakRss / 2 ** 20 / LIMIT_MIB,
      ...refusals,
      retryInfoShare: refusals.unavailable === 0 ? 1 : refusals.withRetryInfo / refusals.unavailable,
    },
  }
}

const more = (label: string, key: string, digits = 0, scale = 1): Figure => ({
  label,
  digits,
  pick: (run) => (run.more?.[key] ?? 0) * scale,
})

export default {
  name: 'overload',
  title: 'Overload',
  about:
    'gRPC traces -> limiter (512 MiB), resource, batch -> OTLP gRPC with gzip; the collector on one core, load and sink on the ' +
    'other. The maximum is what arrives at the sink from 32 connections with one or four calls open (the better of the two); then three times as much is offered ' +
    'for 60 s. The figure is what arrives then, as a share of the maximum. Missing: acknowledged spans that the sink never got.',
  rows: [
    {
      name: 'three times the maximum',
      config: 'overload.yaml',
      load: { protocol: 'grpc', items: ITEMS, connections: 32, numberedSpans: true },
      contenders: [WEIR, GO],
      length: SHORT,
      goal: 0.9,
      maxRounds: 1,
    },
  ],
  figure: more('goodput / maximum', 'share', 2),
  absolute: true,
  moreIsBetter: true,
  details: [
    more('maximum, 1000 spans/s', 'peakPerSecond', 0, 1e-3),
    more('offered, 1000 spans/s', 'offeredPerSecond', 0, 1e-3),
    more('acknowledged spans', 'acknowledged'),
    more('missing', 'missing'),
    { label: 'peak RSS MB', digits: 0, pick: (run) => run.peakRssMb },
    more('peak RSS / limit', 'rssShare', 2),
    more('refused', 'unavailable'),
    more('of these with RetryInfo', 'retryInfoShare', 2),
    more('other errors', 'otherStatus'),
    more('connections lost', 'lost'),
    more('held back by the load', 'notSent'),
    { label: 'p99 ms', digits: 0, pick: (run) => run.p99Ms },
    { label: 'load cores', digits: 2, pick: (run) => run.driverCores },
    { label: 'sink cores', digits: 2, pick: (run) => run.sinkCores },
  ],
  measure,
  runSeconds: () => 125,
} satisfies Question
