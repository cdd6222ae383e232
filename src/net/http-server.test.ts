import net from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { ScriptedClock } from '../../test/support/clock.ts'
import { systemClock } from '../component/clock.ts'
import { TooLargeError } from '../errors.ts'
import { answer, ClientGone, readBody } from './http-body.ts'
import { type Exchange, HttpServer, type HttpServerOptions } from './http-server.ts'
import { InFlightBytes } from './in-flight.ts'

/** Nothing is said about speed: a busy machine may take its time. */
const PATIENT = { timeout: 20_000 }
const closers: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

/** A server that answers with the length of the body, or with the status of what went wrong. */
async function serve(options: Partial<HttpServerOptions> = {}, limitBytes = 1000, inFlightBytes = 1e6) {
  const clock = options.clock ?? systemClock
  const inFlight = new InFlightBytes(inFlightBytes, clock)
  const errors: unknown[] = []
  const handled: Exchange[] = []
  const server = new HttpServer({
    clock,
    maxConnections: 100,
    readTimeoutMs: 0,
    readHeaderTimeoutMs: 0,
    writeTimeoutMs: 0,
    idleTimeoutMs: 0,
    keepAlives: true,
    responseHeaders: {},
    cors: undefined,
    async handle(exchange) {
      handled.push(exchange)
      try {
        const body = await readBody(exchange, limitBytes, inFlight)
        answer(exchange, 200, 'text/plain', `got ${body.length}`)
        inFlight.give(body.length)
      } catch (error) {
        errors.push(error)
        if (!(error instanceof ClientGone))
          answer(exchange, error instanceof TooLargeError ? 413 : 503, 'text/plain', 'refused')
      }
    },
    onError: (error) => errors.push(error),
    ...options,
  })
  const listener = net.createServer((socket) => server.accept(socket))
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  closers.push(async () => {
    listener.close()
    await server.shutdown(AbortSignal.abort())
  })
  return { server, inFlight, errors, handled, port: (listener.address() as net.AddressInfo).port }
}

