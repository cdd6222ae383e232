/**
 * Scenario: a plugin throws, rejects, exits, loops for ever, fills the heap or allocates buffers without end in
 * one of two shards, while both hold spans whose senders were answered.
 * Guarantee: that shard alone ends and is started again, its clients see closed connections, requests that it
 * shared fail retryably, health says why meanwhile, the other shard serves on, and the books close: accepted =
 * delivered + held + lost and counted.
 */
import { writeFileSync } from 'node:fs'
import net from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { HttpBackend } from '../support/http-backend.ts'
import { decode, encode, type Plain } from '../support/otlp.ts'
import { eventually, freePort } from '../support/peers.ts'
import { type RunningWeir, startWeir } from '../support/weir.ts'
import { report } from './support/settings.ts'

const CAUSES = {
  throw: 'it threw an error that nothing caught',
  reject: 'it threw an error that nothing caught',
  exit: 'it ended itself',
  spin: 'it gave no sign of life',
  heap: 'its heap was full',
  buffers: 'the memory was nearly used up, and it held the most',
} as const
const LABELS = { throw: 'error', reject: 'error', spin: 'hang', buffers: 'memory' }

let weir: RunningWeir
let backend: HttpBackend
let metricsPort = 0
/** Filling memory takes its time on a busy machine: only a loop is to be found by its silence. */
const LONG = '60s'

function config(heartbeatTimeout: string) {
  const http = { protocols: { http: { endpoint: 'localhost:0' } } }
  return {
    plugins: [join(import.meta.dirname, 'plugins/deadly.ts')],
    receivers: { otlp: http, 'otlp/shared': http },
    processors: {
      deadly: null,
      deadly_traces: null,
      batch: { timeout: '1h', send_batch_size: 50, send_batch_max_size: 50 },
      tail_sampling: { decision_wait: '1h', policies: [{ name: 'all', type: 'always_sample' }] },
    },
    exporters: {
      otlp_http: {
        ...{ endpoint: backend.url, compression: 'none', timeout: '1s' },
        sending_queue: { num_consumers: 2 },
      },
      nop: null,
    },
    extensions: { health_check: { endpoint: 'localhost:0' } },
    service: {
      shards: 2,
      extensions: ['health_check'],
      supervision: {
        ...{ heartbeat_timeout: heartbeatTimeout, restart_max_interval: '500ms' },
        ...{ max_heap_mib: 96, max_memory_mib: 400 },
      },
      telemetry: {
        logs: { sampling: { enabled: false } },
        metrics: {
          readers: [{ pull: { exporter: { prometheus: { host: 'localhost', port: metricsPort } } } }],
        },
      },
      pipelines: {
        traces: { receivers: ['otlp'], processors: ['deadly', 'batch'], exporters: ['otlp_http'] },
        'traces/shared': {
          receivers: ['otlp/shared'],
          processors: ['deadly_traces', 'tail_sampling'],
          exporters: ['nop'],
        },
      },
    },
  }
}

beforeAll(async () => {
  backend = await new HttpBackend().start()
  backend.always = () => {} // It hangs: what is sent stays in the queue.
  metricsPort = await freePort()
  weir = await startWeir(config(LONG))
})
afterAll(async () => {
  await weir?.[Symbol.asyncDispose]()
  await backend?.[Symbol.asyncDispose]()
})

let serial = 0

/** Sends these spans, each of another trace, on a connection of its own. */
async function post(receiver: string, names: readonly string[]): Promise<Response> {
  const spans = names.map((name) => {
    const traceId = Buffer.alloc(16)
    traceId.writeUInt32BE(Math.imul(++serial, 0x9e3779b1) >>> 0, 12)
    return { traceId, spanId: Buffer.alloc(8, 1), name }
  })
  const response = await fetch(`http://${weir.address(`receivers/${receiver}/protocols/http`)}/v1/traces`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-protobuf', connection: 'close' },
    body: encode('traces', { resourceSpans: [{ scopeSpans: [{ spans }] }] }),
  })
  await response.arrayBuffer()
  return response
}

