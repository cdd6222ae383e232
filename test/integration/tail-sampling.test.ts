/**
 * Tail sampling beside the Go collector: 20,000 random traces, spread over interleaved requests on 8
 * connections, through both with the same policies, for every policy type whose decision does not depend on
 * time or order. The same traces must be kept, with the same number of spans, by the Go collector and by Weir
 * on 1, 2 and 8 shards.
 *
 * All pipelines hang on one receiver. Decisions fall at shutdown, since neither collector is fast enough to
 * be sure of a shorter wait. Left out are traces whose duration in whole ms is a threshold: the Go collector
 * 0.155 keeps those (see docs/tail-sampling.md).
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Batch } from '../../src/otlp/batch.ts'
import { findPeer, freePort, startGoCollector } from '../support/peers.ts'
import { request, type TestSpan } from '../support/tail-sampling.ts'
import { startWeir } from '../support/weir.ts'

const TRACES = Number(process.env['TAIL_SAMPLING_TRACES'] ?? 20_000)
const CONNECTIONS = 8
const REQUEST_SPANS = 100
const THRESHOLDS_MS = [1000, 1501, 1600]
const seed = Number(process.env['TAIL_SAMPLING_SEED'] ?? Date.now() % 1_000_000)

let state = seed
function random(below: number): number {
  state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
  return Math.floor((state / 2 ** 32) * below)
}
function pick<T>(...choices: readonly [T, ...T[]]): T {
  return choices[random(choices.length)] ?? choices[0]
}

function randomSpan(trace: string): TestSpan {
  const startMs = random(1000)
  return {
    trace,
    startMs,
    endMs: startMs + pick(5, 50, 300, 900, 1500, 1000.5),
    status: pick(0, 0, 0, 0, 0, 1, 2),
    flags: pick(0, 0, 0, 1, 256, 257),
    scope: pick('x', 'y'),
    root: random(3) === 0,
    resource: {
      'service.name': pick('a', 'b', 'c'),
      ...(random(3) ? {} : { code: pick<string | number>(1, 200, '200') }),
    },
    attributes: {
      ...(random(2) ? { method: pick<string | number | boolean>('GET', 'POST', '', 'PUT', 5, true) } : {}),
      ...(random(2)
        ? { code: pick<string | number | bigint>(200, 404, 500, -3, '404', 2n ** 53n + 1n, 3.5) }
        : {}),
      ...(random(3) ? {} : { cached: pick<string | number | boolean>(true, false, 'true', 1) }),
    },
    ...(random(3) ? {} : { traceState: pick('vendor=a', 'x=1,vendor=b', 'vendor=c', 'bad', ' vendor=b ') }),
  }
}

function randomRequests(): Batch[] {
  const spans: TestSpan[] = []
  for (let index = 0; index < TRACES; index++) {
    const trace = createHash('md5').update(`${seed} ${index}`).digest('hex').replace(/^0/, '1')
    const own = Array.from({ length: 1 + random(5) }, () => randomSpan(trace))
    const start = Math.min(...own.map(({ startMs = 0 }) => startMs))
    const end = Math.max(...own.map(({ endMs = 0 }) => endMs))
    if (!THRESHOLDS_MS.includes(Math.floor(end - start))) spans.push(...own)
  }
  // Every span swaps places with an earlier one, so that traces overlap widely.
  for (const [index, span] of spans.entries()) {
    const other = index - random(Math.min(index, 3000) + 1)
    spans[index] = spans[other] ?? span
    spans[other] = span
  }
  const requests: Batch[] = []
  for (let at = 0; at < spans.length; at += REQUEST_SPANS)
    requests.push(request(...spans.slice(at, at + REQUEST_SPANS)))
  return requests
}

function policy(type: string, block?: Readonly<Record<string, unknown>>, name = 'p') {
  return { name, type, ...(block === undefined ? {} : { [type]: block }) }
}
const statuses = (...status_codes: string[]) => policy('status_code', { status_codes }, 'status')
const latency = (threshold_ms: number) => policy('latency', { threshold_ms }, 'latency')
const text = (block: Readonly<Record<string, unknown>>) => policy('string_attribute', block)
const numeric = (block: Readonly<Record<string, unknown>>) =>
  policy('numeric_attribute', { key: 'code', ...block })
const bool = (block: Readonly<Record<string, unknown>>) =>
  policy('boolean_attribute', { key: 'cached', ...block })
const seedPolicies = [statuses('ERROR'), latency(1000), policy('probabilistic', { sampling_percentage: 10 })]
const regex = { enabled_regex_matching: true, cache_max_size: 2 }

const CASES: Readonly<Record<string, { policies: unknown[]; [field: string]: unknown }>> = {
  seed: { policies: seedPolicies },
  first: { policies: seedPolicies, sample_on_first_match: true },
  always: { policies: [policy('always_sample')] },
  latency: { policies: [latency(1501)] },
  status: { policies: [statuses('OK', 'ERROR')] },
  unset: { policies: [statuses('UNSET')] },
  probabilistic: { policies: [policy('probabilistic', { sampling_percentage: 33.3, hash_salt: 'pepper' })] },
  numeric: { policies: [numeric({ min_value: 400, max_value: 499 })] },
  numeric_inverted: { policies: [numeric({ min_value: 400, invert_match: true })] },
  numeric_open: { policies: [numeric({ max_value: 100 })] },
  string: { policies: [text({ key: 'method', values: ['GET', ''] })] },
  string_inverted: { policies: [text({ key: 'method', values: ['GET'], invert_match: true })] },
  regex: { policies: [text({ key: 'method', values: ['P.T', '^S'], ...regex })] },
  regex_empty: { policies: [text({ key: 'code', values: ['^$'], ...regex })] },
  regex_inverted: { policies: [text({ key: 'method', values: ['P'], ...regex, invert_match: true })] },
  boolean: { policies: [bool({ value: true })] },
  boolean_false: { policies: [bool({ value: false })] },
  boolean_inverted: { policies: [bool({ value: true, invert_match: true })] },
  trace_state: { policies: [policy('trace_state', { key: 'vendor', values: ['a', 'b'] })] },
  trace_flags: { policies: [policy('trace_flags')] },
  span_count: { policies: [policy('span_count', { min_spans: 2, max_spans: 3 })] },
  span_count_open: { policies: [policy('span_count', { min_spans: 4 })] },
  not: { policies: [policy('not', { not_sub_policy: statuses('OK', 'ERROR') })] },
  and: {
    policies: [
      policy('and', {
        and_sub_policy: [
          latency(1600),
          policy('not', { not_sub_policy: text({ key: 'service.name', values: ['a'] }) }),
        ],
      }),
    ],
  },
  drop: {
    policies: [
      policy('always_sample', undefined, 'all'),
      policy('drop', { drop_sub_policy: [statuses('ERROR')] }),
    ],
  },
}

/** The config of both collectors: one pipeline per case, each to a file of its own. */
function configOf(folder: string, endpoint: string, service: Readonly<Record<string, unknown>>) {
  const names = Object.keys(CASES)
  const processor = (name: string) => ({ decision_wait: '600s', num_traces: 2 * TRACES, ...CASES[name] })
  return {
    receivers: { otlp: { protocols: { http: { endpoint } } } },
    processors: Object.fromEntries(names.map((name) => [`tail_sampling/${name}`, processor(name)])),
    exporters: Object.fromEntries(
      names.map((name) => [`file/${name}`, { path: join(folder, `${name}.json`) }]),
    ),
    service: {
      ...service,
      pipelines: Object.fromEntries(
        names.map((name) => [
          `traces/${name}`,
          { receivers: ['otlp'], processors: [`tail_sampling/${name}`], exporters: [`file/${name}`] },
        ]),
      ),
    },
  }
}

