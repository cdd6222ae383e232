/**
 * Who waits for whom. Scenario: `batch` with an hour before it sends. Guarantee: in front of exporters that stay on this machine, and of
 * those with a queue, clients are answered at once; in front of a backend without a queue they are not.
 */
import { expect, test } from 'vitest'
import { HttpBackend } from '../support/http-backend.ts'
import { encode } from '../support/otlp.ts'
import { freePort } from '../support/peers.ts'
import { startWeir } from '../support/weir.ts'

async function answer(exporters: object, waitMs: number): Promise<number | 'none'> {
  await using weir = await startWeir({
    receivers: { otlp: { protocols: { http: { endpoint: '127.0.0.1:0' } } } },
    processors: { batch: { timeout: '1h' } },
    exporters,
    service: {
      shards: 1,
      shutdown_timeout: '2s', // A client that waits for the batch holds the end of the receiver.
      telemetry: { metrics: { level: 'none' } },
      pipelines: {
        metrics: { receivers: ['otlp'], processors: ['batch'], exporters: Object.keys(exporters) },
      },
    },
  })
  const metrics = [{ name: 'a', gauge: { dataPoints: [{ asInt: '1' }] } }]
  return await fetch(`http://${weir.address('receivers/otlp/protocols/http')}/v1/metrics`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-protobuf' },
    body: encode('metrics', { resourceMetrics: [{ scopeMetrics: [{ metrics }] }] }),
    signal: AbortSignal.timeout(waitMs),
  }).then(
    (response) => response.status,
    () => 'none',
  )
}

test('exporters that stay on this machine make nobody wait for a batch', async () => {
  const exporters = {
    debug: {},
    nop: {},
    file: { path: './out.jsonl' },
    prometheus: { endpoint: `127.0.0.1:${await freePort()}` },
  }
  expect(await answer(exporters, 20_000)).toBe(200)
})

test('a backend makes the client wait exactly when there is no queue in front of it', async () => {
  await using backend = await new HttpBackend().start()
  expect(await answer({ otlp_http: { endpoint: backend.url } }, 20_000)).toBe(200)
  expect(
    await answer({ otlp_http: { endpoint: backend.url, sending_queue: { enabled: false } } }, 2000),
  ).toBe('none')
})

test('a client that waits for a batch is answered when the drain begins, long before the deadline', async () => {
  await using backend = await new HttpBackend().start()
  const weir = await startWeir({
    receivers: { otlp: { protocols: { http: { endpoint: '127.0.0.1:0' } } } },
    processors: { batch: { timeout: '1h' } },
    exporters: { otlp_http: { endpoint: backend.url, sending_queue: { enabled: false } } },
    service: {
      shards: 1,
      shutdown_timeout: '60s',
      telemetry: { metrics: { level: 'none' } },
      pipelines: { metrics: { receivers: ['otlp'], processors: ['batch'], exporters: ['otlp_http'] } },
    },
  })
  const metrics = [{ name: 'a', gauge: { dataPoints: [{ asInt: '1' }] } }]
  const status = fetch(`http://${weir.address('receivers/otlp/protocols/http')}/v1/metrics`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-protobuf' },
    body: encode('metrics', { resourceMetrics: [{ scopeMetrics: [{ metrics }] }] }),
  }).then((response) => response.status)
  await new Promise((resolve) => setTimeout(resolve, 500))
  expect(await weir.stop()).toBe(0)
  expect(await status).toBe(200)
})