const accepted: string[] = []

/** Sends a few spans, and remembers them when they were taken. */
async function postFine(): Promise<number> {
  const names = Array.from({ length: 7 }, (_, index) => `span-${serial}-${index}`)
  const { status } = await post('otlp', names)
  if (status === 200) accepted.push(...names)
  return status
}

async function page(): Promise<string> {
  return await (await fetch(`http://localhost:${metricsPort}/metrics`)).text()
}

/** The sum of the series of this name that have these labels. */
function sum(text: string, name: string, ...labels: readonly string[]): number {
  return text
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`) && labels.every((label) => line.includes(label)))
    .reduce((total, line) => total + Number(line.split(' ').at(-1)), 0)
}

/** Of the pipeline with `batch` and a queue. */
async function books() {
  const text = await page()
  const all = sum(text, 'otelcol_receiver_accepted_spans', 'receiver="otlp"')
  const sent = sum(text, 'otelcol_exporter_sent_spans', 'exporter="otlp_http"')
  let held = 0
  let lost = 0
  for (const stage of ['processor="batch"', 'exporter="otlp_http"']) {
    held += sum(text, 'otelcol_volatile_items', stage)
    lost += sum(text, 'otelcol_lost_items', stage)
  }
  const lostInAll = sum(text, 'otelcol_lost_items')
  return { accepted: all, held, sent, lost, lostInAll, open: all - held - sent - lost }
}

/** A reload changes what main looks for, and nothing else. */
async function expectSignsWithin(heartbeatTimeout: string): Promise<void> {
  const since = weir.log.length
  writeFileSync(weir.configPath, JSON.stringify(config(heartbeatTimeout)))
  weir.signal('SIGHUP')
  await weir.logged(({ msg }) => msg === 'reloaded', since)
}

async function health(): Promise<{ status: number; body: Plain }> {
  const response = await fetch(`http://${weir.address('extensions/health_check')}/`)
  return { status: response.status, body: await response.json() }
}

/** Connections that do nothing: they tell when their shard goes. */
async function idleConnections(count: number) {
  const port = weir.port('receivers/otlp/protocols/http')
  const sockets = Array.from({ length: count }, () => net.connect(port, '127.0.0.1').on('error', () => {}))
  await Promise.all(sockets.map((socket) => new Promise((resolve) => socket.once('connect', resolve))))
  for (const socket of sockets) socket.resume()
  return sockets
}

test('of a request that was shared, the part of the dead shard fails retryably', async () => {
  const names = Array.from({ length: 20 }, (_, index) => `part-${index}`)
  const stage = 'processor="tail_sampling"'
  for (let index = 0; index < 20; index++) expect((await post('otlp/shared', names)).status).toBe(200)
  // A new series takes a moment to reach the page.
  const taken = () => page().then((text) => sum(text, 'otelcol_volatile_items', stage))
  await eventually(taken, (spans) => spans === 400, 5000)
  const outcomes = new Set<string>()
  for (let round = 0; round < 8 && outcomes.size < 2; round++) {
    const since = weir.log.length
    const outcome = await post('otlp/shared', [...names, 'do exit']).then(
      (response) => `${response.status} ${response.headers.get('retry-after')}`,
      () => 'closed',
    )
    outcomes.add(outcome)
    await weir.logged(({ msg }) => msg === 'shard is back', since)
  }
  expect([...outcomes].sort()).toEqual(['503 1', 'closed'])
  const text = await page()
  const lost = sum(text, 'otelcol_lost_items', stage)
  expect(lost).toBeGreaterThan(100)
  // Parts that the other shard had taken stay there, though their senders send them again.
  expect(lost + (await taken())).toBeGreaterThanOrEqual(400)
}, 120_000)

