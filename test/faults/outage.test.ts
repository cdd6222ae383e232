/**
 * Scenario: the backend is down for the whole of a run at the highest rate that the machine takes, and then
 * comes back. What holds the senders up is the memory limiter, or a small queue, of OTLP or of remote write.
 * Guarantee: memory stays below the limit and a tenth; who is refused is told so retryably, and when to come
 * back; everything that was accepted arrives, and so does everything that was refused and sent again; for
 * remote write in order in each series. `batch` answers before the queue does: what that refuses is counted.
 */
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { decodeSnappyBlock } from '../../src/net/snappy.ts'
import { decodeMessage, encode, START_TIME } from '../support/otlp.ts'
import { eventually, freePort } from '../support/peers.ts'
import { startWeir } from '../support/weir.ts'
import { Books } from './support/books.ts'
import { Load } from './support/load.ts'
import { memoryMib, sumOf, telemetryAt } from './support/metrics-page.ts'
import { report, times } from './support/settings.ts'
import { Sink } from './support/sink.ts'

const DOWN_SECONDS = { limiter: times(10, 300), queue: times(4, 300), remoteWrite: times(6, 300) }
const LIMIT_MIB = times(500, 1000)
/**
 * The limiter counts data and heaps. What the program itself takes shows beside the small limit of the short
 * run.
 */
const PROGRAM_MIB = times(100, 0)
/** With a queue alone: two shards and what is under way, without a limiter. */
const UNLIMITED_MIB = 500
/** Senders do not wait as they are told: the rate is the highest that the machine takes. */
const REFUSED_MS = 1
const FOREVER = { initial_interval: '100ms', max_interval: '500ms', max_elapsed_time: '0s' }

interface Case {
  readonly name: string
  readonly seconds: number
  readonly processors: Readonly<Record<string, object>>
  readonly queue: object
  /** Memory of the process stays below it. */
  readonly mostMib: number
}

async function outage({ name, seconds, processors, queue, mostMib: allowedMib }: Case): Promise<void> {
  const books = new Books(8_000_000)
  await using sink = await new Sink(books.deliver).start()
  await sink.stop()
  await using weir = await startWeir({
    receivers: { otlp: { protocols: { http: { endpoint: 'localhost:0' } } } },
    processors,
    exporters: {
      otlp_http: {
        ...{ endpoint: sink.url, compression: 'none', retry_on_failure: FOREVER },
        sending_queue: queue,
      },
    },
    service: {
      shards: 2,
      telemetry: { metrics: { level: 'none' } },
      pipelines: {
        traces: { receivers: ['otlp'], processors: Object.keys(processors), exporters: ['otlp_http'] },
      },
    },
  })
  const url = `http://${weir.address('receivers/otlp/protocols/http')}`
  const pace = { senders: 8, tracesPerRequest: 50, padding: 1000, refusedMs: REFUSED_MS }
  await using load = new Load({ url, books, retry: true, ...pace }).start()
  const untilMs = performance.now() + seconds * 1000
  let mostMib = 0
  while (performance.now() < untilMs) {
    await sleep(200)
    mostMib = Math.max(mostMib, memoryMib(weir.pid))
  }
  expect(books.delivered).toBe(0)
  const { refused } = load.requests
  const held = books.acked
  await sink.start()
  await sleep(1000)
  await load.stop()
  await eventually(
    async () => books.missing(),
    (missing) => missing === 0,
    120_000,
  )
  const { requests } = load
  report(name, `backend down for ${seconds} s`, {
    'accepted meanwhile': held,
    acknowledged: books.acked,
    delivered: books.delivered,
    'refused requests': requests.refused,
    'refused for good': requests.permanent,
    'most memory, MiB': Math.round(memoryMib(weir.pid, 'VmHWM')),
    'while it was down': Math.round(mostMib),
  })
  expect(refused).toBeGreaterThan(0)
  expect(requests).toMatchObject({ refusedWithoutDelay: 0, permanent: 0, failed: 0 })
  expect([books.acked, books.delivered]).toEqual([books.sent, books.sent])
  expect(books.strangers).toBe(0)
  expect(memoryMib(weir.pid, 'VmHWM')).toBeLessThan(allowedMib)
}

test('the memory limiter holds senders up until the backend is back', async () => {
  await outage({
    name: `backend down, memory limit of ${LIMIT_MIB} MiB`,
    seconds: DOWN_SECONDS.limiter,
    processors: { memory_limiter: { check_interval: '100ms', limit_mib: LIMIT_MIB } },
    queue: { queue_size: 1_000_000 },
    mostMib: LIMIT_MIB * 1.1 + PROGRAM_MIB,
  })
}, 900_000)

test('a full queue holds senders up until the backend is back', async () => {
  await outage({
    name: 'backend down, queue of 50 requests',
    seconds: DOWN_SECONDS.queue,
    processors: {},
    queue: { queue_size: 50 },
    mostMib: UNLIMITED_MIB,
  })
}, 900_000)

const SERIES = 20
const SENDERS = 8

/**
 * A remote write receiver that answers 503 until it is told to take, and notes the samples of each series.
 */
