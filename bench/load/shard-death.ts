/**
 * What do the clients of one shard feel while the other dies, and while it loops until it is ended? p99 of requests of 10 spans over HTTP,
 * on the connections that live through it, beside those of a quiet time before.
 *
 *     node bench/load/shard-death.ts [--seconds 3] [--rounds 3]
 *
 * Two shards, 16 connections, 20 requests a second on each, open loop. Connections that are closed are those of the dead shard.
 */
import http from 'node:http'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { encode } from '../../test/support/otlp.ts'
import { startWeir } from '../../test/support/weir.ts'

const CONNECTIONS = 16
const PERIOD_MS = 50

const { values } = parseArgs({
  options: { seconds: { type: 'string', default: '3' }, rounds: { type: 'string', default: '3' } },
})
const phaseMs = Number(values.seconds) * 1000

function body(name: string, count: number): Uint8Array {
  const spans = Array.from({ length: count }, (_, index) => ({
    traceId: Buffer.alloc(16, index + 1),
    spanId: Buffer.alloc(8, 1),
    name,
  }))
  return encode('traces', { resourceSpans: [{ scopeSpans: [{ spans }] }] })
}

const fine = body('fine', 10)

/** One connection, and how long each of its requests took, by when it was due. */
class Connection {
  readonly took: { atMs: number; ms: number }[] = []
  closed = false
  readonly #agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  readonly #url: string
  #timer: NodeJS.Timeout | undefined
  #socket: unknown

  constructor(url: string) {
    this.#url = url
  }

  start(): void {
    this.#timer = setInterval(() => this.#send(performance.now()), PERIOD_MS)
  }

  #send(atMs: number): void {
    if (this.closed) return
    const options = {
      method: 'POST',
      agent: this.#agent,
      headers: { 'content-type': 'application/x-protobuf' },
    }
    const request = http.request(`${this.#url}/v1/traces`, options, (response) => {
      response.resume().on('end', () => this.took.push({ atMs, ms: performance.now() - atMs }))
    })
    request.on('error', () => {
      this.closed = true
    })
    request.on('socket', (socket) => {
      this.#socket ??= socket
      if (socket !== this.#socket) this.closed = true
    })
    request.end(fine)
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#agent.destroy()
  }
}

function p99(connections: readonly Connection[], fromMs: number, toMs: number): string {
  const all = connections
    .flatMap(({ took }) => took.filter(({ atMs }) => atMs >= fromMs && atMs < toMs).map(({ ms }) => ms))
    .sort((a, b) => a - b)
  const at = (share: number) => (all[Math.floor(all.length * share)] ?? Number.NaN).toFixed(1)
  return `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms of ${all.length}`
}

async function measure(act: string): Promise<void> {
  await using weir = await startWeir({
    plugins: [join(import.meta.dirname, '../../test/faults/plugins/deadly.ts')],
    receivers: { otlp: { protocols: { http: { endpoint: 'localhost:0' } } } },
    processors: { deadly: null, batch: null },
    exporters: { nop: null },
    service: {
      shards: 2,
      supervision: { heartbeat_timeout: '2s' },
      telemetry: { metrics: { level: 'none' } },
      pipelines: { traces: { receivers: ['otlp'], processors: ['deadly', 'batch'], exporters: ['nop'] } },
    },
  })
  const url = `http://${weir.address('receivers/otlp/protocols/http')}`
  const connections = Array.from({ length: CONNECTIONS }, () => new Connection(url))
  for (const connection of connections) connection.start()
  await sleep(1000) // Warm.
  const startMs = performance.now()
  await sleep(phaseMs)
  const actMs = performance.now()
  const headers = { 'content-type': 'application/x-protobuf', connection: 'close' }
  void fetch(`${url}/v1/traces`, { method: 'POST', headers, body: body(`do ${act}`, 1) }).catch(() => {})
  await weir.logged(({ msg }) => msg === 'shard is back')
  const backMs = performance.now()
  await sleep(300)
  for (const connection of connections) connection.stop()
  const lived = connections.filter(({ closed }) => !closed)
  console.log(
    `${act}: ${lived.length} of ${CONNECTIONS} connections lived; before: ${p99(lived, startMs, actMs)}; ` +
      `during ${Math.round(backMs - actMs)} ms: ${p99(lived, actMs, backMs)}`,
  )
}

for (let round = 0; round < Number(values.rounds); round++)
  for (const act of ['exit', 'spin', 'heap']) await measure(act)
