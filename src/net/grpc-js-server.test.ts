/**
 * The gRPC server on the library: what it hands over, what it refuses, what it survives. One file although long, since all of it
 * runs over one pair of server and raw client.
 */
import http2 from 'node:http2'
import net from 'node:net'
import zlib from 'node:zlib'
import * as grpc from '@grpc/grpc-js'
import { afterEach, describe, expect, test } from 'vitest'
import { systemClock } from '../component/clock.ts'
import { GRPC, type GrpcServerOptions, type UnaryCall } from './grpc.ts'
import { createGrpcJsServer } from './grpc-js-server.ts'

const PATH = '/test.Service/Export'
const closers: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

const keepalive = {
  maxConnectionIdleMs: 0,
  maxConnectionAgeMs: 0,
  maxConnectionAgeGraceMs: 0,
  timeMs: 7_200_000,
  timeoutMs: 20_000,
  minTimeMs: 300_000,
  permitWithoutStream: false,
}

/** Answers with the message it got; records the calls. */
async function serve(
  options: Partial<GrpcServerOptions> & { handler?: (call: UnaryCall) => Promise<Uint8Array> } = {},
  messageMs?: number,
) {
  const calls: UnaryCall[] = []
  const handler = async (call: UnaryCall) => {
    calls.push(call)
    return options.handler ? options.handler(call) : call.message
  }
  const server = createGrpcJsServer(
    {
      handlers: new Map([[PATH, handler]]),
      toStatus: () => ({ code: GRPC.INTERNAL, message: 'internal error' }),
      maxMessageBytes: 1000,
      maxConcurrentStreams: 0,
      keepalive,
      ...options,
    },
    messageMs,
  )
  const listener = net.createServer((socket) => server.accept(socket))
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  const port = (listener.address() as net.AddressInfo).port
  closers.push(async () => {
    listener.close()
    await server.shutdown(AbortSignal.abort())
  })
  return { server, calls, port }
}

interface Answer {
  code: number
  details: string
  message: Buffer | undefined
  metadata: grpc.Metadata | undefined
}

function dial(port: number) {
  const client = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
  })
  closers.push(() => client.close())
  const same = (bytes: Buffer) => bytes
  return (message: Uint8Array, metadata = new grpc.Metadata(), options: grpc.CallOptions = {}, path = PATH) =>
    new Promise<Answer>((resolve) => {
      client.makeUnaryRequest(path, same, same, Buffer.from(message), metadata, options, (error, value) =>
        resolve({
          code: error?.code ?? 0,
          details: error?.details ?? '',
          message: value,
          metadata: error?.metadata,
        }),
      )
    })
}

/** A call as frames: whatever bytes, whatever headers. Resolves with the status, or the HTTP/2 error. */
async function raw(port: number, bytes: Uint8Array, headers: http2.OutgoingHttpHeaders = {}, end = true) {
  const session = http2.connect(`http://127.0.0.1:${port}`)
  session.on('error', () => {})
  closers.push(() => session.destroy())
  const stream = session.request({
    ':method': 'POST',
    ':path': PATH,
    'content-type': 'application/grpc',
    te: 'trailers',
    ...headers,
  })
  return new Promise<string>((resolve) => {
    let status = ''
    stream.on('response', (response) => (status ||= String(response['grpc-status'] ?? '')))
    stream.on('trailers', (trailers) => (status ||= String(trailers['grpc-status'] ?? '')))
    stream.on('error', (error: NodeJS.ErrnoException) => resolve(status || (error.code ?? 'error')))
    stream.on('close', () => resolve(status || 'closed'))
    stream.on('response', () => setTimeout(() => resolve(status || 'open'), 100))
    stream.resume()
    stream.write(bytes)
    if (end) stream.end()
  })
}

function frame(message: Uint8Array, compressed = 0, length = message.length): Buffer {
  const head = Buffer.alloc(5)
  head[0] = compressed
  head.writeUInt32BE(length, 1)
  return Buffer.concat([head, message])
}

