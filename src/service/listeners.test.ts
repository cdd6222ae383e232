import net from 'node:net'
import { expect, test } from 'vitest'
import { claimPlace, ListenerPool, parseEndpoint } from './listeners.ts'

test('endpoints', () => {
  const f = (endpoint: string, host: string, port: number) =>
    expect(parseEndpoint({ endpoint })).toEqual({ host, port, unixPath: undefined })
  f('localhost:4317', '127.0.0.1', 4317)
  f('0.0.0.0:4317', '0.0.0.0', 4317)
  f(':4317', '::', 4317)
  f('[::1]:0', '::1', 0)
  f('collector.example:65535', 'collector.example', 65535)
  for (const wrong of ['localhost', 'localhost:', 'localhost:65536', '::1:4317', '']) {
    expect(() => parseEndpoint({ endpoint: wrong })).toThrow(/is not host:port/)
  }
  expect(parseEndpoint({ endpoint: '/run/weir.sock', transport: 'unix' }).unixPath).toBe('/run/weir.sock')
})

test('an address that somebody else uses is an error that names the component', async () => {
  const other = net.createServer()
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
  const { port } = other.address() as net.AddressInfo
  await expect(claimPlace({ name: 'receivers/otlp', endpoint: `127.0.0.1:${port}` })).rejects.toThrow(
    `receivers/otlp cannot listen on 127.0.0.1:${port}: address already in use`,
  )
  await new Promise((resolve) => other.close(resolve))
})

test('a reload hands the socket on, and back when the new component fails, without closing it', async () => {
  const pool = new ListenerPool(claimPlace, false)
  const seen: string[] = []
  const take = (name: string) => (socket: net.Socket) => {
    seen.push(name)
    socket.end()
  }
  const options = { name: 'receivers/otlp', endpoint: 'localhost:0' }
  const old = await pool.listen(options, take('old'))
  const fresh = await pool.listen(options, take('new'))
  expect(fresh.port).toBe(old.port)
  const connect = () =>
    new Promise<void>((resolve, reject) => {
      const socket = net.connect(old.port, '127.0.0.1')
      socket.on('close', () => resolve())
      socket.on('error', reject)
      socket.resume()
    })
  await connect()
  await fresh.close()
  await connect()
  await pool.listen(options, take('newer'))
  await old.close()
  await connect()
  expect(seen).toEqual(['new', 'old', 'newer'])
})
