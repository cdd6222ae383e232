/**
 * `weir sampling replay` says what the running collector kept.
 *
 * Scenario: Weir with two shards takes generated traces, whose spans lie in several requests, for some seconds. One pipeline
 * writes them to files as they come in, others through tail sampling. Guarantee: a replay of each of the files keeps exactly
 * the traces that the collector kept, probabilistic with its hash seed, latency, status, attributes and drop among the
 * policies; what a rate limiter keeps agrees within the tolerance of docs/sampling-replay.md.
 */
import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { afterAll, expect, test } from 'vitest'
import type { Report } from '../../src/replay/report.ts'
import { encode, keyValues, type Plain } from '../support/otlp.ts'
import { startWeir } from '../support/weir.ts'

const MAIN = path.join(import.meta.dirname, '../../src/main.ts')
const SECONDS = 5
const TRACES_A_SECOND = 200
const folder = mkdtempSync(path.join(tmpdir(), 'weir-replay-'))
afterAll(() => rmSync(folder, { recursive: true }))
const file = (name: string) => path.join(folder, name)

const policies = [
  { name: 'no-health', type: 'drop', drop: { drop_sub_policy: [text('health', 'route', ['/health'])] } },
  { name: 'errors', type: 'status_code', status_code: { status_codes: ['ERROR'] } },
  { name: 'slow', type: 'latency', latency: { threshold_ms: 800 } },
  { name: 'long', type: 'span_count', span_count: { min_spans: 7 } },
  text('tenant', 'tenant', ['t-[0-2]'], true),
  { name: 'some', type: 'probabilistic', probabilistic: { hash_salt: 'a seed', sampling_percentage: 15 } },
]

function text(name: string, key: string, values: readonly string[], enabled_regex_matching = false) {
  return { name, type: 'string_attribute', string_attribute: { key, values, enabled_regex_matching } }
}

const limit = { name: 'limit', type: 'rate_limiting', rate_limiting: { spans_per_second: 100 } }
const decision_wait = '6s'
const config = {
  receivers: { otlp: { protocols: { http: { endpoint: '127.0.0.1:0' } } } },
  processors: {
    tail_sampling: { decision_wait, policies },
    'tail_sampling/limited': { decision_wait, policies: [limit] },
  },
  exporters: {
    'file/json': { path: file('before.json'), rotation: { max_megabytes: 1 } },
    'file/proto': { path: file('before.otlp'), format: 'proto' },
    'file/packed': { path: file('before.zst'), format: 'proto', compression: 'zstd' },
    'file/kept': { path: file('kept.json') },
    'file/limited': { path: file('limited.json') },
  },
  service: {
    shards: 2,
    admin: { endpoint: '127.0.0.1:0', capture: { directory: folder } },
    telemetry: { metrics: { level: 'none' } },
    pipelines: {
      'traces/before': { receivers: ['otlp'], exporters: ['file/json', 'file/proto', 'file/packed'] },
      'traces/kept': { receivers: ['otlp'], processors: ['tail_sampling'], exporters: ['file/kept'] },
      'traces/limited': {
        receivers: ['otlp'],
        processors: ['tail_sampling/limited'],
        exporters: ['file/limited'],
      },
    },
  },
}

/** Traces of 1 to 8 spans; each span goes out as soon as it ends. */
function* requests(nowMs: number, second: number): Generator<Uint8Array> {
  const byService = new Map<string, Plain[]>()
  for (let number = 0; number < TRACES_A_SECOND; number++) {
    const traceId = Buffer.alloc(16)
    traceId.writeUInt32BE(Math.floor(Math.random() * 2 ** 32), 0)
    traceId.writeUInt32BE(second * TRACES_A_SECOND + number + 1, 12)
    const spans = 1 + (number % 8)
    for (let index = 0; index < spans; index++) {
      const spanId = Buffer.alloc(8, index + 1)
      const lastsMs = number % 23 === 0 ? 1500 : 5 + ((number * 7) % 600)
      const service = `service-${(number + index) % 5}`
      const list = byService.get(service) ?? []
      byService.set(service, list)
      list.push({
        ...{ traceId, spanId, name: 'work' },
        ...(index > 0 && { parentSpanId: Buffer.alloc(8, 1) }),
        startTimeUnixNano: String(BigInt(nowMs - lastsMs) * 1_000_000n),
        endTimeUnixNano: String(BigInt(nowMs) * 1_000_000n),
        attributes: keyValues({ tenant: `t-${number % 40}`, route: number % 11 === 0 ? '/health' : '/shop' }),
        ...(number % 17 === 0 && index === spans - 1 && { status: { code: 2 } }),
      })
    }
  }
  for (const [service, spans] of byService)
    for (let at = 0; at < spans.length; at += 50)
      yield encode('traces', {
        resourceSpans: [
          {
            resource: { attributes: keyValues({ 'service.name': service }) },
            scopeSpans: [{ spans: spans.slice(at, at + 50) }],
          },
        ],
      })
}