test('hands over message, metadata, peer and deadline, and sends the answer', async () => {
  const { port, calls } = await serve()
  const call = dial(port)
  const metadata = new grpc.Metadata()
  metadata.set('x-tenant', 'a')
  metadata.add('x-tenant', 'b')
  metadata.set('x-bin', Buffer.from([1, 2]))
  const before = systemClock.monotonicMs()
  const answer = await call(Buffer.from('hello'), metadata, { deadline: Date.now() + 5000 })
  expect(answer.message?.toString()).toBe('hello')
  const seen = calls[0]
  expect(seen?.path).toBe(PATH)
  expect(seen?.metadata.get('x-tenant')).toEqual(['a, b'])
  expect(seen?.metadata.get('x-bin')).toEqual(['AQI='])
  expect(seen?.metadata.get('host')).toEqual([`127.0.0.1:${port}`])
  expect(seen?.peer).toMatch(/^127\.0\.0\.1:\d+$/)
  expect(seen?.deadlineMs).toBeGreaterThan(before + 3000)
  expect(seen?.deadlineMs).toBeLessThan(before + 6000)
  await call(Buffer.alloc(0))
  expect(calls[1]?.deadlineMs).toBeUndefined()
})

test('what a handler throws becomes a status with details', async () => {
  const { port } = await serve({
    handler: () => Promise.reject(new Error('secret')),
    toStatus: (error) => ({
      code: GRPC.UNAVAILABLE,
      message: error instanceof Error ? 'not now' : '',
      details: Buffer.from('abc'),
    }),
  })
  const answer = await dial(port)(Buffer.from('x'))
  expect([answer.code, answer.details]).toEqual([GRPC.UNAVAILABLE, 'not now'])
  expect(answer.metadata?.get('grpc-status-details-bin')).toEqual([Buffer.from('abc')])
})

test('other paths are UNIMPLEMENTED', async () => {
  const { port } = await serve()
  expect((await dial(port)(Buffer.from('x'), undefined, {}, '/test.Service/Other')).code).toBe(
    GRPC.UNIMPLEMENTED,
  )
})

describe('messages', () => {
  test('over the limit are RESOURCE_EXHAUSTED, also when only their length says so', async () => {
    const { port, calls } = await serve()
    const call = dial(port)
    expect((await call(Buffer.alloc(1000))).code).toBe(0)
    expect((await call(Buffer.alloc(1001))).code).toBe(GRPC.RESOURCE_EXHAUSTED)
    expect(await raw(port, frame(Buffer.alloc(10), 0, 0xffffffff), {}, false)).toBe('8')
    expect(calls.length).toBe(1)
  })
  test('are unpacked from gzip and deflate, within the limit', async () => {
    const { port, calls } = await serve()
    const message = Buffer.from('hello '.repeat(50))
    expect(await raw(port, frame(zlib.gzipSync(message), 1), { 'grpc-encoding': 'gzip' })).toBe('0')
    expect(await raw(port, frame(zlib.deflateSync(message), 1), { 'grpc-encoding': 'deflate' })).toBe('0')
    expect(calls.map((call) => Buffer.compare(call.message, message))).toEqual([0, 0])
    const bomb = zlib.gzipSync(Buffer.alloc(500_000))
    expect(await raw(port, frame(bomb, 1), { 'grpc-encoding': 'gzip' })).toBe('8')
  })
  test('that are broken end their call and nothing else', async () => {
    const { port, calls } = await serve()
    const junk = Buffer.from('this is no gzip data at all')
    expect(await raw(port, frame(junk, 1), { 'grpc-encoding': 'gzip' })).toBe('13')
    expect(await raw(port, frame(junk, 1), { 'grpc-encoding': 'deflate' })).toBe('13')
    const cut = zlib.gzipSync(Buffer.alloc(500, 'a'))
    expect(await raw(port, frame(cut.subarray(0, cut.length - 9), 1), { 'grpc-encoding': 'gzip' })).toBe('13')
    expect(await raw(port, frame(junk, 1), { 'grpc-encoding': 'zstd' })).toBe('12')
    expect(await raw(port, frame(junk, 1), { 'grpc-encoding': 'br' })).toBe('12')
    expect(await raw(port, Buffer.from([0, 0]))).not.toBe('0')
    expect(await raw(port, frame(junk, 0, 500))).not.toBe('0')
    expect(calls.length).toBe(0)
    expect((await dial(port)(Buffer.from('x'))).code).toBe(0)
  })
})

