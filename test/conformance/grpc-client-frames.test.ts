/**
 * The gRPC client of src/net/http2 against servers made of single frames, which do what no honest server does, or what honest ones
 * do rarely: settings that change in the middle, windows of nothing, GOAWAY, answers in odd shapes, silence, garbage.
 */
import { randomBytes } from 'node:crypto'
import net from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { GRPC } from '../../src/net/grpc.ts'
import { GrpcCallError, type GrpcTransport, type GrpcTransportOptions } from '../../src/net/grpc-transport.ts'
import { type ChannelTuning, createHttp2GrpcTransport } from '../../src/net/http2/client-channel.ts'
import { percentDecode } from '../../src/net/http2/response-head.ts'
import { givePayload, takePayload } from '../../src/otlp/payload-pool.ts'
import { block, frame, grpcMessage, settings, TYPE, uint32 } from '../support/raw-http2.ts'
import { callStream, dataOf, okAnswer, RawServer, wholeRequest } from '../support/raw-http2-server.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

const PATH = '/test.Service/Export'
const SETTING = { TABLE: 1, STREAMS: 3, WINDOW: 4, FRAME: 5, LIST: 6 } as const
const OK_HEAD = block({ ':status': '200', 'content-type': 'application/grpc' })

async function serve(greet?: (index: number) => Buffer): Promise<RawServer> {
  const server = await new RawServer(greet).start()
  closers.push(() => server[Symbol.asyncDispose]())
  return server
}

function dial(
  port: number,
  options: Partial<GrpcTransportOptions> = {},
  tuning: ChannelTuning = {},
): GrpcTransport {
  const transport = createHttp2GrpcTransport(
    {
      address: { host: '127.0.0.1', port },
      target: `ipv4:127.0.0.1:${port}`,
      authority: '',
      tls: undefined,
      userAgent: 'test',
      compression: undefined,
      balancer: 'round_robin',
      waitForReady: false,
      maxResponseBytes: 100_000,
      keepalive: undefined,
      ...options,
    },
    { backoff: { firstMs: 20, longestMs: 100 }, ...tuning },
  )
  closers.push(() => transport.close())
  transport.connect()
  return transport
}

function call(
  transport: GrpcTransport,
  message: Uint8Array | readonly Uint8Array[] = Buffer.from('ping'),
  { headers = {}, timeoutMs = 0, attempt = AbortSignal.timeout(30_000) } = {},
): Promise<Buffer> {
  const chunks = message instanceof Uint8Array ? [message] : message
  return transport
    .call({ path: PATH, message: chunks, headers, timeoutMs, attempt })
    .then((answer) => Buffer.from(answer))
}

/** The status that the call ends with. */
function status(answer: Promise<unknown>): Promise<GrpcCallError> {
  return answer.then(
    () => new GrpcCallError(GRPC.OK, ''),
    (error) => {
      expect(error).toBeInstanceOf(GrpcCallError)
      return error
    },
  )
}

test('the preface, own settings, and heads that become indexes of the dynamic table', async () => {
  const server = await serve()
  const client = dial(server.port)
  const peer = await server.peer()
  const lengths: number[] = []
  for (let round = 1; round <= 4; round++) {
    const answer = call(client, Buffer.from('ping'), { headers: { 'x-tenant': 'a' }, timeoutMs: 5000 })
    const stream = await callStream(peer, round)
    expect(stream).toBe(2 * round - 1)
    const head = peer.frames.findLast(({ type }) => type === TYPE.HEADERS)!
    expect(head.fields).toEqual({
      ':method': 'POST',
      ':scheme': 'http',
      ':path': PATH,
      ':authority': `127.0.0.1:${server.port}`,
      'grpc-timeout': '5000m',
      'grpc-accept-encoding': 'identity,gzip,deflate,zstd,snappy',
      te: 'trailers',
      'content-type': 'application/grpc',
      'user-agent': 'test',
      'x-tenant': 'a',
    })
    lengths.push(head.payload.length)
    expect((await wholeRequest(peer, stream)).toString()).toBe('ping')
    peer.send(okAnswer(stream, Buffer.from('pong')))
    expect((await answer).toString()).toBe('pong')
  }
  expect(lengths[0]).toBeGreaterThan(80)
  expect(lengths.slice(1)).toEqual([10, 10, 10])
  // The table is taken away in the middle: the next block says so and spells everything out.
  peer.send(settings([SETTING.TABLE, 0]))
  await peer.until((frames) => frames.filter(({ type, flags }) => type === TYPE.SETTINGS && flags === 1)[1])
  const answer = call(client, Buffer.from('ping'), { headers: { 'x-tenant': 'b' } })
  const stream = await callStream(peer, 5)
  const head = peer.frames.findLast(({ type }) => type === TYPE.HEADERS)!
  expect(head.payload[0]).toBe(0x20)
  expect(head.fields['x-tenant']).toBe('b')
  peer.send(okAnswer(stream))
  await answer
})

