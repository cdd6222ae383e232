import { MessageChannel } from 'node:worker_threads'
import { gunzipSync, gzipSync } from 'node:zlib'
import { compressSync, uncompressSync } from 'snappy'
import { afterEach, expect, test } from 'vitest'
import { Sink } from '../../test/support/create-test.ts'
import type { Consumer } from '../component/define.ts'
import { DownstreamError, RefusedError, RetryableError } from '../errors.ts'
import { Batch } from '../otlp/batch.ts'
import { handOver } from './hand-over.ts'
import { PeerDownError } from './kept.ts'
import { CREDIT_BYTES, Link, MOST_BLOCKED } from './link.ts'

const cleanups: (() => void)[] = []
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup()
})

function pair(consumer: Consumer) {
  const channel = new MessageChannel()
  const here = new Link(() => undefined, { sent() {} })
  const there = new Link((name) => (name === 'stage' ? consumer : undefined), { sent() {} })
  here.connect(channel.port1)
  there.connect(channel.port2)
  cleanups.push(
    () => here.disconnect(),
    () => there.disconnect(),
  )
  return { here, there }
}
const batch = (bytes: Uint8Array, items = 1) => new Batch('traces', [bytes], items)

test('a batch arrives whole, with its context, and the promise is the acknowledgement', async () => {
  const sink = new Sink()
  const { here } = pair(sink)
  const context = { metadata: new Map([['tenant', ['a', 'b']]]), deadlineMs: 5 }
  await here.send('stage', new Batch('logs', [Buffer.from('one'), Buffer.from('two')], 7, context), false)
  const [arrived] = sink.take()
  expect(arrived?.signal).toBe('logs')
  expect(arrived?.itemCount).toBe(7)
  expect(Buffer.concat(arrived?.chunks ?? []).toString()).toBe('onetwo')
  expect(arrived?.context).toEqual(context)
})

test('sending by copy leaves the bytes of the sender alone, pooled buffers included', async () => {
  const sink = new Sink()
  const { here } = pair(sink)
  const bytes = Buffer.from('from the pool')
  await here.send('stage', batch(bytes), false)
  expect(bytes.toString()).toBe('from the pool')
  expect(Buffer.from(sink.take()[0]?.bytes() ?? []).toString()).toBe('from the pool')
})

test('buffers that cannot change threads are copied: of native modules, of pools, shared ones', async () => {
  const sink = new Sink()
  const { here } = pair(sink)
  const text = 'x'.repeat(5000)
  const f = async (bytes: Uint8Array) => {
    await here.send('stage', batch(bytes), true)
    expect(Buffer.from(sink.take()[0]?.bytes() ?? []).toString()).toBe(text)
  }
  await f(uncompressSync(compressSync(text)) as Buffer) // The codec gives a Buffer unless told otherwise.
  await f(gunzipSync(gzipSync(text)))
  await f(new Uint8Array(new SharedArrayBuffer(text.length)).fill(0x78))
  await f(new Uint8Array(text.length).fill(0x78))
})

test('errors keep what the caller acts on', async () => {
  const f = async (thrown: Error, check: (error: unknown) => void) => {
    const { here } = pair({ consume: () => Promise.reject(thrown) })
    check(await here.send('stage', batch(Buffer.from('x')), false).catch((error: unknown) => error))
  }
  await f(new RefusedError('full', 1500), (error) => {
    expect(error).toBeInstanceOf(RefusedError)
    expect((error as RefusedError).retryAfterMs).toBe(1500)
  })
  await f(new DownstreamError('no', { grpcStatus: 7 }), (error) => {
    expect(error).toBeInstanceOf(DownstreamError)
    expect((error as DownstreamError).grpcStatus).toBe(7)
  })
  await f(new TypeError('a fault of ours'), (error) => expect(error).toBeInstanceOf(DownstreamError))
})

test('what a dead peer had fails retryably, and so does what is sent to it', async () => {
  const { here, there } = pair({ consume: () => new Promise(() => {}) })
  const pending = here.send('stage', batch(Buffer.from('x')), false).catch((error: unknown) => error)
  await new Promise((resolve) => setTimeout(resolve, 20))
  there.disconnect()
  expect(await pending).toBeInstanceOf(RetryableError)
  expect(
    await here.send('stage', batch(Buffer.from('x')), false).catch((error: unknown) => error),
  ).toBeInstanceOf(RetryableError)
})

test('an unknown stage is a retryable failure: the peer may be behind in a reload', async () => {
  const { here } = pair(new Sink())
  const error = await here.send('other', batch(Buffer.from('x')), false).catch((thrown: unknown) => thrown)
  expect(error).toBeInstanceOf(RetryableError)
})

test('no more than the credit is under way; the rest waits and goes on with the acknowledgements', async () => {
  const release: (() => void)[] = []
  let active = 0
  const { here } = pair({
    consume: () => {
      active++
      return new Promise<void>((resolve) => void release.push(resolve))
    },
  })
  const size = CREDIT_BYTES / 4
  const sends = Array.from({ length: 10 }, () => here.send('stage', batch(new Uint8Array(size)), true))
  while (active < 4) await new Promise((resolve) => setTimeout(resolve, 5))
  await new Promise((resolve) => setTimeout(resolve, 30))
  expect(active).toBe(4)
  expect(here.underWayBytes).toBe(CREDIT_BYTES)
  while (release.length > 0 || active < 10) {
    release.shift()?.()
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
  await Promise.all(sends)
  expect(here.underWayBytes).toBe(0)
})

test('callers that wait for credit are bounded: one more is refused, and the others are told when the peer goes', async () => {
  const { here } = pair({ consume: () => new Promise<void>(() => {}) })
  const first = here.send('stage', batch(new Uint8Array(CREDIT_BYTES)), true)
  const waiting = Array.from({ length: MOST_BLOCKED }, () =>
    here.send('stage', batch(new Uint8Array(1)), false),
  )
  expect(here.blocked).toBe(MOST_BLOCKED)
  await expect(here.send('stage', batch(new Uint8Array(1)), false)).rejects.toBeInstanceOf(RefusedError)
  here.disconnect()
  const results = await Promise.allSettled([first, ...waiting])
  const reasons = new Set(
    results.map((result) => (result.status === 'rejected' ? result.reason.constructor : undefined)),
  )
  expect([...reasons]).toEqual([PeerDownError])
  expect(here.blocked).toBe(0)
})

test('hand-over acknowledges when every shard has taken its part', async () => {
  const remote = new Sink()
  const local = new Sink()
  const { here } = pair(remote)
  const consumer = handOver('process', 'stage', 1, [here, undefined], local)
  await consumer.consume(batch(Buffer.from('x'), 3))
  expect(remote.itemCount).toBe(3)
  expect(local.itemCount).toBe(0)
  remote.fail = () => new RefusedError('full')
  await expect(consumer.consume(batch(Buffer.from('x')))).rejects.toBeInstanceOf(RefusedError)
})