test('a client that trickles a message for too long is cut, one whose call is slow is not', async () => {
  const { port, server } = await serve(
    { handler: () => new Promise((resolve) => setTimeout(resolve, 600, Buffer.from('slow'))) },
    300,
  )
  const session = http2.connect(`http://127.0.0.1:${port}`)
  session.on('error', () => {})
  const stream = session.request({ ':method': 'POST', ':path': PATH, 'content-type': 'application/grpc' })
  stream.on('error', () => {})
  stream.write(frame(Buffer.alloc(1), 0, 900))
  const timer = setInterval(() => stream.write(Buffer.alloc(1)), 30)
  const slow = dial(port)(Buffer.from('x'))
  await new Promise((resolve) => session.on('close', resolve))
  clearInterval(timer)
  expect((await slow).message?.toString()).toBe('slow')
  expect(server.connectionCount).toBe(1)
})

test('what is not gRPC or not HTTP/2 does no harm', async () => {
  const { port } = await serve()
  await raw(port, frame(Buffer.from('x')), { 'content-type': 'text/plain' })
  await raw(port, frame(Buffer.from('x')), { 'grpc-timeout': 'nonsense' })
  await raw(port, frame(Buffer.from('x')), { ':path': '' })
  for (const text of [
    'GET / HTTP/1.1\r\n\r\n',
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\njunkjunkjunkjunkjunkjunk',
    '',
  ]) {
    await new Promise<void>((resolve) => {
      const socket = net.connect(port, '127.0.0.1', () => {
        if (text) socket.write(text)
        setTimeout(() => socket.resetAndDestroy(), 20)
      })
      socket.resume()
      socket.on('error', () => {})
      socket.on('close', () => resolve())
    })
  }
  expect((await dial(port)(Buffer.from('x'))).code).toBe(0)
})

