/**
 * Scenario: Weir with the queue of remote write on the disk is killed twice, with other numbers of shards each time; the receiver
 * is down, but for a moment in which it takes some. Guarantee: every sample that was acknowledged arrives, in order in each
 * series.
 */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { decodeSnappyBlock } from '../../src/net/snappy.ts'
import { HttpBackend, type ReceivedRequest } from '../support/http-backend.ts'
import { decodeMessage, encode, START_TIME } from '../support/otlp.ts'
import { eventually } from '../support/peers.ts'
import { startWeir } from '../support/weir.ts'

/** Each is a resource: those of one life are on all of its shards. */
const SERVICES = 8
const SERIES = 3
const TURNS = 8

const folder = mkdtempSync(join(tmpdir(), 'weir-rw-'))
const directory = join(folder, 'storage')
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const config = (url: string, shards: number) => ({
  receivers: { otlp: { protocols: { http: { endpoint: 'localhost:0' } } } },
  extensions: { file_storage: { directory, create_directory: true } },
  exporters: {
    prometheus_remote_write: {
      endpoint: url,
      target_info: { enabled: false },
      retry_on_failure: { initial_interval: '50ms', max_interval: '100ms' },
      sending_queue: { storage: 'file_storage' },
    },
  },
  service: {
    shards,
    extensions: ['file_storage'],
    telemetry: { metrics: { level: 'none' } },
    pipelines: { metrics: { receivers: ['otlp'], exporters: ['prometheus_remote_write'] } },
  },
})

/** The samples of each series, in the order in which they came; one that came again at once counts once. */
class Samples {
  readonly taken = new Map<string, number[]>()
  total = 0

  take({ body }: ReceivedRequest): void {
    for (const { labels, samples } of decodeMessage('prometheus.WriteRequest', decodeSnappyBlock(body, 1e8))
      .timeseries) {
      const key = JSON.stringify(labels)
      const values = this.taken.get(key) ?? []
      this.taken.set(key, values)
      for (const { value = 0 } of samples) {
        if (values.at(-1) === value) continue
        values.push(value)
        this.total++
      }
    }
  }
}

/** One service sends its turns one after the other, each on a connection of its own: to any shard. */
async function send(address: string, service: number, from: number): Promise<void> {
  for (let turn = from; turn < from + TURNS; turn++) {
    const dataPoints = Array.from({ length: SERIES }, (_, series) => ({
      asDouble: turn,
      timeUnixNano: String(START_TIME + BigInt(turn) * 1_000_000n),
      attributes: [{ key: 'series', value: { stringValue: `${series}` } }],
    }))
    const name = { key: 'service.name', value: { stringValue: `service ${service}` } }
    const metrics = [{ name: 'm', gauge: { dataPoints } }]
    const answer = await fetch(`http://${address}/v1/metrics`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-protobuf', connection: 'close' },
      body: encode('metrics', {
        resourceMetrics: [{ resource: { attributes: [name] }, scopeMetrics: [{ metrics }] }],
      }),
    })
    await answer.arrayBuffer()
    expect(answer.status).toBe(200)
  }
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

test('killed twice, with 3, 2 and 4 shards, every sample arrives in order', async () => {
  await using backend = await new HttpBackend().start()
  const samples = new Samples()
  const down = { status: 503 }
  backend.always = down
  let room = 0
  const takeWhileThereIsRoom: HttpBackend['always'] = (request, response) => {
    if (room-- > 0) samples.take(request)
    response.writeHead(room >= 0 ? 204 : 503).end()
  }
  for (const [life, shards] of [3, 2, 4].entries()) {
    await using weir = await startWeir(config(backend.url, shards))
    const address = weir.address('receivers/otlp/protocols/http')
    room = life === 2 ? Number.POSITIVE_INFINITY : life * 10
    backend.always = takeWhileThereIsRoom
    const services = Array.from({ length: SERVICES }, (_, service) => service)
    await Promise.all(services.map((service) => send(address, service, 1 + life * TURNS)))
    if (life < 2) {
      await eventually(
        async () => room,
        (left) => left < 0,
        10_000,
      )
      weir.signal('SIGKILL')
      await eventually(
        async () => isRunning(weir.pid),
        (running) => !running,
        10_000,
      )
      continue
    }
    const want = SERVICES * SERIES * TURNS * 3
    await eventually(
      async () => samples.total,
      (total) => total >= want,
      20_000,
    )
    expect(await weir.stop()).toBe(0)
  }
  expect(samples.taken.size).toBe(SERVICES * SERIES)
  for (const values of samples.taken.values())
    expect(values).toEqual(Array.from({ length: TURNS * 3 }, (_, index) => index + 1))
  const log = join(directory, 'exporter_prometheus_remote_write_metrics')
  expect(readdirSync(log)).toEqual([])
}, 90_000)
