/**
 * Scenario: a collector with two shards is reloaded again and again under load; half of the files are bad,
 * half change one processor. Guarantee: every item that was answered with success arrives exactly once,
 * none is refused, the connections of the senders are the ones from the beginning, undecided traces and
 * what lies in queues live on, and neither memory nor file descriptors grow.
 *
 * A part of it runs here, one reload after the other; the full run of the fault bench does 100, one every
 * two seconds. The seed is printed.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import { decode, encode } from '../support/otlp.ts'
import { eventually } from '../support/peers.ts'
import { type RunningWeir, startWeir } from '../support/weir.ts'
import { random } from './support/fs-shim.ts'
import { FULL, report, times } from './support/settings.ts'

const RUNS = Number(process.env['WEIR_RUNS'] ?? times(20, 100))
/** From one to the next. */
const EVERY_MS = FULL ? 2000 : 0
const SEED = Number(process.env['WEIR_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const HTTP = 'receivers/otlp/protocols/http'
const SENDERS = 4

/** An OTLP/HTTP backend that counts spans by name and the connections it gets. */
async function startBackend() {
  const seen = new Map<string, number>()
  let connections = 0
  let answer = 200
  const server = http.createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      if (answer === 200) {
        for (const resource of decode('traces', Buffer.concat(chunks)).resourceSpans ?? []) {
          for (const scope of resource.scopeSpans ?? [])
            for (const { name } of scope.spans ?? []) seen.set(name, (seen.get(name) ?? 0) + 1)
        }
      }
      response.writeHead(answer, { 'content-type': 'application/x-protobuf' }).end()
    })
  })
  server.keepAliveTimeout = 60_000
  server.on('connection', () => connections++)
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  return {
    seen,
    connections: () => connections,
    answer: (status: number) => {
      answer = status
    },
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => void server.close(resolve))
    },
  }
}

interface Changes {
  /** What the processor in front writes, or how long the one behind waits. */
  readonly mark?: number
  readonly timeoutMs?: number
  /** In another pipeline. */
  readonly other?: number
  readonly decisionWait?: string
  readonly policy?: object
  readonly bad?: boolean
}

function config(url: string, changes: Changes) {
  const { mark = 0, timeoutMs = 50, other = 0, decisionWait = '1s', bad = false } = changes
  const { policy = { name: 'all', type: 'always_sample' } } = changes
  return {
    receivers: {
      otlp: { protocols: { http: { endpoint: 'localhost:0' } } },
      'otlp/other': { protocols: { http: { endpoint: 'localhost:0' } } },
    },
    processors: {
      resource: { attributes: [{ key: 'mark', value: String(mark), action: 'upsert' }] },
      'resource/other': { attributes: [{ key: 'other', value: String(other), action: 'upsert' }] },
      tail_sampling: { decision_wait: decisionWait, num_traces: 1_000_000, policies: [policy] },
      batch: { timeout: `${timeoutMs}ms` },
      ...(bad ? { batchh: {} } : {}),
    },
    exporters: {
      otlp_http: {
        endpoint: url,
        compression: 'none',
        retry_on_failure: { initial_interval: '100ms', max_interval: '200ms' },
      },
      nop: {},
    },
    service: {
      shards: 2,
      admin: { endpoint: 'localhost:0' },
      telemetry: { metrics: { level: 'none' }, logs: { sampling: { enabled: false } } },
      pipelines: {
        traces: {
          receivers: ['otlp'],
          processors: ['resource', 'tail_sampling', 'batch'],
          exporters: ['otlp_http'],
        },
        'traces/other': { receivers: ['otlp/other'], processors: ['resource/other'], exporters: ['nop'] },
      },
    },
  }
}

let serial = 0

/** One request over an agent that has one connection. */
function post(agent: http.Agent, address: string, spans: readonly object[]): Promise<number> {
  const body = encode('traces', { resourceSpans: [{ scopeSpans: [{ spans }] }] })
  return new Promise((resolve, reject) => {
    const request = http.request(
      `http://${address}/v1/traces`,
      { agent, method: 'POST', headers: { 'content-type': 'application/x-protobuf' } },
      (response) => {
        response.resume()
        response.on('end', () => resolve(response.statusCode ?? 0))
        response.on('error', reject)
      },
    )
    request.on('error', reject)
    request.end(body)
  })
}