/** A client that collects what the server says until it closes. */
class Talk {
  readonly socket: net.Socket
  text = ''
  readonly closed: Promise<string>
  #wake: (() => void) | undefined
  constructor(port: number, first = '') {
    this.socket = net.connect(port, '127.0.0.1')
    this.socket.on('data', (chunk: Buffer) => {
      this.text += chunk.toString('latin1')
      this.#wake?.()
    })
    this.socket.on('error', () => {})
    this.closed = new Promise((resolve) => this.socket.on('close', () => resolve(this.text)))
    if (first) this.socket.write(first)
    closers.push(() => void this.socket.destroy())
  }
  /** Waits until the server has said this. */
  async says(part: string | RegExp): Promise<string> {
    while (this.text.search(part) < 0) await new Promise<void>((resolve) => (this.#wake = resolve))
    return this.text
  }
}

const post = (length: number, body = 'x'.repeat(length), more = '') =>
  `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${length}\r\n${more}\r\n${body}`
const chunked = (body: string) =>
  `POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n`

test('serves one request after the other on a connection, pipelined too', async () => {
  const { port } = await serve()
  const talk = new Talk(port, post(3) + post(5))
  await talk.says('got 5')
  expect(talk.text).toMatch(/200 OK[\s\S]*got 3[\s\S]*200 OK[\s\S]*got 5/)
  talk.socket.write(`${chunked('abcd')}0\r\n\r\n`)
  await talk.says('got 4')
})

test('a Content-Length over the limit is refused before the body is sent', async () => {
  const { port, inFlight } = await serve()
  const text = await new Talk(port, post(1_000_000, '')).closed
  expect(text).toMatch(/^HTTP\/1.1 413[\s\S]*Connection: close[\s\S]*refused$/)
  expect(inFlight.usedBytes).toBe(0)
})

test('a short refused body is dropped and the connection goes on', async () => {
  const { port } = await serve()
  const talk = new Talk(port, post(1001, ''))
  await talk.says('413[^]*refused')
  talk.socket.write('x'.repeat(1001) + post(2))
  await talk.says('got 2')
})

test('a body in chunks is refused as soon as it is over the limit', async () => {
  const { port, inFlight } = await serve()
  const talk = new Talk(port, chunked('x'.repeat(600)))
  talk.socket.write(`258\r\n${'x'.repeat(600)}\r\n`)
  expect(await talk.closed).toMatch(/^HTTP\/1.1 413/)
  expect(inFlight.usedBytes).toBe(0)
})

test('a client that is still writing a refused body gets the answer', async () => {
  const { port } = await serve()
  const talk = new Talk(port, post(2_000_000, 'x'.repeat(1_999_999)))
  await talk.says('refused')
  talk.socket.write('x')
  expect(await talk.closed).toMatch(/^HTTP\/1.1 413/)
})

test('a refused endless body is cut', async () => {
  const { port } = await serve()
  const talk = new Talk(port, chunked('x'.repeat(2000)))
  const more = setInterval(() => talk.socket.write(`1000\r\n${'x'.repeat(4096)}\r\n`), 5)
  expect(await talk.closed).toMatch(/^HTTP\/1.1 413/)
  clearInterval(more)
})

test('100 Continue is sent only when the body is wanted', async () => {
  const { port } = await serve()
  const expecting = 'Expect: 100-continue\r\n'
  const wanted = new Talk(port, post(5, '', expecting))
  await wanted.says('100 Continue')
  wanted.socket.write('xxxxx')
  await wanted.says('got 5')
  const refused = await new Talk(port, post(5000, '', expecting)).closed
  expect(refused).toMatch(/^HTTP\/1.1 413/)
})

test('a client that goes away in the middle of a body leaves nothing behind', async () => {
  const { port, inFlight, errors, server } = await serve()
  const talk = new Talk(port, post(500, 'x'.repeat(100)))
  await expect.poll(() => inFlight.usedBytes, PATIENT).toBe(100)
  talk.socket.resetAndDestroy()
  await expect.poll(() => server.connectionCount, PATIENT).toBe(0)
  expect(inFlight.usedBytes).toBe(0)
  expect(errors[0]).toBeInstanceOf(ClientGone)
})

test('slow headers, slow bodies and silence are cut by read_header_timeout and read_timeout', async () => {
  const headers = await serve({ readHeaderTimeoutMs: 200 })
  const trickle = new Talk(headers.port, 'POST / HTTP/1.1\r\nHost')
  const timer = setInterval(() => trickle.socket.write('a'), 50)
  expect(await trickle.closed).toMatch(/^HTTP\/1.1 408/)
  clearInterval(timer)
  expect(await new Talk(headers.port).closed).toMatch(/408|^$/)
  const bodies = await serve({ readTimeoutMs: 300 })
  expect(await new Talk(bodies.port, post(10, 'x')).closed).toMatch(/^HTTP\/1.1 408|^$/)
  expect(bodies.inFlight.usedBytes).toBe(0)
})

test('idle connections are closed by idle_timeout', async () => {
  const { port } = await serve({ idleTimeoutMs: 100 })
  expect(await new Talk(port, post(1)).closed).toMatch(/got 1$/)
})

test('an answer that takes longer than write_timeout is cut', async () => {
  const clock = new ScriptedClock()
  const { port } = await serve({ clock, writeTimeoutMs: 1000, handle: () => new Promise(() => {}) })
  const talk = new Talk(port, post(1))
  await expect.poll(() => clock.pendingTimers, PATIENT).toBe(2) // One is the server's own.
  await clock.advance(1000)
  expect(await talk.closed).toBe('')
})

test('keep_alives_enabled: false closes after each answer; response_headers are on every answer', async () => {
  const { port } = await serve({ keepAlives: false, responseHeaders: { 'X-A': 'b' } })
  expect(await new Talk(port, post(1)).closed).toMatch(/Connection: close\r\nX-A: b[\s\S]*got 1$/)
})

test('over the connection limit idle connections make room, busy ones do not', async () => {
  const events: string[] = []
  const { port, server, handled } = await serve({
    maxConnections: 2,
    onEvent: (event, reason) => events.push(`${event} ${reason}`),
  })
  const idle = new Talk(port, post(1))
  await idle.says('got 1')
  const busy = new Talk(port, post(10, 'x'))
  await expect.poll(() => server.connectionCount, PATIENT).toBe(2)
  const next = new Talk(port, post(10, 'x'))
  await idle.closed
  await expect.poll(() => handled.length, PATIENT).toBe(3)
  expect(await new Talk(port, post(2)).closed).toBe('')
  expect(events).toEqual(['connection evicted', 'connection max_connections'])
  for (const talk of [busy, next]) {
    talk.socket.write('x'.repeat(9))
    await talk.says('got 10')
  }
})

test('connections that never sent a request make room before those that are idle between two', async () => {
  const { port, server } = await serve({ maxConnections: 2 })
  const used = new Talk(port, post(1))
  await used.says('got 1')
  const unused = new Talk(port)
  await expect.poll(() => server.connectionCount, PATIENT).toBe(2)
  await new Talk(port, post(2)).says('got 2')
  await unused.closed
  used.socket.write(post(3))
  await used.says('got 3')
})

test('a peer that takes nothing of its answers is cut, and what it is owed let go', async () => {
  const clock = new ScriptedClock()
  const events: string[] = []
  const { port, server } = await serve({
    clock,
    onEvent: (event, reason) => events.push(`${event} ${reason}`),
    async handle(exchange) {
      answer(exchange, 200, 'text/plain', Buffer.alloc(16 << 20))
    },
  })
  const deaf = net.connect(port, '127.0.0.1', () => deaf.pause().write(post(0)))
  closers.push(() => void deaf.destroy())
  deaf.on('error', () => {})
  await expect.poll(() => server.connectionCount, PATIENT).toBe(1)
  await new Promise((resolve) => setTimeout(resolve, 200)) // Until the kernel takes no more.
  await clock.advance(10_000)
  await clock.advance(50_000)
  expect([server.connectionCount, events]).toEqual([1, []])
  await clock.advance(10_000)
  expect(events).toEqual(['connection stalled'])
  await expect.poll(() => server.connectionCount, PATIENT).toBe(0)
})

test('slow headers and slow bodies are cut in time, and counted', async () => {
  const events: string[] = []
  const onEvent = (event: string, reason: string) => events.push(`${event} ${reason}`)
  const { port } = await serve({ readHeaderTimeoutMs: 300, readTimeoutMs: 600, onEvent })
  const silent = new Talk(port)
  const headers = new Talk(port, 'POST / HTTP/1.1\r\nHost: a\r\n')
  const body = new Talk(port, post(1000, 'x'))
  const trickle = setInterval(() => {
    headers.socket.write('X: y\r\n')
    body.socket.write('x')
  }, 50)
  const texts = await Promise.all([silent.closed, headers.closed, body.closed])
  clearInterval(trickle)
  for (const text of texts) expect(text).toMatch(/^HTTP\/1.1 408/)
  expect(events).toEqual(Array(3).fill('connection request_timeout'))
})

test('what is not HTTP gets 400, huge headers 431, and the server lives', async () => {
  const { port } = await serve()
  expect(await new Talk(port, '\0\0\0\x01\r\n\r\n').closed).toMatch(/^HTTP\/1.1 400/)
  expect(await new Talk(port, 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n').closed).toMatch(/^HTTP\/1.1 400/)
  const huge = `POST / HTTP/1.1\r\nHost: a\r\nX: ${'a'.repeat(70_000)}\r\n\r\n`
  expect(await new Talk(port, huge).closed).toMatch(/^HTTP\/1.1 431/)
  const talk = new Talk(port, post(1))
  await talk.says('got 1')
})

test('reading pauses while too many bytes are in flight, and goes on when there is room', async () => {
  const clock = new ScriptedClock()
  const { port, inFlight } = await serve({ clock }, 1000, 500)
  inFlight.take(400)
  const talk = new Talk(port, post(300))
  await expect.poll(() => clock.pendingTimers, PATIENT).toBe(2) // One is the server's own.
  expect(talk.text).toBe('')
  inFlight.give(400)
  await talk.says('got 300')
  expect(inFlight.usedBytes).toBe(0)
  expect(clock.pendingTimers).toBe(1)
})

test('a body that finds no room for too long is refused retryably', async () => {
  const clock = new ScriptedClock()
  const { port, inFlight } = await serve({ clock }, 1000, 500)
  inFlight.take(400)
  const talk = new Talk(port, post(300))
  await expect.poll(() => clock.pendingTimers, PATIENT).toBe(2) // One is the server's own.
  await clock.advance(5000)
  expect(await talk.says('refused')).toMatch(/^HTTP\/1.1 503/)
  expect(inFlight.usedBytes).toBe(400)
})

test('shutdown answers what is in flight, closes idle and unused connections, and takes no new ones', async () => {
  let release = () => {}
  const { port, server } = await serve({
    async handle(exchange: Exchange) {
      if (exchange.request.url === '/slow') await new Promise<void>((resolve) => (release = resolve))
      answer(exchange, 200, 'text/plain', 'done')
    },
  })
  const idle = new Talk(port, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  await idle.says('done')
  const unused = new Talk(port)
  const slow = new Talk(port, 'GET /slow HTTP/1.1\r\nHost: a\r\n\r\n')
  await expect.poll(() => server.connectionCount, PATIENT).toBe(3)
  await expect.poll(() => release.toString(), PATIENT).not.toBe('() => {}')
  const stopped = server.shutdown(AbortSignal.timeout(10_000))
  await Promise.all([idle.closed, unused.closed])
  expect(await new Talk(port, post(1)).closed).toBe('')
  release()
  expect(await slow.closed).toMatch(/Connection: close[\s\S]*done$/)
  await stopped
})

test('shutdown cuts at the deadline', async () => {
  const { port, server } = await serve({ handle: () => new Promise(() => {}) })
  const talk = new Talk(port, post(1))
  await expect.poll(() => server.connectionCount, PATIENT).toBe(1)
  await server.shutdown(AbortSignal.timeout(50))
  expect(await talk.closed).toBe('')
})
