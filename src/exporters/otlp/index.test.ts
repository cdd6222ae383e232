import { expect, test } from 'vitest'
import { createExporter } from '../../../test/support/create-test.ts'
import { GrpcBackend } from '../../../test/support/grpc-backend.ts'
import { TestHost } from '../../../test/support/host.ts'
import { decode, decodeBatch, encodeMessage, logs, metrics, traces } from '../../../test/support/otlp.ts'
import type { LogFields } from '../../component/logger.ts'
import { silentLogger } from '../../component/logger.ts'
import { DownstreamError, RetryableError } from '../../errors.ts'
import { GRPC } from '../../net/grpc.ts'
import { encodeRpcStatus } from '../../net/rpc-status.ts'
import { Batch, type Signal } from '../../otlp/batch.ts'
import definition from './index.ts'

const PATHS = {
  traces: '/opentelemetry.proto.collector.trace.v1.TraceService/Export',
  metrics: '/opentelemetry.proto.collector.metrics.v1.MetricsService/Export',
  logs: '/opentelemetry.proto.collector.logs.v1.LogsService/Export',
} as const

const start = () => new GrpcBackend().start(Object.values(PATHS))

async function make(endpoint: string, config: object = {}, signal: Signal = 'traces', host = new TestHost()) {
  const warnings: { message: string; fields: LogFields | undefined }[] = []
  const logger = {
    ...silentLogger,
    warn: (message: string, fields?: LogFields) => void warnings.push({ message, fields }),
  }
  const raw = { endpoint, tls: { insecure: true }, ...config }
  const exporter = createExporter(definition, raw, { signal, logger, host })
  await exporter.start()
  return Object.assign(exporter, { warnings })
}

const failure = (promise: Promise<void>) =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  )

test('sends each signal to its method, chunks end to end, gzip or not', async () => {
  await using backend = await start()
  const batches = [
    traces({ resource: { a: 1 }, spans: ['one'] }, { spans: ['two'] }),
    metrics({ metrics: [{ name: 'up', gauge: { dataPoints: [{ asInt: 1 }] } }] }),
    logs({ logs: ['line'] }),
  ]
  for (const compression of ['gzip', 'none', '']) {
    for (const batch of batches) {
      await using exporter = await make(backend.endpoint, { compression }, batch.signal)
      const two = Batch.concat([batch, batch])
      await exporter.consume(two)
      const call = backend.calls.at(-1)
      expect(call?.path).toBe(PATHS[batch.signal])
      expect(decode(batch.signal, call?.message ?? Buffer.alloc(0))).toEqual(decodeBatch(two))
    }
  }
})

