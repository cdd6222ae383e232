/**
 * Scenario: between Weir and its backend the network delays, throttles, cuts, resets and goes silent; the
 * backend refuses with all that is retryable, hangs, takes a request and breaks off the answer, and refuses
 * some for good. All by a seeded schedule, then it is well again. Guarantee: every acknowledged span
 * arrives, or is counted as failed where the backend refused it for good; over HTTP and gRPC.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { GRPC } from '../../src/net/grpc.ts'
import { encodeRpcStatus } from '../../src/net/rpc-status.ts'
import { GrpcBackend } from '../support/grpc-backend.ts'
import { eventually, freePort } from '../support/peers.ts'
import { startWeir } from '../support/weir.ts'
import { Books } from './support/books.ts'
import { random } from './support/fs-shim.ts'
import { Load } from './support/load.ts'
import { sumOf, telemetryAt } from './support/metrics-page.ts'
import { FAULTS, FaultProxy } from './support/proxy.ts'
import { report, SEED, times } from './support/settings.ts'
import { type Act, Sink } from './support/sink.ts'
import { eachSerial } from './support/spans.ts'

const TRACES = '/opentelemetry.proto.collector.trace.v1.TraceService/Export'
const SECONDS = times(4, 30)
const QUICK = { initial_interval: '20ms', max_interval: '200ms', max_elapsed_time: '0s' }

/** Sends for a while through Weir, does `meanwhile`, then waits until all books are closed. */
async function run(exporter: string, endpoint: string, books: Books, meanwhile: () => Promise<void>) {
  const metricsPort = await freePort()
  const common = { endpoint, compression: 'none', timeout: '500ms', retry_on_failure: QUICK }
  const settings = exporter === 'otlp_grpc' ? { ...common, tls: { insecure: true } } : common
  await using weir = await startWeir({
    receivers: { otlp: { protocols: { http: { endpoint: 'localhost:0' } } } },
    exporters: { [exporter]: { ...settings, sending_queue: { queue_size: 300 } } },
    service: {
      shards: 2,
      telemetry: telemetryAt(metricsPort),
      pipelines: { traces: { receivers: ['otlp'], exporters: [exporter] } },
    },
  })
  const url = `http://${weir.address('receivers/otlp/protocols/http')}`
  await using load = new Load({ url, books, senders: 4, pauseMs: 10, retry: true }).start()
  await meanwhile()
  await load.stop()
  const failed = () => sumOf(metricsPort, 'otelcol_exporter_send_failed_spans')
  await eventually(
    async () => [books.missing(), books.refused - (await failed())],
    ([missing, uncounted]) => missing === 0 && uncounted === 0,
    60_000,
  )
  expect(load.requests).toMatchObject({ refusedWithoutDelay: 0, permanent: 0, failed: 0 })
  expect([books.acked, books.strangers]).toEqual([books.sent, 0])
  expect(books.acked).toBeGreaterThan(1000)
  return { refused: load.requests.refused, failed: await failed() }
}

/** One fault after the other, each until it has struck, with a while without one in between. */
async function badWeather(proxy: FaultProxy): Promise<void> {
  const draw = random(SEED)
  const untilMs = performance.now() + SECONDS * 1000
  for (let turn = 0; performance.now() < untilMs || turn < FAULTS.length; turn++) {
    const fault = FAULTS[turn % FAULTS.length] ?? 'cut'
    const before = proxy.fired.get(fault) ?? 0
    proxy.fault = fault
    const latestMs = performance.now() + 5000
    while ((proxy.fired.get(fault) ?? 0) === before && performance.now() < latestMs) await sleep(10)
    await sleep(draw() * 300)
    proxy.fault = undefined
    await sleep(draw() * 300)
  }
  proxy.fault = undefined
}

const rpcTaking = async (books: Books) => {
  const backend = await new GrpcBackend().start([TRACES])
  const note = (message: Buffer) => eachSerial(message, books.deliver)
  return { backend, note }
}

function tellWeather(exporter: string, books: Books, proxy: FaultProxy, refused: number): void {
  const fired = FAULTS.map((fault) => `${fault} ${proxy.fired.get(fault) ?? 0}`).join(', ')
  report(`bad network, ${exporter}`, fired, {
    acknowledged: books.acked,
    missing: books.missing(),
    'delivered twice': books.duplicates,
    'refused requests, sent again': refused,
  })
  for (const fault of FAULTS) expect([fault, (proxy.fired.get(fault) ?? 0) > 0]).toEqual([fault, true])
}

