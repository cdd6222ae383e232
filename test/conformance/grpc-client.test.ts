/**
 * What a gRPC client of Weir does, whichever implementation it is, against both servers: the same suite over all four pairs. What only
 * one of them can do is named at the top. Odd servers are in grpc-client-frames.test.ts.
 */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import tls from 'node:tls'
import { afterEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { systemClock } from '../../src/component/clock.ts'
import { DownstreamError, RetryableError } from '../../src/errors.ts'
import { grpcClientFields } from '../../src/net/client-fields.ts'
import { GRPC, type UnaryCall } from '../../src/net/grpc.ts'
import { GrpcClient } from '../../src/net/grpc-client.ts'
import { encodeRpcStatus } from '../../src/net/rpc-status.ts'
import { createAuthority, createCertificate } from '../support/certificates.ts'
import { keepalive, PATH, type Served, type ServeOptions, serveGrpc } from '../support/grpc-servers.ts'
import { TestHost } from '../support/host.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

const schema = z.strictObject({ endpoint: z.string(), ...grpcClientFields() })
const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  )
const later = () => AbortSignal.timeout(30_000)
const freePort = async () => {
  const server = net.createServer()
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as net.AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

describe.each([
  { name: 'http2', server: 'http2', packs: ['none', 'gzip', 'zstd', 'snappy'] },
  { name: 'http2', server: 'grpc-js', packs: ['none', 'gzip'] },
  { name: 'grpc-js', server: 'http2', packs: ['none', 'gzip'] },
  { name: 'grpc-js', server: 'grpc-js', packs: ['none', 'gzip'] },
] as const)('client $name, server $server:', ({ name, server, packs }) => {
  const serve = async (options: ServeOptions = {}): Promise<Served> => {
    const served = await serveGrpc(server, { maxMessageBytes: 8_000_000, ...options })
    closers.push(served.close)
    return served
  }
  const dial = (port: number | string, config: object = {}) => {
    const endpoint = typeof port === 'string' ? port : `127.0.0.1:${port}`
    const client = new GrpcClient(
      schema.parse({ endpoint, tls: { insecure: true }, implementation: name, ...config }),
      new TestHost(),
    )
    closers.push(() => client.shutdown())
    client.start()
    return client
  }
  const text = (answer: Uint8Array) => Buffer.from(answer).toString()

  test('sends message, headers, deadline and name, and gives the answer', async () => {
    const { port, calls } = await serve()
    const client = dial(port, {
      headers: { 'X-Tenant': ' a b ', 'x-raw-bin': 'bytes', te: 'x' },
      user_agent: 'me/1',
    })
    const before = systemClock.monotonicMs()
    for (let round = 0; round < 3; round++)
      expect(text(await client.call(PATH, [Buffer.from('hel'), Buffer.from('lo')], 5000, later()))).toBe(
        'hello',
      )
    for (const seen of calls) {
      expect(seen.path).toBe(PATH)
      expect(seen.metadata.get('x-tenant')?.[0]?.trim()).toBe('a b')
      expect(seen.metadata.get('x-raw-bin')?.[0]).toMatch(/^Ynl0ZXM=?$/)
      expect(seen.metadata.get('host')).toEqual([`127.0.0.1:${port}`])
      expect(seen.metadata.get('user-agent')?.[0]).toMatch(/^me\/1/)
      expect(seen.deadlineMs).toBeGreaterThan(before + 3000)
      expect(seen.deadlineMs).toBeLessThan(before + 9000)
    }
    await client.call(PATH, [], 0, later())
    expect(calls[3]?.deadlineMs).toBeUndefined()
    expect(calls[3]?.message.length).toBe(0)
  })

  test('messages of all sizes, of one chunk and of many, come through whole, many at a time', async () => {
    const { port } = await serve()
    for (const compression of packs) {
      const client = dial(port, { compression })
      const sizes = [0, 1, 562, 2047, 2048, 16_370, 16_384, 36_000, 65_536, 300_000, 1_200_000, 3_900_000]
      const sent = sizes.map((size) => randomBytes(size))
      const cut = (bytes: Buffer, parts: number) => {
        const step = Math.max(1, Math.ceil(bytes.length / parts))
        const chunks: Buffer[] = []
        for (let at = 0; at < bytes.length; at += step) chunks.push(bytes.subarray(at, at + step))
        return chunks
      }
      const requests = [
        ...sent.map((bytes) => [bytes]),
        ...sent.map((bytes) => cut(bytes, 7)),
        cut(sent[7]!, 900),
      ]
      const answers = await Promise.all(requests.map((chunks) => client.call(PATH, chunks, 30_000, later())))
      for (const [index, answer] of answers.entries())
        expect(Buffer.concat(requests[index]!).equals(answer), `${compression} ${index}`).toBe(true)
    }
  })

  test('statuses, their words in UTF-8, and the delay of RetryInfo', async () => {
    const statusDetails = encodeRpcStatus({ code: GRPC.UNAVAILABLE, message: 'busy', retryAfterMs: 12_500 })
    const status: { code: number; message: string; details?: Uint8Array } = { code: 0, message: '' }
    const { port } = await serve({
      handler: async () => {
        throw new Error('never seen')
      },
      toStatus: () => ({ ...status }),
    })
    const client = dial(port)
    for (const message of ['plain', 'a b%c', 'caf\u00e9 \u{1f600}\n']) {
      Object.assign(status, { code: GRPC.INVALID_ARGUMENT, message })
      const error = await failure(client.call(PATH, [Buffer.from('a')], 0, later()))
      expect(error).toBeInstanceOf(DownstreamError)
      expect(error).toMatchObject({
        grpcStatus: GRPC.INVALID_ARGUMENT,
        message: `INVALID_ARGUMENT: ${message}`,
      })
    }
    for (const code of [GRPC.UNAVAILABLE, GRPC.RESOURCE_EXHAUSTED]) {
      Object.assign(status, { code, message: 'busy', details: statusDetails })
      const error = await failure(client.call(PATH, [Buffer.from('a')], 0, later()))
      expect(error).toBeInstanceOf(RetryableError)
      expect(error).toMatchObject({ retryAfterMs: 12_500 })
    }
    const unknown = await failure(client.call('/test.Service/Other', [Buffer.from('a')], 0, later()))
    expect(unknown).toMatchObject({ grpcStatus: GRPC.UNIMPLEMENTED })
  })

  test('an answer over 4 MiB is refused, the connection goes on', async () => {
    let size = 4 * 1024 * 1024 + 1
    const { port, server: served } = await serve({ handler: async () => Buffer.alloc(size) })
    const client = dial(port)
    const error = await failure(client.call(PATH, [Buffer.from('a')], 0, later()))
    expect(error).toMatchObject({ grpcStatus: GRPC.RESOURCE_EXHAUSTED })
    size--
    expect((await client.call(PATH, [Buffer.from('a')], 0, later())).length).toBe(size)
    expect(served.connectionCount).toBe(1)
  })

  test('an attempt that is given up and a deadline that passes end the call, and only that', async () => {
    const waiting: (() => void)[] = []
    const { port, calls } = await serve({
      handler: (call: UnaryCall) =>
        call.message.length === 0
          ? Promise.resolve(Buffer.from('quick'))
          : new Promise((resolve) => waiting.push(() => resolve(call.message))),
    })
    const client = dial(port)
    const attempt = new AbortController()
    const aborted = failure(client.call(PATH, [Buffer.from('a')], 0, attempt.signal))
    const late = failure(client.call(PATH, [Buffer.from('b')], 2000, later()))
    const fine = client.call(PATH, [Buffer.from('c')], 0, later())
    await expect.poll(() => calls.length).toBe(3)
    attempt.abort()
    expect(await aborted).toBeInstanceOf(RetryableError)
    expect(await late).toBeInstanceOf(RetryableError)
    expect((await late) as Error).toMatchObject({ message: expect.stringContaining('DEADLINE_EXCEEDED') })
    expect(text(await client.call(PATH, [], 0, later()))).toBe('quick')
    for (const settle of waiting) settle()
    expect(text(await fine)).toBe('c')
    const given = failure(
      client.call(PATH, [Buffer.from('d')], 0, AbortSignal.abort(new RetryableError('over'))),
    )
    expect(await given).toBeInstanceOf(RetryableError)
    expect(calls.length).toBe(4)
  })

  test('a server that drains gets no more calls and answers those it has', async () => {
    const waiting: (() => void)[] = []
    const {
      port,
      calls,
      server: served,
    } = await serve({
      handler: (call) => new Promise((resolve) => waiting.push(() => resolve(call.message))),
    })
    const client = dial(port)
    const pending = client.call(PATH, [Buffer.from('a')], 0, later())
    await expect.poll(() => calls.length).toBe(1)
    const down = served.shutdown(AbortSignal.timeout(10_000))
    await new Promise((resolve) => setTimeout(resolve, 50))
    waiting[0]?.()
    expect(text(await pending)).toBe('a')
    await down
    expect(await failure(client.call(PATH, [Buffer.from('b')], 0, later()))).toBeInstanceOf(RetryableError)
  })

  test('wait_for_ready waits for a server that is not there yet; without it the call fails at once', async () => {
    const port = await freePort()
    const patient = dial(port, { wait_for_ready: true })
    const hasty = dial(port)
    expect(await failure(hasty.call(PATH, [Buffer.from('a')], 0, later()))).toMatchObject({
      message: `UNAVAILABLE: connect ECONNREFUSED 127.0.0.1:${port}`,
    })
    const late = failure(patient.call(PATH, [Buffer.from('a')], 200, later()))
    expect(await late).toMatchObject({ message: expect.stringContaining('DEADLINE_EXCEEDED') })
    const pending = patient.call(PATH, [Buffer.from('b')], 20_000, later())
    const served = await serveGrpc(server)
    closers.push(served.close)
    const relay = net.createServer((socket) => served.server.accept(socket))
    await new Promise<void>((resolve) => void relay.listen(port, '127.0.0.1', resolve))
    closers.push(() => relay.close())
    expect(text(await pending)).toBe('b')
  })

  test('sockets of the file system, and names that resolve', async () => {
    const served = await serve()
    const folder = mkdtempSync(join(tmpdir(), 'weir-unix-'))
    const listener = net.createServer((socket) => served.server.accept(socket))
    await new Promise<void>((resolve) => void listener.listen(join(folder, 'otlp.sock'), resolve))
    closers.push(() => rmSync(folder, { recursive: true }))
    closers.push(() => listener.close())
    for (const endpoint of [`unix://${join(folder, 'otlp.sock')}`, `dns:///localhost:${served.port}`])
      for (const balancer_name of ['', 'round_robin', 'pick_first']) {
        const client = dial(endpoint, { balancer_name })
        expect(text(await client.call(PATH, [Buffer.from('hello')], 0, later()))).toBe('hello')
        await client.shutdown()
      }
  })

  test('TLS with h2 by ALPN; certificates that are read again take effect on a new connection', async () => {
    const authority = createAuthority()
    const { cert, key } = createCertificate(authority, 'server')
    const served = await serve({ keepalive })
    const accept = (socket: tls.TLSSocket) => served.server.accept(socket)
    const listener = tls.createServer({ cert, key, ALPNProtocols: ['h2'] }, accept)
    const plain = tls.createServer({ cert, key, ALPNProtocols: ['http/1.1'] }, accept)
    for (const one of [listener, plain]) {
      await new Promise<void>((resolve) => void one.listen(0, '127.0.0.1', resolve))
      closers.push(() => one.close())
      one.on('tlsClientError', () => {})
    }
    const folder = mkdtempSync(join(tmpdir(), 'weir-tls-'))
    closers.push(() => rmSync(folder, { recursive: true }))
    const ca_file = join(folder, 'ca.pem')
    writeFileSync(ca_file, authority.cert)
    const portOf = (one: tls.Server) => (one.address() as net.AddressInfo).port
    const client = dial(portOf(listener), { tls: { ca_file, reload_interval: '100ms' } })
    const big = randomBytes(1_000_000)
    expect(big.equals(await client.call(PATH, [big.subarray(0, 10), big.subarray(10)], 0, later()))).toBe(
      true,
    )
    expect(served.server.connectionCount).toBe(1)
    await new Promise((resolve) => setTimeout(resolve, 150))
    expect(text(await client.call(PATH, [Buffer.from('again')], 0, later()))).toBe('again')
    await client.shutdown()
    const other = dial(portOf(plain), { tls: { ca_file } })
    expect(await failure(other.call(PATH, [Buffer.from('a')], 0, later()))).toBeInstanceOf(RetryableError)
  })
})
