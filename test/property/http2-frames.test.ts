/**
 * Random and broken HTTP/2 against the gRPC server: some 100,000 frames over 1500 connections, cut anywhere, some with flipped bytes. Whatever
 * comes, nothing is thrown past the connection, no promise is left unhandled, and when the connections are gone so is every byte
 * that they held. WEIR_SEED repeats a run.
 */
import type { Socket } from 'node:net'
import { duplexPair } from 'node:stream'
import zlib from 'node:zlib'
import { expect, test } from 'vitest'
import { GRPC } from '../../src/net/grpc.ts'
import { ServerConnection } from '../../src/net/http2/server-connection.ts'
import { ServerContext } from '../../src/net/http2/server-context.ts'
import { keepalive } from '../support/grpc-servers.ts'
import { block, frame, grpcMessage, REQUEST, settings, TYPE, uint32 } from '../support/raw-http2.ts'
import { RUN } from './run.ts'

const SEED = RUN.seed
const CONNECTIONS = 1500
const FRAMES = 70
const PATH = '/test.Service/Export'

function randomSource(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

class Generator {
  readonly #random: () => number
  #stream = -1

  constructor(random: () => number) {
    this.#random = random
  }

  below(limit: number): number {
    return Math.floor(this.#random() * limit)
  }

  bytes(limit: number): Buffer {
    return Buffer.from(Array.from({ length: this.below(limit) }, () => this.below(256)))
  }

  /** A stream that is open, was open, or never will be. */
  stream(): number {
    return this.below(8) === 0 ? this.below(200) : Math.max(1, this.#stream - 2 * this.below(3))
  }

  message(): Buffer {
    const content = Buffer.alloc(this.below(3) === 0 ? this.below(9000) : this.below(60), 'm')
    if (this.below(5) > 0)
      return grpcMessage(content, 0, this.below(12) === 0 ? this.below(2 ** 32) : content.length)
    return grpcMessage(this.below(2) === 0 ? zlib.gzipSync(content) : content, 1)
  }

  request(): Buffer {
    const fields: Record<string, string> = { ...REQUEST }
    if (this.below(3) === 0) fields['grpc-encoding'] = ['gzip', 'zstd', 'snappy', 'br'][this.below(4)] ?? ''
    if (this.below(6) === 0) fields['grpc-timeout'] = `${this.below(1000)}u`
    if (this.below(6) === 0) fields[`x-${this.below(9)}`] = 'v'.repeat(this.below(300))
    if (this.below(12) === 0) fields[':path'] = '/other'
    if (this.below(12) === 0) fields['content-length'] = String(this.below(60))
    const encoded = block(fields)
    // Now and then literals that go into the table.
    if (this.below(3) === 0) encoded[0] = 0x40
    return encoded
  }

  call(): Buffer {
    this.#stream += 2
    const stream = this.#stream
    const head = this.request()
    const message = this.message()
    const cut = this.below(head.length)
    const opening =
      this.below(4) > 0
        ? frame(TYPE.HEADERS, 4, stream, head)
        : Buffer.concat([
            frame(TYPE.HEADERS, 0, stream, head.subarray(0, cut)),
            frame(TYPE.CONTINUATION, 4, stream, head.subarray(cut)),
          ])
    const end = this.below(message.length)
    const closing =
      this.below(2) === 0
        ? frame(TYPE.DATA, 1, stream, message)
        : Buffer.concat([
            frame(TYPE.DATA, 0, stream, message.subarray(0, end)),
            frame(TYPE.DATA, 1, stream, message.subarray(end)),
          ])
    return Buffer.concat([opening, closing])
  }

  next(): Buffer {
    switch (this.below(14)) {
      case 0:
        return frame(TYPE.DATA, this.below(2) * 8 + this.below(2), this.stream(), this.bytes(60))
      case 1:
        return frame(TYPE.HEADERS, 4 + this.below(2), this.stream() + 2 * this.below(2), this.request())
      case 2:
        return frame(TYPE.RST_STREAM, 0, this.stream(), uint32(this.below(14)))
      case 3:
        return frame(TYPE.WINDOW_UPDATE, 0, this.below(2) * this.stream(), uint32(this.below(70_000)))
      case 4:
        return settings([this.below(7), [0, 1, 100, 65_535, 2 ** 31 - 1][this.below(5)] ?? 0])
      case 5:
        return frame(TYPE.PING, this.below(2), 0, Buffer.alloc(8))
      case 6:
        return this.below(8) > 0
          ? frame(TYPE.PRIORITY, 0, this.stream(), this.bytes(6))
          : frame(this.below(256), this.below(256), this.below(300), this.bytes(100))
      default:
        return this.call()
    }
  }

  /** All a client sends on one connection. */
  conversation(): Buffer {
    const frames = [Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), settings()]
    // Mostly whole calls in a part of them, so that many get far.
    const calm = this.below(2) === 0
    for (let count = 0; count < FRAMES; count++)
      frames.push(calm && this.below(20) > 0 ? this.call() : this.next())
    const bytes = Buffer.concat(frames)
    if (this.below(2) === 0)
      for (let flips = this.below(6); flips > 0; flips--) bytes[this.below(bytes.length)] = this.below(256)
    return bytes
  }
}

test(`nothing that a peer sends gets past its connection (seed ${SEED})`, async () => {
  const random = randomSource(SEED)
  const make = new Generator(random)
  const errors: unknown[] = []
  const unhandled: unknown[] = []
  const onUnhandled = (reason: unknown): void => void unhandled.push(reason)
  process.on('unhandledRejection', onUnhandled)
  let answered = 0
  const context = new ServerContext({
    handlers: new Map([
      [
        PATH,
        async ({ message }) => {
          answered++
          const kind = make.below(4)
          if (kind === 0) throw new Error('refused')
          if (kind === 1) await new Promise((resolve) => setImmediate(resolve))
          return message
        },
      ],
    ]),
    admit: () => (make.below(20) === 0 ? { code: GRPC.UNAVAILABLE, message: 'no' } : undefined),
    toStatus(error) {
      if (!(error instanceof Error) || error.message !== 'refused') errors.push(error)
      return { code: GRPC.INTERNAL, message: 'internal error' }
    },
    releases: () => true,
    maxMessageBytes: 5000,
    maxConcurrentStreams: 20,
    keepalive,
  })
  for (let index = 0; index < CONNECTIONS; index++) {
    const [near, far] = duplexPair()
    // As far as a connection goes a duplex is a socket.
    const socket = near as unknown as Socket
    const connection = new ServerConnection(socket, context)
    near.on('data', (chunk: Buffer) => connection.receive(chunk))
    near.on('error', () => {})
    far.on('error', () => {})
    far.resume()
    const bytes = new Generator(random).conversation()
    for (let at = 0; at < bytes.length; ) {
      const end = Math.min(bytes.length, at + 1 + make.below(make.below(10) === 0 ? 20 : 20_000))
      connection.receive(Buffer.from(bytes.subarray(at, end)))
      at = end
      if (make.below(4) === 0) await new Promise((resolve) => setImmediate(resolve))
      if (make.below(10) === 0) connection.sweep(context.clock.monotonicMs() + make.below(100))
    }
    await new Promise((resolve) => setImmediate(resolve))
    near.destroy()
    far.destroy()
    connection.onClose()
  }
  await expect.poll(() => context.budget.usedBytes, { timeout: 20_000 }).toBe(0)
  process.off('unhandledRejection', onUnhandled)
  expect(errors).toEqual([])
  expect(unhandled).toEqual([])
  expect(answered).toBeGreaterThan(CONNECTIONS)
})
