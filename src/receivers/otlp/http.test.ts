import { mkdtempSync, rmSync } from 'node:fs'
import http from 'node:http'
import { tmpdir } from 'node:os'
import path from 'node:path'
import zlib from 'node:zlib'
import fc from 'fast-check'
import { afterEach, describe, expect, test } from 'vitest'
import { createReceiver, Sink, type TestOptions } from '../../../test/support/create-test.ts'
import { type HttpRequest, request } from '../../../test/support/http.ts'
import { decode, decodeMessage, logs, metrics, traces } from '../../../test/support/otlp.ts'
import type { Consumer } from '../../component/define.ts'
import { DownstreamError, PartialSuccess, RefusedError, RetryableError } from '../../errors.ts'
import { compress } from '../../net/compression.ts'
import otlp from './index.ts'

const PROTOBUF = 'application/x-protobuf'
const JSON_TYPE = 'application/json'
const batch = traces({ resource: { 'service.name': 'shop' }, spans: ['a', 'b'] })
const body = batch.bytes()

const closers: (() => PromiseLike<void>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0)) await close()
})

async function receive(config: object = {}, options: TestOptions = {}) {
  const made = createReceiver(otlp, { protocols: { http: { endpoint: '127.0.0.1:0', ...config } } }, options)
  closers.push(() => made[Symbol.asyncDispose]())
  await made.start()
  const port = made.host.listeners[0]?.port ?? 0
  const send = (data: Uint8Array | string, more: HttpRequest = {}) => request(port, data, more)
  return { ...made, port, send }
}

describe('data arrives as it was sent', () => {
  test('protobuf and JSON, all signals', async () => {
    const { send, sink } = await receive()
    const ok = { status: 200, type: PROTOBUF, body: Buffer.from([0x0a, 0]) }
    expect(await send(body)).toMatchObject(ok)
    const metric = metrics({ metrics: [{ name: 'up', gauge: { dataPoints: [{ asInt: 1 }, { asInt: 2 }] } }] })
    expect(await send(metric.bytes(), { path: '/v1/metrics' })).toMatchObject(ok)
    expect(await send(logs({ logs: ['a line'] }).bytes(), { path: '/v1/logs?x=y' })).toMatchObject(ok)
    const [first, second, third] = sink.take()
    expect(first?.bytes()).toEqual(Buffer.from(body))
    expect([first?.signal, first?.itemCount, first?.context.transport]).toEqual(['traces', 2, 'http'])
    expect([second?.signal, second?.itemCount]).toEqual(['metrics', 2])
    expect([third?.signal, third?.itemCount]).toEqual(['logs', 1])

    const text = '{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"a","kind":2}]}]}]}'
    const answer = await send(text, { type: 'Application/JSON; charset=utf-8' })
    expect(answer).toMatchObject({ status: 200, type: JSON_TYPE, body: Buffer.from('{"partialSuccess":{}}') })
    const [fromJson] = sink.take()
    expect(decode('traces', fromJson?.bytes() ?? body).resourceSpans[0].scopeSpans[0].spans[0]).toMatchObject(
      {
        name: 'a',
        kind: 2,
      },
    )
  })
  test('under every content encoding', async () => {
    const { send, sink } = await receive()
    const f = async (encoding: string, packed: Uint8Array) => {
      expect((await send(packed, { headers: { 'Content-Encoding': encoding } })).status).toBe(200)
      expect(Buffer.compare(sink.take()[0]?.bytes() ?? packed, body)).toBe(0)
    }
    for (const name of ['gzip', 'zstd', 'zlib', 'deflate', 'snappy', 'x-snappy-framed'] as const)
      await f(name, Buffer.concat(await compress(name, undefined, [body])))
    await f('snappy', Buffer.concat(await compress('x-snappy-framed', undefined, [body])))
    await f('GZIP', zlib.gzipSync(body))
  })
  test('in chunks', async () => {
    const { send, sink } = await receive()
    expect((await send(body, { headers: { 'Transfer-Encoding': 'chunked' } })).status).toBe(200)
    expect(sink.itemCount).toBe(2)
  })
})

