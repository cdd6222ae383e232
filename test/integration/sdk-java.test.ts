/**
 * The OpenTelemetry SDK for Java (java/) sends to Weir with two shards. Guarantee: every item arrives at every exporter, equal
 * field by field to what was sent but for the resource edit. Maven builds the client into $WEIR_PEERS/java.
 */
import { execFile, execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { beforeAll, expect, onTestFinished, test } from 'vitest'
import { SIGNALS } from '../../src/otlp/batch.ts'
import { createAuthority, createCertificate } from '../support/certificates.ts'
import { startClientRig } from './support/client-rig.ts'
import { fieldsUsed } from './support/compare.ts'
import { COVERED } from './support/covered.ts'

const PROJECT = join(import.meta.dirname, 'java')
const TARGET = join(process.env['WEIR_PEERS'] ?? join(homedir(), '.cache/weir-peers'), 'java')
const ROUNDS = 10
const found = spawnSync('mvn', ['--version']).status === 0
if (!found) console.log('skipped: there is no mvn')

beforeAll(() => {
  if (!found) return
  const offline = existsSync(join(TARGET, 'lib')) ? ['--offline'] : []
  const target = `-Dclient.target=${TARGET}`
  execFileSync('mvn', ['--quiet', '--batch-mode', ...offline, target, 'package'], { cwd: PROJECT })
}, 600_000)

const CASES = [
  ['grpc', 'none'],
  ['grpc', 'gzip'],
  ['grpc', 'none', 'TLS'],
  ['grpc', 'gzip', 'TLS'],
  ['http', 'none'],
  ['http', 'gzip'],
  ['http', 'gzip', 'TLS'],
] as const

test.skipIf(!found).for(CASES)(
  '%s, compression %s %s: all that the SDK sends arrives as it was sent',
  async ([transport, compression, secure]) => {
    const authority = createAuthority()
    const certificate = secure === undefined ? undefined : createCertificate(authority, 'localhost')
    const folder = mkdtempSync(join(tmpdir(), 'weir-java-'))
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
    const trusted = join(folder, 'ca.pem')
    writeFileSync(trusted, authority.cert)
    await using rig = await startClientRig('http2', certificate)
    const endpoints =
      transport === 'grpc'
        ? [
            `endpoint=${secure ? 'https' : 'http'}://${rig.grpcEndpoint}`,
            `mirror=http://${rig.mirror.grpcEndpoint}`,
          ]
        : [`endpoint=${rig.httpUrl}`, `mirror=${rig.mirror.httpUrl}`]
    const run = (delta: boolean) =>
      promisify(execFile)(
        'java',
        [
          '-cp',
          `${join(TARGET, 'classes')}:${join(TARGET, 'lib')}/*`,
          'Client',
          `transport=${transport}`,
          `compression=${compression}`,
          `rounds=${ROUNDS}`,
          `delta=${delta}`,
          ...endpoints,
          ...(secure ? [`certificate=${trusted}`] : []),
        ],
        { timeout: 120_000 },
      )
    await Promise.all([run(false), run(true)])
    const used = new Set(SIGNALS.flatMap((signal) => [...fieldsUsed(signal, rig.sent(signal))]))
    // Its API has no attributes of scopes.
    const covered = [...COVERED, 'Exemplar.traceId', 'Exemplar.filteredAttributes', 'Link.traceState'].filter(
      (field) => field !== 'InstrumentationScope.attributes',
    )
    expect(covered.filter((field) => !used.has(field))).toEqual([])
    const counts = await rig.finish()
    console.log(`Java SDK, ${transport}, ${compression} ${secure ?? ''}:`, counts, `${used.size} fields`)
    expect(counts.traces).toBe(2 * ROUNDS * 2 * 4)
    expect(counts.logs).toBe(2 * ROUNDS * 2 * 9)
    expect(counts.metrics).toBeGreaterThan(2 * ROUNDS * 2 * 15)
  },
)
