/**
 * What is particular to the gRPC server on the library. What both do is in test/conformance/grpc-server.test.ts; the floods that the
 * other one ends by a rule (test/faults/http2-floods.test.ts) this one has to outlive.
 */
import net from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { grpcClient, type ServeOptions, serveGrpc } from '../../test/support/grpc-servers.ts'
import { ATTACKS } from '../../test/support/http2-attacks.ts'
import { block, frame, grpcMessage, RawClient, REQUEST, TYPE } from '../../test/support/raw-http2.ts'

const closers: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

async function serve(options: ServeOptions = {}, messageMs?: number) {
  const served = await serveGrpc('grpc-js', options, messageMs)
  const { client, send } = grpcClient(served.port)
  closers.push(served.close, () => client.close())
  return { ...served, send }
}

function open(port: number, ...frames: Buffer[]): RawClient {
  const client = RawClient.open(port, ...frames)
  closers.push(() => void client.socket.destroy())
  return client
}

test('zstd is UNIMPLEMENTED: the library cannot unpack it', async () => {
  const { port, calls } = await serve()
  const fields = { ...REQUEST, 'grpc-encoding': 'zstd' }
  const data = grpcMessage(Buffer.from('x'), 1)
  const client = open(port, frame(TYPE.HEADERS, 4, 1, block(fields)), frame(TYPE.DATA, 1, 1, data))
  expect(await client.status(1)).toBe('12')
  expect(calls.length).toBe(0)
})

test('the connection of a message that trickles is cut, one whose call is slow is not', async () => {
  const handler = () => new Promise<Uint8Array>((resolve) => setTimeout(resolve, 600, Buffer.from('slow')))
  const { port, server, send } = await serve({ handler }, 300)
  const client = open(port, frame(TYPE.HEADERS, 4, 1, block(REQUEST)))
  client.send(frame(TYPE.DATA, 0, 1, grpcMessage(Buffer.alloc(1), 0, 900)))
  const timer = setInterval(() => client.send(frame(TYPE.DATA, 0, 1, [0])), 30)
  const slow = send(Buffer.from('x'))
  await expect.poll(() => client.closed, { timeout: 5000 }).toBe(true)
  clearInterval(timer)
  expect((await slow).message?.toString()).toBe('slow')
  expect(server.connectionCount).toBe(1)
})

test('what is not gRPC or not HTTP/2 does no harm', async () => {
  const { port, send } = await serve()
  for (const fields of [{ 'content-type': 'text/plain' }, { 'grpc-timeout': 'nonsense' }, { ':path': '' }]) {
    const head = frame(TYPE.HEADERS, 4, 1, block({ ...REQUEST, ...fields }))
    const client = open(port, head, frame(TYPE.DATA, 1, 1, grpcMessage(Buffer.from('x'))))
    await client.until((frames) => frames.find(({ stream }) => stream === 1)).catch(() => {})
  }
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
  expect((await send(Buffer.from('x'))).code).toBe(0)
})

describe('leaves the process and other clients alone:', () => {
  test.each(ATTACKS)('%s', async (_name, _code, _reason, frames) => {
    const { port, server, send } = await serve()
    expect((await send(Buffer.from('x'))).code).toBe(0)
    const attacker = open(port, frames)
    expect((await send(Buffer.from('x'))).code).toBe(0)
    setTimeout(() => attacker.socket.destroy(), 300)
    await expect.poll(() => attacker.closed, { timeout: 5000 }).toBe(true)
    await expect.poll(() => server.connectionCount, { timeout: 5000 }).toBe(1)
    expect((await send(Buffer.from('x'))).code).toBe(0)
  })
})