describe('floods and broken frames leave the process and other clients alone:', () => {
  const h2 = (type: number, flags: number, stream: number, payload: Uint8Array | number[] = []) => {
    const head = Buffer.alloc(9)
    head.writeUIntBE(payload.length, 0, 3)
    head[3] = type
    head[4] = flags
    head.writeUInt32BE(stream, 5)
    return Buffer.concat([head, Buffer.from(payload)])
  }
  const repeat = (count: number, make: (index: number) => Buffer) =>
    Buffer.concat(Array.from({ length: count }, (_, index) => make(index)))
  // :method POST, :scheme http, :path / from the static table.
  const request = [0x83, 0x86, 0x84]
  const attacks: Record<string, Buffer> = {
    'rapid reset': repeat(3000, (index) =>
      Buffer.concat([h2(1, 4, index * 2 + 1, request), h2(3, 0, index * 2 + 1, [0, 0, 0, 8])]),
    ),
    'CONTINUATION without end': Buffer.concat([
      h2(1, 0, 1, request),
      repeat(5000, () => h2(9, 0, 1, [0x40, 1, 0x61, 1, 0x62])),
    ]),
    'window overflow on the connection': repeat(3, () => h2(8, 0, 0, [0x7f, 0xff, 0xff, 0xff])),
    'PING flood': repeat(20_000, () => h2(6, 0, 0, [1, 2, 3, 4, 5, 6, 7, 8])),
    'SETTINGS flood': repeat(5000, () => h2(4, 0, 0, [0, 3, 0, 0, 0, 1])),
    'broken HPACK': h2(1, 4, 1, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
    'DATA on a stream that is not there': h2(0, 1, 7, [0, 0, 0, 0, 1, 0]),
    'even stream id': h2(1, 5, 2, request),
    'frame longer than allowed': h2(0, 0, 1, Buffer.alloc(20_000)),
  }
  for (const [name, frames] of Object.entries(attacks)) {
    test(name, async () => {
      const { port, server } = await serve()
      const call = dial(port)
      expect((await call(Buffer.from('x'))).code).toBe(0)
      const socket = net.connect(port, '127.0.0.1')
      socket.on('error', () => {})
      socket.resume()
      const closed = new Promise((resolve) => socket.on('close', resolve))
      socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
      socket.write(Buffer.concat([h2(4, 0, 0), frames]))
      expect((await call(Buffer.from('x'))).code).toBe(0)
      setTimeout(() => socket.destroy(), 300)
      await closed
      await expect.poll(() => server.connectionCount).toBe(1)
      expect((await call(Buffer.from('x'))).code).toBe(0)
    })
  }
})

describe('admit', () => {
  test('refuses before the message is there', async () => {
    const { port, calls } = await serve({
      admit: (head) =>
        head.metadata.has('x-good')
          ? undefined
          : { code: GRPC.UNAVAILABLE, message: 'full', details: Buffer.from('d') },
    })
    // No byte of the message is ever sent.
    expect(await raw(port, Buffer.alloc(0), {}, false)).toBe('14')
    expect(await raw(port, frame(Buffer.from('x')), { 'x-good': '1' })).toBe('0')
    const answer = await dial(port)(Buffer.from('x'))
    expect(answer.details).toBe('full')
    expect(answer.metadata?.get('grpc-status-details-bin')).toEqual([Buffer.from('d')])
    expect(calls.length).toBe(1)
  })
  test('may take its time; the handler gets the same metadata', async () => {
    const seen: unknown[] = []
    const { port, calls } = await serve({
      admit: async (head) => {
        seen.push(head.metadata)
        await new Promise((resolve) => setTimeout(resolve, 20))
        return undefined
      },
    })
    expect((await dial(port)(Buffer.from('x'))).message?.toString()).toBe('x')
    expect(calls[0]?.metadata).toBe(seen[0])
  })
  test('that fails refuses', async () => {
    const later = await serve({ admit: () => Promise.reject(new Error('secret')) })
    expect(await dial(later.port)(Buffer.from('x'))).toMatchObject({ code: 13, details: 'internal error' })
    const now = await serve({
      admit: () => {
        throw new Error('secret')
      },
    })
    expect(await dial(now.port)(Buffer.from('x'))).toMatchObject({ code: 13, details: 'internal error' })
  })
})

test('a call whose deadline passes is DEADLINE_EXCEEDED, and the handler may end later', async () => {
  let release = (_: Uint8Array) => {}
  const { port } = await serve({ handler: () => new Promise((resolve) => (release = resolve)) })
  const answer = await dial(port)(Buffer.from('x'), undefined, { deadline: Date.now() + 100 })
  expect(answer.code).toBe(GRPC.DEADLINE_EXCEEDED)
  release(Buffer.from('late'))
})

test('max_connection_age and max_connection_idle close connections', async () => {
  const old = await serve({
    keepalive: { ...keepalive, maxConnectionAgeMs: 50, maxConnectionAgeGraceMs: 50 },
  })
  expect((await dial(old.port)(Buffer.from('x'))).code).toBe(0)
  await expect.poll(() => old.server.connectionCount).toBe(0)
  const idle = await serve({ keepalive: { ...keepalive, maxConnectionIdleMs: 50 } })
  expect((await dial(idle.port)(Buffer.from('x'))).code).toBe(0)
  await expect.poll(() => idle.server.connectionCount, { timeout: 5000 }).toBe(0)
})

describe('shutdown', () => {
  test('answers what is in flight, closes idle connections, takes no new ones', async () => {
    let release: ((bytes: Uint8Array) => void) | undefined
    const { port, server } = await serve({ handler: () => new Promise((resolve) => (release = resolve)) })
    // It neither sends nor reads, so it never learns that the server wants to end.
    const idle = net.connect(port, '127.0.0.1')
    idle.on('error', () => {})
    const answer = dial(port)(Buffer.from('x'))
    await expect.poll(() => release).toBeDefined()
    const stopped = server.shutdown(AbortSignal.timeout(30_000))
    release?.(Buffer.from('done'))
    expect((await answer).message?.toString()).toBe('done')
    const late = new Promise((resolve) => setTimeout(resolve, 10_000, 'late').unref())
    expect(await Promise.race([stopped, late])).toBeUndefined()
    expect(server.connectionCount).toBe(0)
    expect((await dial(port)(Buffer.from('x'))).code).toBe(GRPC.UNAVAILABLE)
  })
  test('cuts at the deadline', async () => {
    const { port, server, calls } = await serve({ handler: () => new Promise(() => {}) })
    const answer = dial(port)(Buffer.from('x'))
    await expect.poll(() => calls.length).toBe(1)
    await server.shutdown(AbortSignal.timeout(50))
    expect((await answer).code).toBe(GRPC.UNAVAILABLE)
  })
})
