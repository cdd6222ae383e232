/** Every wait of the HTTP/2 server on a clock of its own: how long it is, how it ends, and what is counted. The defaults are in docs/limits.md. */
import { afterEach, describe, expect, test } from 'vitest'
import { ScriptedClock } from '../../support/clock.ts'
import { keepalive, type ServeOptions, serveGrpc } from '../../support/grpc-servers.ts'
import {
  block,
  frame,
  grpcMessage,
  RawClient,
  REQUEST,
  settings,
  TYPE,
  uint32,
} from '../../support/raw-http2.ts'

const CALM = 11
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
const HEADERS = frame(TYPE.HEADERS, 4, 1, block(REQUEST))
const never = () => new Promise<Uint8Array>(() => {})

const closers: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

async function serve(options: ServeOptions = {}) {
  const clock = new ScriptedClock()
  const events: string[] = []
  const onEvent = (event: string, reason: string) => void events.push(`${event} ${reason}`)
  const served = await serveGrpc('http2', { clock, onEvent, ...options })
  closers.push(served.close)
  /** A client whose first bytes the server has seen. */
  const open = async (...frames: Buffer[]) => {
    const client = RawClient.open(served.port, ...frames)
    closers.push(() => void client.socket.destroy())
    await synced(client)
    return client
  }
  return { ...served, clock, events, open }
}

/** Resolves when the server has read what the client sent so far. */
async function synced(client: RawClient): Promise<void> {
  const seen = client.frames.length
  client.send(frame(TYPE.PING, 0, 0, Buffer.alloc(8)))
  const isAnswer = ({ type, flags }: { type: number; flags: number }) => type === TYPE.PING && flags === 1
  await client.until((frames) => frames.slice(seen).find(isAnswer))
}

const closed = (client: RawClient) => expect.poll(() => client.closed, { timeout: 5000 }).toBe(true)

describe('the handshake has 10 s:', () => {
  test.each([
    ['nothing', Buffer.alloc(0)],
    ['half of the preface', PREFACE.subarray(0, 12)],
  ])('%s', async (_name, bytes) => {
    const { port, server, clock, events } = await serve()
    const client = RawClient.connect(port)
    client.send(bytes)
    await expect.poll(() => server.connectionCount).toBe(1)
    await clock.advance(9900)
    expect([server.connectionCount, events]).toEqual([1, []])
    await clock.advance(300)
    await closed(client)
    expect(events).toEqual(['connection handshake_timeout'])
  })
  test.each([
    ['SETTINGS that do not come', PREFACE],
    ['SETTINGS that are not acknowledged', Buffer.concat([PREFACE, settings()])],
  ])('%s', async (_name, bytes) => {
    const { port, clock, events } = await serve()
    const client = RawClient.connect(port)
    client.acknowledges = false
    client.send(bytes)
    await client.until((frames) => frames.find(({ type }) => type === TYPE.SETTINGS))
    await clock.advance(9900)
    expect(events).toEqual([])
    await clock.advance(300)
    expect((await client.goAway()).code).toBe(4)
    await closed(client)
    expect(events).toEqual(['connection settings_timeout'])
  })
})

describe('frames that come in drips have 10 s:', () => {
  test.each([
    ['a header block', frame(TYPE.HEADERS, 0, 1, block(REQUEST))],
    ['a frame', frame(TYPE.PRIORITY, 0, 1, [0, 0, 0, 0, 9]).subarray(0, 12)],
  ])('%s', async (_name, part) => {
    const { clock, events, open } = await serve()
    const client = await open()
    client.send(part)
    await new Promise((resolve) => setTimeout(resolve, 100))
    await clock.advance(9800)
    expect(events).toEqual([])
    await clock.advance(600)
    expect((await client.goAway()).code).toBe(CALM)
    await closed(client)
    expect(events).toEqual(['connection slow_frames'])
  })
})

test('a message has 5 minutes, however it trickles; then its call ends, and its connection goes on', async () => {
  const { clock, events, open, calls } = await serve({ keepalive: { ...keepalive, minTimeMs: 1 } })
  const client = await open(HEADERS, frame(TYPE.DATA, 0, 1, grpcMessage(Buffer.alloc(1), 0, 900)))
  for (let minute = 0; minute < 5; minute++) {
    client.send(frame(TYPE.DATA, 0, 1, [0]))
    await synced(client)
    expect(events).toEqual([])
    await clock.advance(60_000)
  }
  await clock.advance(200)
  expect(await client.status(1)).toBe('4')
  expect(await client.reset(1)).toBe(0)
  expect(events).toEqual(['request timeout'])
  client.call(3, Buffer.from('x'))
  expect(await client.status(3)).toBe('0')
  expect(calls.length).toBe(1)
})