function span(name: string) {
  const traceId = Buffer.alloc(16)
  traceId.writeUInt32BE(++serial, 4)
  traceId.writeUInt32BE(Math.imul(serial, 0x9e3779b1) >>> 0, 12)
  return { traceId, spanId: Buffer.alloc(8, 7), name }
}

/** Senders with a connection each, that never send anything twice. */
function load(address: string) {
  const acknowledged: string[] = []
  const refusals: string[] = []
  const sockets = new Set<unknown>()
  let stopping = false
  const senders = Array.from({ length: SENDERS }, async (_, sender) => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
    agent.on('free', (socket) => void sockets.add(socket))
    for (let request = 0; !stopping; request++) {
      const names = Array.from({ length: 10 }, (_, index) => `${sender}-${request}-${index}`)
      const status = await post(agent, address, names.map(span)).catch((error: unknown) => String(error))
      if (status === 200) acknowledged.push(...names)
      else refusals.push(String(status))
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    agent.destroy()
  })
  return {
    acknowledged,
    refusals,
    sockets,
    async stop() {
      stopping = true
      await Promise.all(senders)
    },
  }
}

async function reload(weir: RunningWeir, next: unknown) {
  writeFileSync(weir.configPath, JSON.stringify(next, null, 1))
  const since = weir.log.length
  weir.signal('SIGHUP')
  return weir.logged(({ msg }) => msg === 'reloaded' || msg.startsWith('reload failed'), since)
}

const openFiles = (pid: number) => readdirSync(`/proc/${pid}/fd`).length
const residentMib = (pid: number) =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024

test(`${RUNS} reloads under load, half of them with a bad file (seed ${SEED})`, {
  timeout: 60_000 + RUNS * 3000,
}, async () => {
  await using backend = await startBackend()
  const next = random(SEED)
  let changes: Changes = {}
  await using weir = await startWeir(config(backend.url, changes))
  const sending = load(weir.address(HTTP))
  const connections: number[] = []
  let files = 0
  let memory = 0
  const beganMs = performance.now()
  for (let run = 0; run < RUNS; run++) {
    const bad = run % 2 === 1
    if (!bad) {
      changes = next() < 0.5 ? { ...changes, mark: run + 1 } : { ...changes, timeoutMs: 51 + run }
    }
    const line = await reload(weir, config(backend.url, { ...changes, bad }))
    expect(line.msg, JSON.stringify(line)).toBe(
      bad ? 'reload failed, the configuration before it runs on' : 'reloaded',
    )
    if (!bad) expect(line['restarted']).toHaveLength(1)
    const dueMs = beganMs + (run + 1) * EVERY_MS
    await new Promise((resolve) => setTimeout(resolve, Math.max(next() * 200, dueMs - performance.now())))
    connections.push(backend.connections())
    if (run !== Math.floor(RUNS / 4)) continue
    files = openFiles(weir.pid)
    memory = residentMib(weir.pid)
  }
  const grown = residentMib(weir.pid) - memory
  const opened = openFiles(weir.pid) - files
  await sending.stop()
  expect(await weir.stop()).toBe(0)
  const lost = sending.acknowledged.filter((name) => !backend.seen.has(name))
  const repeated = [...backend.seen].filter(([, count]) => count > 1)
  expect(sending.acknowledged.length).toBeGreaterThan(RUNS * 10)
  const found = { lost: lost.length, repeated: repeated.length, refusals: sending.refusals.slice(0, 5) }
  expect(found).toEqual({ lost: 0, repeated: 0, refusals: [] })
  expect(sending.sockets.size).toBe(SENDERS)
  // The exporter lives on: it opens no connections anew. What it may open meanwhile is for requests at the
  // same time.
  expect(connections.at(-1)).toBeLessThan(20)
  expect(opened).toBeLessThan(20)
  report('reload every 2 s', `${RUNS} reloads, half of them with a bad file`, {
    acknowledged: sending.acknowledged.length,
    lost: lost.length,
    'delivered twice': repeated.length,
    'refused requests': sending.refusals.length,
    'connections opened again': sending.sockets.size - SENDERS,
    'growth, MiB': Math.round(grown),
  })
  expect(grown, 'MiB').toBeLessThan(100)
})

