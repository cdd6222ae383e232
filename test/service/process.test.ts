/**
 * Weir as a process: start, drain, reload, death of a shard. Guarantee: what was answered with success is found at the backend.
 */

import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import { decode, encode } from '../support/otlp.ts'
import { startWeir } from '../support/weir.ts'

/** An OTLP/HTTP backend that keeps the names of the spans it got. */
async function startBackend() {
  const names: string[] = []
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      // biome-ignore lint/suspicious/noExplicitAny: plain object of the oracle.
      const decoded = decode('traces', Buffer.concat(chunks)) as any
      for (const resource of decoded.resourceSpans ?? []) {
        for (const scope of resource.scopeSpans ?? [])
          for (const span of scope.spans ?? []) names.push(span.name)
      }
      response.writeHead(200, { 'content-type': 'application/x-protobuf' }).end()
    })
  })
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    names,
    url: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => void server.close(resolve))
    },
  }
}

function config(url: string, extra: object = {}, shards = 2) {
  return {
    receivers: { otlp: { protocols: { http: { endpoint: 'localhost:0' } } } },
    processors: {
      resource: { attributes: [{ key: 'environment', value: 'test', action: 'upsert' }] },
      tail_sampling: {
        decision_wait: '1s',
        num_traces: 2_000_000,
        policies: [{ name: 'all', type: 'always_sample' }],
      },
      batch: { timeout: '100ms' },
      ...extra,
    },
    exporters: { otlp_http: { endpoint: url, compression: 'none' } },
    extensions: { health_check: { endpoint: 'localhost:0' } },
    service: {
      shards,
      extensions: ['health_check'],
      telemetry: { metrics: { level: 'none' } },
      pipelines: {
        traces: {
          receivers: ['otlp'],
          processors: ['resource', ...Object.keys(extra), 'tail_sampling', 'batch'],
          exporters: ['otlp_http'],
        },
      },
    },
  }
}

const HTTP = 'receivers/otlp/protocols/http'
let serial = 0

/** Posts spans of `traces` traces, two spans each; gives the names that were answered with success. */
async function post(address: string, traces: number): Promise<string[]> {
  const names: string[] = []
  const spans = []
  for (let trace = 0; trace < traces; trace++) {
    const traceId = Buffer.alloc(16)
    traceId.writeUInt32BE(++serial, 4)
    traceId.writeUInt32BE(Math.imul(serial, 0x9e3779b1) >>> 0, 12)
    for (let span = 0; span < 2; span++) {
      const name = `${serial}-${span}`
      names.push(name)
      spans.push({ traceId, spanId: Buffer.alloc(8, span + 1), name })
    }
  }
  const response = await fetch(`http://${address}/v1/traces`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-protobuf' },
    body: encode('traces', { resourceSpans: [{ scopeSpans: [{ spans }] }] }),
  })
  await response.arrayBuffer()
  return response.ok ? names : []
}

for (const shards of [0, 1, 2]) {
  test(`SIGTERM under load drains and exits 0, with ${shards} shards`, async () => {
    await using backend = await startBackend()
    await using weir = await startWeir(config(backend.url, {}, shards))
    const accepted: string[] = []
    let stopping = false
    const load = Array.from({ length: 4 }, async () => {
      while (!stopping) accepted.push(...(await post(weir.address(HTTP), 20).catch(() => [])))
    })
    await new Promise((resolve) => setTimeout(resolve, 1500))
    const code = weir.stop()
    await new Promise((resolve) => setTimeout(resolve, 200))
    stopping = true
    await Promise.all(load)
    expect(await code).toBe(0)
    expect(accepted.length).toBeGreaterThan(100)
    const delivered = new Set(backend.names)
    const lost = accepted.filter((name) => !delivered.has(name))
    const complaints = weir.log.filter(({ level }) => level === 'error' || level === 'warn')
    const repeated = backend.names.length - delivered.size
    expect({ lost: lost.length, repeated, complaints }).toEqual({ lost: 0, repeated: 0, complaints: [] })
  })
}

test('SIGHUP takes a new file while requests come in, and loses none', async () => {
  await using backend = await startBackend()
  await using weir = await startWeir(config(backend.url))
  const address = weir.address(HTTP)
  const accepted: string[] = []
  let refused = 0
  let stopping = false
  const load = Array.from({ length: 3 }, async () => {
    while (!stopping) {
      const names = await post(address, 10).catch(() => [])
      if (names.length === 0) refused++
      accepted.push(...names)
    }
  })
  for (let round = 0; round < 3; round++) {
    const limiter = { memory_limiter: { check_interval: '1s', limit_mib: 900 + round } }
    writeFileSync(weir.configPath, JSON.stringify(config(backend.url, limiter)))
    const since = weir.log.length
    weir.signal('SIGHUP')
    await weir.logged((line) => line.msg === 'reloaded', since)
  }
  stopping = true
  await Promise.all(load)
  expect(await weir.stop()).toBe(0)
  expect(refused).toBe(0)
  const delivered = new Set(backend.names)
  expect(accepted.length).toBeGreaterThan(0)
  expect(accepted.filter((name) => !delivered.has(name))).toEqual([])
})

test('a bad file at SIGHUP is reported with its places, and everything runs on', async () => {
  await using backend = await startBackend()
  await using weir = await startWeir(config(backend.url))
  writeFileSync(weir.configPath, JSON.stringify(config(backend.url, { batchh: {} }), null, 1))
  weir.signal('SIGHUP')
  const problem = await weir.logged((line) => line.level === 'error' && line.msg === 'configuration')
  expect(String(problem['problem'])).toMatch(
    /config\.yaml:\d+:\d+: processors\.batchh: unknown processor type/,
  )
  await weir.logged((line) => line.msg.startsWith('reload failed'))
  expect((await post(weir.address(HTTP), 1)).length).toBe(2)
})

test('an address in use ends the start with exit code 2 and names the component', async () => {
  await using backend = await startBackend()
  const taken = new URL(backend.url).host
  const wrong = config(backend.url)
  wrong.receivers.otlp.protocols.http.endpoint = taken
  const started = startWeir(wrong)
  await expect(started).rejects.toThrow(/weir ended \(2\).*receivers\/otlp.*address already in use/s)
})

test('health answers 200 while it runs', async () => {
  await using backend = await startBackend()
  await using weir = await startWeir(config(backend.url))
  const response = await fetch(`http://${weir.address('extensions/health_check')}/`)
  expect(response.status).toBe(200)
  expect(await response.json()).toMatchObject({ status: 'Server available' })
})
