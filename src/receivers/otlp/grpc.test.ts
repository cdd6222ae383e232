import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import * as grpc from '@grpc/grpc-js'
import { afterEach, describe, expect, test } from 'vitest'
import { createAuthority, createCertificate } from '../../../test/support/certificates.ts'
import { createReceiver, Sink, type TestOptions } from '../../../test/support/create-test.ts'
import { TestHost } from '../../../test/support/host.ts'
import { decodeMessage, logs, metrics, traces } from '../../../test/support/otlp.ts'
import type { Consumer } from '../../component/define.ts'
import {
  DownstreamError,
  PartialSuccess,
  RefusedError,
  RetryableError,
  TooLargeError,
  UnauthenticatedError,
} from '../../errors.ts'
import { GRPC } from '../../net/grpc.ts'
import otlp from './index.ts'

const EXPORT = {
  traces: '/opentelemetry.proto.collector.trace.v1.TraceService/Export',
  metrics: '/opentelemetry.proto.collector.metrics.v1.MetricsService/Export',
  logs: '/opentelemetry.proto.collector.logs.v1.LogsService/Export',
}
const body = traces({ resource: { 'service.name': 'shop' }, spans: ['a', 'b'] }).bytes()

const closers: (() => PromiseLike<void> | void)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

async function receive(config: object = {}, options: TestOptions = {}) {
  const made = createReceiver(otlp, { protocols: { grpc: { endpoint: '127.0.0.1:0', ...config } } }, options)
  closers.push(() => made[Symbol.asyncDispose]())
  await made.start()
  const port = made.host.listeners[0]?.port ?? 0
  return { ...made, port, send: dial(port) }
}

interface Answer {
  code: number
  details: string
  message: Buffer | undefined
  /** The google.rpc.Status of the trailer. */
  // biome-ignore lint/suspicious/noExplicitAny: the plain form of protobufjs.
  status: any
}

function dial(
  port: number,
  credentials = grpc.credentials.createInsecure(),
  options: grpc.ClientOptions = {},
) {
  const client = new grpc.Client(`127.0.0.1:${port}`, credentials, {
    'grpc.use_local_subchannel_pool': 1,
    ...options,
  })
  closers.push(() => client.close())
  const same = (bytes: Buffer) => bytes
  return (message: Uint8Array, headers: Record<string, string> = {}, path = EXPORT.traces) => {
    const metadata = new grpc.Metadata()
    for (const [key, value] of Object.entries(headers)) metadata.set(key, value)
    const deadline = Date.now() + 30_000
    return new Promise<Answer>((resolve) => {
      client.makeUnaryRequest(
        path,
        same,
        same,
        Buffer.from(message),
        metadata,
        { deadline },
        (error, value) => {
          const details = error?.metadata?.get('grpc-status-details-bin')[0]
          const status = details ? decodeMessage('google.rpc.Status', Buffer.from(details)) : undefined
          resolve({ code: error?.code ?? 0, details: error?.details ?? '', message: value, status })
        },
      )
    })
  }
}

test('data arrives as it was sent, all signals, plain and packed', async () => {
  const { send, sink, port } = await receive()
  expect(await send(body)).toMatchObject({ code: 0, message: Buffer.from([0x0a, 0]) })
  const metric = metrics({ metrics: [{ name: 'up', gauge: { dataPoints: [{ asInt: 1 }, { asInt: 2 }] } }] })
  expect((await send(metric.bytes(), {}, EXPORT.metrics)).code).toBe(0)
  expect((await send(logs({ logs: ['a line'] }).bytes(), {}, EXPORT.logs)).code).toBe(0)
  const packed = dial(port, undefined, {
    'grpc.default_compression_algorithm': grpc.compressionAlgorithms.gzip,
  })
  expect((await packed(body)).code).toBe(0)
  const [first, second, third, fourth] = sink.take()
  expect(Buffer.compare(first?.bytes() ?? Buffer.alloc(0), body)).toBe(0)
  expect([first?.signal, first?.itemCount, first?.context.transport]).toEqual(['traces', 2, 'grpc'])
  expect([second?.signal, second?.itemCount]).toEqual(['metrics', 2])
  expect([third?.signal, third?.itemCount]).toEqual(['logs', 1])
  expect(Buffer.compare(fourth?.bytes() ?? Buffer.alloc(0), body)).toBe(0)
  expect(first?.context.deadlineMs).toBeGreaterThan(performance.now())
})

test('an empty request succeeds without asking the pipeline', async () => {
  const { send, sink } = await receive()
  expect((await send(Buffer.alloc(0))).code).toBe(0)
  expect(sink.batches).toEqual([])
})

