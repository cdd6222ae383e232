/**
 * Scenario: `batch` of one shard has answered its senders and hands its batches to a stage of another shard, which is down.
 * Guarantee: they wait for it to be back. Nothing is dropped; only what the dead shard held itself is lost, and counted.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { encode } from '../support/otlp.ts'
import { eventually, freePort } from '../support/peers.ts'
import { startWeir } from '../support/weir.ts'
import { sumOf, telemetryAt } from './support/metrics-page.ts'
import { report } from './support/settings.ts'

const SENDERS = 4
const MOST_TRIES = 40

const folder = mkdtempSync(join(tmpdir(), 'weir-kept-'))
const path = join(folder, 'spans')

const config = (metricsPort: number) => {
  const http = { protocols: { http: { endpoint: 'localhost:0' } } }
  return {
    plugins: ['deadly', 'gathering'].map((name) => join(import.meta.dirname, `plugins/${name}.ts`)),
    receivers: { otlp: http, 'otlp/deadly': http },
    processors: { batch: { timeout: '50ms' }, deadly: null },
    exporters: { gathering: { path }, nop: null },
    service: {
      shards: 2,
      telemetry: telemetryAt(metricsPort),
      pipelines: {
        traces: { receivers: ['otlp'], processors: ['batch'], exporters: ['gathering'] },
        'traces/deadly': { receivers: ['otlp/deadly'], processors: ['deadly'], exporters: ['nop'] },
      },
    },
  }
}

/** On a connection of its own, so that it comes to any shard. True when it was taken. */
async function post(address: string, name: string): Promise<boolean> {
  const spans = [{ traceId: Buffer.alloc(16, 1), spanId: Buffer.alloc(8, 1), name }]
  return await fetch(`http://${address}/v1/traces`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-protobuf', connection: 'close' },
    body: encode('traces', { resourceSpans: [{ scopeSpans: [{ spans }] }] }),
  }).then(
    async (response) => {
      await response.arrayBuffer()
      return response.ok
    },
    () => false,
  )
}

test('batches for a shard that is down wait until it is back', async () => {
  const metricsPort = await freePort()
  await using weir = await startWeir(config(metricsPort))
  const accepted: string[] = []
  let stopped = false
  const sender = async (number: number) => {
    for (let turn = 0; !stopped; turn++) {
      const name = `span ${number} ${turn}`
      if (await post(weir.address('receivers/otlp/protocols/http'), name)) accepted.push(name)
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }
  const senders = Array.from({ length: SENDERS }, (_, number) => sender(number))
  const diedFirst = () =>
    weir.log.some(({ msg, shard }) => msg === 'shard died, starting it again' && shard === 0)
  let tries = 0
  for (; !diedFirst() && tries < MOST_TRIES; tries++) {
    const since = weir.log.length
    await post(weir.address('receivers/otlp/deadly/protocols/http'), 'do exit')
    await weir.logged(({ msg }) => msg === 'shard is back', since)
    await new Promise((resolve) => setTimeout(resolve, 300))
  }
  expect(diedFirst()).toBe(true)
  await new Promise((resolve) => setTimeout(resolve, 2000))
  stopped = true
  await Promise.all(senders)
  const held = () => sumOf(metricsPort, 'otelcol_volatile_items')
  await eventually(held, (items) => items === 0, 20_000)
  const dropped = await sumOf(metricsPort, 'otelcol_processor_batch_dropped_items')
  const lost = await sumOf(metricsPort, 'otelcol_lost_items')
  const delivered = new Set(readFileSync(path, 'utf8').split('\n'))
  const missing = accepted.filter((name) => !delivered.has(name)).length
  report('the shard of the next stage is down', `${tries} deaths until it was that one`, {
    acknowledged: accepted.length,
    missing,
    'lost with a shard': lost,
    dropped,
  })
  expect(dropped).toBe(0)
  expect(missing).toBeLessThanOrEqual(lost)
  expect(accepted.length).toBeGreaterThan(missing)
  rmSync(folder, { recursive: true })
}, 120_000)
