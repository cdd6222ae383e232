/**
 * The hostile side of floods.ts, in a process of its own: makes one kind of attack until it is killed. Says "ready" when it is in
 * full swing.
 *
 *     node bench/load/attacker.ts ATTACK PORT CONNECTIONS
 */
import net from 'node:net'
import { ATTACKS } from '../../test/support/http2-attacks.ts'
import { block, frame, grpcMessage, REQUEST, settings, TYPE } from '../../test/support/raw-http2.ts'
import { TRACES_METHOD } from './plan.ts'

const OPENING = Buffer.concat([
  Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
  settings(),
  frame(TYPE.SETTINGS, 1, 0),
])
const CALL = frame(TYPE.HEADERS, 4, 1, block({ ...REQUEST, ':path': TRACES_METHOD }))
/** Floods end their connection; each attacker comes back so often. */
const PAUSE_MS = 100
const FLOODERS = 4
/** How many connections are begun at a time. */
const DIALS = 200
/** Each connection that drips does so once in this time; they take turns. */
const TRICKLE_MS = 2000
const TURNS = 100
const JUNK = Buffer.from('\x16\x03\x01\x00\x05hello', 'latin1')

/** Attacks that hold many connections: what each sends at first, and now and then. */
const HOLDING: Readonly<Record<string, readonly [first: Buffer, later: Buffer]>> = {
  'idle gRPC': [OPENING, Buffer.alloc(0)],
  'silent gRPC': [Buffer.alloc(0), Buffer.alloc(0)],
  'slow gRPC messages': [
    Buffer.concat([OPENING, CALL, frame(TYPE.DATA, 0, 1, grpcMessage(Buffer.alloc(1), 0, 4000))]),
    frame(TYPE.DATA, 0, 1, [0]),
  ],
  'slow HTTP headers': [Buffer.from('POST /v1/traces HTTP/1.1\r\nHost: a\r\n'), Buffer.from('X: y\r\n')],
  'slow HTTP bodies': [
    Buffer.from(
      'POST /v1/traces HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-protobuf\r\nContent-Length: 9999\r\n\r\nx',
    ),
    Buffer.from('x'),
  ],
}

function dial(port: number, first: Buffer): Promise<net.Socket> {
  return new Promise((resolve) => {
    // Addresses of their own, so that there are ports enough.
    const localAddress = `127.0.1.${1 + Math.floor(Math.random() * 200)}`
    const socket = net.connect({ port, host: '127.0.0.1', localAddress })
    socket.on('error', () => resolve(socket))
    socket.on('connect', () => {
      if (first.length > 0) socket.write(first)
      resolve(socket)
    })
    socket.resume()
  })
}

async function flood(port: number, bytes: Buffer): Promise<void> {
  while (true) {
    const socket = await dial(port, bytes)
    const closed = new Promise((resolve) => socket.once('close', resolve))
    await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, 2000))])
    socket.destroy()
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
  }
}

async function hold(port: number, first: Buffer, later: Buffer, count: number): Promise<void> {
  const sockets = new Set<net.Socket>()
  const fill = async (): Promise<void> => {
    while (sockets.size < count) {
      const dials = Array.from({ length: Math.min(DIALS, count - sockets.size) }, () => dial(port, first))
      for (const socket of await Promise.all(dials)) {
        sockets.add(socket)
        socket.once('close', () => sockets.delete(socket))
      }
    }
  }
  await fill()
  console.log('ready')
  let turn = 0
  setInterval(() => {
    turn++
    let index = 0
    if (later.length > 0)
      for (const socket of sockets)
        if (index++ % TURNS === turn % TURNS && socket.writable) socket.write(later)
    if (turn % TURNS === 0) void fill()
  }, TRICKLE_MS / TURNS)
}

const [name = '', port = '0', count = '0'] = process.argv.slice(2)
const holding = HOLDING[name]
if (holding) await hold(Number(port), holding[0], holding[1], Number(count))
else {
  const attack = ATTACKS.find(([known]) => known === name)
  const bytes = name === 'TLS junk' ? JUNK : attack && Buffer.concat([OPENING, attack[3]])
  if (bytes === undefined) throw new RangeError(`no attack is called ${name}`)
  for (let index = 0; index < FLOODERS; index++) void flood(Number(port), bytes)
  console.log('ready')
}
