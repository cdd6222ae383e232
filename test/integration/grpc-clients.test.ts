/**
 * A client of grpc-go, telemetrygen, against the gRPC server in src/net/http2, plain and over TLS: all that it sends arrives, and
 * nothing goes wrong on the server. The Go collector's exporter is in go-collector.test.ts, with each compression.
 */
import { execFile } from 'node:child_process'
import net from 'node:net'
import tls from 'node:tls'
import { promisify } from 'node:util'
import { afterEach, describe, expect, test } from 'vitest'
import { GRPC } from '../../src/net/grpc.ts'
import { createHttp2GrpcServer } from '../../src/net/http2/grpc-server.ts'
import { countItems } from '../../src/otlp/count.ts'
import { createAuthority, createCertificate } from '../support/certificates.ts'
import { keepalive } from '../support/grpc-servers.ts'
import { findPeer } from '../support/peers.ts'

const PATH = '/opentelemetry.proto.collector.trace.v1.TraceService/Export'
const OK = Buffer.from([0x0a, 0])
const telemetrygen = findPeer('telemetrygen')
if (telemetrygen === undefined) console.log('skipped: telemetrygen is not there')
const closers: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

async function serve(secure?: tls.TlsOptions) {
  const seen = { spans: 0, requests: 0, errors: [] as unknown[] }
  const server = createHttp2GrpcServer({
    handlers: new Map([
      [
        PATH,
        async ({ message }) => {
          seen.requests++
          seen.spans += countItems('traces', message)
          return OK
        },
      ],
    ]),
    releases: () => true,
    toStatus: (error) => {
      seen.errors.push(error)
      return { code: GRPC.INTERNAL, message: 'internal error' }
    },
    maxMessageBytes: 4 << 20,
    maxConcurrentStreams: 0,
    keepalive,
  })
  const accept = (socket: net.Socket): void => server.accept(socket)
  const listener = secure
    ? tls.createServer({ ...secure, ALPNProtocols: ['h2'] }, accept)
    : net.createServer(accept)
  await new Promise<void>((resolve) => void listener.listen(0, '127.0.0.1', resolve))
  closers.push(() => {
    listener.close()
    return server.shutdown(AbortSignal.abort())
  })
  return { seen, port: (listener.address() as net.AddressInfo).port, server }
}

const generate = (port: number, traces: number, ...more: string[]) =>
  promisify(execFile)(telemetrygen ?? '', [
    'traces',
    '--otlp-endpoint',
    `127.0.0.1:${port}`,
    '--traces',
    String(traces),
    '--child-spans',
    '4',
    '--workers',
    '4',
    '--batch=false', // Its batcher drops what it cannot hold.
    '--rate',
    '0',
    ...more,
  ])

describe.skipIf(telemetrygen === undefined)('telemetrygen', () => {
  test('sends all its spans', async () => {
    const { seen, port } = await serve()
    await generate(port, 100, '--otlp-insecure')
    expect([seen.spans, seen.errors]).toEqual([4 * 100 * 5, []])
  })
  test('sends all its spans over TLS', async () => {
    const { cert, key } = createCertificate(createAuthority(), 'server')
    const { seen, port } = await serve({ cert, key })
    await generate(port, 100, '--otlp-insecure-skip-verify')
    expect([seen.spans, seen.errors]).toEqual([4 * 100 * 5, []])
  })
})
