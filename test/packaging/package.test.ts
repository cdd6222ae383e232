/**
 * The published package: packed, installed into an empty folder, run as compiled JavaScript by plain Node with two shards.
 * Guarantee: what `npm install weir-collector` gives passes data. Needs a registry for the dependencies.
 */
import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'

const root = join(import.meta.dirname, '../..')
const folder = mkdtempSync(join(tmpdir(), 'weir-package-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const CONFIG = {
  receivers: {
    otlp: { protocols: { http: { endpoint: 'localhost:0' }, grpc: { endpoint: 'localhost:0' } } },
  },
  processors: {
    memory_limiter: { check_interval: '1s', limit_mib: 500 },
    resource: { attributes: [{ key: 'environment', value: 'packed', action: 'upsert' }] },
    tail_sampling: { decision_wait: '1s', policies: [{ name: 'all', type: 'always_sample' }] },
    batch: { timeout: '100ms' },
  },
  exporters: { file: { path: 'traces.jsonl' } },
  service: {
    shards: 2,
    telemetry: { metrics: { level: 'none' } },
    pipelines: {
      traces: {
        receivers: ['otlp'],
        processors: ['memory_limiter', 'resource', 'tail_sampling', 'batch'],
        exporters: ['file'],
      },
    },
  },
}

test('the packed tarball installs, starts with two shards, and passes data', async () => {
  const npm = (args: string[], cwd: string) =>
    execFileSync('npm', args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  const packed = npm(['pack', '--silent', '--pack-destination', folder], root).trim().split('\n').at(-1) ?? ''
  writeFileSync(join(folder, 'package.json'), '{"name":"empty","private":true}')
  npm(['install', '--no-audit', '--no-fund', '--prefer-offline', join(folder, packed)], folder)
  writeFileSync(join(folder, 'config.yaml'), JSON.stringify(CONFIG))

  const weir = join(folder, 'node_modules/weir-collector/src/weir.mjs')
  const child = spawn(process.execPath, [weir, '--config', 'config.yaml'], {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let log = ''
  child.stderr.on('data', (data) => {
    log += String(data)
  })
  const ended = new Promise<number | null>((resolve) => void child.once('exit', resolve))
  try {
    const ready = await until(
      () => log.split('\n').find((line) => line.includes('"weir is ready"')),
      () => log,
    )
    const { listeners, shards } = JSON.parse(ready) as { listeners: Record<string, string>; shards: number }
    expect(shards).toBe(2)
    const body = readFileSync(join(root, 'pipelines/sample-trace.json'), 'utf8')
    const answer = await fetch(`http://${listeners['receivers/otlp/protocols/http']}/v1/traces`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
    })
    expect(answer.status).toBe(200)
  } finally {
    child.kill('SIGTERM')
  }
  expect(await ended).toBe(0)
  const written = readFileSync(join(folder, 'traces.jsonl'), 'utf8')
  expect(written).toContain('"POST /checkout"')
  expect(written).toContain('"packed"')
}, 300_000)

async function until(find: () => string | undefined, log: () => string): Promise<string> {
  for (let attempt = 0; attempt < 300; attempt++) {
    const found = find()
    if (found !== undefined) return found
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new Error(`not ready: ${log()}`)
}
