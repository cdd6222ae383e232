/**
 * Backends that are slow, away, picky or hung, behind the shell and the OTLP exporters, over real sockets.
 * The guarantee: every item that was accepted is delivered or counted, and what was refused can be sent
 * again.
 */
import { expect, test } from 'vitest'
import { systemClock } from '../../src/component/clock.ts'
import type { AnyExporter } from '../../src/component/define.ts'
import { silentLogger } from '../../src/component/logger.ts'
import { RefusedError } from '../../src/errors.ts'
import otlpGrpc from '../../src/exporters/otlp/index.ts'
import otlpHttp from '../../src/exporters/otlphttp/index.ts'
import { GRPC } from '../../src/net/grpc.ts'
import { encodeRpcStatus } from '../../src/net/rpc-status.ts'
import { holdsCaller, wrapExporter } from '../../src/sending/shell.ts'
import { sendingTelemetry } from '../../src/sending/telemetry.ts'
import { GrpcBackend } from '../support/grpc-backend.ts'
import { TestHost } from '../support/host.ts'
import { HttpBackend } from '../support/http-backend.ts'
import { TestMeter } from '../support/meter.ts'
import { decode, type Plain, traces } from '../support/otlp.ts'

const TRACES = '/opentelemetry.proto.collector.trace.v1.TraceService/Export'
/** Real sockets need real time: intervals are short instead. */
const FAST = { initial_interval: '5ms', max_interval: '20ms', max_elapsed_time: '30s' }

async function make(definition: AnyExporter, config: object) {
  const host = Object.assign(new TestHost(), { clock: systemClock })
  const meter = new TestMeter()
  const parsed = definition.config.parse({ tls: { insecure: true }, retry_on_failure: FAST, ...config })
  const sending = definition.sending?.(parsed)
  const base = { id: definition.type, logger: silentLogger, host, signal: 'traces' as const }
  const telemetry = meter.instruments(definition.telemetry, {})
  const exporter = definition.create({ ...base, config: parsed, telemetry })
  const shell = wrapExporter(exporter, sending, {
    ...base,
    telemetry: meter.instruments(sendingTelemetry('traces'), {}),
  })
  await shell.start?.()
  const read = (name: string) => meter.read(`exporter_${name}_spans`)
  const counts = () => ({ sent: read('sent'), failed: read('send_failed'), refused: read('enqueue_failed') })
  const stop = () => shell.shutdown?.(AbortSignal.timeout(5000)) ?? Promise.resolve()
  return { shell, counts, stop, host, holds: holdsCaller(sending), [Symbol.asyncDispose]: stop }
}

function namesIn(message: Uint8Array): string[] {
  return decode('traces', message).resourceSpans.flatMap((resource: Plain) =>
    resource.scopeSpans.flatMap((scope: Plain) => scope.spans.map((span: Plain) => span.name)),
  )
}

const span = (name: string) => traces({ resource: { a: 1 }, spans: [name] })
const sorted = (names: Iterable<string>) => [...names].sort()
const until = async (done: () => boolean) => {
  for (let round = 0; round < 2000 && !done(); round++) await new Promise((resolve) => setTimeout(resolve, 5))
  expect(done()).toBe(true)
}

test('70 % UNAVAILABLE without a queue: every span arrives, unchanged', async () => {
  await using backend = await new GrpcBackend().start([TRACES])
  await using made = await make(otlpGrpc, { endpoint: backend.endpoint, sending_queue: { enabled: false } })
  expect(made.holds).toBe(true)
  for (let index = 0; index < 300; index++)
    backend.script.push(index % 10 < 7 ? { code: GRPC.UNAVAILABLE, details: 'try later' } : {})
  const sent = Array.from({ length: 60 }, (_, index) => `span-${index}`)
  await Promise.all(sent.map((name) => made.shell.consume(span(name))))
  const delivered = new Set(backend.calls.flatMap((call) => namesIn(call.message)))
  expect(sorted(delivered)).toEqual(sorted(sent))
  expect(made.counts()).toEqual({ sent: 60, failed: 0, refused: 0 })
  expect(backend.calls.length).toBeGreaterThan(60)
})