async function remoteWriteReceiver() {
  const samples = new Map<string, number[]>()
  const state = { taking: false, refused: 0, samples }
  const server = http.createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      if (!state.taking) {
        state.refused++
        response.writeHead(503).end()
        return
      }
      const bytes = decodeSnappyBlock(Buffer.concat(chunks), 1e8)
      for (const { labels, samples: got } of decodeMessage('prometheus.WriteRequest', bytes).timeseries) {
        const key = JSON.stringify(labels)
        const values = samples.get(key) ?? []
        for (const { value = 0 } of got) values.push(value)
        samples.set(key, values)
      }
      response.writeHead(204).end()
    })
  })
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  const stop = async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/` // A TCP server has one.
  return { state, url, [Symbol.asyncDispose]: stop }
}

interface RemoteWriteCase {
  readonly name: string
  readonly processors: Readonly<Record<string, object>>
}

/** Senders of series of their own, until the time is over; gives what was taken and what was refused. */
async function sendSeries(url: string, untilMs: number) {
  const sent = { taken: 0, refused: 0 }
  const sender = async (number: number) => {
    for (let turn = 0; performance.now() < untilMs; ) {
      const dataPoints = Array.from({ length: SERIES }, (_, series) => ({
        asDouble: turn,
        timeUnixNano: String(START_TIME + BigInt(turn) * 1_000_000n),
        attributes: [{ key: 'series', value: { stringValue: `${number} ${series}` } }],
      }))
      const body = encode('metrics', {
        resourceMetrics: [{ scopeMetrics: [{ metrics: [{ name: 'm', gauge: { dataPoints } }] }] }],
      })
      const headers = { 'content-type': 'application/x-protobuf' }
      const answer = await fetch(`${url}/v1/metrics`, { method: 'POST', headers, body })
      await answer.arrayBuffer()
      if (answer.status === 200) {
        turn++
        sent.taken += SERIES
      } else {
        expect([answer.status, answer.headers.has('retry-after')]).toEqual([503, true])
        sent.refused++
        await sleep(REFUSED_MS)
      }
    }
  }
  await Promise.all(Array.from({ length: SENDERS }, (_, number) => sender(number)))
  return sent
}

async function remoteWriteOutage({ name, processors }: RemoteWriteCase) {
  await using receiver = await remoteWriteReceiver()
  const { state } = receiver
  const metricsPort = await freePort()
  const ids = Object.keys(processors)
  await using weir = await startWeir({
    receivers: { otlp: { protocols: { http: { endpoint: 'localhost:0' } } } },
    processors,
    exporters: {
      prometheusremotewrite: {
        ...{ endpoint: receiver.url, retry_on_failure: FOREVER },
        remote_write_queue: { queue_size: 50 },
      },
    },
    service: {
      shards: 2,
      telemetry: telemetryAt(metricsPort),
      pipelines: {
        metrics: { receivers: ['otlp'], processors: ids, exporters: ['prometheusremotewrite'] },
      },
    },
  })
  const url = `http://${weir.address('receivers/otlp/protocols/http')}`
  const downMs = DOWN_SECONDS.remoteWrite * 1000
  const sending = sendSeries(url, performance.now() + downMs + 2000)
  await sleep(downMs)
  expect(state.samples.size).toBe(0)
  const attempts = state.refused
  expect(attempts).toBeGreaterThan(0)
  state.taking = true
  const { taken, refused } = await sending
  const all = () => [...state.samples.values()].reduce((total, values) => total + values.length, 0)
  const dropped = () => sumOf(metricsPort, 'otelcol_processor_batch_dropped_items')
  await eventually(
    async () => taken - all() - (await dropped()),
    (open) => open === 0,
    60_000,
  )
  await sleep(1000) // What should not come has time to.
  let disordered = 0
  for (const values of state.samples.values())
    if (values.some((value, index) => index > 0 && value <= (values[index - 1] ?? 0))) disordered++
  const counts = { dropped: await dropped(), mostMib: Math.round(memoryMib(weir.pid, 'VmHWM')) }
  report(name, `down for ${DOWN_SECONDS.remoteWrite} s, ${attempts} attempts refused`, {
    'samples accepted': taken,
    delivered: all(),
    'dropped and counted': counts.dropped,
    'series out of order': disordered,
    'refused requests': refused,
    'most memory, MiB': counts.mostMib,
  })
  expect([state.samples.size, disordered]).toEqual([SERIES * SENDERS, 0])
  expect(all() + counts.dropped).toBe(taken)
  expect(counts.mostMib).toBeLessThan(UNLIMITED_MIB)
  return { refused, dropped: counts.dropped }
}

test('remote write: every sample that was accepted arrives after the outage, in order in each series', async () => {
  const outcome = await remoteWriteOutage({ name: 'remote write receiver down', processors: {} })
  expect(outcome.dropped).toBe(0)
  expect(outcome.refused).toBeGreaterThan(0)
}, 900_000)

test('remote write behind batch: what the full queue refuses is counted, the rest arrives in order', async () => {
  const outcome = await remoteWriteOutage({
    name: 'remote write receiver down, batch in front of a small queue',
    processors: { batch: { timeout: '50ms' } },
  })
  expect(outcome.dropped).toBeGreaterThan(0)
}, 900_000)
