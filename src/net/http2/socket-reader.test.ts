import { once } from 'node:events'
import net from 'node:net'
import { expect, test } from 'vitest'
import { isShared, readSocket } from './socket-reader.ts'

test('accepted sockets are read into the shared memory, stop when paused, and end', async () => {
  const read: string[] = []
  let shared = 0
  const server = net.createServer({ allowHalfOpen: true })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const accepted = once(server, 'connection')
  const client = net.connect((server.address() as net.AddressInfo).port, '127.0.0.1')
  const [socket] = (await accepted) as [net.Socket]
  readSocket(socket, (chunk) => {
    if (isShared(chunk)) shared++
    read.push(chunk.toString())
    if (chunk.toString() === 'one') {
      socket.pause()
      socket.write('stop')
    }
  })
  client.write('one')
  expect(String((await once(client, 'data'))[0])).toBe('stop')
  client.write('two')
  client.end()
  // What is behind a pause comes after it, however long it lasts.
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
  expect(read).toEqual(['one'])
  const ended = once(socket, 'end')
  socket.resume()
  await ended
  expect(read.join('')).toBe('onetwo')
  // If this fails, Node has changed inside: reading works as it did, but costs more (see socket-reader.ts).
  expect(shared).toBe(read.length)
  socket.destroy()
  server.close()
})
