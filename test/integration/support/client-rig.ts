/**
 * Weir between real clients and three ways out: the file exporter, otlp_grpc and otlp_http, with a resource
 * edit on the way. What the clients sent is known from a mirror; each way out must hold the same with the
 * edit, and nothing else.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { SIGNALS, type Signal } from '../../../src/otlp/batch.ts'
import type { Certificate } from '../../support/certificates.ts'
import type { Plain } from '../../support/otlp.ts'
import { type RunningWeir, startWeir } from '../../support/weir.ts'
import { Capture } from './capture.ts'
import { type Edit, edited, expectSame, itemCount } from './compare.ts'
import { parseLines } from './otlp-json.ts'

export const EDIT: Edit = { upsert: { environment: 'production' }, delete: ['secret.note'] }

export interface ClientRig extends AsyncDisposable {
  readonly weir: RunningWeir
  readonly mirror: Capture
  readonly grpcEndpoint: string
  readonly httpUrl: string
  /** What the clients sent. */
  sent(signal: Signal): Plain[]
  /** Stops Weir, compares all ways out with the mirror, and says how many items there were. */
  finish(): Promise<Record<Signal, number>>
}

/** The HTTP/2 layers of the otlp receiver: both must serve every client. */
export type Implementation = 'http2' | 'grpc-js'

/** With a `certificate` both receivers speak TLS; the mirror and the ways out stay plain. */
export async function startClientRig(
  implementation: Implementation = 'http2',
  certificate?: Certificate,
): Promise<ClientRig> {
  const tls = certificate && { cert_pem: certificate.cert, key_pem: certificate.key }
  const mirror = await new Capture().start()
  const outputs = { otlp_grpc: await new Capture().start(), otlp_http: await new Capture().start() }
  const weir = await startWeir({
    receivers: {
      otlp: {
        protocols: {
          grpc: { endpoint: '127.0.0.1:0', implementation, ...(tls && { tls }) },
          http: { endpoint: '127.0.0.1:0', ...(tls && { tls }) },
        },
      },
    },
    processors: {
      resource: {
        attributes: [
          ...Object.entries(EDIT.upsert).map(([key, value]) => ({ key, value, action: 'upsert' })),
          ...EDIT.delete.map((key) => ({ key, action: 'delete' })),
        ],
      },
    },
    exporters: {
      file: { path: './out.jsonl' },
      // A busy machine may take long, and a retry would be a complaint.
      otlp_grpc: { endpoint: outputs.otlp_grpc.grpcEndpoint, tls: { insecure: true }, timeout: '60s' },
      otlp_http: { endpoint: outputs.otlp_http.httpUrl, timeout: '60s' },
    },
    service: {
      shards: 2,
      telemetry: { metrics: { level: 'none' } },
      pipelines: Object.fromEntries(
        SIGNALS.map((signal) => [
          signal,
          { receivers: ['otlp'], processors: ['resource'], exporters: ['file', 'otlp_grpc', 'otlp_http'] },
        ]),
      ),
    },
  })
  const sent = (signal: Signal) => mirror.requests(signal)
  const finish = async () => {
    const code = await weir.stop()
    if (code !== 0) throw new Error(`weir ended with ${code}`)
    const bad = weir.log.filter((line) => ['warn', 'error', 'raw'].includes(line.level))
    if (bad.length > 0) throw new Error(`weir complained: ${JSON.stringify(bad.slice(0, 3))}`)
    const lines = parseLines(readFileSync(join(weir.folder, 'out.jsonl'), 'utf8'))
    const counts = { traces: 0, metrics: 0, logs: 0 }
    for (const signal of SIGNALS) {
      const expected = sent(signal).map((request) => edited(signal, request, EDIT))
      const inFile = lines.filter((line) => line.signal === signal).map((line) => line.object)
      expectSame('file', signal, inFile, expected)
      for (const [name, output] of Object.entries(outputs))
        expectSame(name, signal, output.requests(signal), expected)
      counts[signal] = itemCount(signal, expected)
    }
    return counts
  }
  return {
    weir,
    mirror,
    grpcEndpoint: weir.address('receivers/otlp/protocols/grpc'),
    httpUrl: `${tls ? 'https' : 'http'}://${weir.address('receivers/otlp/protocols/http')}`,
    sent,
    finish,
    async [Symbol.asyncDispose]() {
      await weir[Symbol.asyncDispose]()
      for (const one of [mirror, ...Object.values(outputs)]) await one[Symbol.asyncDispose]()
    },
  }
}
