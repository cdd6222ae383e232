import net, { type AddressInfo } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { TestHost } from '../../test/support/host.ts'
import { HttpBackend } from '../../test/support/http-backend.ts'
import { givePayload, takePayload } from '../otlp/payload-pool.ts'
import { httpClientFields } from './client-fields.ts'
import { HttpClient } from './http-client.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

function makeClient(config: object = {}): HttpClient {
  const client = new HttpClient(z.strictObject(httpClientFields()).parse(config), new TestHost())
  client.start()
  closers.push(() => client.shutdown())
  return client
}

async function listen(onSocket: (socket: net.Socket) => void): Promise<URL> {
  const server = net.createServer((socket) => {
    closers.push(() => void socket.destroy())
    socket.on('error', () => {})
    onSocket(socket)
  })
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  closers.push(() => void server.close())
  return new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
}

/** Answers as soon as a request begins, and reads on only when it is told to. */
async function hasty() {
  const seen = { bytes: 0, closed: false, readOn: () => {} }
  const url = await listen((socket) => {
    seen.readOn = () => void socket.resume()
    socket.on('close', () => {
      seen.closed = true
    })
    socket.once('data', () => {
      socket.pause()
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
      socket.on('data', (chunk) => {
        seen.bytes += chunk.length
      })
      socket.pause()
    })
  })
  return { url, seen }
}

const SIZE = 1 << 24
const send = (
  client: HttpClient,
  url: URL,
  chunks: readonly Uint8Array[],
  attempt = new AbortController().signal,
) => client.post(url, {}, chunks, attempt)

describe('a body in memory that is used again', () => {
  test('is free when the request is over', async () => {
    await using backend = await new HttpBackend().start()
    for (const chunks of [1, 3]) {
      const bytes = takePayload(SIZE).fill(chunks)
      const parts = Array.from({ length: chunks }, (_, index) =>
        bytes.subarray(index * 100_000, SIZE / (3 - index)),
      )
      expect((await send(makeClient(), new URL(backend.url), parts)).status).toBe(200)
      expect(Buffer.compare(backend.requests.at(-1)!.body, Buffer.concat(parts))).toBe(0)
      givePayload(bytes)
      expect(takePayload(SIZE).buffer).toBe(bytes.buffer)
    }
  })

  test('is left alone when the server answered before it had read it', async () => {
    const { url } = await hasty()
    const bytes = takePayload(SIZE)
    expect((await send(makeClient(), url, [bytes])).status).toBe(200)
    givePayload(bytes)
    expect(takePayload(SIZE).buffer).not.toBe(bytes.buffer)
  })

  test('is free when the attempt was given up, which ends the connection', async () => {
    const url = await listen(() => {})
    const bytes = takePayload(SIZE)
    const controller = new AbortController()
    const sent = send(makeClient(), url, [bytes], controller.signal)
    setTimeout(() => controller.abort(new Error('late')), 100)
    await expect(sent).rejects.toThrow()
    givePayload(bytes)
    expect(takePayload(SIZE).buffer).toBe(bytes.buffer)
  })

  test('of other shards: the connection ends', async () => {
    const { url, seen } = await hasty()
    const bytes = new Uint8Array(new SharedArrayBuffer(SIZE))
    expect((await send(makeClient(), url, [bytes])).status).toBe(200)
    seen.readOn()
    await expect.poll(() => seen.closed, { timeout: 5000 }).toBe(true)
    expect(seen.bytes).toBeLessThan(SIZE)
  })

  test('is free at once when it was compressed', async () => {
    const { url } = await hasty()
    const bytes = takePayload(1 << 20)
    expect((await send(makeClient({ compression: 'gzip' }), url, [bytes])).status).toBe(200)
    givePayload(bytes)
    expect(takePayload(1 << 20).buffer).toBe(bytes.buffer)
  })
})