async function send(port: number, requests: readonly Batch[]): Promise<void> {
  const headers = { 'content-type': 'application/x-protobuf' }
  const lane = async (first: number) => {
    for (let at = first; at < requests.length; at += CONNECTIONS) {
      const body = requests[at]?.bytes() ?? new Uint8Array(0)
      const url = `http://127.0.0.1:${port}/v1/traces`
      const response = await fetch(url, { method: 'POST', headers, body: Uint8Array.from(body) })
      if (response.status !== 200) throw new Error(`${response.status} ${await response.text()}`)
      await response.arrayBuffer()
    }
  }
  await Promise.all(Array.from({ length: CONNECTIONS }, (_, index) => lane(index)))
}

/** Spans by trace in the file of a case. */
function readKept(folder: string, name: string): Map<string, number> {
  const path = join(folder, `${name}.json`)
  const kept = new Map<string, number>()
  if (!existsSync(path)) return kept
  for (const [, id = ''] of readFileSync(path, 'utf8').matchAll(/"traceId": ?"([0-9a-f]{32})"/g))
    kept.set(id, (kept.get(id) ?? 0) + 1)
  return kept
}

function differences(one: ReadonlyMap<string, number>, other: ReadonlyMap<string, number>): string[] {
  const ids = new Set([...one.keys(), ...other.keys()])
  return [...ids].filter((id) => one.get(id) !== other.get(id))
}

if (findPeer('otelcol') === undefined)
  console.warn('skipped: tail sampling beside the Go collector; install it with test/peers/build.sh otelcol')

test.skipIf(findPeer('otelcol') === undefined)(
  'Weir keeps the traces that the Go collector keeps, on 1, 2 and 8 shards',
  { timeout: 900_000 },
  async () => {
    console.log(`tail sampling: seed ${seed}, ${TRACES} traces, ${Object.keys(CASES).length} configs`)
    const requests = randomRequests()
    const folder = mkdtempSync(join(tmpdir(), 'weir-tail-'))
    try {
      const goPort = await freePort()
      mkdirSync(join(folder, 'go'))
      const quiet = { telemetry: { metrics: { level: 'none' } } }
      const go = await startGoCollector(configOf(join(folder, 'go'), `127.0.0.1:${goPort}`, quiet), goPort)
      await send(goPort, requests)
      // Its decisions and files take longer than stop() allows, so it is left to end by itself first.
      go.child.kill('SIGTERM')
      if (go.child.exitCode === null) await once(go.child, 'exit')
      await go.stop()
      for (const shards of [1, 2, 8]) {
        const own = join(folder, `weir-${shards}`)
        mkdirSync(own)
        await using weir = await startWeir(configOf(own, '127.0.0.1:0', { ...quiet, shards }))
        await send(weir.port('receivers/otlp/protocols/http'), requests)
        expect(await weir.stop()).toBe(0)
        for (const name of Object.keys(CASES)) {
          const want = readKept(join(folder, 'go'), name)
          expect(want.size).toBeGreaterThan(TRACES / 100)
          const different = differences(want, readKept(own, name)).slice(0, 3)
          expect({ shards, name, different }).toEqual({ shards, name, different: [] })
        }
      }
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  },
)