test('sends headers, the credentials of the authenticator, the deadline and its name', async () => {
  await using backend = await start()
  const host = new TestHost()
  host.extensions.set('oauth2client', {
    async authorize(headers: Record<string, string>) {
      Object.assign(headers, { authorization: 'Bearer t', 'x-tenant': 'auth' })
    },
  })
  const headers = { 'X-Tenant': 'config', 'X-Scope': 'a' }
  const config = { headers, auth: { authenticator: 'oauth2client' }, timeout: '20s' }
  await using exporter = await make(backend.endpoint, config, 'traces', host)
  await exporter.consume(traces({ spans: ['a'] }))
  const call = backend.calls[0]
  // What the authenticator sets replaces a header of the config.
  expect(call?.metadata.get('x-tenant')).toEqual(['auth'])
  expect(call?.metadata.get('x-scope')).toEqual(['a'])
  expect(call?.metadata.get('authorization')).toEqual(['Bearer t'])
  expect(String(call?.metadata.get('user-agent'))).toMatch(/^Weir\/\d+\.\d+\.\d+ \(/)
  const leftMs = Number(call?.deadline) - Date.now()
  expect(leftMs).toBeGreaterThan(5000)
  expect(leftMs).toBeLessThan(20_001)
})

test('sorts the status codes as OTLP does', async () => {
  await using backend = await start()
  await using exporter = await make(backend.endpoint)
  const retryable = [
    GRPC.CANCELLED,
    GRPC.DEADLINE_EXCEEDED,
    GRPC.ABORTED,
    GRPC.OUT_OF_RANGE,
    GRPC.UNAVAILABLE,
    GRPC.DATA_LOSS,
  ] as number[]
  for (const [name, code] of Object.entries(GRPC)) {
    if (code === GRPC.OK) continue
    backend.script.push({ code, details: 'because' })
    const error = await failure(exporter.consume(traces({ spans: ['a'] })))
    expect(error, name).toBeInstanceOf(retryable.includes(code) ? RetryableError : DownstreamError)
    expect(error, name).toMatchObject({ message: `${name}: because` })
    if (error instanceof DownstreamError) expect(error.grpcStatus).toBe(code)
  }
})

test('the delay of RetryInfo is honoured and makes RESOURCE_EXHAUSTED retryable', async () => {
  await using backend = await start()
  await using exporter = await make(backend.endpoint)
  for (const code of [GRPC.UNAVAILABLE, GRPC.RESOURCE_EXHAUSTED]) {
    const statusDetails = encodeRpcStatus({ code, message: 'busy', retryAfterMs: 12_500 })
    backend.script.push({ code, details: 'busy', statusDetails })
    const error = await failure(exporter.consume(traces({ spans: ['a'] })))
    expect(error).toBeInstanceOf(RetryableError)
    expect(error).toMatchObject({ retryAfterMs: 12_500 })
  }
  const broken = Buffer.from([0x1a, 0x7f, 1])
  backend.script.push({ code: GRPC.RESOURCE_EXHAUSTED, statusDetails: broken })
  expect(await failure(exporter.consume(traces({ spans: ['a'] })))).toBeInstanceOf(DownstreamError)
})

test('a partial success is sent, with a warning', async () => {
  await using backend = await start()
  await using exporter = await make(backend.endpoint)
  const name = 'opentelemetry.proto.collector.trace.v1.ExportTraceServiceResponse'
  const answer = (rejectedSpans: number, errorMessage: string) => ({
    message: encodeMessage(name, { partialSuccess: { rejectedSpans, errorMessage } }),
  })
  backend.script.push(answer(3, 'too old'), answer(0, 'slow down'), answer(0, ''), {})
  for (let index = 0; index < 4; index++) await exporter.consume(traces({ spans: ['a'] }))
  expect(exporter.warnings.map((warning) => warning.fields)).toEqual([
    { rejected_items: 3, error: 'too old' },
    { rejected_items: 0, error: 'slow down' },
  ])
  expect(exporter.meter.read('exporter_otlp_partial_success_rejected_items')).toBe(3)
})

test('an answer that is no OTLP response, or over 4 MiB, is permanent', async () => {
  await using backend = await start()
  await using exporter = await make(backend.endpoint)
  backend.script.push({ message: Buffer.from([0x0a, 0x7f]) }, { message: Buffer.alloc(4 * 1024 * 1024 + 1) })
  for (let index = 0; index < 2; index++)
    expect(await failure(exporter.consume(traces({ spans: ['a'] })))).toBeInstanceOf(DownstreamError)
})

test('an aborted attempt ends the call; no backend is retryable', async () => {
  await using backend = await start()
  await using exporter = await make(backend.endpoint)
  backend.script.push({ hang: true })
  const attempt = new AbortController()
  const pending = failure(exporter.consume(traces({ spans: ['a'] }), attempt.signal))
  while (backend.calls.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
  attempt.abort()
  expect(await pending).toBeInstanceOf(RetryableError)
  while (backend.cancelled === 0) await new Promise((resolve) => setTimeout(resolve, 5))
  await using lonely = await make('127.0.0.1:1')
  const error = await failure(lonely.consume(traces({ spans: ['a'] })))
  expect(error).toBeInstanceOf(RetryableError)
  expect(error).toMatchObject({ message: 'UNAVAILABLE: connect ECONNREFUSED 127.0.0.1:1' })
})

test('only the own client lets go of the bytes with the answer', async () => {
  await using backend = await start()
  for (const implementation of ['http2', 'grpc-js']) {
    await using exporter = await make(backend.endpoint, { implementation })
    expect(exporter.exporter.releases).toBe(implementation === 'http2')
    await exporter.consume(traces({ spans: [implementation] }))
  }
  expect(backend.calls.length).toBe(2)
})

test('checks its config', () => {
  const f = (config: object, path: string) => {
    const result = definition.config.safeParse({ endpoint: 'a:1', ...config })
    expect(result.error?.issues.map((issue) => issue.path.join('.')) ?? []).toEqual(path === '' ? [] : [path])
  }
  for (const endpoint of ['a:4317', 'http://a:4317', 'https://a:4317/', 'dns:///a:4317', '[::1]:4317'])
    f({ endpoint }, '')
  for (const endpoint of ['passthrough:///a:4317', 'unix:///tmp/x.sock', 'dns://8.8.8.8/a:4317'])
    f({ endpoint }, '')
  for (const endpoint of ['', 'a', 'https://a', 'a:port', '::1:4317', 'a:99999']) f({ endpoint }, 'endpoint')
  f({ endpoint: undefined }, 'endpoint')
  for (const compression of ['zstd', 'snappy']) {
    f({ compression }, '')
    f({ compression, implementation: 'grpc-js' }, 'compression')
  }
  f({ implementation: 'other' }, 'implementation')
  f({ balancer_name: 'grpclb' }, 'balancer_name')
  f({ keepalive: { time: '-1s' } }, 'keepalive.time')
  f({ keepalive: { time: '30s', timeout: '5s', permit_without_stream: true } }, '')
  f(
    { write_buffer_size: 1024, wait_for_ready: true, authority: 'x', headers: [{ name: 'a', value: 'b' }] },
    '',
  )
})