/** Spans by trace id of a file of JSON lines. */
function tracesIn(name: string): Map<string, number> {
  const counts = new Map<string, number>()
  for (const line of readFileSync(file(name), 'utf8').split('\n'))
    for (const [, id = ''] of line.matchAll(/"traceId":"([0-9a-f]{32})"/g))
      counts.set(id, (counts.get(id) ?? 0) + 1)
  return counts
}

async function replayed(configPath: string, processor: string, inputs: readonly string[]) {
  const ids = file('ids.txt')
  const flags = ['--config', configPath, '--processor', processor, '--kept-ids', ids, '--json', '--quiet']
  const inputFlags = inputs.flatMap((name) => ['--input', file(name)])
  const run = [MAIN, 'sampling', 'replay', ...flags, ...inputFlags]
  const { stdout } = await promisify(execFile)(process.execPath, run, { maxBuffer: 64e6 })
  return { report: JSON.parse(stdout) as Report, kept: readFileSync(ids, 'utf8').trim().split('\n').sort() }
}

test('a replay keeps the traces that the collector kept', async () => {
  await using weir = await startWeir(config)
  const url = `http://${weir.address('receivers/otlp/protocols/http')}/v1/traces`
  const headers = { 'content-type': 'application/x-protobuf' }
  const gone = new AbortController()
  const capture = `http://${weir.address('service/admin')}/-/capture?pipeline=traces/before&duration=5m`
  const capturing = fetch(capture, { method: 'POST', signal: gone.signal }).catch(() => 'gone')
  await weir.logged(({ msg }) => msg === 'capturing')
  await sleep(1000) // Each shard has been asked.
  for (let second = 0; second < SECONDS; second++) {
    for (const body of requests(Date.now(), second)) {
      const answer = await fetch(url, { method: 'POST', headers, body })
      expect(answer.status).toBe(200)
    }
    await sleep(1000)
  }
  gone.abort()
  expect(await capturing).toBe('gone')
  const captured = await weir.logged(({ msg }) => msg === 'captured')
  await sleep(8000) // All decisions are made by the clock, none by the shutdown.
  await weir.stop()
  const keptLive = tracesIn('kept.json')
  const all = TRACES_A_SECOND * SECONDS
  expect(keptLive.size).toBeGreaterThan(all / 5)
  expect(keptLive.size).toBeLessThan(all * 0.8)

  const rotated = readdirSync(folder).filter((name) => /^before.*\.json$/.test(name))
  expect(rotated.length).toBeGreaterThan(1)
  const recorded = path.basename(String(captured['file']))
  for (const inputs of [rotated, ['before.otlp'], ['before.zst'], [recorded]]) {
    const { report, kept } = await replayed(weir.configPath, 'tail_sampling', inputs)
    expect(kept).toEqual([...keptLive.keys()].sort())
    expect(report.input.traces).toBe(all)
    expect(report.configs[0]?.kept.spans).toBe(keptLive.values().reduce((sum, spans) => sum + spans, 0))
    expect(
      report.configs[0]?.policies.map(({ decided }) => decided.traces).every((traces) => traces > 0),
    ).toBe(true)
  }

  const limitedLive = tracesIn('limited.json')
    .values()
    .reduce((sum, spans) => sum + spans, 0)
  const { report } = await replayed(weir.configPath, 'tail_sampling/limited', [recorded])
  expect(report.recording.arrival).toBe('recorded')
  expect(report.input.traces).toBe(all)
  const limitedReplayed = report.configs[0]?.kept.spans ?? 0
  console.log(
    `kept ${keptLive.size} of ${all} traces; limiter: ${limitedLive} spans live, ${limitedReplayed} replayed`,
  )
  // Two seconds of the rate and a trace, since ticks lie elsewhere on each shard; one for a machine that is late.
  expect(Math.abs(limitedReplayed - limitedLive)).toBeLessThanOrEqual(300 + 8)
  expect(limitedReplayed).toBeLessThan(TRACES_A_SECOND * SECONDS * 2)
})