test('an answer waits a minute for a window, then its stream is cancelled', async () => {
  const { clock, events, open } = await serve()
  const client = await open(settings([4, 0]))
  client.call(1, Buffer.from('x'))
  await client.until((frames) => frames.find(({ type }) => type === TYPE.HEADERS))
  await clock.advance(59_900)
  expect(events).toEqual([])
  await clock.advance(300)
  expect(await client.reset(1)).toBe(8)
  expect(events).toEqual(['answer stalled'])
  client.send(settings([4, 65_535]))
  client.call(3, Buffer.from('x'))
  expect(await client.status(3)).toBe('0')
})

test('a peer that takes nothing from its socket for a minute is cut', async () => {
  const { clock, events, server, open } = await serve({
    handler: async () => Buffer.alloc(32 << 20),
  })
  const client = await open(settings([4, 0x7fffffff]), frame(TYPE.WINDOW_UPDATE, 0, 0, uint32(0x7fff0000)))
  client.socket.pause()
  client.call(1, Buffer.from('x'))
  await new Promise((resolve) => setTimeout(resolve, 300)) // Until the kernel takes no more.
  await clock.advance(59_000)
  expect([server.connectionCount, events]).toEqual([1, []])
  await clock.advance(1500)
  await expect.poll(() => server.connectionCount).toBe(0)
  expect(events).toEqual(['connection stalled'])
})

test('a message waits 5 s for room, then its call is refused', async () => {
  const refusals: unknown[] = []
  const { clock, events, open } = await serve({
    maxInFlightBytes: 1500,
    handler: never,
    toStatus: (error) => {
      refusals.push(error)
      return { code: 14, message: 'busy' }
    },
  })
  const client = await open()
  client.call(1, Buffer.alloc(1000))
  await synced(client)
  client.call(3, Buffer.alloc(1000))
  await expect.poll(() => events).toEqual(['pause in_flight_bytes'])
  await clock.advance(4900)
  expect(refusals.length).toBe(0)
  await clock.advance(300)
  expect(await client.status(3)).toBe('14')
  expect(refusals.length).toBe(1)
})

describe('connections without an end of their own', () => {
  test('end when they are idle for max_connection_idle', async () => {
    const { clock, events, open } = await serve({ keepalive: { ...keepalive, maxConnectionIdleMs: 60_000 } })
    const client = await open()
    await clock.advance(30_000)
    client.call(1, Buffer.from('x'))
    expect(await client.status(1)).toBe('0')
    await clock.advance(59_000)
    expect(events).toEqual([])
    await clock.advance(1500)
    expect(events).toEqual(['connection idle'])
    await client.until((frames) => frames.find(({ type }) => type === TYPE.GOAWAY))
    // The client answers no PING, so the final GOAWAY comes a second later.
    await clock.advance(1500)
    expect((await client.goAway()).code).toBe(0)
    await closed(client)
  })
  test('end after max_connection_age, which differs by a tenth, and the calls on them after the grace', async () => {
    const { clock, events, open, calls } = await serve({
      keepalive: { ...keepalive, maxConnectionAgeMs: 100_000, maxConnectionAgeGraceMs: 5000 },
      handler: never,
    })
    const client = await open()
    client.call(1, Buffer.from('x'))
    await expect.poll(() => calls.length).toBe(1)
    await clock.advance(89_900)
    expect(events).toEqual([])
    await clock.advance(20_300)
    expect(events[0]).toBe('connection max_age')
    await client.until((frames) => frames.find(({ type }) => type === TYPE.GOAWAY))
    await clock.advance(5100)
    await closed(client)
    expect(events).toEqual(['connection max_age', 'connection max_age_grace'])
  })
  test('are pinged after keepalive.time and cut after keepalive.timeout without an answer', async () => {
    const { clock, events, open } = await serve({
      keepalive: { ...keepalive, timeMs: 30_000, timeoutMs: 10_000 },
    })
    const client = await open()
    await clock.advance(30_200)
    await client.until((frames) => frames.find(({ type, flags }) => type === TYPE.PING && flags === 0))
    expect(events).toEqual([])
    await clock.advance(10_200)
    await closed(client)
    expect(events).toEqual(['connection keepalive_timeout'])
  })
})
