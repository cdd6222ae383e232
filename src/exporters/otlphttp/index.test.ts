import { gunzipSync, zstdDecompressSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { createExporter } from '../../../test/support/create-test.ts'
import { HttpBackend } from '../../../test/support/http-backend.ts'
import { decode, decodeBatch, encodeMessage, logs, metrics, traces } from '../../../test/support/otlp.ts'
import { type LogFields, silentLogger } from '../../component/logger.ts'
import { ConfigError, DownstreamError, RetryableError } from '../../errors.ts'
import { encodeRpcStatus } from '../../net/rpc-status.ts'
import { Batch, type Signal } from '../../otlp/batch.ts'
import definition from './index.ts'

const start = () => new HttpBackend().start()

async function make(config: object, signal: Signal = 'traces') {
  const warnings: (LogFields | undefined)[] = []
  const logger = { ...silentLogger, warn: (_: string, fields?: LogFields) => void warnings.push(fields) }
  const exporter = createExporter(definition, config, { signal, logger })
  await exporter.start()
  return Object.assign(exporter, { warnings })
}

const failure = (promise: Promise<void>) =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  )

const span = () => traces({ spans: ['a'] })

test('posts each signal to its path, chunks end to end, in every compression', async () => {
  await using backend = await start()
  const plain = (body: Buffer) => body
  const unpack: Record<string, (body: Buffer) => Buffer> = {
    gzip: gunzipSync,
    zstd: zstdDecompressSync,
    none: plain,
  }
  const batches = [
    traces({ resource: { a: 1 }, spans: ['one'] }),
    metrics({ metrics: [{ name: 'up', gauge: { dataPoints: [{ asInt: 1 }] } }] }),
    logs({ logs: ['line'] }),
  ]
  for (const [compression, decompress] of Object.entries(unpack)) {
    for (const batch of batches) {
      await using exporter = await make({ endpoint: `${backend.url}/base/`, compression }, batch.signal)
      const two = Batch.concat([batch, batch])
      await exporter.consume(two)
      const request = backend.requests.at(-1)
      expect(request?.url).toBe(`/base/v1/${batch.signal}`)
      expect(request?.headers['content-type']).toBe('application/x-protobuf')
      expect(request?.headers['content-encoding']).toBe(compression === 'none' ? undefined : compression)
      expect(request?.headers['accept-encoding']).toBeUndefined()
      expect(request?.headers['user-agent']).toMatch(/^Weir\//)
      expect(decode(batch.signal, decompress(request?.body ?? Buffer.alloc(0)))).toEqual(decodeBatch(two))
    }
  }
})

test('a large uncompressed batch goes out chunk by chunk with its length', async () => {
  await using backend = await start()
  await using exporter = await make({ endpoint: backend.url, compression: 'none' })
  const big = traces({ spans: ['x'.repeat(60_000)] })
  const batch = Batch.concat([big, big, big])
  await exporter.consume(batch)
  expect(backend.requests[0]?.headers['content-length']).toBe(String(batch.byteLength))
  expect(backend.requests[0]?.body.equals(Buffer.concat(batch.chunks))).toBe(true)
})

test('encoding json sends OTLP/JSON', async () => {
  await using backend = await start()
  await using exporter = await make({ endpoint: backend.url, encoding: 'json', compression: '' })
  await exporter.consume(span())
  expect(backend.requests[0]?.headers['content-type']).toBe('application/json')
  const body = JSON.parse(backend.requests[0]?.body.toString() ?? '')
  expect(body.resourceSpans[0].scopeSpans[0].spans[0]).toMatchObject({
    name: 'a',
    traceId: '0102030405060708090a0b0c0d0e0f10',
  })
})

test('a URL per signal is used as it is; without one and without a base it is an error', async () => {
  await using backend = await start()
  await using exporter = await make({ traces_endpoint: `${backend.url}/in?x=1` })
  await exporter.consume(span())
  expect(backend.requests[0]?.url).toBe('/in?x=1')
  await expect(make({ traces_endpoint: backend.url }, 'logs')).rejects.toThrow(ConfigError)
  expect(definition.config.safeParse({}).success).toBe(false)
})

test('headers of the config win, and Host sets the host', async () => {
  await using backend = await start()
  const headers = { 'X-Scope-OrgID': 'team', 'Content-Type': 'application/custom', Host: 'virtual.example' }
  await using exporter = await make({ endpoint: backend.url, headers })
  await exporter.consume(span())
  expect(backend.requests[0]?.headers).toMatchObject({
    'x-scope-orgid': 'team',
    'content-type': 'application/custom',
    host: 'virtual.example',
  })
})

test('429, 502, 503 and 504 are retryable; all else is permanent, redirects and 500 included', async () => {
  await using backend = await start()
  await using exporter = await make({ endpoint: backend.url })
  for (const status of [301, 307, 400, 401, 403, 404, 408, 413, 429, 500, 501, 502, 503, 504]) {
    backend.script.push({ status, headers: { location: '/elsewhere' } })
    const error = await failure(exporter.consume(span()))
    const wanted = [429, 502, 503, 504].includes(status) ? RetryableError : DownstreamError
    expect(error, String(status)).toBeInstanceOf(wanted)
    expect(String(error)).toContain(`answered ${status}`)
  }
  expect(backend.requests.every((request) => request.url === '/v1/traces')).toBe(true)
})

test('Retry-After is honoured for 429 and 503, in seconds or as a date', async () => {
  await using backend = await start()
  await using exporter = await make({ endpoint: backend.url })
  const f = async (status: number, value: string, want: number | undefined) => {
    backend.script.push({ status, headers: { 'retry-after': value } })
    const error = await failure(exporter.consume(span()))
    expect((error as RetryableError).retryAfterMs, value).toBe(want)
  }
  await f(429, '30', 30_000)
  await f(503, '0', 0)
  await f(502, '30', undefined)
  await f(503, 'soon', undefined)
  await f(503, '-5', undefined)
  const nowMs = exporter.clock.wallMs()
  const date = new Date(nowMs + 20_000)
  await f(503, date.toUTCString(), Math.floor(date.getTime() / 1000) * 1000 - nowMs)
  await f(503, new Date(nowMs - 60_000).toUTCString(), 0)
})

test('the message of a Status body is in the error', async () => {
  await using backend = await start()
  await using exporter = await make({ endpoint: backend.url })
  const body = encodeRpcStatus({ code: 3, message: 'bad span id' })
  backend.script.push({ status: 400, headers: { 'content-type': 'application/x-protobuf' }, body })
  backend.script.push({ status: 400, headers: { 'content-type': 'text/plain' }, body: 'no\r\nsuch thing' })
  expect(String(await failure(exporter.consume(span())))).toContain('bad span id')
  expect(await failure(exporter.consume(span()))).toMatchObject({
    message: expect.stringContaining('no such thing'),
    grpcStatus: 3,
  })
})

test('a partial success is sent, with a warning, in both encodings', async () => {
  await using backend = await start()
  await using exporter = await make({ endpoint: backend.url })
  const name = 'opentelemetry.proto.collector.trace.v1.ExportTraceServiceResponse'
  const partialSuccess = { rejectedSpans: 2, errorMessage: 'late' }
  const body = encodeMessage(name, { partialSuccess })
  backend.script.push({ headers: { 'content-type': 'application/x-protobuf' }, body })
  const json = JSON.stringify({ partialSuccess: { rejectedSpans: '2', errorMessage: 'late' } })
  backend.script.push({ headers: { 'content-type': 'application/json; charset=utf-8' }, body: json })
  backend.script.push({ headers: { 'content-type': 'application/json' }, body: '{"partialSuccess":{}}' })
  backend.script.push({ headers: { 'content-type': 'application/x-protobuf' }, body: Buffer.from([0x0a, 0]) })
  backend.script.push({ status: 204 })
  for (let index = 0; index < 5; index++) await exporter.consume(span())
  expect(exporter.warnings).toEqual([
    { rejected_items: 2, error: 'late' },
    { rejected_items: 2, error: 'late' },
  ])
})

test('a success with an undecodable body is permanent', async () => {
  await using backend = await start()
  await using exporter = await make({ endpoint: backend.url })
  backend.script.push({
    headers: { 'content-type': 'application/x-protobuf' },
    body: Buffer.from([0x0a, 0x7f]),
  })
  backend.script.push({ headers: { 'content-type': 'application/json' }, body: '{"partial' })
  for (let index = 0; index < 2; index++)
    expect(await failure(exporter.consume(span()))).toBeInstanceOf(DownstreamError)
})

test('endless answers are read up to their limit and cut off', async () => {
  await using backend = await start()
  await using exporter = await make({ endpoint: backend.url })
  for (const [status, limit] of [
    [200, 4 * 1024 * 1024],
    [503, 64 * 1024],
  ] as const) {
    let written = 0
    let ended: (() => void) | undefined
    const closed = new Promise<void>((resolve) => (ended = resolve))
    backend.script.push((_, response) => {
      response.writeHead(status, { 'content-type': 'application/x-protobuf' })
      const block = Buffer.alloc(16 * 1024, 1)
      const pump = () => {
        if (response.destroyed) return
        written += block.length
        if (response.write(block)) setImmediate(pump)
        else response.once('drain', pump)
      }
      response.on('close', () => ended?.())
      pump()
    })
    const error = await failure(exporter.consume(span()))
    expect(error).toBeInstanceOf(status === 200 ? DownstreamError : RetryableError)
    await closed
    expect(written).toBeGreaterThanOrEqual(limit)
    expect(written).toBeLessThan(limit + 16 * 1024 * 1024)
  }
  await exporter.consume(span())
})

test('no server, a cut connection, huge headers and an aborted attempt are retryable', async () => {
  await using backend = await start()
  await using exporter = await make({ endpoint: backend.url })
  backend.script.push((_, response) => void response.destroy())
  backend.script.push({ headers: { 'x-huge': 'x'.repeat(200_000) } })
  for (let index = 0; index < 2; index++)
    expect(await failure(exporter.consume(span()))).toBeInstanceOf(RetryableError)
  const attempt = new AbortController()
  backend.script.push(() => attempt.abort())
  expect(await failure(exporter.consume(span(), attempt.signal))).toBeInstanceOf(RetryableError)
  await using lonely = await make({ endpoint: 'http://127.0.0.1:1' })
  expect(await failure(lonely.consume(span()))).toBeInstanceOf(RetryableError)
})

test('connections are kept; disable_keep_alives and max_conns_per_host do what they say', async () => {
  const f = async (config: object) => {
    await using backend = await start()
    await using exporter = await make({ endpoint: backend.url, ...config })
    for (let index = 0; index < 8; index++) await exporter.consume(span())
    await Promise.all([exporter.consume(span()), exporter.consume(span())])
    expect(backend.requests.length).toBe(10)
    return backend.connections
  }
  expect(await f({ max_conns_per_host: 1 })).toBe(1)
  expect(await f({})).toBeLessThan(6)
  expect(await f({ disable_keep_alives: true })).toBe(10)
})

test('goes through the proxy that the config names', async () => {
  await using proxy = await start()
  await using exporter = await make({ endpoint: 'http://backend.invalid:4318', proxy_url: proxy.url })
  await exporter.consume(span())
  expect(proxy.requests.map(({ url, headers }) => [url, headers.host])).toEqual([
    ['http://backend.invalid:4318/v1/traces', 'backend.invalid:4318'],
  ])
})

test('checks its config', () => {
  const f = (config: object, path: string) => {
    const result = definition.config.safeParse({ endpoint: 'http://a:4318', ...config })
    expect(result.error?.issues.map((issue) => issue.path.join('.')) ?? []).toEqual(path === '' ? [] : [path])
  }
  f({ compression: 'zstd', compression_params: { level: 3 } }, '')
  f({ compression: 'gzip', compression_params: { level: 10 } }, 'compression_params.level')
  f({ compression: 'snappy', compression_params: { level: 1 } }, 'compression_params.level')
  f({ compression: 'lz4' }, 'compression')
  f({ endpoint: 'backend:4318' }, 'endpoint')
  f({ cookies: { enabled: true } }, 'cookies')
  f(
    {
      cookies: {},
      max_idle_conns: 10,
      force_attempt_http2: true,
      headers: { a: 'b' },
      tls: { insecure: true },
    },
    '',
  )
})