test('heads over the frame size go on in CONTINUATION; over the list limit, or not ASCII, they are not sent', async () => {
  const server = await serve(() => settings([SETTING.LIST, 40_000]))
  const client = dial(server.port)
  const peer = await server.peer()
  const answer = call(client, Buffer.from('ping'), { headers: { 'x-long': 'ab/'.repeat(10_000) } })
  await peer.until((frames) => frames.find(({ type, flags }) => type === TYPE.CONTINUATION && flags & 4))
  const pieces = peer.frames.filter(({ type }) => type === TYPE.HEADERS || type === TYPE.CONTINUATION)
  expect(pieces.map(({ type, flags }) => [type, flags])).toEqual([
    [TYPE.HEADERS, 0],
    [TYPE.CONTINUATION, 4],
  ])
  peer.send(okAnswer(1))
  await answer
  for (const value of ['x'.repeat(50_000), 'caf\u00e9']) {
    const error = await status(call(client, Buffer.from('ping'), { headers: { 'x-bad': value } }))
    expect(error.code).toBe(GRPC.INTERNAL)
  }
  const next = call(client)
  peer.send(okAnswer(await peer.until((frames) => frames.find(({ stream }) => stream === 3)?.stream)))
  await next
})

test('windows of both kinds, down to nothing and below, and frames as long as the server takes', async () => {
  const server = await serve(() => settings([SETTING.WINDOW, 0], [SETTING.FRAME, 20_000]))
  const client = dial(server.port)
  const peer = await server.peer()
  const message = randomBytes(100_000)
  const answer = call(client, [message.subarray(0, 3), message.subarray(3, 50_000), message.subarray(50_000)])
  await callStream(peer)
  expect(dataOf(peer, 1).length).toBe(0)
  const sent = (bytes: number) => peer.until(() => (dataOf(peer, 1).length >= bytes ? true : undefined))
  // A byte at a time through the prefix.
  for (let bytes = 1; bytes <= 7; bytes++) {
    peer.send(frame(TYPE.WINDOW_UPDATE, 0, 1, uint32(1)))
    await sent(bytes)
    expect(dataOf(peer, 1).length).toBe(bytes)
  }
  // Up for all streams: 30,000 more, in frames of at most 20,000.
  peer.send(settings([SETTING.WINDOW, 30_000]))
  await sent(30_007)
  // Down: what was sent leaves the window at -20,000, so that an update of 20,000 opens nothing.
  peer.send(settings([SETTING.WINDOW, 10_000]), frame(TYPE.WINDOW_UPDATE, 0, 1, uint32(20_000)))
  peer.send(frame(TYPE.PING, 0, 0, Buffer.from('sequence')))
  await peer.until((frames) => frames.find(({ type, flags }) => type === TYPE.PING && flags === 1))
  expect(dataOf(peer, 1).length).toBe(30_007)
  // The connection's own window of 65,535 stops it next.
  peer.send(frame(TYPE.WINDOW_UPDATE, 0, 1, uint32(90_000)))
  await sent(65_535)
  peer.send(frame(TYPE.WINDOW_UPDATE, 0, 0, uint32(1_000_000)))
  expect((await wholeRequest(peer, 1)).equals(message)).toBe(true)
  const frames = peer.frames.filter(({ type }) => type === TYPE.DATA)
  expect(Math.max(...frames.map(({ payload }) => payload.length))).toBe(20_000)
  peer.send(okAnswer(1, Buffer.from('done')))
  expect((await answer).toString()).toBe('done')
})

