/**
 * 1,000 connections of ghz (grpc-go) at a time, plain and over TLS: every call is answered, none with an error, every span arrives. Prints
 * latencies and the memory of a connection.
 */
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, onTestFinished, test } from 'vitest'
import { createAuthority, createCertificate } from '../support/certificates.ts'
import { traces } from '../support/otlp.ts'
import { findPeer, freePort } from '../support/peers.ts'
import { startWeir } from '../support/weir.ts'

const CONNECTIONS = 1000
const CALLS = 20_000
const SPANS = ['a', 'b', 'c']
const PROTO = join(import.meta.dirname, '../../proto')
const ghz = findPeer('ghz')
if (ghz === undefined) console.log('skipped: ghz is not there; test/peers/build.sh ghz builds it')

interface Report {
  readonly count: number
  readonly rps: number
  readonly errorDistribution: Readonly<Record<string, number>>
  readonly statusCodeDistribution: Readonly<Record<string, number>>
  readonly latencyDistribution: readonly { readonly percentage: number; readonly latency: number }[]
}

const rssBytes = (pid: number) =>
  Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024

test.skipIf(ghz === undefined).for(['plain', 'TLS'])(`${CONNECTIONS} connections, %s`, async (kind) => {
  const folder = mkdtempSync(join(tmpdir(), 'weir-ghz-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const authority = createAuthority()
  const { cert, key } = createCertificate(authority, 'localhost')
  const message = join(folder, 'message.bin')
  writeFileSync(message, traces({ resource: { 'service.name': 'shop' }, spans: SPANS }).bytes())
  writeFileSync(join(folder, 'ca.pem'), authority.cert)
  const metricsPort = await freePort()
  const readers = [{ pull: { exporter: { prometheus: { host: '127.0.0.1', port: metricsPort } } } }]
  const tls = kind === 'TLS' ? { tls: { cert_pem: cert, key_pem: key } } : {}
  await using weir = await startWeir({
    receivers: { otlp: { protocols: { grpc: { endpoint: '127.0.0.1:0', ...tls } } } },
    exporters: { nop: {} },
    service: {
      shards: 2,
      telemetry: { metrics: { readers } },
      pipelines: { traces: { receivers: ['otlp'], exporters: ['nop'] } },
    },
  })
  const metric = async (name: string) => {
    const page = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text()
    const lines = page.split('\n').filter((line) => line.startsWith(`${name}{`))
    return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)
  }
  const before = rssBytes(weir.pid)
  let peak = before
  let open = 0
  const watch = setInterval(() => {
    peak = Math.max(peak, rssBytes(weir.pid))
    void metric('otelcol_receiver_connections').then((count) => {
      open = Math.max(open, count)
    })
  }, 250)
  onTestFinished(() => clearInterval(watch))
  const { stdout } = await promisify(execFile)(
    ghz ?? '',
    [
      ...(kind === 'TLS' ? ['--cacert', join(folder, 'ca.pem')] : ['--insecure']),
      ...['--import-paths', PROTO],
      ...['--proto', join(PROTO, 'opentelemetry/collector-trace.proto')],
      ...['--call', 'opentelemetry.proto.collector.trace.v1.TraceService.Export'],
      ...['--connections', String(CONNECTIONS), '--concurrency', String(CONNECTIONS)],
      ...['--total', String(CALLS), '--timeout', '120s', '--connect-timeout', '60s'],
      ...['--binary-file', message, '--format', 'json'],
      `127.0.0.1:${weir.port('receivers/otlp/protocols/grpc')}`,
    ],
    { timeout: 240_000, maxBuffer: 64 << 20 },
  )
  clearInterval(watch)
  const report = JSON.parse(stdout) as Report
  expect(report.count).toBe(CALLS)
  expect(report.errorDistribution).toEqual({})
  expect(report.statusCodeDistribution).toEqual({ OK: CALLS })
  expect(open).toBe(CONNECTIONS)
  expect(await metric('otelcol_receiver_accepted_spans')).toBe(CALLS * SPANS.length)
  const latencies = report.latencyDistribution
    .filter(({ percentage }) => [50, 99].includes(percentage))
    .map(({ percentage, latency }) => `p${percentage} ${(latency / 1e6).toFixed(0)} ms`)
  const each = ((peak - before) / CONNECTIONS / 1024).toFixed(0)
  console.log(
    `${kind}: ${report.rps.toFixed(0)} calls/s, ${latencies.join(', ')}, RSS + ${each} KB a connection`,
  )
})