for (const [act, cause] of Object.entries(CAUSES)) {
  test(`a shard in which a plugin does ${act}`, async () => {
    for (let index = 0; index < 30; index++) expect(await postFine()).toBe(200)
    const before = await books()
    expect(before.open).toBe(0)
    expect(before.held).toBeGreaterThan(200)
    const sockets = await idleConnections(16)
    if (act === 'spin') await expectSignsWithin('2s')
    const since = weir.log.length

    await expect(post('otlp', [`do ${act}`])).rejects.toThrow()
    const died = await weir.logged(({ msg }) => msg === 'shard died, starting it again', since)
    expect(died).toMatchObject({ cause, lost_items: { traces: expect.any(Number) } })
    const bad = await health()
    expect(bad.status).toBe(503)
    expect(bad.body['reason']).toContain(`shard ${died['shard']} is restarting: ${cause}`)
    for (let index = 0; index < 10; index++) expect(await postFine()).toBe(200)
    const closed = await eventually(
      async () => sockets.filter(({ closed }) => closed).length,
      (count) => count > 0,
      2000,
    )
    expect(closed).toBeLessThan(sockets.length)
    for (const socket of sockets) socket.destroy()

    await weir.logged(({ msg }) => msg === 'shard is back', since)
    const good = await health()
    expect(good.status).toBe(200)
    expect(good.body['restarts']).toBeGreaterThan(0)
    const after = await books()
    expect(after.open).toBe(0)
    expect(after.lostInAll - before.lostInAll).toBe((died['lost_items'] as Plain)['traces'])
    expect(after.lost).toBeGreaterThan(before.lost)
    const label = LABELS[act as keyof typeof LABELS] ?? act
    expect(sum(await page(), 'otelcol_shard_deaths', `cause="${label}"`)).toBeGreaterThan(0)
    expect(sum(await page(), 'otelcol_shards_down')).toBe(0)
    expect(weir.log.slice(since).filter(({ msg }) => msg === 'shard is back')).toHaveLength(1)
    if (act === 'spin') await expectSignsWithin(LONG)
  })
}

test('what was held by shards that lived is delivered', async () => {
  const { lost, accepted: all } = await books()
  expect(all).toBe(accepted.length)
  backend.always = { status: 200 }
  // The attempts that hang are cut off by the end; what they held is given another one.
  expect(await weir.stop()).toBe(0)
  const delivered = new Set(
    backend.requests.flatMap(({ body }) =>
      decode('traces', body).resourceSpans.flatMap((resource: Plain) =>
        resource.scopeSpans.flatMap((scope: Plain) => scope.spans.map((span: Plain) => span.name)),
      ),
    ),
  )
  const missing = accepted.filter((name) => !delivered.has(name))
  const deaths = weir.log.filter(({ msg }) => msg === 'shard died, starting it again').length
  report('death of a shard', `${deaths} deaths: ${Object.keys(CAUSES).join(', ')}`, {
    accepted: all,
    'not delivered': missing.length,
    'counted as lost in a crash': lost,
  })
  // Of what was lost, some had reached the backend, which had not answered.
  expect(missing.length).toBeLessThanOrEqual(lost)
}, 120_000)

test('a pause of the whole process ends no shard', async () => {
  await using paused = await startWeir({
    receivers: { otlp: { protocols: { http: { endpoint: 'localhost:0' } } } },
    exporters: { nop: null },
    service: {
      shards: 2,
      supervision: { heartbeat_timeout: '2s' },
      telemetry: { metrics: { level: 'none' } },
      pipelines: { traces: { receivers: ['otlp'], exporters: ['nop'] } },
    },
  })
  paused.signal('SIGSTOP')
  await new Promise((resolve) => setTimeout(resolve, 4000))
  paused.signal('SIGCONT')
  await new Promise((resolve) => setTimeout(resolve, 1000))
  expect(await paused.stop()).toBe(0)
  expect(paused.log.filter(({ level }) => level === 'error')).toEqual([])
})