test('what holds no items succeeds without asking the pipeline', async () => {
  const { send, sink } = await receive()
  for (const text of ['', '{"test":"data"}', '{}', '{"resourceSpans":[{"scopeSpans":[{}]}]}'])
    expect(await send(text, { type: JSON_TYPE })).toMatchObject({ status: 200 })
  expect((await send('')).status).toBe(200)
  expect(sink.batches).toEqual([])
})

test('wrong paths, methods and types get their texts', async () => {
  const { send } = await receive()
  const f = async (more: HttpRequest, status: number, text: RegExp) => {
    const answer = await send(more.method === 'GET' ? '' : body, more)
    expect([answer.status, answer.type]).toEqual([status, 'text/plain; charset=utf-8'])
    expect(answer.body.toString()).toMatch(text)
  }
  await f({ path: '/v1/trace' }, 404, /404 page not found/)
  await f({ path: '/v1development/profiles' }, 404, /404/)
  await f({ method: 'GET' }, 405, /supported: \[POST\]/)
  await f({ method: 'PUT' }, 405, /supported: \[POST\]/)
  await f({ type: 'text/xml' }, 415, /application\/json, application\/x-protobuf/)
  await f({ type: '' }, 415, /application\/json/)
})

test('listens on a unix socket', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'weir-otlp-'))
  const socketPath = path.join(folder, 'http.sock')
  const { sink } = await receive({ endpoint: socketPath, transport: 'unix' })
  const call = http.request({
    socketPath,
    method: 'POST',
    path: '/v1/traces',
    headers: { 'Content-Type': PROTOBUF },
  })
  call.end(body)
  const status = await new Promise((resolve) =>
    call.on('response', (response) => resolve(response.statusCode)),
  )
  expect(status).toBe(200)
  expect(sink.batches[0]?.context.clientAddress).toBe('')
  rmSync(folder, { recursive: true })
})

test('a signal that no pipeline takes is not there', async () => {
  const raw = { protocols: { http: { endpoint: '127.0.0.1:0' } } }
  const made = createReceiver(otlp, raw)
  const receiver = otlp.create({
    ...made,
    config: otlp.config.parse(raw),
    telemetry: made.meter.instruments(otlp.telemetry, {}),
    next: { logs: made.sink },
  })
  closers.push(async () => receiver.shutdown?.(AbortSignal.timeout(1000)))
  await receiver.start?.()
  const port = made.host.listeners[0]?.port ?? 0
  expect((await request(port, body, {})).status).toBe(404)
  expect((await request(port, '', { path: '/v1/logs' })).status).toBe(200)
})

test('custom paths replace the usual ones, with or without a leading slash', async () => {
  const { send } = await receive({ traces_url_path: 'in/traces', logs_url_path: '/in/logs' })
  expect((await send(body, { path: '/in/traces' })).status).toBe(200)
  expect((await send('', { path: '/in/logs' })).status).toBe(200)
  expect((await send(body)).status).toBe(404)
})

test('bad data is 400 with a Status in the type of the request, and is counted', async () => {
  const { send, sink, meter } = await receive()
  const broken = await send(Buffer.from([0x0a, 0x7f]))
  expect([broken.status, broken.type]).toEqual([400, PROTOBUF])
  expect(decodeMessage('google.rpc.Status', broken.body)).toMatchObject({ code: 3 })
  const text = await send('{"resourceSpans":[', { type: JSON_TYPE })
  expect([text.status, text.type]).toEqual([400, JSON_TYPE])
  expect(JSON.parse(text.body.toString())).toMatchObject({ code: 3, details: [{}] })
  for (const encoding of ['gzip', 'zstd', 'snappy', 'lz4', 'deflate'])
    expect((await send(body, { headers: { 'Content-Encoding': encoding } })).status).toBe(400)
  expect(meter.read('receiver_failed_requests', { transport: 'http', reason: 'invalid' })).toBe(7)
  expect(sink.batches).toEqual([])
})