test('a backend that never comes up: bounded, refused aloud, and all accounted for at the stop', async () => {
  const queue = { queue_size: 50, num_consumers: 4 }
  const made = await make(otlpGrpc, { endpoint: '127.0.0.1:1', sending_queue: queue })
  let refused = 0
  for (let index = 0; index < 500; index++) {
    const error = await made.shell.consume(span(`s${index}`)).catch((thrown: unknown) => thrown)
    if (error === undefined) continue
    expect(error).toBeInstanceOf(RefusedError)
    refused++
  }
  expect(refused).toBe(450)
  await until(() => made.host.statuses.some(({ status }) => status === 'recoverable_error'))
  await made.stop()
  expect(made.counts()).toEqual({ sent: 0, failed: 50, refused: 450 })
})

test('a full queue, then the backend heals: every refused span that is sent again arrives', async () => {
  await using backend = await new GrpcBackend().start([TRACES])
  backend.always = { code: GRPC.UNAVAILABLE }
  const sending_queue = { queue_size: 5, num_consumers: 2 }
  await using made = await make(otlpGrpc, { endpoint: backend.endpoint, sending_queue })
  const pending = Array.from({ length: 40 }, (_, index) => `span-${index}`)
  const all = [...pending]
  let rounds = 0
  while (pending.length > 0) {
    const name = pending.shift() ?? ''
    const taken = await made.shell.consume(span(name)).then(
      () => true,
      () => false,
    )
    if (taken) continue
    pending.push(name)
    if (++rounds === 20) backend.always = {}
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
  await until(() => made.counts().sent === 40)
  expect(sorted(new Set(backend.calls.flatMap((call) => namesIn(call.message))))).toEqual(sorted(all))
  expect(made.counts().refused).toBeGreaterThanOrEqual(20)
})

test('a throttled backend is not asked before the time it gave', async () => {
  await using backend = await new GrpcBackend().start([TRACES])
  await using made = await make(otlpGrpc, { endpoint: backend.endpoint })
  const statusDetails = encodeRpcStatus({ code: GRPC.RESOURCE_EXHAUSTED, message: '', retryAfterMs: 400 })
  backend.script.push({ code: GRPC.RESOURCE_EXHAUSTED, statusDetails })
  const startMs = performance.now()
  await made.shell.consume(span('a'))
  await until(() => made.counts().sent === 1)
  expect(performance.now() - startMs).toBeGreaterThanOrEqual(399)
  expect(backend.calls.length).toBe(2)
})

test('one hung exporter does not slow the other', async () => {
  await using hung = await new HttpBackend().start()
  hung.always = () => {}
  await using healthy = await new HttpBackend().start()
  const queue = { queue_size: 10, num_consumers: 1 }
  await using first = await make(otlpHttp, { endpoint: hung.url, timeout: '100ms', sending_queue: queue })
  await using second = await make(otlpHttp, { endpoint: healthy.url, sending_queue: { queue_size: 1000 } })
  let refused = 0
  for (let index = 0; index < 200; index++) {
    const batch = span(`s${index}`)
    await first.shell.consume(batch).catch(() => refused++)
    await second.shell.consume(batch)
  }
  await until(() => second.counts().sent === 200)
  expect(refused).toBe(190)
  await first.stop()
  const { sent, failed } = first.counts()
  expect([sent, failed]).toEqual([0, 10])
})

test('ok, retryable, permanent and throttled answers over HTTP: no id vanishes', async () => {
  await using backend = await new HttpBackend().start()
  const answers = [
    { status: 200 },
    { status: 503 },
    { status: 400 },
    { status: 429, headers: { 'retry-after': '0' } },
  ]
  const delivered: string[] = []
  const dropped: string[] = []
  let count = 0
  backend.always = (request, response) => {
    const answer = answers[count++ % answers.length]!
    if (answer.status === 200) delivered.push(...namesIn(request.body))
    if (answer.status === 400) dropped.push(...namesIn(request.body))
    response.writeHead(answer.status, answer.headers).end()
  }
  const batch = { min_size: 3, max_size: 5, flush_timeout: '10ms' }
  const config = { endpoint: backend.url, compression: 'none', sending_queue: { queue_size: 1000, batch } }
  await using made = await make(otlpHttp, config)
  const all = Array.from({ length: 150 }, (_, index) => `span-${index}`)
  for (const [index, name] of all.entries()) {
    await made.shell.consume(span(name))
    if (index % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 1))
  }
  await until(() => made.counts().sent + made.counts().failed === 150)
  expect(sorted([...delivered, ...dropped])).toEqual(sorted(all))
  expect(made.counts()).toEqual({ sent: delivered.length, failed: dropped.length, refused: 0 })
})
