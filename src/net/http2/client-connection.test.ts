import { Duplex } from 'node:stream'
import { expect, test } from 'vitest'
import { block, frame, settings, TYPE, uint32 } from '../../../test/support/raw-http2.ts'
import { okAnswer } from '../../../test/support/raw-http2-server.ts'
import { systemClock } from '../../component/clock.ts'
import { ClientCall } from './client-call.ts'
import { ClientConnection } from './client-connection.ts'

const ITERATIONS = 1000

/** Small, seeded. */
function randomSource(seed: number): (limit: number) => number {
  let state = seed
  return (limit) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * limit)
  }
}

/** What an honest server may send while three calls are under way. */
function script(random: (limit: number) => number): Buffer {
  const pieces = [
    settings([4, random(100_000)], [5, 16_384 + random(100)], [3, random(5)]),
    okAnswer(1, Buffer.alloc(random(50))),
    frame(TYPE.HEADERS, 4, 3, block({ ':status': '103' })),
    frame(TYPE.WINDOW_UPDATE, 0, 0, uint32(1 + random(1000))),
    frame(
      TYPE.HEADERS,
      5,
      3,
      block({ ':status': '200', 'content-type': 'application/grpc', 'grpc-status': '8' }),
    ),
    frame(TYPE.PING, 0, 0, Buffer.alloc(8)),
    frame(TYPE.RST_STREAM, 0, 5, uint32(random(14))),
    frame(TYPE.GOAWAY, 0, 0, uint32(random(7), 0)),
  ]
  return Buffer.concat([settings(), ...pieces.slice(0, random(9))])
}

test(`whatever comes, in whatever pieces, it ends calls and connections and nothing else, ${ITERATIONS} times`, () => {
  const seed = Number(process.env['WEIR_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
  const random = randomSource(seed)
  let lost = 0
  let settled = 0
  for (let round = 0; round < ITERATIONS; round++) {
    const socket = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() })
    const calls: ClientCall[] = []
    const connection = new ClientConnection(
      // Only what streams have is used of a socket.
      socket as never,
      {
        clock: systemClock,
        identity: { scheme: 'http', authority: 'test', userAgent: 'test', encoding: undefined },
        maxResponseBytes: 1000,
        keepalive: undefined,
      },
      {
        onReady(ready) {
          for (let index = 0; index < 3; index++) {
            const request = {
              path: '/a/b',
              message: [Buffer.alloc(random(70_000))],
              headers: {},
              timeoutMs: 0,
              attempt: new AbortController().signal,
            }
            const call = new ClientCall(request, request.message, false, Number.POSITIVE_INFINITY)
            call.answer.catch(() => {})
            calls.push(call)
            ready.open(call)
          }
        },
        onRoom() {},
        onDraining() {},
        onLost: () => void lost++,
        repeat: (call, error) => call.reject(error),
      },
    )
    const bytes = script(random)
    for (let flips = random(4); flips > 0; flips--) bytes[random(bytes.length)] = random(256)
    for (let at = 0; at < bytes.length; ) {
      const end = Math.min(bytes.length, at + 1 + random(80))
      expect(() => connection.receive(Buffer.from(bytes.subarray(at, end))), `seed ${seed}`).not.toThrow()
      at = end
    }
    connection.onClose('the end')
    for (const call of calls) expect(call.settled, `seed ${seed}, round ${round}`).toBe(true)
    settled += calls.length
    expect(connection.callCount).toBe(0)
    expect(connection.answerBytes).toBe(0)
    socket.destroy()
  }
  expect(lost).toBe(ITERATIONS)
  expect(settled).toBeGreaterThan(ITERATIONS)
})