test('cut off and random bodies are answered 200, 400 or 413, whatever they claim to be', async () => {
  const { send } = await receive({ max_request_body_size: 5000 })
  const json =
    '{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"a","kind":2,"startTimeUnixNano":"1"}]}]}]}'
  for (let length = 0; length < body.length; length += 3) {
    const { status } = await send(body.subarray(0, length))
    expect([200, 400]).toContain(status)
  }
  for (let length = 1; length < json.length; length++)
    expect((await send(json.slice(0, length), { type: JSON_TYPE })).status).toBe(400)
  const input = fc.tuple(
    fc.uint8Array({ maxLength: 6000 }),
    fc.constantFrom(PROTOBUF, JSON_TYPE),
    fc.constantFrom('', 'gzip', 'zstd', 'snappy', 'lz4', 'br'),
  )
  await fc.assert(
    fc.asyncProperty(input, async ([data, type, encoding]) => {
      const headers = encoding === '' ? {} : { 'Content-Encoding': encoding }
      expect([200, 400, 413]).toContain((await send(data, { type, headers })).status)
    }),
  )
  expect((await send(body)).status).toBe(200)
})

test('brotli, unknown and stacked encodings are refused, and their body is not decoded', async () => {
  const { send } = await receive()
  for (const encoding of ['br', 'identity', 'gzip, gzip', 'gzip,zstd', 'zip']) {
    const answer = await send(zlib.brotliCompressSync(body), { headers: { 'Content-Encoding': encoding } })
    expect(answer.status).toBe(400)
    expect(answer.body.toString()).toContain('unsupported Content-Encoding')
  }
})

test('compression_algorithms limits what is decoded; without "" plain bodies are refused; [] decodes nothing', async () => {
  const gzip = { headers: { 'Content-Encoding': 'gzip' } }
  const some = await receive({ compression_algorithms: ['gzip'] })
  expect((await some.send(zlib.gzipSync(body), gzip)).status).toBe(200)
  expect((await some.send(body)).status).toBe(400)
  expect((await some.send(body, { headers: { 'Content-Encoding': 'zstd' } })).status).toBe(400)
  const none = await receive({ compression_algorithms: [] })
  expect((await none.send(body, gzip)).status).toBe(200)
  expect(none.sink.itemCount).toBe(2)
})

test('a body over max_request_body_size is 413, packed or unpacked', async () => {
  const { send, meter } = await receive({ max_request_body_size: 1000 })
  expect((await send(Buffer.alloc(1001))).status).toBe(413)
  expect((await send(Buffer.alloc(1001), { headers: { 'Transfer-Encoding': 'chunked' } })).status).toBe(413)
  const answer = await send(zlib.gzipSync(Buffer.alloc(10_000_000).subarray(0, 500_000)), {
    headers: { 'Content-Encoding': 'gzip' },
  })
  expect(answer.status).toBe(413)
  expect(decodeMessage('google.rpc.Status', answer.body)).toMatchObject({ code: 8 })
  expect(meter.read('receiver_failed_requests', { transport: 'http', reason: 'too_large' })).toBe(3)
})

