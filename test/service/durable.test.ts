/**
 * A running Weir with tail sampling and `storage` on its receiver is killed under load, again and again, and
 * started with another number of shards. Guarantee: a span that was acknowledged arrives, or its trace is
 * sampled out by policy, which is decided on whole traces, whatever part of them came before the crash.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { HttpBackend } from '../support/http-backend.ts'
import { decode, encode, type Plain } from '../support/otlp.ts'
import { eventually } from '../support/peers.ts'
import { type RunningWeir, startWeir } from '../support/weir.ts'

const LIVES = 10
const SHARDS = [2, 2, 3, 1, 2, 4, 2, 1, 3, 2]
const TRACES_AT_A_TIME = 40
/** A trace comes in two requests, each with this many spans of it. */
const HALF = 2
const SEED = 20_251

/** mulberry32: the same numbers for the same seed. */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

const config = (directory: string, backend: string, shards: number) => ({
  receivers: { otlp: { storage: 'file_storage', protocols: { http: { endpoint: 'localhost:0' } } } },
  extensions: { file_storage: { directory, create_directory: true } },
  processors: {
    tail_sampling: {
      decision_wait: '1s',
      num_traces: 1_000_000, // A trace that is pushed out is dropped and counted.
      policies: [
        { name: 'keep', type: 'string_attribute', string_attribute: { key: 'keep', values: ['yes'] } },
      ],
    },
    batch: { timeout: '50ms' },
  },
  exporters: { otlp_http: { endpoint: backend, compression: 'none' } },
  service: {
    shards,
    extensions: ['file_storage'],
    telemetry: { metrics: { level: 'none' } },
    pipelines: {
      traces: { receivers: ['otlp'], processors: ['tail_sampling', 'batch'], exporters: ['otlp_http'] },
    },
  },
})

/** Span ids that were acknowledged, by whether the policy keeps their trace; and all that were sent. */
interface Books {
  readonly kept: Set<string>
  readonly discarded: Set<string>
  readonly sent: Set<string>
  trace: number
}

async function post(address: string, spans: readonly Plain[]): Promise<boolean> {
  try {
    const response = await fetch(`http://${address}/v1/traces`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-protobuf', connection: 'close' },
      body: encode('traces', { resourceSpans: [{ scopeSpans: [{ spans }] }] }),
      signal: AbortSignal.timeout(5000),
    })
    await response.arrayBuffer()
    return response.status === 200
  } catch {
    return false // Killed meanwhile.
  }
}

/** Each request has halves of many traces. Only the second half tells whether a trace is to be kept. */
async function sendTraces(address: string, books: Books): Promise<void> {
  const halves: Plain[][] = [[], []]
  const ids: { id: string; keep: boolean; half: number }[] = []
  for (let index = 0; index < TRACES_AT_A_TIME; index++) {
    const number = ++books.trace
    const traceId = Buffer.alloc(16)
    traceId.writeUInt32BE(number, 4)
    traceId.writeUInt32BE(Math.imul(number, 0x9e3779b1) >>> 0, 12)
    const keep = number % 2 === 0
    for (const half of [0, 1])
      for (let span = 0; span < HALF; span++) {
        const spanId = Buffer.alloc(8)
        spanId.writeUInt32BE(number, 0)
        spanId.writeUInt32BE(half * HALF + span + 1, 4)
        const attributes = half === 1 && keep ? [{ key: 'keep', value: { stringValue: 'yes' } }] : []
        halves[half]?.push({ traceId, spanId, name: 'span', attributes })
        ids.push({ id: spanId.toString('hex'), keep, half })
        books.sent.add(spanId.toString('hex'))
      }
  }
  const acknowledged = await Promise.all(halves.map((spans) => post(address, spans)))
  // Of a trace whose second half was not acknowledged nobody knows what the policy says.
  if (!acknowledged[1]) return
  for (const { id, keep, half } of ids) if (acknowledged[half]) (keep ? books.kept : books.discarded).add(id)
}

function spanIdsAt(backend: HttpBackend): string[] {
  return backend.requests.flatMap(({ body }) =>
    decode('traces', body).resourceSpans.flatMap((resource: Plain) =>
      resource.scopeSpans.flatMap((scope: Plain) =>
        scope.spans.map((span: Plain) => Buffer.from(span.spanId).toString('hex')),
      ),
    ),
  )
}

async function untilGone({ pid }: RunningWeir): Promise<void> {
  const isRunning = async () => {
    try {
      return process.kill(pid, 0)
    } catch {
      return false
    }
  }
  await eventually(isRunning, (running) => !running, 10_000)
}