test('each error has its status', async () => {
  const sink = new Sink()
  const { send, meter } = await receive({}, { next: sink })
  const f = async (error: Error, code: number, details: string, retryAfter?: object) => {
    sink.fail = () => error
    const answer = await send(body)
    expect([answer.code, answer.details]).toEqual([code, details])
    const info = answer.status?.details?.[0]
    expect(info && decodeMessage('google.rpc.RetryInfo', info.value).retryDelay).toEqual(retryAfter)
  }
  await f(new RefusedError('queue is full', 1500), GRPC.UNAVAILABLE, 'queue is full', {
    seconds: '1',
    nanos: 500_000_000,
  })
  await f(new RetryableError('secret'), GRPC.UNAVAILABLE, 'the data cannot be taken now')
  await f(new TooLargeError('too much'), GRPC.RESOURCE_EXHAUSTED, 'too much')
  await f(new DownstreamError('secret'), GRPC.INTERNAL, 'the data was refused further on')
  await f(
    new DownstreamError('secret', { grpcStatus: 7 }),
    GRPC.PERMISSION_DENIED,
    'the data was refused further on',
  )
  await f(new TypeError('secret'), GRPC.INTERNAL, 'internal error')
  expect([...meter.values.keys()].filter((key) => key.startsWith('receiver_failed_requests'))).toEqual([])
})

test('bad data is INVALID_ARGUMENT with BadRequest, and is counted', async () => {
  const { send, meter } = await receive()
  const answer = await send(Buffer.from([0x0a, 0x7f]))
  expect(answer.code).toBe(GRPC.INVALID_ARGUMENT)
  expect(answer.status.details[0].typeUrl ?? answer.status.details[0].type_url).toMatch(/BadRequest$/)
  expect(meter.read('receiver_failed_requests', { transport: 'grpc', reason: 'invalid' })).toBe(1)
})

test('max_recv_msg_size_mib: 4 MiB unless set', async () => {
  const usual = await receive()
  expect((await usual.send(Buffer.alloc(4 * 1024 * 1024 + 1))).code).toBe(GRPC.RESOURCE_EXHAUSTED)
  const large = await receive({ max_recv_msg_size_mib: 5 })
  expect((await large.send(Buffer.alloc(4 * 1024 * 1024 + 1))).code).toBe(GRPC.INVALID_ARGUMENT)
})

test('partial success is OK with the count', async () => {
  const sink = new Sink()
  const { send } = await receive({}, { next: sink })
  sink.fail = () => new PartialSuccess('one had no name', 1)
  const answer = await send(body)
  const response = 'opentelemetry.proto.collector.trace.v1.ExportTraceServiceResponse'
  expect(decodeMessage(response, answer.message ?? Buffer.alloc(0)).partialSuccess).toEqual({
    rejectedSpans: '1',
    errorMessage: 'one had no name',
  })
})

test('a pipeline that would refuse is asked first', async () => {
  const next: Consumer = {
    consume: () => Promise.reject(new Error('not reached')),
    refusal: () => new RefusedError('memory limit', 2000),
  }
  const { send, meter } = await receive({}, { next })
  const answer = await send(body)
  expect([answer.code, answer.details]).toEqual([GRPC.UNAVAILABLE, 'memory limit'])
  expect(decodeMessage('google.rpc.RetryInfo', answer.status.details[0].value)).toEqual({
    retryDelay: { seconds: '2' },
  })
  expect(meter.read('receiver_failed_requests', { transport: 'grpc', reason: 'refused' })).toBe(1)
})

test('too many bytes in flight are refused before the next message is read', async () => {
  const releases: (() => void)[] = []
  const next: Consumer = { consume: () => new Promise<void>((resolve) => releases.push(resolve)) }
  const { send } = await receive({ max_in_flight_bytes: body.length }, { next })
  const first = send(body)
  await expect.poll(() => releases.length).toBe(1)
  expect(await send(body)).toMatchObject({ code: GRPC.UNAVAILABLE, details: 'too many bytes in flight' })
  releases[0]?.()
  expect((await first).code).toBe(0)
  const third = send(body)
  await expect.poll(() => releases.length).toBe(2)
  releases[1]?.()
  expect((await third).code).toBe(0)
})

test('a signal that no pipeline takes is UNIMPLEMENTED', async () => {
  const raw = { protocols: { grpc: { endpoint: '127.0.0.1:0' } } }
  const made = createReceiver(otlp, raw)
  const telemetry = made.meter.instruments(otlp.telemetry, {})
  const receiver = otlp.create({
    ...made,
    config: otlp.config.parse(raw),
    telemetry,
    next: { logs: made.sink },
  })
  closers.push(() => receiver.shutdown?.(AbortSignal.timeout(1000)))
  await receiver.start?.()
  const send = dial(made.host.listeners[0]?.port ?? 0)
  expect((await send(body)).code).toBe(GRPC.UNIMPLEMENTED)
  expect((await send(Buffer.alloc(0), {}, EXPORT.logs)).code).toBe(0)
})

