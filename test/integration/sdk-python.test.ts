/**
 * The OpenTelemetry SDK for Python sends to Weir with two shards. Guarantee: every item arrives at every
 * exporter, equal field by field to what was sent but for the resource edit. python/install.sh installs the
 * SDK.
 */
import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, onTestFinished, test } from 'vitest'
import { SIGNALS } from '../../src/otlp/batch.ts'
import { createAuthority, createCertificate } from '../support/certificates.ts'
import { startClientRig } from './support/client-rig.ts'
import { fieldsUsed } from './support/compare.ts'
import { COVERED } from './support/covered.ts'

const PYTHON = join(process.env['WEIR_PEERS'] ?? join(homedir(), '.cache/weir-peers'), 'python/bin/python')
const CLIENT = join(import.meta.dirname, 'python/client.py')
const ROUNDS = 10
const RESOURCES = [
  { 'service.name': 'shop', environment: 'staging', 'secret.note': 'x', 'process.pid': 7 },
  { 'service.name': 'cart', 'secret.note': 'y', ports: [1, 2] },
  {},
  { 'service.name': 'plain', ratio: 0.5 },
]

const CASES = [
  ['grpc', 'none', 'http2'],
  ['grpc', 'gzip', 'http2', 'TLS'],
  ['http/protobuf', 'gzip', 'node:http', 'TLS'],
  ['grpc', 'gzip', 'http2'],
  ['grpc', 'none', 'grpc-js'],
  ['grpc', 'gzip', 'grpc-js'],
  ['http/protobuf', 'none', 'node:http'],
  ['http/protobuf', 'gzip', 'node:http'],
  ['http/protobuf', 'deflate', 'node:http'],
  ['http/json', 'none', 'node:http'],
  ['http/json', 'gzip', 'node:http'],
] as const

if (!existsSync(PYTHON))
  console.log(`skipped: ${PYTHON} is not there; run test/integration/python/install.sh`)

test.skipIf(!existsSync(PYTHON)).for(CASES)(
  '%s, compression %s, served by %s %s: all that the SDK sends arrives as it was sent',
  async ([transport, compression, server, secure]) => {
    const authority = createAuthority()
    const certificate = secure === undefined ? undefined : createCertificate(authority, 'localhost')
    const folder = mkdtempSync(join(tmpdir(), 'weir-python-'))
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
    const trusted = join(folder, 'ca.pem')
    writeFileSync(trusted, authority.cert)
    await using rig = await startClientRig(server === 'node:http' ? undefined : server, certificate)
    const endpoints =
      transport === 'grpc'
        ? { endpoint: rig.grpcEndpoint, mirror: rig.mirror.grpcEndpoint }
        : { endpoint: rig.httpUrl, mirror: rig.mirror.httpUrl }
    const run = (resources: readonly object[]) =>
      promisify(execFile)(
        PYTHON,
        [
          CLIENT,
          JSON.stringify({
            transport,
            compression,
            ...endpoints,
            resources,
            rounds: ROUNDS,
            ...(secure && { certificate: trusted }),
          }),
        ],
        // These variables would win over the authority that the client is given.
        {
          timeout: 120_000,
          env: { ...process.env, REQUESTS_CA_BUNDLE: undefined, CURL_CA_BUNDLE: undefined },
        },
      )
    await Promise.all([run(RESOURCES.slice(0, 2)), run(RESOURCES.slice(2))])
    const used = new Set(SIGNALS.flatMap((signal) => [...fieldsUsed(signal, rig.sent(signal))]))
    const covered = [...COVERED, 'Exemplar.traceId', 'Exemplar.filteredAttributes']
    expect(covered.filter((field) => !used.has(field))).toEqual([])
    const counts = await rig.finish()
    console.log(
      `Python SDK, ${transport} to ${server}, ${compression} ${secure ?? ''}:`,
      counts,
      `${used.size} fields`,
    )
    expect(counts.traces).toBe(RESOURCES.length * ROUNDS * 2 * 4)
    expect(counts.logs).toBe(RESOURCES.length * ROUNDS * 2 * 11)
    expect(counts.metrics).toBeGreaterThan(RESOURCES.length * ROUNDS * 2 * 15)
  },
)