test('a trace that is half there at a reload is decided whole, and its sender keeps its connection', {
  timeout: 60_000,
}, async () => {
  await using backend = await startBackend()
  const both = { name: 'whole', type: 'span_count', span_count: { min_spans: 2 } }
  const of = (changes: Changes) => config(backend.url, { decisionWait: '5s', policy: both, ...changes })
  await using weir = await startWeir(of({}))
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  const sockets = new Set<unknown>()
  agent.on('free', (socket) => void sockets.add(socket))
  const first = span('first half')
  const second = { ...first, spanId: Buffer.alloc(8, 9), name: 'second half' }
  expect(await post(agent, weir.address(HTTP), [first, span('alone')])).toBe(200)
  for (const changes of [{ other: 1 }, { other: 1, mark: 1 }, { other: 1, mark: 1, timeoutMs: 60 }]) {
    const line = await reload(weir, of(changes))
    expect(line['restarted']).toHaveLength(1)
  }
  expect(await post(agent, weir.address(HTTP), [second])).toBe(200)
  expect(backend.seen.size).toBe(0)
  await eventually(
    async () => [...backend.seen.keys()].sort(),
    (names) => names.length === 2,
  )
  expect([...backend.seen.keys()].sort()).toEqual(['first half', 'second half'])
  expect(sockets.size).toBe(1)
  agent.destroy()
})

test('a queue that waits for its backend lives on, and the admin endpoint says what was kept', {
  timeout: 60_000,
}, async () => {
  await using backend = await startBackend()
  backend.answer(503)
  await using weir = await startWeir(config(backend.url, {}))
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  expect(await post(agent, weir.address(HTTP), [span('queued')])).toBe(200)
  await weir.logged(({ msg }) => msg.startsWith('sending failed'))
  const admin = `http://${weir.address('service/admin')}/-/reload`
  const ask = async (changes: Changes) => {
    writeFileSync(weir.configPath, JSON.stringify(config(backend.url, changes), null, 1))
    const answer = await fetch(admin, { method: 'POST' })
    const told = (await answer.json()) as Record<string, unknown>
    return { ...told, status: answer.status } as Record<string, unknown>
  }
  expect(await ask({ mark: 1 })).toMatchObject({
    status: 200,
    result: 'reloaded',
    warnings: expect.arrayContaining([expect.stringMatching(/config\.yaml:\d+:\d+: .*\[limiter-missing\]$/)]),
    changes: {
      kept: expect.arrayContaining(['receivers/otlp', 'exporters/otlp_http/traces']),
      restarted: ['processors/resource/traces'],
      added: [],
      removed: [],
    },
  })
  expect(await ask({ mark: 1 })).toMatchObject({ status: 200, result: 'unchanged' })
  const refused = await ask({ mark: 1, bad: true })
  expect(refused).toMatchObject({ status: 400, result: 'refused' })
  expect(String(refused['problems'])).toMatch(/config\.yaml:\d+:\d+: processors\.batchh: unknown processor/)
  expect((await fetch(admin)).status).toBe(405)
  const fromPage = { method: 'POST', headers: { origin: 'http://example.com' } }
  expect((await fetch(admin, fromPage)).status).toBe(403)
  backend.answer(200)
  await eventually(
    async () => backend.seen.get('queued'),
    (count) => count === 1,
  )
  agent.destroy()
})

for (const shards of [0, 1]) {
  test(`a changed exporter inherits the queue, with ${shards} shards; a log level restarts nothing`, {
    timeout: 60_000,
  }, async () => {
    await using away = await startBackend()
    await using there = await startBackend()
    away.answer(503)
    const of = (url: string, level: string) => {
      const plain = config(url, {})
      const { telemetry, ...service } = plain.service
      return {
        ...plain,
        service: { ...service, shards, telemetry: { ...telemetry, logs: { ...telemetry.logs, level } } },
      }
    }
    await using weir = await startWeir(of(away.url, 'info'))
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
    const names = ['one', 'two', 'three']
    for (const name of names) {
      expect(await post(agent, weir.address(HTTP), [span(name)])).toBe(200)
      await weir.logged(({ msg }) => msg.startsWith('sending failed'))
    }
    expect((await reload(weir, of(away.url, 'debug')))['restarted']).toEqual([])
    const line = await reload(weir, of(there.url, 'debug'))
    expect(line['restarted']).toEqual(['exporters/otlp_http/traces'])
    await eventually(
      async () => there.seen.size,
      (size) => size === names.length,
    )
    agent.destroy()
    expect(await weir.stop()).toBe(0)
    expect([...there.seen]).toEqual(expect.arrayContaining(names.map((name) => [name, 1])))
    expect(weir.log.filter(({ msg }) => msg === 'data dropped by exporter')).toEqual([])
  })
}