test(`killed ${LIVES} times under load, nothing acknowledged is lost (seed ${SEED})`, async () => {
  const draw = random(SEED)
  const directory = join(mkdtempSync(join(tmpdir(), 'weir-durable-')), 'storage')
  await using backend = await new HttpBackend().start()
  const books: Books = { kept: new Set(), discarded: new Set(), sent: new Set(), trace: 0 }
  try {
    for (let life = 0; life < LIVES; life++) {
      await using weir = await startWeir(config(directory, backend.url, SHARDS[life] ?? 2))
      const address = weir.address('receivers/otlp/protocols/http')
      const killed = sleep(200 + draw() * 3000, true)
      let sending = Promise.resolve()
      for (let over = false; !over; ) {
        sending = sendTraces(address, books)
        over = await Promise.race([sending.then(() => sleep(5, false)), killed])
      }
      weir.signal('SIGKILL')
      await untilGone(weir)
      await sending
    }
    await using weir = await startWeir(config(directory, backend.url, 2))
    await eventually(
      async () => {
        const arrived = new Set(spanIdsAt(backend))
        return [...books.kept].filter((id) => !arrived.has(id)).length
      },
      (missing) => missing === 0,
      20_000,
    )
    const arrived = new Set(spanIdsAt(backend))
    expect([...books.kept].filter((id) => !arrived.has(id))).toEqual([])
    expect([...books.discarded].filter((id) => arrived.has(id))).toEqual([])
    expect([...arrived].filter((id) => !books.sent.has(id))).toEqual([])
    expect(books.kept.size).toBeGreaterThan(1000)
    expect(await weir.stop()).toBe(0)
  } finally {
    rmSync(join(directory, '..'), { recursive: true, force: true })
  }
}, 180_000)

test('stopped in order, it leaves undecided traces in the log, and the next run decides on them', async () => {
  const directory = join(mkdtempSync(join(tmpdir(), 'weir-durable-')), 'storage')
  await using backend = await new HttpBackend().start()
  const books: Books = { kept: new Set(), discarded: new Set(), sent: new Set(), trace: 0 }
  try {
    {
      await using weir = await startWeir(config(directory, backend.url, 2))
      await sendTraces(weir.address('receivers/otlp/protocols/http'), books)
      expect(await weir.stop()).toBe(0)
      expect(backend.requests).toEqual([])
    }
    await using weir = await startWeir(config(directory, backend.url, 1))
    await eventually(
      async () => spanIdsAt(backend).length,
      (count) => count >= books.kept.size,
      10_000,
    )
    expect(await weir.stop()).toBe(0)
    expect(spanIdsAt(backend).sort()).toEqual([...books.kept].sort())
    await using empty = await startWeir(config(directory, backend.url, 2))
    expect(empty.log.filter(({ msg }) => msg.includes('handed on again'))).toEqual([])
  } finally {
    rmSync(join(directory, '..'), { recursive: true, force: true })
  }
}, 60_000)

test('a reload hands what waits to the new pipeline, and to the new receiver', async () => {
  const directory = join(mkdtempSync(join(tmpdir(), 'weir-durable-')), 'storage')
  await using backend = await new HttpBackend().start()
  const books: Books = { kept: new Set(), discarded: new Set(), sent: new Set(), trace: 0 }
  const made = (wait: string, endpoint: string) => {
    const base = config(directory, backend.url, 2)
    const tail_sampling = { ...base.processors.tail_sampling, decision_wait: wait }
    const otlp = { ...base.receivers.otlp, protocols: { http: { endpoint } } }
    return { ...base, receivers: { otlp }, processors: { ...base.processors, tail_sampling } }
  }
  try {
    await using weir = await startWeir(made('60s', 'localhost:0'))
    const changes = [made('1s', 'localhost:0'), made('1s', '127.0.0.1:0')]
    for (const change of changes) {
      await sendTraces(weir.address('receivers/otlp/protocols/http'), books)
      const since = weir.log.length
      writeFileSync(weir.configPath, JSON.stringify(change))
      weir.signal('SIGHUP')
      await weir.logged(({ msg }) => msg === 'reloaded', since)
      await eventually(
        async () => spanIdsAt(backend).length,
        (count) => count >= books.kept.size,
        20_000,
      )
    }
    expect(await weir.stop()).toBe(0)
    expect(books.kept.size).toBe(changes.length * TRACES_AT_A_TIME * HALF)
    expect(spanIdsAt(backend).sort()).toEqual([...books.kept].sort())
  } finally {
    rmSync(join(directory, '..'), { recursive: true, force: true })
  }
}, 90_000)
