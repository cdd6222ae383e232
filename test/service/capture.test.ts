/**
 * Captures of a running collector.
 *
 * Scenario: Weir with two shards samples what comes in; `weir sampling capture` records the pipeline
 * meanwhile; afterwards `weir sampling replay` runs the capture through the same configuration. Guarantee:
 * every span is in the capture once, with its arrival time, and the replay keeps what the collector kept.
 * Bad requests are refused, a second capture too, and no request names a path.
 */
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { afterAll, expect, test } from 'vitest'
import type { Report } from '../../src/replay/report.ts'
import { request } from '../support/tail-sampling.ts'
import { startWeir } from '../support/weir.ts'

const MAIN = path.join(import.meta.dirname, '../../src/main.ts')
const folder = mkdtempSync(path.join(tmpdir(), 'weir-capture-'))
afterAll(() => rmSync(folder, { recursive: true }))
const file = (name: string) => path.join(folder, name)
const weirCommand = (...flags: readonly string[]) => promisify(execFile)(process.execPath, [MAIN, ...flags])

function config(capture: object | undefined) {
  return {
    receivers: { otlp: { protocols: { http: { endpoint: '127.0.0.1:0' } } } },
    processors: {
      tail_sampling: {
        decision_wait: '30s',
        policies: [
          { name: 'errors', type: 'status_code', status_code: { status_codes: ['ERROR'] } },
          { name: 'some', type: 'probabilistic', probabilistic: { sampling_percentage: 30 } },
        ],
      },
    },
    exporters: { file: { path: file('kept.json') } },
    service: {
      shards: 2,
      admin: { endpoint: '127.0.0.1:0', ...(capture && { capture }) },
      telemetry: { metrics: { level: 'none' } },
      pipelines: { traces: { receivers: ['otlp'], processors: ['tail_sampling'], exporters: ['file'] } },
    },
  }
}

test('what a capture holds replays to what the collector kept', { timeout: 60_000 }, async () => {
  const directory = file('captures')
  await using weir = await startWeir(config({ directory, max_size_mib: 1 }))
  const admin = weir.address('service/admin')
  const out = file('monday.otlp')
  const capturing = weirCommand(
    'sampling',
    'capture',
    '--endpoint',
    admin,
    '--duration',
    '3s',
    '--max-mb',
    '1',
    '--out',
    out,
  )
  await weir.logged(({ msg }) => msg === 'capturing')
  await sleep(500) // Each shard has been asked.
  const call = async (query: string) => {
    const answer = await fetch(`http://${admin}/-/capture?${query}`, { method: 'POST' })
    return { status: answer.status, body: (await answer.json()) as { error: string } }
  }
  expect(await call('pipeline=traces')).toMatchObject({ status: 409 })
  const sentMs = Date.now()
  for (let number = 0; number < 200; number++) {
    const trace = randomBytes(16).toString('hex')
    const spans = [
      { trace, status: number % 9 === 0 ? 2 : 0 },
      { trace, root: false },
    ]
    const body = Buffer.from(request(...spans).bytes())
    const headers = { 'content-type': 'application/x-protobuf' }
    const url = `http://${weir.address('receivers/otlp/protocols/http')}/v1/traces`
    expect((await fetch(url, { method: 'POST', headers, body })).status).toBe(200)
  }
  const { stdout } = await capturing
  expect(stdout).toContain('monday.otlp: 200 messages')
  expect(readdirSync(directory)).toEqual([])
  for (const [query, status] of [
    ['pipeline=traces&duration=0s', 400],
    ['pipeline=traces&duration=2h', 400],
    ['pipeline=traces&max_mb=5', 400],
    ['pipeline=metrics', 404],
    ['pipeline=traces&file=/etc/passwd', 400],
  ] as const)
    expect(await call(query), query).toMatchObject({ status })
  expect((await fetch(`http://${admin}/-/capture`)).status).toBe(405)
  expect(
    (await fetch(`http://${admin}/-/capture`, { method: 'POST', headers: { origin: 'http://a' } })).status,
  ).toBe(403)
  await weir.stop()

  const ids = file('ids.txt')
  const flags = ['--config', weir.configPath, '--input', out, '--json', '--quiet', '--kept-ids', ids]
  const report = JSON.parse((await weirCommand('sampling', 'replay', ...flags)).stdout) as Report
  expect(report.input).toMatchObject({ traces: 200, spans: 400 })
  expect(report.recording.arrival).toBe('recorded')
  expect(Math.abs(Date.parse(report.recording.from ?? '') - sentMs)).toBeLessThan(5000)
  const kept = new Set(readFileSync(file('kept.json'), 'utf8').match(/(?<="traceId":")[0-9a-f]{32}/g))
  expect(kept.size).toBeGreaterThan(30)
  expect(readFileSync(ids, 'utf8').trim().split('\n').sort()).toEqual([...kept].sort())
})

test('without a directory there are no captures; who goes away ends one, and its file stays', {
  timeout: 60_000,
}, async () => {
  await using weir = await startWeir(config(undefined))
  const answer = await fetch(`http://${weir.address('service/admin')}/-/capture?pipeline=traces`, {
    method: 'POST',
  })
  expect(answer.status).toBe(404)
  expect(await answer.text()).toContain('service.admin.capture')
  const directory = file('others')
  await using other = await startWeir(config({ directory }))
  const url = `http://${other.address('service/admin')}/-/capture?pipeline=traces&duration=60s`
  const gone = new AbortController()
  const waiting = fetch(url, { method: 'POST', signal: gone.signal }).catch(() => 'gone')
  await other.logged(({ msg }) => msg === 'capturing')
  gone.abort()
  expect(await waiting).toBe('gone')
  const ended = await other.logged(({ msg }) => msg === 'captured')
  expect(ended).toMatchObject({ ended: 'stopped', messages: 0 })
  expect(existsSync(String(ended['file']))).toBe(true)
})
