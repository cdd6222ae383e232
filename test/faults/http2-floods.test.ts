/**
 * Scenario: a client sends what RFC 9113 section 10.5 warns of, or breaks the protocol (spec rows: length lies and trickles, broken messages,
 * floods). Guarantee: its connection ends with the code that the RFC names, calls of others go on, and the server holds nothing
 * of it afterwards.
 */
import { afterEach, describe, expect, test } from 'vitest'
import { GRPC } from '../../src/net/grpc.ts'
import { grpcClient, type Served, serveGrpc } from '../support/grpc-servers.ts'
import { ATTACKS, CODE, headers, repeat } from '../support/http2-attacks.ts'
import { block, frame, grpcMessage, RawClient, REQUEST, TYPE, uint32 } from '../support/raw-http2.ts'

const closers: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

async function serve(options: Parameters<typeof serveGrpc>[1] = {}): Promise<Served> {
  const served = await serveGrpc('http2', options)
  closers.push(served.close)
  return served
}

describe('ends the connection:', () => {
  test.each(ATTACKS)('%s', async (_name, code, reason, frames) => {
    const events: string[] = []
    const { port, server, errors, calls } = await serve({
      onEvent: (event, what) => event === 'connection' && events.push(what),
    })
    const { client, send } = grpcClient(port)
    closers.push(() => client.close())
    expect((await send(Buffer.from('x'))).code).toBe(0)
    const attacker = RawClient.open(port, frames)
    expect((await send(Buffer.from('x'))).code).toBe(0)
    expect((await attacker.goAway()).code).toBe(code)
    await expect.poll(() => attacker.closed, { timeout: 5000 }).toBe(true)
    await expect.poll(() => server.connectionCount, { timeout: 5000 }).toBe(1)
    expect((await send(Buffer.from('x'))).code).toBe(0)
    expect([errors, calls.length]).toEqual([[], 3])
    expect(events).toEqual([reason])
  })
})

describe('refused before their messages are read:', () => {
  const full = { code: GRPC.UNAVAILABLE, message: 'full', details: Buffer.from('d') }
  const refused = async (callCount: number, dataPerCall: number) => {
    const events: string[] = []
    const served = await serve({
      admit: (head) => (head.metadata.has('x-good') ? undefined : full),
      onEvent: (event, what) => event === 'connection' && events.push(what),
    })
    const client = RawClient.open(served.port)
    closers.push(() => void client.socket.destroy())
    for (let stream = 1; stream < callCount * 2; stream += 2) {
      client.send(
        headers(stream),
        repeat(dataPerCall, () => frame(TYPE.DATA, 0, stream, Buffer.alloc(1000))),
      )
      client.send(frame(TYPE.RST_STREAM, 0, stream, uint32(8)))
    }
    return { ...served, client, events }
  }
  test('clients keep their connection, whatever they had sent before they knew', async () => {
    const { client, server, calls, events } = await refused(2000, 3)
    const answers = await client.until((frames) => {
      const found = frames.filter(({ fields }) => fields['grpc-status'] === '14')
      return found.length === 2000 ? found : undefined
    })
    for (const { fields } of answers)
      expect([fields['grpc-message'], fields['grpc-status-details-bin']]).toEqual(['full', 'ZA'])
    client.call(4001, Buffer.from('x'), { 'x-good': '1' })
    expect(await client.status(4001)).toBe('0')
    expect([server.connectionCount, calls.length, events]).toEqual([1, 1, []])
  })
  test('they may not go on for ever', async () => {
    const { client, events } = await refused(1, 10_000)
    expect((await client.goAway()).code).toBe(CODE.CALM)
    expect(events).toEqual(['flood_useless'])
  })
})

describe('ends the stream and no more:', () => {
  const f = async (frames: Buffer, code: number) => {
    const { port, server } = await serve()
    const client = RawClient.open(port, frames)
    closers.push(() => void client.socket.destroy())
    expect(await client.reset(1)).toBe(code)
    client.call(3, Buffer.from('still here'))
    expect(await client.status(3)).toBe('0')
    expect(server.connectionCount).toBe(1)
  }
  const malformed: [name: string, fields: [string, string][]][] = [
    ['a name in upper case', [...Object.entries(REQUEST), ['X-A', 'b']]],
    ['a field of the connection', [...Object.entries(REQUEST), ['transfer-encoding', 'chunked']]],
    ['te other than trailers', [...Object.entries({ ...REQUEST, te: 'gzip' })]],
    ['a pseudo-header after the others', [['x-a', 'b'], ...Object.entries(REQUEST)]],
    ['a pseudo-header given twice', [[':path', '/'], ...Object.entries(REQUEST)]],
    ['a pseudo-header of answers', [[':status', '200'], ...Object.entries(REQUEST)]],
    ['no path', Object.entries({ ...REQUEST, ':path': '' })],
    ['a line feed in a value', [...Object.entries(REQUEST), ['x-a', 'b\nc']]],
    ['a content-length that lies', [...Object.entries(REQUEST), ['content-length', '7']]],
  ]
  test.each(malformed)('%s', (_name, fields) =>
    f(
      Buffer.concat([headers(1, 4, block(fields)), frame(TYPE.DATA, 1, 1, grpcMessage(Buffer.from('x')))]),
      CODE.PROTOCOL,
    ),
  )
  test('overflow of the window of a stream', () =>
    f(Buffer.concat([headers(1), frame(TYPE.WINDOW_UPDATE, 0, 1, uint32(0x7fffffff))]), CODE.FLOW_CONTROL))
  test('more streams than allowed', async () => {
    const { port } = await serve({ maxConcurrentStreams: 3, handler: () => new Promise(() => {}) })
    const client = RawClient.open(port)
    closers.push(() => void client.socket.destroy())
    for (const stream of [1, 3, 5, 7]) client.call(stream, Buffer.from('x'))
    expect(await client.reset(7)).toBe(CODE.REFUSED)
    // Streams whose handler is still at work count, so that resets gain nothing.
    client.send(frame(TYPE.RST_STREAM, 0, 1, uint32(8)))
    client.call(9, Buffer.from('x'))
    expect(await client.reset(9)).toBe(CODE.REFUSED)
  })
})

