/** Runs one collector with a pipeline for each case, and gives what came out of it. */
import { readFileSync } from 'node:fs'
import { freePort, startGoCollector } from '../../support/peers.ts'
import { startWeir } from '../../support/weir.ts'
import { type Captured, startCapture } from './tail-capture.ts'
import type { TailCase } from './tail-configs.ts'
import { sendTraffic } from './tail-load.ts'
import type { Traffic } from './tail-traffic.ts'

const PREFIX = 'otelcol_processor_tail_sampling_'

export interface TailResult {
  readonly collector: string
  readonly captured: ReadonlyMap<string, Captured>
  /** Lines of its own metrics: name with labels to value. */
  readonly metrics: ReadonlyMap<string, number>
  readonly longestTraceMs: number
  readonly sendingMs: number
  readonly peakRssMib: number
}

interface Ports {
  readonly grpc: number
  readonly http: number
  readonly metrics: number
}

function makeConfig(
  cases: readonly TailCase[],
  ports: Ports,
  captureUrl: string,
  { waitS, traceCount }: { readonly waitS: number; readonly traceCount: number },
): object {
  const entries = <T>(prefix: string, make: (one: TailCase) => T) =>
    Object.fromEntries(cases.map((one) => [`${prefix}/${one.name}`, make(one)]))
  const local = (port: number) => ({ endpoint: `127.0.0.1:${port}` })
  return {
    receivers: { otlp: { protocols: { grpc: local(ports.grpc), http: local(ports.http) } } },
    processors: {
      ...entries('tail_sampling', (one) => ({
        decision_wait: `${waitS}s`,
        num_traces: traceCount * 2,
        policies: one.policies,
        ...one.settings,
      })),
      batch: { timeout: '200ms', send_batch_size: 2000 },
    },
    exporters: entries('otlphttp', (one) => ({
      endpoint: `${captureUrl}/${one.name}`,
      compression: 'none',
      sending_queue: { queue_size: 1000, block_on_overflow: true },
      retry_on_failure: { initial_interval: '200ms' },
    })),
    service: {
      telemetry: {
        logs: { level: 'warn' },
        metrics: {
          readers: [{ pull: { exporter: { prometheus: { host: '127.0.0.1', port: ports.metrics } } } }],
        },
      },
      pipelines: entries('traces', (one) => ({
        receivers: ['otlp'],
        processors: [`tail_sampling/${one.name}`, 'batch'],
        exporters: [`otlphttp/${one.name}`],
      })),
    },
  }
}

/** `shards` undefined: the Go collector. Both get the same YAML but for the ports. */
export async function runCases(
  traffic: Traffic,
  cases: readonly TailCase[],
  shards: number | undefined,
  waitS: number,
): Promise<TailResult> {
  await using capture = await startCapture(traffic)
  const ports = { grpc: await freePort(), http: await freePort(), metrics: await freePort() }
  const config = makeConfig(cases, ports, capture.url, { waitS, traceCount: traffic.traces.length })
  const collector = shards === undefined ? 'go' : `weir with ${shards} shards`
  const running = shards === undefined ? await startGo(config, ports) : await startWeirWith(config, shards)
  try {
    const startMs = performance.now()
    const longestTraceMs = await sendTraffic(traffic, ports.grpc, ports.http)
    const sendingMs = performance.now() - startMs
    const metrics = await untilDecided(ports.metrics, traffic.traces.length * cases.length)
    const peakRssMib = readPeakMib(running.pid)
    await running.stop() // Drains: what was decided is at the backend afterwards.
    const captured = new Map(cases.map((one) => [one.name, capture.get(one.name)]))
    return { collector, captured, metrics, longestTraceMs, sendingMs, peakRssMib }
  } catch (error) {
    throw new Error(`${collector}: ${error}\n${running.log().slice(-4000)}`, { cause: error })
  } finally {
    await running.stop()
  }
}

interface Running {
  readonly pid: number
  log(): string
  stop(): PromiseLike<unknown>
}

async function startGo(config: object, ports: Ports): Promise<Running> {
  const peer = await startGoCollector(config, ports.grpc)
  return { pid: peer.child.pid ?? 0, log: peer.output, stop: peer.stop }
}

async function startWeirWith(config: object, shards: number): Promise<Running> {
  const weir = await startWeir(config, { arguments: ['--set', `service.shards=${shards}`] })
  const log = () => weir.log.map((line) => JSON.stringify(line)).join('\n')
  return { pid: weir.pid, log, stop: () => weir[Symbol.asyncDispose]() }
}

/** Waits until every trace of every pipeline is decided. */
async function untilDecided(port: number, decisions: number): Promise<Map<string, number>> {
  const deadline = Date.now() + 180_000
  for (;;) {
    const metrics = await readMetrics(port)
    const decided = sumOf(metrics, 'global_count_traces_sampled')
    if (decided >= decisions) return metrics
    if (Date.now() > deadline) throw new Error(`${decided} of ${decisions} decisions after three minutes`)
    await new Promise((resolve) => setTimeout(resolve, 500))
  }
}

async function readMetrics(port: number): Promise<Map<string, number>> {
  const answer = await fetch(`http://127.0.0.1:${port}/metrics`)
  const metrics = new Map<string, number>()
  for (const line of (await answer.text()).split('\n')) {
    const found = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line)
    if (found) metrics.set(`${found[1]}{${found[2] ?? ''}}`, Number(found[3]))
  }
  return metrics
}

/** Sum over the series of a metric of tail sampling whose labels have all these. */
export function sumOf(
  metrics: ReadonlyMap<string, number>,
  name: string,
  labels: Record<string, string> = {},
): number {
  let sum = 0
  for (const [series, value] of metrics) {
    if (!series.startsWith(`${PREFIX}${name}{`) && !series.startsWith(`${PREFIX}${name}_total{`)) continue
    if (Object.entries(labels).every(([key, text]) => series.includes(`${key}="${text}"`))) sum += value
  }
  return sum
}

function readPeakMib(pid: number): number {
  const line = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
  return Math.round(Number(line?.[1] ?? 0) / 1024)
}
