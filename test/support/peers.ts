/**
 * The real servers that Weir is tested with, as child processes on loopback with free ports. test/peers/build.sh installs them.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'

/** Where a peer is: $WEIR_PEERS/bin, ~/.cache/weir-peers/bin, or the PATH. */
export function findPeer(name: string): string | undefined {
  const folders = [process.env['WEIR_PEERS'] ?? join(homedir(), '.cache/weir-peers')].map((path) =>
    join(path, 'bin'),
  )
  for (const folder of [...folders, ...(process.env['PATH'] ?? '').split(':')]) {
    const path = join(folder, name)
    if (existsSync(path)) return path
  }
  return undefined
}

const given = new Set<number>()

/** A port that nobody uses now, and that this process has not given out before. */
export async function freePort(): Promise<number> {
  for (;;) {
    const server = net.createServer()
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
    const address = server.address()
    await new Promise<void>((resolve) => void server.close(() => resolve()))
    const port = typeof address === 'object' && address !== null ? address.port : 0
    if (given.has(port)) continue
    given.add(port)
    return port
  }
}

export interface Peer extends AsyncDisposable {
  readonly folder: string
  readonly child: ChildProcess
  output(): string
  stop(): Promise<void>
}

/** Starts a peer in a folder of its own and waits until `ready` says true. */
export async function startPeer(
  name: string,
  settings: {
    readonly arguments: (folder: string) => readonly string[]
    readonly files?: Readonly<Record<string, string>>
    readonly env?: Readonly<Record<string, string>>
    readonly ready: () => Promise<boolean>
    readonly timeoutMs?: number
  },
): Promise<Peer> {
  const path = findPeer(name)
  if (path === undefined) throw new Error(`${name} is not installed: run test/peers/build.sh ${name}`)
  const folder = mkdtempSync(join(tmpdir(), `weir-${name}-`))
  for (const [file, text] of Object.entries(settings.files ?? {})) writeFileSync(join(folder, file), text)
  const env = { ...process.env, ...settings.env }
  const child = spawn(path, settings.arguments(folder), {
    cwd: folder,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  const collect = (data: Buffer) => {
    output = (output + String(data)).slice(-65_536)
  }
  child.stdout.on('data', collect)
  child.stderr.on('data', collect)
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) {
      const ended = new Promise<void>((resolve) => void child.once('exit', () => resolve()))
      child.kill('SIGTERM')
      // On a busy machine a collector takes its time to send what it has queued.
      const timer = setTimeout(() => child.kill('SIGKILL'), 60_000)
      await ended
      clearTimeout(timer)
    }
    rmSync(folder, { recursive: true, force: true })
  }
  const deadline = Date.now() + (settings.timeoutMs ?? 90_000)
  while (!(await settings.ready().catch(() => false))) {
    if (child.exitCode !== null || Date.now() > deadline) {
      await stop()
      throw new Error(`${name} did not become ready: ${output.slice(-4000)}`)
    }
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
  return { folder, child, output: () => output, stop, [Symbol.asyncDispose]: stop }
}

export async function isUp(url: string, headers: Record<string, string> = {}): Promise<boolean> {
  const response = await fetch(url, { headers, signal: AbortSignal.timeout(2000) })
  await response.arrayBuffer()
  return response.ok
}

export function connects(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1')
    socket.on('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })
}

/** Asks again until the answer passes, or throws what the last answer was. */
export async function eventually<T>(
  ask: () => Promise<T>,
  passes: (answer: T) => boolean,
  timeoutMs = 60_000,
): Promise<T> {
  const deadline = Date.now() + timeoutMs
  let last: unknown
  while (Date.now() < deadline) {
    try {
      const answer = await ask()
      if (passes(answer)) return answer
      last = answer
    } catch (error) {
      last = error
    }
    await new Promise((resolve) => setTimeout(resolve, 300))
  }
  throw new Error(
    `not in ${timeoutMs} ms; the last answer: ${JSON.stringify(last) ?? String(last)} ${String(last)}`.slice(
      0,
      4000,
    ),
  )
}

/** The Go collector; `config` is YAML or an object. `port` is one that it listens on when it is ready. */
export function startGoCollector(config: unknown, port: number): Promise<Peer> {
  const text = typeof config === 'string' ? config : JSON.stringify(config, null, 1)
  return startPeer('otelcol', {
    files: { 'config.yaml': text },
    arguments: (folder) => ['--config', join(folder, 'config.yaml')],
    ready: () => connects(port),
  })
}

/** Prometheus with the remote write and OTLP receivers on; `scrape` are its scrape_configs. */
export async function startPrometheus(scrape: unknown[] = []): Promise<Peer & { readonly url: string }> {
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const peer = await startPeer('prometheus', {
    files: {
      'prometheus.yml': JSON.stringify({ global: { scrape_interval: '1s' }, scrape_configs: scrape }),
    },
    arguments: (folder) => [
      `--config.file=${join(folder, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(folder, 'data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
      '--web.enable-remote-write-receiver',
      '--web.enable-otlp-receiver',
      '--enable-feature=exemplar-storage,native-histograms',
    ],
    ready: () => isUp(`${url}/-/ready`),
  })
  return Object.assign(peer, { url })
}

/** Jaeger all-in-one in memory: OTLP, api_v2 gRPC, query API. */
export async function startJaeger(): Promise<
  Peer & { readonly queryUrl: string; readonly otlpGrpcPort: number; readonly modelGrpcPort: number }
> {
  const ports = {
    query: await freePort(),
    otlpGrpc: await freePort(),
    otlpHttp: await freePort(),
    model: await freePort(),
  }
  const others = [
    await freePort(),
    await freePort(),
    await freePort(),
    await freePort(),
    await freePort(),
    await freePort(),
  ]
  const local = (port: number | undefined) => `127.0.0.1:${port}`
  const queryUrl = `http://${local(ports.query)}`
  const peer = await startPeer('jaeger', {
    env: { SPAN_STORAGE_TYPE: 'memory' },
    arguments: () => [
      '--memory.max-traces=100000',
      '--collector.otlp.enabled=true',
      `--collector.otlp.grpc.host-port=${local(ports.otlpGrpc)}`,
      `--collector.otlp.http.host-port=${local(ports.otlpHttp)}`,
      `--collector.grpc-server.host-port=${local(ports.model)}`,
      `--collector.http-server.host-port=${local(others[0])}`,
      `--query.http-server.host-port=${local(ports.query)}`,
      `--query.grpc-server.host-port=${local(others[1])}`,
      `--processor.jaeger-compact.server-host-port=${local(others[2])}`,
      `--processor.jaeger-binary.server-host-port=${local(others[3])}`,
      `--http-server.host-port=${local(others[4])}`,
      `--admin.http.host-port=${local(others[5])}`,
    ],
    ready: async () => (await isUp(`${queryUrl}/api/services`)) && (await connects(ports.otlpGrpc)),
  })
  return Object.assign(peer, { queryUrl, otlpGrpcPort: ports.otlpGrpc, modelGrpcPort: ports.model })
}

/** Loki on the file system, with tenants: every request needs X-Scope-OrgID. Ready some 20 s after the start. */
export async function startLoki(): Promise<Peer & { readonly url: string }> {
  const port = await freePort()
  const grpcPort = await freePort()
  const url = `http://127.0.0.1:${port}`
  const peer = await startPeer('loki', {
    files: { 'loki.yaml': lokiConfig(port, grpcPort) },
    arguments: (folder) => [`-config.file=${join(folder, 'loki.yaml')}`],
    ready: () => isUp(`${url}/ready`),
    timeoutMs: 180_000,
  })
  return Object.assign(peer, { url })
}

function lokiConfig(port: number, grpcPort: number): string {
  return `
auth_enabled: true
server: { http_listen_address: 127.0.0.1, http_listen_port: ${port}, grpc_listen_address: 127.0.0.1, grpc_listen_port: ${grpcPort}, log_level: warn }
common:
  instance_addr: 127.0.0.1
  path_prefix: ./data
  storage: { filesystem: { chunks_directory: ./data/chunks, rules_directory: ./data/rules } }
  replication_factor: 1
  ring: { kvstore: { store: inmemory } }
schema_config:
  configs:
    - { from: 2024-01-01, store: tsdb, object_store: filesystem, schema: v13, index: { prefix: index_, period: 24h } }
limits_config: { allow_structured_metadata: true, reject_old_samples: false }
analytics: { reporting_enabled: false }
`
}