test('streams at a time: as many as the server allows, less when it says so, the others wait their turn', async () => {
  const server = await serve(() => settings([SETTING.STREAMS, 2]))
  const client = dial(server.port)
  const peer = await server.peer()
  const answers = Array.from({ length: 5 }, () => call(client))
  const begun = () => peer.frames.filter(({ type }) => type === TYPE.HEADERS).length
  await callStream(peer, 2)
  expect(begun()).toBe(2)
  peer.send(settings([SETTING.STREAMS, 1]), okAnswer(1))
  await answers[0]
  peer.send(frame(TYPE.PING, 0, 0, Buffer.from('sequence')))
  await peer.until((frames) => frames.find(({ type, flags }) => type === TYPE.PING && flags === 1))
  expect(begun()).toBe(2)
  peer.send(okAnswer(3))
  expect(await callStream(peer, 3)).toBe(5)
  peer.send(settings([SETTING.STREAMS, 100]))
  expect(await callStream(peer, 5)).toBe(9)
  for (const stream of [5, 7, 9]) peer.send(okAnswer(stream))
  await Promise.all(answers)
})

test('GOAWAY: what is above the last stream is sent again elsewhere, the rest is answered, and once only', async () => {
  const server = await serve()
  const client = dial(server.port)
  const first = await server.peer(0)
  const answers = [
    call(client, Buffer.from('a')),
    call(client, Buffer.from('b')),
    call(client, randomBytes(200_000)),
  ]
  await callStream(first, 3)
  first.send(frame(TYPE.GOAWAY, 0, 0, Buffer.concat([uint32(1, 0), Buffer.from('bye')])))
  const second = await server.peer(1)
  expect((await wholeRequest(second, await callStream(second))).toString()).toBe('b')
  second.send(okAnswer(1, Buffer.from('again')))
  expect((await answers[1])?.toString()).toBe('again')
  first.send(okAnswer(1, Buffer.from('late')))
  expect((await answers[0])?.toString()).toBe('late')
  await expect.poll(() => first.closed).toBe(true)
  // The second refusal of the same call reaches the caller, who may try later.
  await callStream(second, 2)
  second.send(frame(TYPE.RST_STREAM, 0, 3, uint32(7)))
  expect((await status(answers[2]!)).code).toBe(GRPC.UNAVAILABLE)
})

test('RST_STREAM: REFUSED_STREAM is tried again, other codes end the call as gRPC maps them', async () => {
  const server = await serve()
  const client = dial(server.port)
  const peer = await server.peer()
  const answer = call(client)
  peer.send(frame(TYPE.RST_STREAM, 0, await callStream(peer), uint32(7)))
  peer.send(okAnswer(await callStream(peer, 2), Buffer.from('second')))
  expect((await answer).toString()).toBe('second')
  let count = 2
  const f = async (code: number, want: number) => {
    const ended = status(call(client))
    peer.send(frame(TYPE.RST_STREAM, 0, await callStream(peer, ++count), uint32(code)))
    expect((await ended).code, `code ${code}`).toBe(want)
  }
  await f(0, GRPC.INTERNAL)
  await f(2, GRPC.INTERNAL)
  await f(8, GRPC.CANCELLED)
  await f(11, GRPC.RESOURCE_EXHAUSTED)
  await f(12, GRPC.PERMISSION_DENIED)
})