test('a bad network between the HTTP exporter and its backend', async () => {
  const books = new Books()
  await using sink = await new Sink(books.deliver).start()
  await using proxy = await new FaultProxy(Number(new URL(sink.url).port)).start()
  const { refused, failed } = await run('otlp_http', `http://127.0.0.1:${proxy.port}`, books, () =>
    badWeather(proxy),
  )
  tellWeather('otlp_http', books, proxy, refused)
  expect(failed).toBe(0)
}, 180_000)

test('a bad network between the gRPC exporter and its backend', async () => {
  const books = new Books()
  const { backend, note } = await rpcTaking(books)
  await using closing = backend
  closing.always = ({ message }) => {
    note(message)
    return {}
  }
  await using proxy = await new FaultProxy(Number(backend.endpoint.split(':')[1])).start()
  const { refused, failed } = await run('otlp_grpc', `127.0.0.1:${proxy.port}`, books, () =>
    badWeather(proxy),
  )
  tellWeather('otlp_grpc', books, proxy, refused)
  expect(failed).toBe(0)
}, 180_000)

const HTTP_ACTS: readonly Act[] = [
  { kind: 'take' },
  { kind: 'take', delayMs: 100 },
  { kind: 'refuse', status: 429, retryAfter: '0' },
  { kind: 'refuse', status: 503, retryAfter: '1' },
  { kind: 'refuse', status: 502 },
  { kind: 'hang' },
  { kind: 'reset' },
  { kind: 'cut' },
]

test('an HTTP backend that refuses, hangs and breaks off, and now and then refuses for good', async () => {
  const books = new Books()
  const draw = random(SEED)
  await using sink = await new Sink(books.deliver).start()
  sink.refuse = books.refuse
  sink.act = () => {
    if (draw() < 0.02) return { kind: 'refuse', status: 400 }
    return HTTP_ACTS[Math.floor(draw() * HTTP_ACTS.length)] ?? { kind: 'take' }
  }
  const { refused, failed } = await run('otlp_http', sink.url, books, async () => {
    await sleep(SECONDS * 1000)
    sink.act = () => ({ kind: 'take' })
  })
  const acts = [...sink.acts].map(([kind, count]) => `${kind} ${count}`).join(', ')
  report('scripted backend, otlp_http', acts, {
    acknowledged: books.acked,
    'refused for good': books.refused,
    'counted as failed': failed,
    'neither delivered nor counted': books.missing(),
    'delivered twice': books.duplicates,
    'refused requests, sent again': refused,
  })
  for (const { kind } of HTTP_ACTS) expect([kind, (sink.acts.get(kind) ?? 0) > 0]).toEqual([kind, true])
  expect(failed).toBeGreaterThan(0)
}, 180_000)

test('a gRPC backend that refuses with RetryInfo and without, hangs, and now and then refuses for good', async () => {
  const books = new Books()
  const draw = random(SEED)
  const { backend, note } = await rpcTaking(books)
  await using closing = backend
  const struck = new Map<string, number>()
  const details = (code: number, retryAfterMs: number) => encodeRpcStatus({ code, message: '', retryAfterMs })
  const { UNAVAILABLE, RESOURCE_EXHAUSTED, ABORTED, INVALID_ARGUMENT } = GRPC
  const codes = [UNAVAILABLE, RESOURCE_EXHAUSTED, ABORTED]
  const count = (act: string) => struck.set(act, (struck.get(act) ?? 0) + 1)
  closing.always = ({ message }) => {
    const choice = draw()
    closing.calls.length = 0
    if (choice < 0.02) {
      count('for good')
      eachSerial(message, books.refuse)
      return { code: INVALID_ARGUMENT }
    }
    if (choice < 0.5) {
      const code = codes[Math.floor(draw() * codes.length)] ?? UNAVAILABLE
      count(`code ${code}`)
      const delayMs = Math.floor(draw() * 300)
      return { code, ...(code !== ABORTED && { statusDetails: details(code, delayMs) }) }
    }
    if (choice < 0.6) {
      count('hang')
      return { hang: true }
    }
    note(message)
    return {}
  }
  const { refused, failed } = await run('otlp_grpc', backend.endpoint, books, async () => {
    await sleep(SECONDS * 1000)
    closing.always = ({ message }) => {
      note(message)
      return {}
    }
  })
  report('scripted backend, otlp_grpc', [...struck].map(([act, times]) => `${act}: ${times}`).join(', '), {
    acknowledged: books.acked,
    'refused for good': books.refused,
    'counted as failed': failed,
    'neither delivered nor counted': books.missing(),
    'delivered twice': books.duplicates,
    'refused requests, sent again': refused,
  })
  for (const act of [...codes.map((code) => `code ${code}`), 'hang'])
    expect([act, struck.has(act)]).toEqual([act, true])
  expect(failed).toBeGreaterThan(0)
}, 180_000)
