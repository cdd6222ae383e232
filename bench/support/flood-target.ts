/** The Weir that is flooded: its configuration, and what its metrics page and /proc say of it. */
import { readFileSync, writeFileSync } from 'node:fs'
import { createAuthority, createCertificate } from '../../test/support/certificates.ts'
import { freePort } from '../../test/support/peers.ts'
import { type RunningWeir, startWeir } from '../../test/support/weir.ts'

export interface Target {
  readonly weir: RunningWeir
  /** A reload that changes nothing but a log level: threads that are quiet after it collect their garbage. */
  readonly tidy: () => void
  readonly metricsUrl: string
}

export async function startTarget(): Promise<Target> {
  const port = await freePort()
  const { cert, key } = createCertificate(createAuthority(), 'localhost')
  const readers = [{ pull: { exporter: { prometheus: { host: '127.0.0.1', port } } } }]
  const grpc = { endpoint: '127.0.0.1:0' }
  const config = (level: string) => ({
    receivers: {
      otlp: { protocols: { grpc, http: { endpoint: '127.0.0.1:0' } } },
      'otlp/tls': { protocols: { grpc: { ...grpc, tls: { cert_pem: cert, key_pem: key } } } },
    },
    exporters: { nop: {} },
    service: {
      shards: 2,
      telemetry: { logs: { level }, metrics: { readers } },
      pipelines: { traces: { receivers: ['otlp', 'otlp/tls'], exporters: ['nop'] } },
    },
  })
  const levels = ['info', 'warn']
  const weir = await startWeir(config('info'))
  const tidy = () => {
    levels.reverse()
    writeFileSync(weir.configPath, JSON.stringify(config(levels[0] ?? '')))
    weir.signal('SIGHUP')
  }
  return { weir, tidy, metricsUrl: `http://127.0.0.1:${port}/metrics` }
}

/** Sums of one metric over all its series, or by reason. */
export async function readMetric(url: string, metric: string): Promise<Map<string, number>> {
  const sums = new Map<string, number>()
  for (const line of (await (await fetch(url)).text()).split('\n')) {
    if (!line.startsWith(`${metric}{`)) continue
    const reason = /reason="([^"]*)"/.exec(line)?.[1] ?? ''
    sums.set(reason, (sums.get(reason) ?? 0) + Number(line.split(' ').at(-1)))
  }
  return sums
}

export async function counts(url: string): Promise<Map<string, number>> {
  const closed = await readMetric(url, 'otelcol_receiver_closed_connections')
  const failed = await readMetric(url, 'otelcol_receiver_failed_requests')
  return new Map([...closed, ...[...failed].map(([reason, count]) => [`request ${reason}`, count] as const)])
}

export const rssMb = (pid: number) =>
  Math.round(Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024)
