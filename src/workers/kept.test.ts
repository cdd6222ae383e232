/** What becomes of data for a shard that is down, when nobody would send it again. */
import { MessageChannel } from 'node:worker_threads'
import { afterEach, expect, test } from 'vitest'
import { Sink } from '../../test/support/create-test.ts'
import { traces } from '../../test/support/otlp.ts'
import type { Consumer } from '../component/define.ts'
import { InvalidError } from '../errors.ts'
import { Batch, NO_METADATA } from '../otlp/batch.ts'
import { handOver } from './hand-over.ts'
import { KEPT_BYTES, Kept, PeerDownError } from './kept.ts'
import { Link } from './link.ts'

const cleanups: (() => void)[] = []
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup()
})

/** A stage of the process on shard 0, seen from shard 1. */
function stage() {
  const here = new Link(() => undefined, { sent() {} })
  const consumer = handOver('process', 'stage', 1, [here, undefined], new Sink())
  const connect = (stages: () => Consumer | undefined) => {
    const channel = new MessageChannel()
    const there = new Link(stages, { sent() {} })
    here.connect(channel.port1)
    there.connect(channel.port2)
    cleanups.push(
      () => here.disconnect(),
      () => there.disconnect(),
    )
  }
  return { here, consumer, connect }
}

const namesIn = (sink: Sink) =>
  sink.take().map((batch) => Buffer.from(batch.bytes()).toString('latin1').at(-1))
const answered = (name: string) => new Batch('traces', [Buffer.from(`item ${name}`)], 1)

test('answered data waits for the shard, in order, also while that is starting; it counts as under way', async () => {
  const { here, consumer, connect } = stage()
  const sink = new Sink()
  let isReady = false
  const sent = ['a', 'b'].map((name) => consumer.consume(answered(name)))
  await new Promise((resolve) => setTimeout(resolve, 10))
  expect(here.underWayBytes).toBe(12)
  connect(() => (isReady ? sink : undefined))
  await new Promise((resolve) => setTimeout(resolve, 80))
  sent.push(consumer.consume(answered('c')))
  isReady = true
  await Promise.all(sent)
  sent.push(consumer.consume(answered('d')))
  await Promise.all(sent)
  expect(namesIn(sink)).toEqual(['a', 'b', 'c', 'd'])
  expect(here.underWayBytes).toBe(0)
})

test('what the shard had and did not acknowledge when it died is handed to the next one', async () => {
  const { here, consumer, connect } = stage()
  connect(() => ({ consume: () => new Promise(() => {}) }))
  const sent = consumer.consume(answered('a'))
  await new Promise((resolve) => setTimeout(resolve, 20))
  here.disconnect()
  const sink = new Sink()
  connect(() => sink)
  await sent
  expect(namesIn(sink)).toEqual(['a'])
})

test('what two of them had in hand when they died is given up', async () => {
  const { here, consumer, connect } = stage()
  const deadly = { consume: () => new Promise<void>(() => {}) }
  connect(() => deadly)
  const sent = consumer.consume(answered('a'))
  const outcome = sent.catch((error: unknown) => error)
  await new Promise((resolve) => setTimeout(resolve, 20))
  here.disconnect()
  connect(() => deadly)
  await new Promise((resolve) => setTimeout(resolve, 120))
  here.disconnect()
  connect(() => new Sink())
  expect(await outcome).toBeInstanceOf(PeerDownError)
})

test('whoever waits for the answer, or has a log, is told at once', async () => {
  const { here, consumer } = stage()
  const f = async (context: object) => {
    let outcome: unknown
    const batch = answered('a').withContext({ metadata: NO_METADATA, ...context })
    consumer.consume(batch).catch((error: unknown) => {
      outcome = error
    })
    await new Promise((resolve) => setImmediate(resolve))
    expect(outcome).toMatchObject({ retryAfterMs: 1000 })
    expect(here.underWayBytes).toBe(0)
  }
  await f({ transport: 'http' })
  await f({ deadlineMs: 1e9 })
  await f({ delivery: { hold() {}, settle() {} } })
})

test('of whole traces, too, each shard that owns some gets them when it is back', async () => {
  const links = [undefined, ...[1, 2].map(() => new Link(() => undefined, { sent() {} }))]
  const sinks = links.map(() => Object.assign(new Sink(), { consumeOwned: async () => 1 }))
  const consumer = handOver('trace', 'stage', 0, links, sinks[0] as Consumer)
  const ids = Array.from({ length: 64 }, (_, index) => (index + 1).toString(16).padStart(32, '0'))
  const sent = consumer.consume(traces({ spans: ids.map((traceId) => ({ name: 'a', traceId })) }))
  let owned = 0
  for (const link of links) {
    if (link === undefined) continue
    const channel = new MessageChannel()
    const there = new Link(() => ({ consume: async () => {}, consumeOwned: async () => ++owned }), {
      sent() {},
    })
    link.connect(channel.port1)
    there.connect(channel.port2)
    cleanups.push(
      () => link.disconnect(),
      () => there.disconnect(),
    )
  }
  await sent
  expect(owned).toBe(2)
})

test('too long, or too much, fails; an error of the stage passes and lets the next one go', async () => {
  const down = () => Promise.reject(new PeerDownError('down'))
  const short = new Kept(60)
  await expect(short.send(1, down)).rejects.toThrow(PeerDownError)
  expect(short.bytes).toBe(0)
  const kept = new Kept()
  let error: Error | undefined = new PeerDownError('down')
  const send = () => (error ? Promise.reject(error) : Promise.resolve())
  const first = kept.send(KEPT_BYTES - 10, send)
  await new Promise((resolve) => setTimeout(resolve, 10))
  const second = kept.send(10, async () => {})
  await expect(kept.send(1, async () => {})).rejects.toThrow(PeerDownError)
  error = new InvalidError('bad')
  await expect(first).rejects.toThrow(InvalidError)
  await second
  expect(kept.bytes).toBe(0)
})
