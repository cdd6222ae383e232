/**
 * The OpenTelemetry SDK for JavaScript sends to Weir with two shards. Guarantee: every item arrives at every
 * exporter, equal field by field to what was sent but for the resource edit.
 */
import { expect, test } from 'vitest'
import { SIGNALS } from '../../src/otlp/batch.ts'
import { createAuthority, createCertificate } from '../support/certificates.ts'
import { type Implementation, startClientRig } from './support/client-rig.ts'
import { fieldsUsed } from './support/compare.ts'
import { COVERED } from './support/covered.ts'
import { runClient, type Transport } from './support/js-client.ts'

const SERVERS: readonly (readonly [Transport, (Implementation | undefined)?, 'TLS'?])[] = [
  ['grpc', 'http2'],
  ['grpc', 'http2', 'TLS'],
  ['http/protobuf', undefined, 'TLS'],
  ['grpc', 'grpc-js'],
  ['http/protobuf'],
  ['http/json'],
]

for (const [transport, implementation, secure] of SERVERS) {
  for (const gzip of [false, true]) {
    const way = `${transport}${implementation ? ` to ${implementation}` : ''}${gzip ? ' with gzip' : ''}${secure ? ' over TLS' : ''}`
    test(`${way}: all that the SDK sends arrives as it was sent`, async () => {
      const authority = createAuthority()
      const certificate = secure && createCertificate(authority, 'localhost')
      await using rig = await startClientRig(implementation, certificate)
      const endpoints =
        transport === 'grpc'
          ? { endpoint: rig.grpcEndpoint, mirror: rig.mirror.grpcEndpoint }
          : { endpoint: rig.httpUrl, mirror: rig.mirror.httpUrl }
      await Promise.all(
        [
          { 'service.name': 'shop', environment: 'staging', 'secret.note': 'x', 'process.pid': 7 },
          { 'service.name': 'cart', 'secret.note': 'y', 'host.arch': 'arm64', ports: [1, 2] },
          {},
          { 'service.name': 'plain', ratio: 0.5 },
        ].map((resource, index) =>
          runClient({
            transport,
            gzip,
            delta: index % 2 === 1,
            ...endpoints,
            ...(secure && { authority: authority.cert }),
            resource,
            ...(index === 0 && { schemaUrl: 'https://example.test/resource' }),
            rounds: 25,
          }),
        ),
      )
      const used = new Set(SIGNALS.flatMap((signal) => [...fieldsUsed(signal, rig.sent(signal))]))
      // The Python SDK sends no trace state of links.
      expect([...COVERED, 'Link.traceState'].filter((field) => !used.has(field))).toEqual([])
      const counts = await rig.finish()
      console.log(
        `JavaScript SDK, ${transport} ${implementation ?? ''}, gzip ${gzip}:`,
        counts,
        `${used.size} fields`,
      )
      expect(counts.traces).toBe(4 * 25 * 2 * 4)
      expect(counts.logs).toBe(4 * 25 * 2 * 11)
      expect(counts.metrics).toBeGreaterThan(4 * 25 * 2 * 15)
    })
  }
}
