/**
 * A shard dies with requests in its log, and with spans that the other shard has handed to it. Guarantee:
 * what was acknowledged arrives. The request that brings the shard down whenever it is handed on is set
 * aside after three times, and counted.
 */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { silentLogger } from '../../src/component/logger.ts'
import { loadConfig } from '../../src/config/load.ts'
import { Service } from '../../src/service/service.ts'
import { registry } from '../support/crashing-components.ts'
import { HttpBackend } from '../support/http-backend.ts'
import { decode, encode, type Plain } from '../support/otlp.ts'
import { eventually, freePort } from '../support/peers.ts'

const REQUESTS = 30
const TRACES = 20

const config = (directory: string, backend: string, metricsPort: number) => ({
  receivers: { otlp: { storage: 'file_storage', protocols: { http: { endpoint: 'localhost:0' } } } },
  extensions: { file_storage: { directory } },
  processors: {
    crash: null,
    tail_sampling: { decision_wait: '2s', policies: [{ name: 'all', type: 'always_sample' }] },
  },
  exporters: { otlp_http: { endpoint: backend, compression: 'none' } },
  service: {
    shards: 2,
    extensions: ['file_storage'],
    telemetry: {
      metrics: {
        readers: [{ pull: { exporter: { prometheus: { host: 'localhost', port: metricsPort } } } }],
      },
    },
    pipelines: {
      traces: { receivers: ['otlp'], processors: ['crash', 'tail_sampling'], exporters: ['otlp_http'] },
    },
  },
})

test('a shard that dies loses nothing that lies in a log; what kills it again and again is parked', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'weir-durable-'))
  await using backend = await new HttpBackend().start()
  const metricsPort = await freePort()
  const source = `yaml:${JSON.stringify(config(directory, backend.url, metricsPort))}`
  const loaded = await loadConfig({ sources: [source], sets: [], env: {}, registry })
  const entry = new URL('../support/crashing-shard.ts', import.meta.url)
  const service = new Service(registry, silentLogger, entry)
  await service.start(loaded)
  const post = async (names: readonly string[]) => {
    const spans = names.map((name) => ({
      traceId: Buffer.from(name.padStart(16, '-')),
      spanId: Buffer.alloc(8, 1),
      name,
    }))
    const url = `http://${service.listeners()['receivers/otlp/protocols/http']}/v1/traces`
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/x-protobuf', connection: 'close' },
      body: encode('traces', { resourceSpans: [{ scopeSpans: [{ spans }] }] }),
    })
    await response.arrayBuffer()
    expect(response.status).toBe(200)
  }
  const arrived = () =>
    new Set<string>(
      backend.requests.flatMap(({ body }) =>
        decode('traces', body).resourceSpans.flatMap((resource: Plain) =>
          resource.scopeSpans.flatMap((scope: Plain) => scope.spans.map((span: Plain) => span.name)),
        ),
      ),
    )
  const parked = async () => {
    const metrics = await (await fetch(`http://localhost:${metricsPort}/metrics`)).text()
    return Number(/^otelcol_receiver_log_parked_items\{.*\} (\d+)$/m.exec(metrics)?.[1] ?? 0)
  }
  try {
    const sent: string[] = []
    for (let request = 0; request < REQUESTS; request++) {
      const names = Array.from({ length: TRACES }, (_, index) => `span ${request} ${index}`)
      await post(names)
      sent.push(...names)
    }
    await post(['crash'])
    await eventually(parked, (items) => items === 1, 30_000)
    await eventually(
      async () => arrived().size,
      (count) => count >= sent.length,
      20_000,
    )
    expect(arrived()).toEqual(new Set(sent))
    expect(readdirSync(join(directory, 'receiver_otlp', 'parked')).length).toBe(1)
  } finally {
    await service.shutdown(5000)
    rmSync(directory, { recursive: true, force: true })
  }
}, 90_000)
