/**
 * Scenario: the backend is down for the whole of a run at the highest rate that the machine takes, and then
 * comes back. What holds the senders up is the memory limiter, or a small queue. Metrics go to a remote
 * write receiver meanwhile. Guarantee: memory stays below the limit and a tenth; who is refused is told so
 * retryably, and when to come back; everything that was accepted arrives, and so does everything that was
 * refused and sent again; for remote write in order in each series.
 */
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { decodeSnappyBlock } from '../../src/net/snappy.ts'
import { decodeMessage, encode, START_TIME } from '../support/otlp.ts'
import { eventually } from '../support/peers.ts'
import { startWeir } from '../support/weir.ts'
import { Books } from './support/books.ts'
import { Load } from './support/load.ts'
import { memoryMib } from './support/metrics-page.ts'
import { report, times } from './support/settings.ts'
import { Sink } from './support/sink.ts'

const DOWN_SECONDS = times(10, 300)
const LIMIT_MIB = times(500, 1000)
/**
 * The limiter counts data and heaps. What the program itself takes shows beside the small limit of the short
 * run.
 */
const PROGRAM_MIB = times(100, 0)
const FOREVER = { initial_interval: '100ms', max_interval: '500ms', max_elapsed_time: '0s' }

interface Case {
  readonly name: string
  readonly seconds: number
  readonly processors: Readonly<Record<string, object>>
  readonly queue: object
}

async function outage({ name, seconds, processors, queue }: Case): Promise<void> {
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
  const pace = { senders: 8, tracesPerRequest: 50, padding: 1000, retry: true }
  await using load = new Load({ url, books, ...pace }).start()
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
  expect(memoryMib(weir.pid, 'VmHWM')).toBeLessThan(LIMIT_MIB * 1.1 + PROGRAM_MIB)
}

test('the memory limiter holds senders up until the backend is back', async () => {
  await outage({
    name: `backend down, memory limit of ${LIMIT_MIB} MiB`,
    seconds: DOWN_SECONDS,
    processors: { memory_limiter: { check_interval: '100ms', limit_mib: LIMIT_MIB } },
    queue: { queue_size: 1_000_000 },
  })
}, 900_000)

test('a full queue holds senders up until the backend is back', async () => {
  await outage({
    name: 'backend down, queue of 50 requests',
    seconds: times(4, 30),
    processors: {},
    queue: { queue_size: 50 },
  })
}, 300_000)

const SERIES = 20
const SENDERS = 4

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

test('remote write: every sample that was accepted arrives after the outage, in order in each series', async () => {
  await using receiver = await remoteWriteReceiver()
  const { state } = receiver
  await using weir = await startWeir({
    receivers: { otlp: { protocols: { http: { endpoint: 'localhost:0' } } } },
    processors: { batch: { timeout: '50ms' } },
    exporters: {
      prometheusremotewrite: {
        ...{ endpoint: receiver.url, retry_on_failure: FOREVER },
        remote_write_queue: { queue_size: 200 },
      },
    },
    service: {
      shards: 2,
      telemetry: { metrics: { level: 'none' } },
      pipelines: {
        metrics: { receivers: ['otlp'], processors: ['batch'], exporters: ['prometheusremotewrite'] },
      },
    },
  })
  const url = `http://${weir.address('receivers/otlp/protocols/http')}/v1/metrics`
  const untilMs = performance.now() + times(4, 60) * 1000
  const taken = Array.from({ length: SENDERS }, () => 0)
  let refused = 0
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
      const answer = await fetch(url, { method: 'POST', headers, body })
      await answer.arrayBuffer()
      if (answer.status === 200) taken[number] = ++turn
      else {
        expect([answer.status, answer.headers.has('retry-after')]).toEqual([503, true])
        refused++
        await sleep(50)
      }
    }
  }
  await Promise.all(Array.from({ length: SENDERS }, (_, number) => sender(number)))
  expect(state.samples.size).toBe(0)
  expect(state.refused).toBeGreaterThan(0)
  state.taking = true
  const all = () => [...state.samples.values()].reduce((total, values) => total + values.length, 0)
  const want = taken.reduce((total, turns) => total + turns * SERIES, 0)
  await eventually(
    async () => all(),
    (count) => count >= want,
    60_000,
  )
  let disordered = 0
  for (const values of state.samples.values())
    if (values.some((value, index) => index > 0 && value < (values[index - 1] ?? 0))) disordered++
  report('remote write receiver down', `down for ${times(4, 60)} s, ${state.refused} attempts refused`, {
    'samples accepted': want,
    delivered: all(),
    'series out of order': disordered,
    'refused requests': refused,
  })
  expect([state.samples.size, disordered, all()]).toEqual([SERIES * SENDERS, 0, want])
}, 300_000)
