/** Starts a collector under test as a child process (taskset makes way for it) and reads what it costs from /proc. */
import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { connects, findPeer, freePort } from '../../test/support/peers.ts'
import { endWithThisProcess, pinned } from './helper.ts'

export type CollectorName = 'weir' | 'otelcol' | 'otelcol-loki' | 'rotel'

const ROOT = join(import.meta.dirname, '../..')
/** Clock ticks per second of /proc/PID/stat: 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100

export interface RunningCollector {
  readonly name: CollectorName
  readonly pid: number
  readonly grpcPort: number
  readonly httpPort: number
  /** User and system time so far, in microseconds. */
  cpuMicros(): number
  rssBytes(): number
  peakRssBytes(): number
  stop(): Promise<void>
}

export async function startCollector(
  name: CollectorName,
  config: string,
  environment: Readonly<Record<string, string>> = {},
  extraArguments: readonly string[] = [],
  cores?: string,
): Promise<RunningCollector> {
  const [grpcPort, httpPort] = [await freePort(), await freePort()]
  const env = {
    ...process.env,
    ...environment,
    BENCH_GRPC_PORT: String(grpcPort),
    BENCH_HTTP_PORT: String(httpPort),
  }
  const [command, list] = pinned(...commandOf(name, config, [grpcPort, httpPort]), cores)
  const child = spawn(command, [...list, ...extraArguments], { env, stdio: ['ignore', 'ignore', 'pipe'] })
  endWithThisProcess(child)
  let log = ''
  child.stderr?.on('data', (data) => {
    log = (log + String(data)).slice(-8192)
  })
  await untilListening(child, grpcPort, () => log)
  await untilListening(child, httpPort, () => log)
  const pid = child.pid ?? 0
  return {
    name,
    pid,
    grpcPort,
    httpPort,
    cpuMicros() {
      const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
      return ((Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND) * 1e6
    },
    rssBytes: () => status(pid, 'VmRSS'),
    peakRssBytes: () => status(pid, 'VmHWM'),
    stop: () => stop(child),
  }
}

function commandOf(
  name: CollectorName,
  config: string,
  ports: readonly number[],
): [command: string, list: string[]] {
  const path = join(ROOT, 'bench/configs', config)
  if (name === 'weir') return [process.execPath, [join(ROOT, 'src/weir.mjs'), '--config', path]]
  const peer = findPeer(name)
  if (peer === undefined) throw new Error(`${name} is not installed: run test/peers/build.sh ${name}`)
  if (name !== 'rotel') return [peer, ['--config', path]]
  // It takes no YAML: these are the settings of resource-batch.yaml.
  const [grpc, http] = ports.map((port) => `127.0.0.1:${port}`)
  const receivers = ['--otlp-grpc-endpoint', `${grpc}`, '--otlp-http-endpoint', `${http}`]
  const rest = ['--exporter', 'blackhole', '--otel-resource-attributes', 'environment=production']
  return [peer, ['start', ...receivers, ...rest]]
}

function status(pid: number, field: string): number {
  const line = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
  return Number(line?.[1] ?? 0) * 1024
}

/** Asks it to end, and ends it after ten seconds. */
export async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return
  const ended = new Promise<void>((resolve) => void child.once('exit', () => resolve()))
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), 10_000)
  await ended
  clearTimeout(timer)
}

async function untilListening(child: ChildProcess, port: number, log: () => string): Promise<void> {
  for (let attempt = 0; attempt < 300; attempt++) {
    if (child.exitCode !== null) throw new Error(`collector ended: ${log()}`)
    if (await connects(port)) return
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new Error(`collector does not listen on ${port}: ${log()}`)
}
