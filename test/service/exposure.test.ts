/**
 * What a collector shows to the outside when nobody asks it to show more: loopback listeners, TLS 1.2 or newer, and admin ports
 * that answer nonsense with 400 and live on.
 */
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import tls from 'node:tls'
import { afterAll, expect, test } from 'vitest'
import { createAuthority, createCertificate } from '../support/certificates.ts'
import { freePort } from '../support/peers.ts'
import { startWeir } from '../support/weir.ts'

const folder = mkdtempSync(join(tmpdir(), 'weir-exposure-'))
afterAll(() => rmSync(folder, { recursive: true }))

const HTTP = 'receivers/otlp/protocols/http'

function config(metricsPort: number, http: object = {}) {
  const prometheus = { host: 'localhost', port: metricsPort }
  return {
    receivers: {
      otlp: { protocols: { grpc: { endpoint: 'localhost:0' }, http: { endpoint: 'localhost:0', ...http } } },
    },
    exporters: { nop: {} },
    extensions: { health_check: { endpoint: 'localhost:0' } },
    service: {
      shards: 2,
      extensions: ['health_check'],
      telemetry: { metrics: { readers: [{ pull: { exporter: { prometheus } } }] } },
      pipelines: { traces: { receivers: ['otlp'], exporters: ['nop'] } },
    },
  }
}

/** Addresses, in the kernel's hexadecimal, that the process listens on. */
function listening(pid: number): string[] {
  const inodes = new Set<string>()
  for (const descriptor of readdirSync(`/proc/${pid}/fd`)) {
    try {
      inodes.add(/^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${descriptor}`))?.[1] ?? '')
    } catch {
      // Closed since the listing.
    }
  }
  const found: string[] = []
  for (const table of ['tcp', 'tcp6']) {
    for (const line of readFileSync(`/proc/${pid}/net/${table}`, 'utf8').split('\n').slice(1)) {
      const [, local, , state, , , , , , inode] = line.trim().split(/\s+/)
      if (state === '0A' && local && inodes.has(inode ?? '')) found.push(local.split(':')[0] ?? '')
    }
  }
  return found
}

function exchange(port: number, text: string): Promise<string> {
  return new Promise((resolve) => {
    let answer = ''
    const socket = connect(port, '127.0.0.1', () => socket.write(text))
    socket.setTimeout(5000, () => socket.destroy())
    socket.on('data', (data) => {
      answer += data
      socket.end()
    })
    socket.on('error', () => {})
    socket.on('close', () => resolve(answer))
  })
}

const LOOPBACK = ['0100007F', '00000000000000000000000001000000']

test.runIf(process.platform === 'linux')(
  'listens on loopback only; admin ports answer nonsense and live on',
  async () => {
    const metricsPort = await freePort()
    await using weir = await startWeir(config(metricsPort))
    const found = listening(weir.pid)
    expect(found.length).toBeGreaterThanOrEqual(4)
    expect(found.filter((address) => !LOOPBACK.includes(address))).toEqual([])
    for (const port of [metricsPort, weir.port('extensions/health_check')]) {
      const f = async (text: string, want: RegExp) =>
        expect([text, await exchange(port, text)]).toEqual([text, expect.stringMatching(want)])
      const end = 'HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
      await f(`GET /%E0%A4%A ${end}`, /^HTTP\/1\.1 (400|404) /)
      await f(`GET http://[::1 ${end}`, /^HTTP\/1\.1 (400|404) /)
      await f(`GET //// ${end}`, /^HTTP\/1\.1 (400|404) /)
      await f(`NONSENSE / ${end}`, /^HTTP\/1\.1 400 /)
      await f('\x16\x03\x01\x00\xa5\x01\x00\x00\r\n\r\n', /^HTTP\/1\.1 400 /)
      await f(`GET / HTTP/9.9\r\n\r\n`, /^HTTP\/1\.1 (400|505) /)
      await f(
        `GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n`,
        /^HTTP\/1\.1 400 /,
      )
      await f(`GET / HTTP/1.1\r\nX: ${'y'.repeat(20_000)}\r\n\r\n`, /^HTTP\/1\.1 (400|431) /)
      const path = port === metricsPort ? '/metrics' : '/'
      expect(await exchange(port, `GET ${path} ${end}`)).toMatch(/^HTTP\/1\.1 200 /)
    }
    expect(await weir.stop()).toBe(0)
  },
)

test('TLS below 1.2 is refused', async () => {
  const authority = createAuthority()
  const pair = createCertificate(authority, 'server')
  const [cert_file, key_file] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
  writeFileSync(cert_file, pair.cert)
  writeFileSync(key_file, pair.key)
  await using weir = await startWeir(config(await freePort(), { tls: { cert_file, key_file } }))
  const port = weir.port(HTTP)
  const f = (version: tls.SecureVersion) =>
    new Promise<string>((resolve) => {
      const options = { minVersion: version, maxVersion: version, ciphers: 'DEFAULT@SECLEVEL=0' }
      const socket = tls.connect({ port, host: '127.0.0.1', ca: authority.cert, ...options }, () => {
        resolve(socket.getProtocol() ?? '')
        socket.destroy()
      })
      socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    })
  expect(await f('TLSv1')).toMatch(/^(ERR_SSL|ECONNRESET)/)
  expect(await f('TLSv1.1')).toMatch(/^(ERR_SSL|ECONNRESET)/)
  expect(await f('TLSv1.2')).toBe('TLSv1.2')
  expect(await f('TLSv1.3')).toBe('TLSv1.3')
})