test('answers in all their shapes: trailers only, CONTINUATION, 1xx, padding, HTTP errors, nothing', async () => {
  const server = await serve()
  const client = dial(server.port)
  const peer = await server.peer()
  let count = 0
  const f = async (want: number, words: string | RegExp, ...pieces: ((stream: number) => Buffer)[]) => {
    const ended = status(call(client))
    const stream = await callStream(peer, ++count)
    peer.send(...pieces.map((piece) => piece(stream)))
    const { code, message } = await ended
    expect(code, message).toBe(want)
    expect(message).toMatch(words)
  }
  const head =
    (fields: Record<string, string>, flags = 5) =>
    (stream: number) =>
      frame(TYPE.HEADERS, flags, stream, block(fields))
  const grpc = { ':status': '200', 'content-type': 'application/grpc' }
  const data =
    (payload: Uint8Array, flags = 0) =>
    (stream: number) =>
      frame(TYPE.DATA, flags, stream, payload)
  await f(
    3,
    /^caf\u00e9 100%25$/,
    head({ ...grpc, 'grpc-status': '3', 'grpc-message': 'caf%C3%A9 100%2525' }),
  )
  await f(GRPC.UNIMPLEMENTED, /./, head({ ...grpc, 'grpc-status': '0' }))
  await f(99, /^$/, head({ ...grpc, 'grpc-status': '99' }))
  await f(GRPC.UNKNOWN, /^$/, head({ ...grpc, 'grpc-status': 'x' }))
  await f(
    GRPC.UNKNOWN,
    /without grpc-status/,
    head(grpc, 4),
    data(grpcMessage(Buffer.from('a'))),
    head({ other: 'x' }),
  )
  await f(
    0,
    /^$/,
    (stream) => frame(TYPE.HEADERS, 0, stream, OK_HEAD.subarray(0, 7)),
    (stream) => frame(TYPE.CONTINUATION, 0, stream, OK_HEAD.subarray(7, 8)),
    (stream) => frame(TYPE.CONTINUATION, 4, stream, OK_HEAD.subarray(8)),
    data(grpcMessage(Buffer.from('answer'))),
    head({ 'grpc-status': '0' }),
  )
  await f(0, /^$/, head({ ':status': '100' }, 4), head({ ':status': '103', link: 'x' }, 4), okAnswer)
  const padded = Buffer.concat([Buffer.from([9]), grpcMessage(Buffer.from('answer')), Buffer.alloc(9)])
  await f(0, /^$/, head(grpc, 4), data(padded, 8), head({ 'grpc-status': '0' }))
  for (const [http, code] of [
    [400, 13],
    [401, 16],
    [403, 7],
    [404, 12],
    [429, 14],
    [502, 14],
    [503, 14],
    [504, 14],
    [500, 2],
  ])
    await f(
      code!,
      new RegExp(`HTTP ${http}`),
      head({ ':status': String(http), 'content-type': 'text/html' }, 4),
      data(Buffer.from('no'), 1),
    )
  await f(GRPC.UNAVAILABLE, /HTTP 503/, head({ ':status': '503' }))
  await f(5, /^$/, head({ ':status': '404', 'content-type': 'application/grpc', 'grpc-status': '5' }))
  await f(
    GRPC.UNKNOWN,
    /HTTP 200, content-type text\/html/,
    head({ ':status': '200', 'content-type': 'text/html' }, 4),
  )
  await f(GRPC.INTERNAL, /ended without its trailers/, head(grpc, 4), data(grpcMessage(Buffer.from('a')), 1))
  await f(GRPC.INTERNAL, /malformed/, data(Buffer.from('x')))
  await f(GRPC.INTERNAL, /malformed/, head({ 'content-type': 'application/grpc' }, 4))
  await f(GRPC.INTERNAL, /malformed/, head({ ...grpc, 'Upper-Case': 'x' }, 4))
  await f(GRPC.INTERNAL, /malformed/, head(grpc, 4), head({ 'grpc-status': '0' }, 4))
  await f(GRPC.INTERNAL, /malformed/, head({ ':status': '100' }))
  await f(
    GRPC.INTERNAL,
    /cut off/,
    head(grpc, 4),
    data(grpcMessage(Buffer.from('abc'), 0, 9)),
    head({ 'grpc-status': '0' }),
  )
  await f(
    GRPC.UNIMPLEMENTED,
    /more than one/,
    head(grpc, 4),
    data(Buffer.concat([grpcMessage(Buffer.from('a')), grpcMessage(Buffer.from('b'))])),
  )
  await f(
    GRPC.INTERNAL,
    /encoding/,
    head(grpc, 4),
    data(grpcMessage(Buffer.from('a'), 1)),
    head({ 'grpc-status': '0' }),
  )
  await f(0, /^$/, okAnswer)
})

