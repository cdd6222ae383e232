/**
 * Scenario: more connections than allowed are held open, silent, idle or dripping; others speak no TLS, or break off in the middle of it.
 * Guarantee: ordinary clients are served all the while, the hostile are counted with a reason, and when they are gone nothing of
 * them is left. bench/load/floods.ts does it with 10,000.
 */
import net from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import tls from 'node:tls'
import * as grpc from '@grpc/grpc-js'
import { afterEach, expect, test } from 'vitest'
import otlp from '../../src/receivers/otlp/index.ts'
import { createAuthority, createCertificate } from '../support/certificates.ts'
import { createReceiver } from '../support/create-test.ts'
import { request } from '../support/http.ts'
import { traces } from '../support/otlp.ts'
import { block, frame, grpcMessage, REQUEST, settings, TYPE } from '../support/raw-http2.ts'

const LIMIT = 100
const HELD = 300
const PATH = '/opentelemetry.proto.collector.trace.v1.TraceService/Export'
const BODY = traces({ resource: { 'service.name': 'shop' }, spans: ['a'] }).bytes()
const PREFACE = Buffer.concat([
  Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
  settings(),
  frame(TYPE.SETTINGS, 1, 0),
])

const closers: (() => PromiseLike<void> | void)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

async function receive(protocol: 'grpc' | 'http', config: object = {}) {
  const made = createReceiver(otlp, {
    protocols: { [protocol]: { endpoint: '127.0.0.1:0', max_connections: LIMIT, ...config } },
  })
  closers.push(() => made[Symbol.asyncDispose]())
  await made.start()
  const port = made.host.listeners[0]?.port ?? 0
  const closed = (reason: string) =>
    made.meter.read('receiver_closed_connections', { transport: protocol, reason })
  const open = () => made.meter.read('receiver_connections', { transport: protocol })
  return { ...made, port, closed, open }
}

/** One call over a connection of its own; its status. */
function call(port: number, credentials = grpc.credentials.createInsecure()): Promise<number> {
  const client = new grpc.Client(`127.0.0.1:${port}`, credentials, { 'grpc.use_local_subchannel_pool': 1 })
  const same = (bytes: Buffer) => bytes
  return new Promise((resolve) => {
    client.makeUnaryRequest(PATH, same, same, Buffer.from(BODY), (error) => {
      client.close()
      resolve(error?.code ?? 0)
    })
  })
}

/** Opens many connections that send this, one after the other. */
async function hold(port: number, first: Buffer): Promise<net.Socket[]> {
  const sockets: net.Socket[] = []
  for (let index = 0; index < HELD; index++) {
    const socket = net.connect(port, '127.0.0.1')
    socket.on('error', () => {})
    socket.resume()
    closers.push(() => void socket.destroy())
    await new Promise<void>((resolve) => socket.once('connect', resolve))
    if (first.length > 0) socket.write(first)
    sockets.push(socket)
  }
  return sockets
}

const HEADERS = frame(TYPE.HEADERS, 4, 1, block({ ...REQUEST, ':path': PATH }))

test.each([
  ['silent', Buffer.alloc(0)],
  ['idle', PREFACE],
  ['with half of a header block', Buffer.concat([PREFACE, frame(TYPE.HEADERS, 0, 1, block(REQUEST))])],
])('gRPC, connections that are %s make room', async (_name, first) => {
  const { port, closed, open, sink } = await receive('grpc')
  const sockets = await hold(port, first)
  for (let round = 0; round < 5; round++) expect(await call(port)).toBe(0)
  expect(open()).toBeLessThanOrEqual(LIMIT)
  expect(closed('evicted')).toBeGreaterThanOrEqual(HELD - LIMIT)
  for (const socket of sockets) socket.destroy()
  await expect.poll(open, { timeout: 10_000 }).toBe(0)
  expect(sink.itemCount).toBe(5)
})

test('gRPC, connections with a call under way stay; beyond them nobody gets in, until their time is over', async () => {
  const { port, closed, open, host } = await receive('grpc')
  const part = frame(TYPE.DATA, 0, 1, grpcMessage(Buffer.alloc(1), 0, 1000))
  await hold(port, Buffer.concat([PREFACE, HEADERS, part]))
  await expect.poll(open).toBe(LIMIT)
  await sleep(100)
  expect(await call(port)).toBe(grpc.status.UNAVAILABLE)
  expect(closed('max_connections')).toBeGreaterThan(0)
  await host.clock.advance(300_200)
  expect(await call(port)).toBe(0)
})

test('HTTP, slow headers make room; slow bodies do not', async () => {
  const slow = await receive('http')
  await hold(slow.port, Buffer.from('POST /v1/traces HTTP/1.1\r\nHost: a\r\nX-Slow'))
  for (let round = 0; round < 5; round++) expect((await request(slow.port, BODY)).status).toBe(200)
  expect(slow.closed('evicted')).toBeGreaterThanOrEqual(HELD - LIMIT)
  expect(slow.open()).toBeLessThanOrEqual(LIMIT)
  const bodies = await receive('http', { read_timeout: '2s' })
  const head = 'POST /v1/traces HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-protobuf\r\n'
  await hold(bodies.port, Buffer.from(`${head}Content-Length: 1000\r\n\r\nx`))
  await expect.poll(bodies.open, { timeout: 5000 }).toBeLessThanOrEqual(LIMIT)
  await expect
    .poll(() => bodies.closed('request_timeout'), { timeout: 20_000 })
    .toBeGreaterThanOrEqual(LIMIT - 10)
  expect((await request(bodies.port, BODY)).status).toBe(200)
})

test('TLS: junk, HTTP/2 that is broken within TLS, and connections that break off', async () => {
  const authority = createAuthority()
  const { cert, key } = createCertificate(authority, 'localhost')
  const { port, closed, open } = await receive('grpc', { tls: { cert_pem: cert, key_pem: key } })
  const credentials = grpc.credentials.createSsl(Buffer.from(authority.cert))
  const raw = async (bytes: Buffer, reset: boolean) => {
    const socket = net.connect(port, '127.0.0.1')
    const gone = new Promise<void>((resolve) => socket.on('error', () => {}).on('close', () => resolve()))
    socket.resume().write(bytes)
    if (reset) setTimeout(() => socket.resetAndDestroy(), 5)
    await gone
  }
  const within = async (bytes: Buffer) => {
    const socket = tls.connect({ port, host: '127.0.0.1', ca: authority.cert, ALPNProtocols: ['h2'] })
    await new Promise<void>((resolve) => socket.on('error', () => {}).on('secureConnect', () => resolve()))
    socket.write(bytes)
    await sleep(5)
    socket.destroy()
  }
  const hello = Buffer.from('\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 'latin1')
  const brokenHpack = Buffer.concat([PREFACE, frame(TYPE.HEADERS, 4, 1, Buffer.alloc(500, 0xff))])
  for (let round = 0; round < 10; round++) {
    await Promise.all([
      raw(Buffer.from('\x16\x03\x01\x00\x05hello', 'latin1'), false),
      raw(Buffer.from('GET / HTTP/1.1\r\n\r\n'), false),
      raw(hello, true),
      within(brokenHpack),
      within(brokenHpack.subarray(0, 60)),
    ])
    expect(await call(port, credentials)).toBe(0)
  }
  expect(closed('tls_handshake')).toBeGreaterThanOrEqual(20)
  expect(closed('compression')).toBeGreaterThanOrEqual(1)
  await expect.poll(open, { timeout: 10_000 }).toBe(0)
})