test('metadata reaches the context only with include_metadata', async () => {
  const without = await receive()
  await without.send(body, { 'x-tenant': 'a' })
  expect(without.sink.batches[0]?.context.metadata.size).toBe(0)
  const having = await receive({ include_metadata: true })
  await having.send(body, { 'X-Tenant': 'a' })
  const context = having.sink.batches[0]?.context
  expect(context?.metadata.get('x-tenant')).toEqual(['a'])
  expect(context?.metadata.get('host')).toEqual([`127.0.0.1:${having.port}`])
  expect(context?.clientAddress).toMatch(/^127\.0\.0\.1:\d+$/)
})

describe('auth', () => {
  const host = () => {
    const made = new TestHost()
    made.extensions.set('tokens', {
      async authenticate(headers: ReadonlyMap<string, readonly string[]>) {
        if (headers.get('authorization')?.[0] !== 'Bearer good') throw new UnauthenticatedError('wrong token')
        return new Map([['subject', 'ann']])
      },
    })
    return made
  }
  test('lets in whom the authenticator knows', async () => {
    const { send, sink, meter } = await receive({ auth: { authenticator: 'tokens' } }, { host: host() })
    expect((await send(body, { authorization: 'Bearer good' })).code).toBe(0)
    expect(sink.take()[0]?.context.auth?.get('subject')).toBe('ann')
    for (const headers of [{ authorization: 'Bearer bad' }, {}] as const)
      expect(await send(body, headers)).toMatchObject({ code: GRPC.UNAUTHENTICATED, details: 'wrong token' })
    expect(sink.batches).toEqual([])
    expect(meter.read('receiver_failed_requests', { transport: 'grpc', reason: 'unauthenticated' })).toBe(2)
  })
  test('an extension that is not there fails the start', async () => {
    await expect(receive({ auth: { authenticator: 'missing' } }, { host: host() })).rejects.toThrow(
      /protocols\.grpc\.auth\.authenticator: extension "missing"/,
    )
  })
})

test('TLS by ALPN h2, with client certificates', async () => {
  const authority = createAuthority()
  const server = createCertificate(authority, 'server')
  const client = createCertificate(authority, 'client')
  const folder = mkdtempSync(path.join(tmpdir(), 'weir-otlp-'))
  const client_ca_file = path.join(folder, 'ca.pem')
  writeFileSync(client_ca_file, authority.cert)
  const made = await receive({ tls: { cert_pem: server.cert, key_pem: server.key, client_ca_file } })
  rmSync(folder, { recursive: true })
  const root = Buffer.from(authority.cert)
  const send = dial(
    made.port,
    grpc.credentials.createSsl(root, Buffer.from(client.key), Buffer.from(client.cert)),
  )
  expect((await send(body)).code).toBe(0)
  expect(made.sink.itemCount).toBe(2)
  const stranger = dial(made.port, grpc.credentials.createSsl(root))
  expect((await stranger(body)).code).toBe(GRPC.UNAVAILABLE)
  expect((await made.send(body)).code).toBe(GRPC.UNAVAILABLE)
  expect((await send(body)).code).toBe(0)
})

test('over max_connections new connections are closed, unless an idle one can make room', async () => {
  const releases: (() => void)[] = []
  const next: Consumer = { consume: () => new Promise<void>((resolve) => releases.push(resolve)) }
  const { send, port, meter } = await receive({ max_connections: 1 }, { next })
  const answer = send(body)
  await expect.poll(() => releases.length).toBe(1)
  expect((await dial(port)(body)).code).toBe(GRPC.UNAVAILABLE)
  releases[0]?.()
  expect((await answer).code).toBe(0)
  const second = dial(port)(body)
  await expect.poll(() => releases.length).toBe(2)
  releases[1]?.()
  expect((await second).code).toBe(0)
  expect(meter.read('receiver_closed_connections', { transport: 'grpc', reason: 'evicted' })).toBe(1)
  const refused = { transport: 'grpc', reason: 'max_connections' }
  expect(meter.read('receiver_closed_connections', refused)).toBeGreaterThan(0)
})

test('shutdown answers the call in flight', async () => {
  let release: (() => void) | undefined
  const next: Consumer = { consume: () => new Promise<void>((resolve) => (release = resolve)) }
  const made = await receive({}, { next })
  const answer = made.send(body)
  await expect.poll(() => release).toBeDefined()
  const stopped = made.receiver.shutdown?.(AbortSignal.timeout(5000))
  release?.()
  expect((await answer).code).toBe(0)
  await stopped
  expect((await made.send(body)).code).toBe(GRPC.UNAVAILABLE)
})