test('an answer over its limit is refused by its prefix, a bomb by its contents', async () => {
  const { gzipSync } = await import('node:zlib')
  const server = await serve()
  const client = dial(server.port)
  const peer = await server.peer()
  const large = status(call(client))
  peer.send(
    frame(TYPE.HEADERS, 4, await callStream(peer), OK_HEAD),
    frame(TYPE.DATA, 0, 1, grpcMessage(Buffer.from('x'), 0, 100_001)),
  )
  expect((await large).code).toBe(GRPC.RESOURCE_EXHAUSTED)
  expect(await peer.reset(1)).toBe(8)
  const packed = (stream: number, bytes: Buffer) => [
    frame(TYPE.HEADERS, 4, stream, Buffer.concat([OK_HEAD, block({ 'grpc-encoding': 'gzip' })])),
    frame(TYPE.DATA, 0, stream, grpcMessage(gzipSync(bytes), 1)),
    frame(TYPE.HEADERS, 5, stream, block({ 'grpc-status': '0' })),
  ]
  const bomb = status(call(client))
  peer.send(...packed(await callStream(peer, 2), Buffer.alloc(5_000_000)))
  expect((await bomb).code).toBe(GRPC.RESOURCE_EXHAUSTED)
  const fine = call(client)
  peer.send(...packed(await callStream(peer, 3), Buffer.from('packed')))
  expect((await fine).toString()).toBe('packed')
})

test('an answer before the request is whole cuts the request off', async () => {
  const server = await serve()
  const client = dial(server.port)
  const peer = await server.peer()
  const early = status(call(client, randomBytes(1_000_000)))
  await callStream(peer)
  peer.send(
    frame(
      TYPE.HEADERS,
      5,
      1,
      Buffer.concat([OK_HEAD, block({ 'grpc-status': '8', 'grpc-message': 'full' })]),
    ),
  )
  expect(await early).toMatchObject({ code: GRPC.RESOURCE_EXHAUSTED, message: 'full' })
  expect(await peer.reset(1)).toBe(0)
  // Frames of the stream that come late hurt nobody.
  peer.send(frame(TYPE.WINDOW_UPDATE, 0, 1, uint32(10)), frame(TYPE.RST_STREAM, 0, 1, uint32(0)))
  peer.send(frame(TYPE.WINDOW_UPDATE, 0, 0, uint32(1_000_000)))
  const next = call(client)
  peer.send(okAnswer(await callStream(peer, 2)))
  await next
})

test('garbage, and frames that break the protocol, end the connection; the calls may be sent again', async () => {
  const wrong: [string, Buffer][] = [
    ['HTTP/1.1', Buffer.from('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n')],
    ['noise', randomBytes(100)],
    ['no SETTINGS first', frame(TYPE.PING, 0, 0, Buffer.alloc(8))],
    ['a frame over 16 KB', Buffer.concat([settings(), frame(TYPE.HEADERS, 4, 1, Buffer.alloc(16_385))])],
    ['PUSH_PROMISE', Buffer.concat([settings(), frame(TYPE.PUSH_PROMISE, 4, 1, Buffer.alloc(4))])],
    ['an even stream', Buffer.concat([settings(), frame(TYPE.HEADERS, 5, 2, OK_HEAD)])],
    ['a stream that was never begun', Buffer.concat([settings(), frame(TYPE.HEADERS, 5, 11, OK_HEAD)])],
    [
      'a broken block',
      Buffer.concat([settings(), frame(TYPE.HEADERS, 5, 1, [0xff, 0xff, 0xff, 0xff, 0xff])]),
    ],
    [
      'windows that overflow',
      Buffer.concat([settings(), frame(TYPE.WINDOW_UPDATE, 0, 0, uint32(0x7fffffff))]),
    ],
    ['a frame size that is none', settings([SETTING.FRAME, 1])],
  ]
  for (const [name, bytes] of wrong) {
    const server = await serve(() => bytes)
    const client = dial(server.port)
    const { code, message } = await status(call(client))
    expect(code, `${name}: ${message}`).toBe(GRPC.UNAVAILABLE)
    client.close()
  }
})

