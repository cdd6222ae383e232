/**
 * A running Weir with its queue on the disk is killed while the backend is away. Guarantee: every span that was acknowledged
 * arrives after the next start, whatever the number of shards then; the queue's metrics are there at once.
 */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { HttpBackend } from '../support/http-backend.ts'
import { decode, encode } from '../support/otlp.ts'
import { eventually, freePort } from '../support/peers.ts'
import { startWeir } from '../support/weir.ts'

const REQUESTS = 60

interface Span {
  readonly name: string
}

/** Names of the spans in every request. */
function namesAt(backend: HttpBackend): string[] {
  return backend.requests.flatMap(({ body }) =>
    decode('traces', body).resourceSpans.flatMap((resource: { scopeSpans: { spans: Span[] }[] }) =>
      resource.scopeSpans.flatMap(({ spans }) => spans.map(({ name }) => name)),
    ),
  )
}

const config = (directory: string, backend: string, shards: number, metricsPort: number) => ({
  receivers: { otlp: { protocols: { http: { endpoint: 'localhost:0' } } } },
  extensions: { file_storage: { directory, create_directory: true } },
  exporters: {
    otlp_http: {
      endpoint: backend,
      compression: 'none',
      retry_on_failure: { initial_interval: '100ms', max_interval: '200ms' },
      sending_queue: { storage: 'file_storage', num_consumers: 4 },
    },
  },
  service: {
    shards,
    extensions: ['file_storage'],
    telemetry: {
      metrics: {
        readers: [{ pull: { exporter: { prometheus: { host: 'localhost', port: metricsPort } } } }],
      },
    },
    pipelines: { traces: { receivers: ['otlp'], exporters: ['otlp_http'] } },
  },
})

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

async function post(address: string, name: string): Promise<void> {
  const spans = [{ traceId: Buffer.alloc(16, 1), spanId: Buffer.alloc(8, 1), name }]
  const response = await fetch(`http://${address}/v1/traces`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-protobuf', connection: 'close' },
    body: encode('traces', { resourceSpans: [{ scopeSpans: [{ spans }] }] }),
  })
  await response.arrayBuffer()
  if (response.status !== 200) throw new Error(`answered ${response.status}`)
}

test('killed with a full queue, everything acknowledged arrives after a start with other shards', async () => {
  const directory = join(mkdtempSync(join(tmpdir(), 'weir-kill-')), 'storage')
  const backend = new HttpBackend()
  const { url } = await backend.start()
  backend.always = { status: 503 }
  const sent: string[] = []
  try {
    const metricsPort = await freePort()
    for (const [life, shards] of [2, 3, 1].entries()) {
      await using weir = await startWeir(config(directory, url, shards, metricsPort))
      if (life > 0) {
        const metrics = await (await fetch(`http://localhost:${metricsPort}/metrics`)).text()
        const size = /^otelcol_exporter_queue_size\{.*\} (\d+)$/m.exec(metrics)?.[1]
        expect(Number(size)).toBe(sent.length)
        expect(metrics).toMatch(/^otelcol_exporter_queue_capacity\{.*\} 1000$/m)
      }
      for (let index = 0; index < REQUESTS; index++) {
        const name = `life${life}-${index}`
        await post(weir.address('receivers/otlp/protocols/http'), name)
        sent.push(name)
      }
      weir.signal('SIGKILL')
      await eventually(
        async () => isRunning(weir.pid),
        (running) => !running,
        10_000,
      )
    }
    backend.requests.length = 0
    backend.always = { status: 200 }
    await using weir = await startWeir(config(directory, url, 2, metricsPort))
    await eventually(
      async () => new Set(namesAt(backend)).size,
      (size) => size >= sent.length,
      20_000,
    )
    expect(new Set(namesAt(backend))).toEqual(new Set(sent))
    expect(await weir.stop()).toBe(0)
    // Nothing is left to send: neither files nor a lock.
    expect(readdirSync(directory)).toEqual(['exporter_otlp_http_traces'])
    expect(readdirSync(join(directory, 'exporter_otlp_http_traces'))).toEqual([])
  } finally {
    await backend[Symbol.asyncDispose]()
    rmSync(join(directory, '..'), { recursive: true, force: true })
  }
}, 90_000)
