/**
 * What do 400,000 held spans cost tail sampling: CPU to take a span in and to decide, memory while it is
 * held, and the longest stop of the event loop while decisions are made?
 *
 *     node --expose-gc bench/micro/tail-store.ts [SPANS] [SPANS_PER_TRACE]
 *
 * The three policies of the seed config (status_code, latency, probabilistic). Requests of 100 spans, about
 * 360 bytes a span. Trace ids are renewed between the timed parts. Rounds fill the store, decide on
 * everything, and check how many traces were kept. CPU is that of the process, garbage collection included.
 */
import { execFileSync } from 'node:child_process'
import os from 'node:os'
import type { Clock } from '../../src/component/clock.ts'
import { silentLogger } from '../../src/component/logger.ts'
import { Batch } from '../../src/otlp/batch.ts'
import definition from '../../src/processors/tail-sampling/index.ts'
import { TestHost } from '../../test/support/host.ts'
import { TestMeter } from '../../test/support/meter.ts'
import { randomSource, renewTraceIds, tracePayload } from '../support/payload.ts'

const ROUNDS = 7
const REQUEST_SPANS = 100
const HELD = Number(process.argv[2] ?? 400_000)
const SPANS_PER_TRACE = Number(process.argv[3] ?? 5)
const PAYLOADS = 64

const random = randomSource(42)
const payloads = Array.from({ length: PAYLOADS }, (_, index) =>
  tracePayload(REQUEST_SPANS, index + 1, SPANS_PER_TRACE),
)
const batches = payloads.map(({ bytes }) => new Batch('traces', [bytes], REQUEST_SPANS))
const spanBytes = payloads.reduce((sum, { bytes }) => sum + bytes.length, 0) / PAYLOADS / REQUEST_SPANS

/** Time stands still but for the ticks, which the bench makes; slices are cut by real time. */
let onTick = () => {}
let skippedMs = 0
const clock: Clock = {
  monotonicMs: () => performance.now() + skippedMs,
  wallMs: () => Date.now(),
  after: () => ({ cancel() {} }),
  every(_period, run) {
    onTick = run
    return { cancel() {} }
  },
}

class BenchHost extends TestHost {
  override readonly clock = clock as never // Only the methods of Clock are used.
}

const config = definition.config.parse({
  num_traces: 10_000_000,
  decision_wait: '10s',
  policies: [
    { name: 'errors', type: 'status_code', status_code: { status_codes: ['ERROR'] } },
    { name: 'slow', type: 'latency', latency: { threshold_ms: 1000 } },
    { name: 'some', type: 'probabilistic', probabilistic: { sampling_percentage: 10 } },
  ],
  decision_cache: { sampled_cache_size: 1000, non_sampled_cache_size: 1000 },
})

let kept = 0
const meter = new TestMeter()
const tail = definition.create({
  id: 'tail_sampling',
  config,
  telemetry: meter.instruments(definition.telemetry, {}),
  logger: silentLogger,
  host: new BenchHost(),
  signal: 'traces',
  pipeline: 'traces',
  holdsCaller: false,
  next: {
    async consume(batch) {
      kept += batch.itemCount
    },
  },
})
await tail.start?.()

function collect(): void {
  globalThis.gc?.()
}

function cpuMicros(): number {
  const { user, system } = process.cpuUsage()
  return user + system
}

/** CPU time of this thread: what a stop takes on a machine that does nothing else. */
function threadMs(): number {
  const { user, system } = process.threadCpuUsage()
  return (user + system) / 1000
}

async function ingestRound(): Promise<number> {
  let micros = 0
  for (let spans = 0; spans < HELD; spans += PAYLOADS * REQUEST_SPANS) {
    for (const payload of payloads) renewTraceIds(payload, Math.floor(random() * 2 ** 31))
    const start = cpuMicros()
    for (const batch of batches) await tail.consume(batch)
    micros += cpuMicros() - start
  }
  return micros
}

/** Lets the ticks pass, watching how long the event loop is kept busy. */
async function decideRound(): Promise<{ micros: number; longestMs: number }> {
  const start = cpuMicros()
  let longestMs = 0
  for (let tick = 0; tick < 13; tick++) {
    skippedMs += 1000
    let last = threadMs()
    onTick()
    for (let idle = 0; idle < 3; ) {
      const busyMs = threadMs() - last
      longestMs = Math.max(longestMs, busyMs)
      idle = busyMs < 0.2 ? idle + 1 : 0
      last = threadMs()
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  return { micros: cpuMicros() - start, longestMs }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN
}

function show(values: readonly number[], digits = 3): string {
  const [least, most] = [Math.min(...values), Math.max(...values)]
  return `${median(values).toFixed(digits)} (${least.toFixed(digits)} to ${most.toFixed(digits)})`
}

console.log(`${os.cpus()[0]?.model}, Node ${process.version}, commit ${commit()}`)
console.log(`${HELD} spans of ${spanBytes.toFixed(0)} bytes held, ${SPANS_PER_TRACE} spans a trace`)
const ingest: number[] = []
const decide: number[] = []
const longest: number[] = []
const growth: number[] = []
const shares: number[] = []
collect()
const emptyBytes = process.memoryUsage.rss()
for (let round = 0; round <= ROUNDS; round++) {
  kept = 0
  const spans = Math.ceil(HELD / (PAYLOADS * REQUEST_SPANS)) * PAYLOADS * REQUEST_SPANS
  const ingestMicros = await ingestRound()
  growth.push((process.memoryUsage.rss() - emptyBytes) / spans)
  const { micros, longestMs } = await decideRound()
  shares.push((100 * kept) / spans)
  if (meter.read('processor_tail_sampling_spans_on_memory') !== 0) throw new Error('spans are left')
  if (round === 0) continue // Warm-up; its memory counts.
  ingest.push(ingestMicros / spans)
  decide.push(micros / spans)
  longest.push(longestMs)
}
console.log(`ingest     ${show(ingest)} us CPU a span`)
console.log(`decide     ${show(decide)} us CPU a span, ${median(shares).toFixed(1)} % kept`)
console.log(`both       ${show(ingest.map((value, index) => value + (decide[index] ?? 0)))} us CPU a span`)
console.log(`longest stop while deciding ${show(longest, 1)} ms`)
console.log(
  `RSS growth ${growth[0]?.toFixed(0)} bytes a span at first, ${growth.at(-1)?.toFixed(0)} in the last round`,
)
if (Math.abs(median(shares) - 19) > 4) throw new Error(`kept ${median(shares)} %, expected about 19 %`)

function commit(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim()
  } catch {
    return 'unknown'
  }
}