test('a server that is silent: connecting, then half open, and pings that it answers', async () => {
  const silent = net.createServer((socket) => void socket.on('error', () => {}))
  await new Promise<void>((resolve) => void silent.listen(0, '127.0.0.1', resolve))
  closers.push(() => silent.close())
  const { port } = silent.address() as net.AddressInfo
  const never = dial(port, {}, { connectTimeoutMs: 200 })
  expect(await status(call(never))).toMatchObject({ code: 14, message: 'no HTTP/2 connection within 200 ms' })
  never.close()

  const server = await serve()
  const keepalive = { timeMs: 100, timeoutMs: 300, permitWithoutStream: false }
  const client = dial(server.port, { keepalive })
  const peer = await server.peer()
  const lost = status(call(client))
  const ping = await peer.until((frames) => frames.find(({ type }) => type === TYPE.PING))
  peer.send(frame(TYPE.PING, 1, 0, ping.payload))
  await peer.until((frames) => frames.filter(({ type }) => type === TYPE.PING)[1])
  expect(await lost).toMatchObject({ code: 14, message: 'a keepalive ping was not answered in time' })
  const again = call(client)
  const second = await server.peer(1)
  second.send(okAnswer(await callStream(second)))
  await again

  // Without keepalive a call that was given up in silence asks whether anybody is there.
  const other = await serve()
  const plain = dial(other.port)
  const quiet = await other.peer()
  const first = call(plain)
  quiet.send(okAnswer(await callStream(quiet)))
  await first
  await status(call(plain, Buffer.from('a'), { timeoutMs: 200 }))
  expect(await quiet.reset(3)).toBe(8)
  await quiet.until((frames) => frames.find(({ type }) => type === TYPE.PING))
})

test('an attempt that is given up resets the stream, or leaves the line of those who wait', async () => {
  const server = await serve(() => settings([SETTING.STREAMS, 1]))
  const client = dial(server.port)
  const peer = await server.peer()
  const [first, second] = [new AbortController(), new AbortController()]
  const ended = [
    status(call(client, Buffer.from('a'), { attempt: first.signal })),
    status(call(client, Buffer.from('b'), { attempt: second.signal })),
  ]
  await callStream(peer)
  second.abort()
  expect((await ended[1])?.code).toBe(GRPC.CANCELLED)
  first.abort()
  expect((await ended[0])?.code).toBe(GRPC.CANCELLED)
  expect(await peer.reset(1)).toBe(8)
  const next = call(client)
  peer.send(okAnswer(await callStream(peer, 2)))
  await next
  expect(peer.frames.filter(({ type }) => type === TYPE.HEADERS).length).toBe(2)
})

test('memory of a message that the socket has not taken yet stays out of the pool', async () => {
  const server = await serve(() =>
    Buffer.concat([settings([SETTING.WINDOW, 2 ** 30]), frame(TYPE.WINDOW_UPDATE, 0, 0, uint32(2 ** 30))]),
  )
  const client = dial(server.port)
  const peer = await server.peer()
  const quick = takePayload(40_000)
  const done = call(client, quick)
  peer.send(okAnswer(await callStream(peer)))
  await done
  givePayload(quick)
  expect(takePayload(40_000).buffer).toBe(quick.buffer)
  // Nobody reads, so the bytes stay here when the attempt is given up.
  peer.socket.pause()
  const slow = Array.from({ length: 12 }, () => takePayload(4 * 1024 * 1024))
  const attempt = new AbortController()
  const ended = slow.map((bytes) => status(call(client, bytes, { attempt: attempt.signal })))
  await new Promise((resolve) => setTimeout(resolve, 200))
  attempt.abort()
  await Promise.all(ended)
  for (const bytes of slow) givePayload(bytes)
  const taken = Array.from({ length: 12 }, () => takePayload(4 * 1024 * 1024).buffer)
  expect(slow.some((bytes) => !taken.includes(bytes.buffer))).toBe(true)
  // Shared memory will be written to by another thread, so the connection that still has to read it ends.
  const shared = Buffer.from(new SharedArrayBuffer(8 * 1024 * 1024))
  const third = dial(server.port)
  const other = await server.peer(1)
  const whole = call(third, shared.subarray(0, 50_000))
  other.send(okAnswer(await callStream(other)))
  await whole
  expect(dataOf(other, 1).length).toBe(50_005)
  other.socket.pause()
  const given = new AbortController()
  const cut = status(call(third, shared, { attempt: given.signal }))
  await new Promise((resolve) => setTimeout(resolve, 200))
  given.abort()
  expect((await cut).code).toBe(GRPC.CANCELLED)
  other.socket.resume()
  await expect.poll(() => other.closed).toBe(true)
})