describe('answers who does not speak gRPC:', () => {
  const f = async (fields: Record<string, string>, expected: Record<string, string>) => {
    const { port } = await serve()
    const client = RawClient.open(port, headers(1, 5, block({ ...REQUEST, ...fields })))
    closers.push(() => void client.socket.destroy())
    const answer = await client.until((frames) =>
      frames.find(({ type, stream }) => type === TYPE.HEADERS && stream === 1),
    )
    expect(answer.fields).toMatchObject(expected)
  }
  test('methods', () => f({ ':method': 'GET' }, { ':status': '405', allow: 'POST' }))
  test('content types', () => f({ 'content-type': 'text/plain' }, { ':status': '415', 'grpc-status': '3' }))
  test('encodings', () =>
    f(
      { 'grpc-encoding': 'br' },
      { 'grpc-status': '12', 'grpc-accept-encoding': 'identity,gzip,deflate,zstd,snappy' },
    ))
  test('timeouts', () => f({ 'grpc-timeout': '1 hour' }, { ':status': '400', 'grpc-status': '13' }))
  test('long header lists', async () => {
    const { port } = await serve()
    const fields = block({
      ...REQUEST,
      ...Object.fromEntries(Array.from({ length: 900 }, (_, i) => [`x${i}`, 'y'.repeat(40)])),
    })
    const client = RawClient.open(port, headers(1, 0, fields.subarray(0, 16_000)))
    closers.push(() => void client.socket.destroy())
    for (let at = 16_000; at < fields.length; at += 16_000)
      client.send(
        frame(TYPE.CONTINUATION, at + 16_000 >= fields.length ? 4 : 0, 1, fields.subarray(at, at + 16_000)),
      )
    expect(await client.status(1)).toBe('8')
    client.call(3, Buffer.from('x'))
    expect(await client.status(3)).toBe('0')
  })
  test('HTTP/1.1', async () => {
    const { port } = await serve()
    const client = RawClient.connect(port)
    let text = ''
    client.socket.on('data', (chunk) => {
      text += String(chunk)
    })
    client.send(Buffer.from('POST /v1/traces HTTP/1.1\r\nHost: a\r\n\r\n'))
    await expect.poll(() => client.closed).toBe(true)
    expect(text).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n[\s\S]*This port speaks gRPC/)
  })
})

test('over the bytes in flight reading pauses, and goes on when there is room', async () => {
  const releases: (() => void)[] = []
  const { port } = await serve({
    maxInFlightBytes: 2500,
    handler: ({ message }) => new Promise((resolve) => releases.push(() => resolve(message))),
  })
  const clients = [RawClient.open(port), RawClient.open(port)] as const
  closers.push(() => clients.forEach(({ socket }) => void socket.destroy()))
  for (const client of clients) for (const stream of [1, 3]) client.call(stream, Buffer.alloc(1000, 'm'))
  await expect.poll(() => releases.length).toBe(2)
  await new Promise((resolve) => setTimeout(resolve, 100))
  expect(releases.length).toBe(2)
  for (let served = 0; served < 4; served++) {
    await expect.poll(() => releases.length).toBeGreaterThan(served)
    releases[served]?.()
  }
  for (const client of clients) expect([await client.status(1), await client.status(3)]).toEqual(['0', '0'])
})

test('memory comes back: 200 connections that each promise much and send little', async () => {
  const { port, server } = await serve({ maxMessageBytes: 4 << 20 })
  const before = process.memoryUsage().arrayBuffers
  const clients = Array.from({ length: 200 }, () => RawClient.open(port))
  for (const client of clients)
    for (let stream = 1; stream < 20; stream += 2)
      client.send(headers(stream), frame(TYPE.DATA, 0, stream, grpcMessage(Buffer.alloc(100), 0, 4 << 20)))
  await expect.poll(() => server.connectionCount, { timeout: 20_000 }).toBe(200)
  await new Promise((resolve) => setTimeout(resolve, 300))
  // A promise is believed up to 256 KB, and only within the bytes in flight (256 MiB).
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(300 << 20)
  for (const client of clients) client.socket.destroy()
  await expect.poll(() => server.connectionCount, { timeout: 5000 }).toBe(0)
  const { send, client } = grpcClient(port)
  closers.push(() => client.close())
  expect((await send(Buffer.from('x'))).code).toBe(0)
})
