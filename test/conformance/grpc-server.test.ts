/**
 * What a gRPC server of Weir does, whichever implementation it is: the same suite over both, with clients of @grpc/grpc-js and with
 * frames written by hand. What only one of them can do is named at the top.
 */
import zlib from 'node:zlib'
import * as grpc from '@grpc/grpc-js'
import { afterEach, describe, expect, test } from 'vitest'
import { systemClock } from '../../src/component/clock.ts'
import { GRPC } from '../../src/net/grpc.ts'
import { encodeSnappyBlock, encodeSnappyFrames } from '../../src/net/snappy.ts'
import { grpcClient, keepalive, PATH, type ServeOptions, serveGrpc } from '../support/grpc-servers.ts'
import { block, frame, grpcMessage, RawClient, REQUEST, TYPE } from '../support/raw-http2.ts'

const closers: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

describe.each([
  { name: 'grpc-js', packs: ['gzip', 'deflate'], policy: false, keeps: false },
  { name: 'http2', packs: ['gzip', 'deflate', 'zstd', 'snappy', 'snappy frames'], policy: true, keeps: true },
] as const)('$name:', ({ name, packs, policy, keeps }) => {
  const serve = async (options: ServeOptions = {}, messageMs?: number) => {
    const served = await serveGrpc(name, options, messageMs)
    closers.push(served.close)
    return served
  }
  const dial = (port: number, options: grpc.ClientOptions = {}) => {
    const { client, send } = grpcClient(port, options)
    closers.push(() => client.close())
    return send
  }
  const open = (port: number, ...frames: Buffer[]) => {
    const client = RawClient.open(port, ...frames)
    closers.push(() => void client.socket.destroy())
    return client
  }
  /** One call as frames; its status. */
  const raw = async (port: number, data: Uint8Array, fields: Record<string, string> = {}) => {
    const client = open(
      port,
      frame(TYPE.HEADERS, 4, 1, block({ ...REQUEST, ...fields })),
      frame(TYPE.DATA, 1, 1, data),
    )
    const status = await client.status(1)
    client.socket.destroy()
    return status
  }

  test('hands over message, metadata, peer and deadline, and sends the answer', async () => {
    const { port, calls } = await serve()
    const send = dial(port)
    const metadata = new grpc.Metadata()
    metadata.set('x-tenant', 'a')
    metadata.add('x-tenant', 'b')
    metadata.set('x-bin', Buffer.from([1, 2]))
    const before = systemClock.monotonicMs()
    const answer = await send(Buffer.from('hello'), metadata, { deadline: Date.now() + 5000 })
    expect(answer.message?.toString()).toBe('hello')
    const seen = calls[0]
    expect(seen?.path).toBe(PATH)
    expect(seen?.metadata.get('x-tenant')).toEqual(keeps ? ['a', 'b'] : ['a, b'])
    expect(seen?.metadata.get('x-bin')?.[0]).toMatch(/^AQI=?$/)
    expect(seen?.metadata.get('host')).toEqual([`127.0.0.1:${port}`])
    expect([...(seen?.metadata.keys() ?? [])].sort()).toEqual(['host', 'user-agent', 'x-bin', 'x-tenant'])
    expect(seen?.peer).toMatch(/^127\.0\.0\.1:\d+$/)
    expect(seen?.deadlineMs).toBeGreaterThan(before + 3000)
    expect(seen?.deadlineMs).toBeLessThan(before + 6000)
    await send(Buffer.alloc(0))
    expect(calls[1]?.deadlineMs).toBeUndefined()
    expect(calls[1]?.message.length).toBe(0)
  })

  test('messages of all sizes come through whole, many at a time', async () => {
    const { port } = await serve({ maxMessageBytes: 3_000_000 })
    const send = dial(port, { 'grpc.max_receive_message_length': -1 })
    const sizes = [
      0, 1, 100, 16_370, 16_379, 16_380, 16_384, 40_000, 65_536, 262_144, 262_145, 1_200_000, 2_900_000,
    ]
    const sent = sizes
      .flatMap((size) => [size, size])
      .map((size, seed) => Buffer.alloc(size, `${seed} is it `))
    const answers = await Promise.all(sent.map((message) => send(message)))
    for (const [index, answer] of answers.entries())
      expect(answer.message?.equals(sent[index] ?? Buffer.alloc(0)), `${sent[index]?.length} bytes`).toBe(
        true,
      )
  })

  test('what a handler throws becomes a status with details, percent-encoded', async () => {
    const { port } = await serve({
      handler: () => Promise.reject(new Error('secret')),
      toStatus: () => ({
        code: GRPC.UNAVAILABLE,
        message: '100 % n\u00f6t\nnow',
        details: Buffer.from('abcd'),
      }),
    })
    const answer = await dial(port)(Buffer.from('x'))
    expect([answer.code, answer.details]).toEqual([GRPC.UNAVAILABLE, '100 % n\u00f6t\nnow'])
    expect(answer.metadata?.get('grpc-status-details-bin')).toEqual([Buffer.from('abcd')])
  })

  test('other paths are UNIMPLEMENTED', async () => {
    const { port } = await serve()
    const answer = await dial(port)(Buffer.from('x'), undefined, {}, '/test.Service/Other')
    expect(answer.code).toBe(GRPC.UNIMPLEMENTED)
  })

  test('a message over the limit is RESOURCE_EXHAUSTED, also when only its prefix says so', async () => {
    const { port, calls } = await serve()
    const send = dial(port)
    expect((await send(Buffer.alloc(1000))).code).toBe(0)
    expect((await send(Buffer.alloc(1001))).code).toBe(GRPC.RESOURCE_EXHAUSTED)
    const liar = open(
      port,
      frame(TYPE.HEADERS, 4, 1, block(REQUEST)),
      frame(TYPE.DATA, 0, 1, grpcMessage(Buffer.alloc(10), 0, 0xffffffff)),
    )
    expect(await liar.status(1)).toBe('8')
    expect(calls.length).toBe(1)
  })

  describe('messages', () => {
    const pack: Record<(typeof packs)[number], (message: Buffer) => Uint8Array> = {
      gzip: zlib.gzipSync,
      deflate: zlib.deflateSync,
      zstd: zlib.zstdCompressSync,
      snappy: encodeSnappyBlock,
      'snappy frames': encodeSnappyFrames,
    }
    test.each(packs)('are unpacked from %s, within the limit', async (packing) => {
      const encode = pack[packing]
      const headers = { 'grpc-encoding': packing.split(' ')[0] ?? '' }
      const { port, calls } = await serve()
      const message = Buffer.from('hello '.repeat(50))
      expect(await raw(port, grpcMessage(encode(message), 1), headers)).toBe('0')
      expect(Buffer.compare(calls[0]?.message ?? Buffer.alloc(0), message)).toBe(0)
      expect(await raw(port, grpcMessage(message), headers)).toBe('0')
      const bomb = encode(Buffer.alloc(20_000))
      expect(await raw(port, grpcMessage(bomb, 1), headers)).toBe('8')
      const junk = Buffer.from('this is nothing of the kind')
      expect(await raw(port, grpcMessage(junk, 1), headers)).toBe('13')
      const whole = encode(Buffer.from('abcdefghijklmnopqrstuvwxyz'.repeat(9)))
      expect(await raw(port, grpcMessage(whole.subarray(0, whole.length - 9), 1), headers)).toBe('13')
      expect(calls.length).toBe(2)
    })
    test('that are broken end their call and nothing else', async () => {
      const { port, calls } = await serve()
      const junk = Buffer.from('junk')
      expect(await raw(port, grpcMessage(junk, 1), { 'grpc-encoding': 'br' })).toBe('12')
      expect(await raw(port, Buffer.from([0, 0]))).not.toBe('0')
      expect(await raw(port, Buffer.alloc(0))).not.toBe('0')
      expect(await raw(port, grpcMessage(junk, 0, 500))).not.toBe('0')
      // The library takes a message that is marked as packed with nothing for what it is.
      if (policy) expect(await raw(port, grpcMessage(junk, 1))).toBe('13')
      expect(await raw(port, Buffer.concat([grpcMessage(junk), grpcMessage(junk)]))).not.toBe('0')
      expect(calls.length).toBe(0)
      expect((await dial(port)(Buffer.from('x'))).code).toBe(0)
    })
  })

  test('a message may come in any pieces', async () => {
    const { port, calls } = await serve()
    const client = open(port, frame(TYPE.HEADERS, 4, 1, block(REQUEST)))
    const bytes = grpcMessage(Buffer.from('piece by piece'))
    for (const byte of bytes) client.send(frame(TYPE.DATA, 0, 1, [byte]))
    client.send(frame(TYPE.DATA, 1, 1))
    expect(await client.status(1)).toBe('0')
    // Frames cut at every byte, with padding.
    const padded = Buffer.concat([
      frame(TYPE.HEADERS, 4, 3, block(REQUEST)),
      frame(TYPE.DATA, 9, 3, Buffer.concat([Buffer.from([7]), bytes, Buffer.alloc(7)])),
    ])
    for (const byte of padded) {
      client.send(Buffer.from([byte]))
      if (byte === 0x65) await new Promise((resolve) => setImmediate(resolve))
    }
    expect(await client.status(3)).toBe('0')
    expect(calls.map(({ message }) => Buffer.from(message).toString())).toEqual([
      'piece by piece',
      'piece by piece',
    ])
  })

  describe('admit', () => {
    test('refuses before the message is there', async () => {
      const { port, calls } = await serve({
        admit: (head) =>
          head.metadata.has('x-good')
            ? undefined
            : { code: GRPC.UNAVAILABLE, message: 'full', details: Buffer.from('d') },
      })
      const client = open(port, frame(TYPE.HEADERS, 4, 1, block(REQUEST)))
      expect(await client.status(1)).toBe('14')
      expect(await raw(port, grpcMessage(Buffer.from('x')), { 'x-good': '1' })).toBe('0')
      const answer = await dial(port)(Buffer.alloc(900))
      expect(answer.details).toBe('full')
      expect(answer.metadata?.get('grpc-status-details-bin')).toEqual([Buffer.from('d')])
      expect(calls.length).toBe(1)
    })
    test('may take its time; the handler gets the same metadata', async () => {
      const seen: unknown[] = []
      const { port, calls } = await serve({
        admit: async (head) => {
          seen.push(head.metadata)
          await new Promise((resolve) => setTimeout(resolve, 20))
          return head.metadata.has('x-bad') ? { code: GRPC.UNAUTHENTICATED, message: 'no' } : undefined
        },
      })
      const send = dial(port)
      expect((await send(Buffer.from('x'))).message?.toString()).toBe('x')
      expect(calls[0]?.metadata).toBe(seen[0])
      const metadata = new grpc.Metadata()
      metadata.set('x-bad', '1')
      expect((await send(Buffer.from('x'), metadata)).code).toBe(GRPC.UNAUTHENTICATED)
      expect(calls.length).toBe(1)
    })
    test('that fails refuses', async () => {
      const later = await serve({ admit: () => Promise.reject(new Error('secret')) })
      expect(await dial(later.port)(Buffer.from('x'))).toMatchObject({ code: 13, details: 'internal error' })
      const now = await serve({
        admit: () => {
          throw new Error('secret')
        },
      })
      expect(await dial(now.port)(Buffer.from('x'))).toMatchObject({ code: 13, details: 'internal error' })
    })
  })

  test('a call whose deadline passes is DEADLINE_EXCEEDED, and the handler may end later', async () => {
    const releases: ((bytes: Uint8Array) => void)[] = []
    const { port } = await serve({ handler: () => new Promise((resolve) => releases.push(resolve)) })
    const answer = await dial(port)(Buffer.from('x'), undefined, { deadline: Date.now() + 100 })
    expect(answer.code).toBe(GRPC.DEADLINE_EXCEEDED)
    expect(await raw(port, grpcMessage(Buffer.from('x')), { 'grpc-timeout': '50m' })).toBe('4')
    for (const release of releases) release(Buffer.from('late'))
    expect((await serve()).server.connectionCount).toBe(0)
  })

  test('a client that trickles a message for too long is cut', async () => {
    const { port, calls } = await serve({}, 300)
    const client = open(port, frame(TYPE.HEADERS, 4, 1, block(REQUEST)))
    client.send(frame(TYPE.DATA, 0, 1, grpcMessage(Buffer.alloc(1), 0, 900)))
    const timer = setInterval(() => client.send(frame(TYPE.DATA, 0, 1, [0])), 30)
    const outcome = await client.status(1).catch(() => 'closed')
    clearInterval(timer)
    expect(['4', 'closed']).toContain(outcome)
    expect(calls.length).toBe(0)
  })

  test('a cancelled call leaves its connection to the others', async () => {
    const releases: ((bytes: Uint8Array) => void)[] = []
    const { port, server } = await serve({ handler: () => new Promise((resolve) => releases.push(resolve)) })
    const client = open(port)
    client.call(1, Buffer.from('a'))
    client.call(3, Buffer.from('b'))
    await expect.poll(() => releases.length).toBe(2)
    client.send(frame(TYPE.RST_STREAM, 0, 1, [0, 0, 0, 8]), frame(TYPE.PING, 0, 0, Buffer.alloc(8)))
    await client.until((frames) => frames.find(({ type, flags }) => type === TYPE.PING && flags === 1))
    for (const release of releases) release(Buffer.from('x'))
    expect(await client.status(3)).toBe('0')
    expect(client.frames.some(({ stream }) => stream === 1)).toBe(false)
    expect(server.connectionCount).toBe(1)
  })

  test('answers wait for windows of the client', async () => {
    const { port } = await serve({ maxMessageBytes: 100_000 })
    const client = open(port, Buffer.from('000006040000000000000400000003', 'hex')) // INITIAL_WINDOW_SIZE 3
    client.call(1, Buffer.from('0123456789'))
    const sent = () =>
      Buffer.concat(client.frames.filter(({ type }) => type === TYPE.DATA).map((f) => f.payload))
    await expect.poll(() => sent().length).toBe(3)
    client.send(frame(TYPE.WINDOW_UPDATE, 0, 1, [0, 0, 0, 5]))
    await expect.poll(() => sent().length).toBe(8)
    client.send(Buffer.from('000006040000000000000400000100', 'hex'))
    expect(await client.status(1)).toBe('0')
    expect(sent().toString('utf8', 5)).toBe('0123456789')
  })

  describe('connections', () => {
    test('end by age and when idle', async () => {
      const old = await serve({
        keepalive: { ...keepalive, maxConnectionAgeMs: 50, maxConnectionAgeGraceMs: 50 },
      })
      expect((await dial(old.port)(Buffer.from('x'))).code).toBe(0)
      await expect.poll(() => old.server.connectionCount, { timeout: 5000 }).toBe(0)
      const idle = await serve({ keepalive: { ...keepalive, maxConnectionIdleMs: 50 } })
      expect((await dial(idle.port)(Buffer.from('x'))).code).toBe(0)
      await expect.poll(() => idle.server.connectionCount, { timeout: 5000 }).toBe(0)
    })
    test('are asked whether they live, and cut when they do not say', async () => {
      const { port, server } = await serve({ keepalive: { ...keepalive, timeMs: 100, timeoutMs: 300 } })
      expect((await dial(port)(Buffer.from('x'))).code).toBe(0)
      const mute = open(port)
      mute.call(1, Buffer.from('x'))
      expect(await mute.status(1)).toBe('0')
      await mute.until((frames) => frames.find(({ type, flags }) => type === TYPE.PING && flags === 0))
      await expect.poll(() => mute.closed, { timeout: 5000 }).toBe(true)
      expect(server.connectionCount).toBe(1)
    })
    test.runIf(policy)('that are pinged too often are told too_many_pings', async () => {
      const { port } = await serve()
      const client = open(port)
      for (let ping = 0; ping < 4; ping++) client.send(frame(TYPE.PING, 0, 0, Buffer.alloc(8)))
      expect(await client.goAway()).toMatchObject({ code: 11, text: 'too_many_pings' })
      const fine = await serve({ keepalive: { ...keepalive, minTimeMs: 1, permitWithoutStream: true } })
      const patient = open(fine.port)
      for (let ping = 0; ping < 6; ping++) {
        patient.send(frame(TYPE.PING, 0, 0, Buffer.alloc(8)))
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
      patient.call(1, Buffer.from('x'))
      expect(await patient.status(1)).toBe('0')
    })
  })

  describe('shutdown', () => {
    test('answers what is in flight, closes idle connections, takes no new ones', async () => {
      let release: ((bytes: Uint8Array) => void) | undefined
      const { port, server } = await serve({ handler: () => new Promise((resolve) => (release = resolve)) })
      const silent = RawClient.connect(port)
      const idle = open(port)
      const answer = dial(port)(Buffer.from('x'))
      await expect.poll(() => release).toBeDefined()
      const stopped = server.shutdown(AbortSignal.timeout(30_000))
      await expect.poll(() => idle.closed, { timeout: 5000 }).toBe(true)
      release?.(Buffer.from('done'))
      expect((await answer).message?.toString()).toBe('done')
      const late = new Promise((resolve) => setTimeout(resolve, 10_000, 'late').unref())
      expect(await Promise.race([stopped, late])).toBeUndefined()
      expect(silent.closed || server.connectionCount === 0).toBe(true)
      expect((await dial(port)(Buffer.from('x'))).code).toBe(GRPC.UNAVAILABLE)
    })
    test('cuts at the deadline', async () => {
      const { port, server, calls } = await serve({ handler: () => new Promise(() => {}) })
      const answer = dial(port)(Buffer.from('x'))
      await expect.poll(() => calls.length).toBe(1)
      await server.shutdown(AbortSignal.timeout(50))
      expect((await answer).code).toBe(GRPC.UNAVAILABLE)
    })
  })
})