test('several addresses: round_robin uses all, pick_first the first that answers; a name is resolved anew', async () => {
  const servers = [await serve(), await serve()]
  const ports = servers.map(({ port }) => port)
  // One port for all addresses of a name: the second server listens on another address of loopback.
  await servers[1]![Symbol.asyncDispose]()
  const second = new RawServer()
  closers.push(() => second[Symbol.asyncDispose]())
  await second.start(ports[0], '127.0.0.2')
  let addresses = ['127.0.0.3', '127.0.0.1', '127.0.0.2']
  let resolved = 0
  const tuning = {
    resolve: async () => {
      resolved++
      return addresses
    },
  }
  const address = { host: 'backend.test', port: ports[0]! }
  const balanced = dial(0, { address }, tuning)
  const peers = [await servers[0]!.peer(), await second.peer()]
  await new Promise((resolve) => setTimeout(resolve, 50))
  const answers = Array.from({ length: 6 }, () => call(balanced))
  for (const peer of peers)
    for (let count = 1; count <= 3; count++) peer.send(okAnswer(await callStream(peer, count)))
  await Promise.all(answers)
  expect(peers[0]!.frames.find(({ fields }) => fields[':authority'])?.fields[':authority']).toBe(
    `backend.test:${ports[0]}`,
  )
  balanced.close()

  const first = dial(0, { address, balancer: 'pick_first' }, tuning)
  const picked = await servers[0]!.peer(1)
  for (let count = 1; count <= 3; count++) {
    const answer = call(first)
    picked.send(okAnswer(await callStream(picked, count)))
    await answer
  }
  addresses = ['127.0.0.2']
  const before = resolved
  picked.socket.destroy()
  const moved = await second.peer(1)
  const answer = call(first)
  moved.send(okAnswer(await callStream(moved)))
  await answer
  expect(resolved).toBeGreaterThan(before)
})

test('backoff: calls fail at once while it lasts, and a call at shutdown ends it', async () => {
  const server = await new RawServer().start()
  const { port } = server
  await server[Symbol.asyncDispose]()
  const client = dial(port, {}, { backoff: { firstMs: 600_000, longestMs: 600_000 } })
  expect(await status(call(client))).toMatchObject({
    code: 14,
    message: `connect ECONNREFUSED 127.0.0.1:${port}`,
  })
  const late = await new RawServer().start(port)
  closers.push(() => late[Symbol.asyncDispose]())
  expect((await status(call(client))).code).toBe(GRPC.UNAVAILABLE)
  client.drain()
  const answer = call(client)
  const peer = await late.peer()
  peer.send(okAnswer(await callStream(peer), Buffer.from('found')))
  expect((await answer).toString()).toBe('found')
})

test('what %XX stands for', () => {
  const f = (text: string, want: string) => expect(percentDecode(text)).toBe(want)
  f('plain', 'plain')
  f('100%25', '100%')
  f('%E2%82%AC%f0%9f%98%80', '\u20ac\u{1f600}')
  f('50% off %zz %4', '50% off %zz %4')
  f('%ff', '\ufffd')
})