test('each error of the pipeline has its answer', async () => {
  const sink = new Sink()
  const { send, meter } = await receive({}, { next: sink })
  const f = async (error: Error, status: number, retryAfter: string | undefined, code: number) => {
    sink.fail = () => error
    const answer = await send(body)
    expect([answer.status, answer.headers['retry-after']]).toEqual([status, retryAfter])
    expect(decodeMessage('google.rpc.Status', answer.body).code).toBe(code)
    expect(answer.body.toString()).not.toContain('secret')
  }
  await f(new RefusedError('queue is full', 1500), 503, '2', 14)
  await f(new RetryableError('secret'), 503, undefined, 14)
  await f(new RetryableError('secret', { retryAfterMs: 7000 }), 503, '7', 14)
  await f(new DownstreamError('secret'), 500, undefined, 13)
  await f(new DownstreamError('secret', { grpcStatus: 7 }), 403, undefined, 7)
  await f(new Error('secret'), 500, undefined, 13)
  // The service counts these, since its edges saw the data.
  expect(meter.read('receiver_failed_requests', { transport: 'http', reason: 'refused' })).toBe(0)
})

test('partial success is 200 with the count', async () => {
  const sink = new Sink()
  const { send } = await receive({}, { next: sink })
  sink.fail = () => new PartialSuccess('one had no name', 1)
  const answer = await send(body)
  expect(answer.status).toBe(200)
  const response = 'opentelemetry.proto.collector.trace.v1.ExportTraceServiceResponse'
  expect(decodeMessage(response, answer.body).partialSuccess).toEqual({
    rejectedSpans: '1',
    errorMessage: 'one had no name',
  })
  const text = '{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"x"}}]}]}]}'
  const json = await send(text, { type: JSON_TYPE, path: '/v1/logs' })
  expect(JSON.parse(json.body.toString())).toEqual({
    partialSuccess: { rejectedLogRecords: '1', errorMessage: 'one had no name' },
  })
})

test('a pipeline that would refuse is asked before the body is read', async () => {
  const next: Consumer = {
    consume: () => Promise.reject(new Error('not reached')),
    refusal: () => new RefusedError('memory limit'),
  }
  const { send, port, meter } = await receive({}, { next })
  expect(await send(body)).toMatchObject({ status: 503, headers: { 'retry-after': '1' } })
  // The body of this one never comes.
  const call = http.request({ port, method: 'POST', path: '/v1/traces' })
  call.setHeader('Content-Type', PROTOBUF).setHeader('Content-Length', 1_000_000)
  call.flushHeaders()
  const status = await new Promise((resolve) =>
    call.on('response', (response) => resolve(response.statusCode)),
  )
  expect(status).toBe(503)
  call.destroy()
  expect(meter.read('receiver_failed_requests', { transport: 'http', reason: 'refused' })).toBe(2)
})

describe('context', () => {
  test('has headers only with include_metadata', async () => {
    const headers = { 'X-Tenant': 'a', 'x-list': ['1', '2'] }
    const without = await receive()
    await without.send(body, { headers })
    expect(without.sink.batches[0]?.context.metadata.size).toBe(0)
    const having = await receive({ include_metadata: true })
    await having.send(body, { headers })
    const context = having.sink.batches[0]?.context
    expect(context?.metadata.get('x-tenant')).toEqual(['a'])
    expect(context?.metadata.get('x-list')).toEqual(['1', '2'])
    expect(context?.metadata.get('host')?.[0]).toBe(`127.0.0.1:${having.port}`)
    expect(context?.clientAddress).toMatch(/^127\.0\.0\.1:\d+$/)
  })
})

test('shutdown answers the request in flight, comes twice, and without a start', async () => {
  let release = () => {}
  const next: Consumer = { consume: () => new Promise<void>((resolve) => (release = resolve)) }
  const made = await receive({}, { next })
  const answer = made.send(body)
  await expect.poll(() => release.toString().length).not.toBe('() => {}'.length)
  const stopped = made.receiver.shutdown?.(AbortSignal.timeout(5000))
  release()
  expect(await answer).toMatchObject({ status: 200, headers: { connection: 'close' } })
  await stopped
  await made.receiver.shutdown?.(AbortSignal.timeout(5000))
  await expect(made.send(body)).rejects.toThrow()
  const unstarted = createReceiver(otlp, { protocols: { http: null, grpc: null } })
  await unstarted.receiver.shutdown?.(AbortSignal.timeout(5000))
})
