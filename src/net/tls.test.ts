import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import tls from 'node:tls'
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { createAuthority, createCertificate } from '../../test/support/certificates.ts'
import { ClientTls, clientTlsFields, clientTlsOptions, serverTlsFields } from './tls.ts'
import { createServerTls, type ServerTls } from './tls-server.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'weir-tls-'))
afterAll(() => rmSync(folder, { recursive: true }))
const file = (name: string, content: string): string => {
  const full = path.join(folder, name)
  writeFileSync(full, content)
  return full
}
const authority = createAuthority()
const server = createCertificate(authority, 'server')
const client = createCertificate(authority, 'client')
const stranger = createCertificate(createAuthority(), 'stranger')
const serverPem = { cert_pem: server.cert, key_pem: server.key }

const closers: (() => void)[] = []
afterEach(() => {
  for (const close of closers.splice(0)) close()
})

interface Running {
  readonly port: number
  readonly terminator: ServerTls
  readonly problems: string[]
  nowMs: number
}

/** Serves `hello` to whoever gets through the handshake. */
async function serve(
  config: object,
  options: { alpn?: string[]; alpnRequired?: boolean; timeoutMs?: number } = {},
) {
  const running = { nowMs: 0, problems: [] as string[] } as { -readonly [K in keyof Running]: Running[K] }
  running.terminator = createServerTls(serverTlsFields.parse(config), {
    alpn: options.alpn ?? ['http/1.1'],
    alpnRequired: options.alpnRequired ?? false,
    onSecure: (socket) =>
      socket.end(`hello ${socket.getProtocol()} ${socket.getPeerCertificate().subject?.CN}`),
    onProblem: (message) => running.problems.push(message),
    nowMs: () => running.nowMs,
    handshakeTimeoutMs: options.timeoutMs ?? 5000,
  })
  const listener = net.createServer((socket) => running.terminator.accept(socket))
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  running.port = (listener.address() as net.AddressInfo).port
  closers.push(() => {
    running.terminator.close()
    listener.close()
  })
  return running
}

/** What the server said, or the code of the error. */
function dial(port: number, options: tls.ConnectionOptions): Promise<string> {
  return new Promise((resolve) => {
    const socket = tls.connect({ port, host: '127.0.0.1', ca: authority.cert, ...options })
    let text = ''
    socket.on('data', (chunk: Buffer) => (text += chunk.toString()))
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    socket.on('close', () => resolve(text || 'closed'))
  })
}

describe('a server', () => {
  test('serves its certificate, TLS 1.2 at least', async () => {
    const { port } = await serve(serverPem)
    expect(await dial(port, {})).toBe('hello TLSv1.3 undefined')
    expect(await dial(port, { maxVersion: 'TLSv1.2' })).toBe('hello TLSv1.2 undefined')
    expect(
      await dial(port, { maxVersion: 'TLSv1.1', minVersion: 'TLSv1', ciphers: 'ALL:@SECLEVEL=0' }),
    ).toMatch(/PROTOCOL_VERSION/)
    expect(await dial(port, { ca: stranger.cert })).toMatch(/UNABLE_TO|SELF_SIGNED/)
  })
  test('keeps to min_version, max_version, cipher_suites and curve_preferences', async () => {
    const newest = await serve({ ...serverPem, min_version: '1.3' })
    expect(await dial(newest.port, { maxVersion: 'TLSv1.2' })).toMatch(/PROTOCOL_VERSION/)
    const older = await serve({ ...serverPem, max_version: '1.2' })
    expect(await dial(older.port, {})).toBe('hello TLSv1.2 undefined')
    const oldest = await serve({ ...serverPem, min_version: '1.0', max_version: '1.1' })
    const old = { minVersion: 'TLSv1', ciphers: 'ALL:@SECLEVEL=0' } as const
    expect(await dial(oldest.port, old)).toBe('hello TLSv1.1 undefined')
    const suites = await serve({
      ...serverPem,
      max_version: '1.2',
      cipher_suites: ['TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384'],
    })
    expect(await dial(suites.port, { ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' })).toMatch(/HANDSHAKE_FAILURE/)
    expect(await dial(suites.port, { ciphers: 'ECDHE-ECDSA-AES256-GCM-SHA384' })).toBe(
      'hello TLSv1.2 undefined',
    )
    const curves = await serve({ ...serverPem, curve_preferences: ['P384'] })
    expect(await dial(curves.port, { ecdhCurve: 'X25519' })).toMatch(/HANDSHAKE_FAILURE/)
    expect(await dial(curves.port, { ecdhCurve: 'P-384' })).toBe('hello TLSv1.3 undefined')
  })
  test('asks for a client certificate only with client_ca_file, and verifies it', async () => {
    const plain = await serve({ ...serverPem, ca_pem: authority.cert })
    expect(await dial(plain.port, {})).toBe('hello TLSv1.3 undefined')
    const mutual = await serve({ ...serverPem, client_ca_file: file('client-ca.pem', authority.cert) })
    expect(await dial(mutual.port, client)).toBe('hello TLSv1.3 client')
    for (const options of [{}, stranger]) {
      expect(await dial(mutual.port, options)).not.toMatch(/hello/)
      expect(await dial(mutual.port, { ...options, maxVersion: 'TLSv1.2' })).not.toMatch(/hello/)
    }
  })
  test('speaks the protocols of its ALPN list only', async () => {
    const { port } = await serve(serverPem, { alpn: ['h2'], alpnRequired: true })
    expect(await dial(port, { ALPNProtocols: ['h2'] })).toMatch(/hello/)
    expect(await dial(port, { ALPNProtocols: ['http/1.1'] })).not.toMatch(/hello/)
    expect(await dial(port, {})).toBe('closed')
  })
  test('reads its files again after reload_interval, and keeps the old ones when the new are broken', async () => {
    const second = createAuthority()
    const config = {
      cert_file: file('server.pem', server.cert),
      key_file: file('server.key', server.key),
      reload_interval: '10s',
    }
    const running = await serve(config)
    const renewed = createCertificate(second, 'server')
    file('server.pem', renewed.cert)
    file('server.key', renewed.key)
    running.nowMs = 9999
    expect(await dial(running.port, {})).toMatch(/hello/)
    running.nowMs = 10_000
    expect(await dial(running.port, { ca: second.cert })).toMatch(/hello/)
    file('server.pem', 'nonsense')
    running.nowMs = 20_000
    expect(await dial(running.port, { ca: second.cert })).toMatch(/hello/)
    expect(running.problems).toEqual(['TLS files could not be read again, the old ones stay in use'])
  })
  test('follows the client CA file with client_ca_file_reload', async () => {
    const config = {
      ...serverPem,
      client_ca_file: file('watched.pem', createAuthority().cert),
      client_ca_file_reload: true,
    }
    const running = await serve(config)
    expect(await dial(running.port, client)).not.toMatch(/hello/)
    file('watched.pem', `${authority.cert}\n`)
    running.nowMs = 1000
    expect(await dial(running.port, client)).toMatch(/hello/)
  })
  test('lives through clients that speak no TLS, hang up or send nothing', async () => {
    const running = await serve(serverPem, { timeoutMs: 100 })
    const raw = (bytes: string, reset: boolean) =>
      new Promise<void>((resolve) => {
        const socket = net.connect(running.port, '127.0.0.1', () => {
          if (bytes) socket.write(bytes)
          if (reset) setTimeout(() => socket.resetAndDestroy(), 5)
        })
        socket.resume()
        socket.on('error', () => {})
        socket.on('close', () => resolve())
      })
    // A record header with junk in it; plain HTTP; nothing until the handshake timeout; and cut connections.
    await Promise.all([
      raw('\x16\x03\x01\x00\x05hello', false),
      raw('GET / HTTP/1.1\r\n\r\n', false),
      raw('', false),
      raw('', true),
      raw('\x16\x03\x01\x02\x00', true),
    ])
    expect(await dial(running.port, {})).toMatch(/hello/)
    expect(running.terminator.pending).toBe(0)
  })
})

test('client options verify, skip, present a certificate and override the name', async () => {
  const { port } = await serve({ ...serverPem, client_ca_file: file('ca2.pem', authority.cert) })
  const f = (config: object) =>
    dial(port, { ca: undefined, ...clientTlsOptions(clientTlsFields.parse(config)) })
  const own = { cert_pem: client.cert, key_pem: client.key }
  expect(await f({ ...own, ca_pem: authority.cert })).toMatch(/hello/)
  expect(await f({ ...own })).toMatch(/UNABLE_TO|SELF_SIGNED/)
  expect(await f({ ...own, insecure_skip_verify: true })).toMatch(/hello/)
  expect(await f({ ca_pem: authority.cert })).not.toMatch(/hello/)
  expect(await f({ ...own, ca_pem: authority.cert, server_name_override: 'localhost' })).toMatch(/hello/)
  expect(await f({ ...own, ca_pem: authority.cert, server_name_override: 'example.com' })).toMatch(/ALTNAME/)
  expect(await f({ ...own, ca_pem: authority.cert, include_system_ca_certs_pool: true })).toMatch(/hello/)
})

test('insecure means plaintext unless a CA is given', () => {
  expect(clientTlsOptions(clientTlsFields.parse({ insecure: true }))).toBeUndefined()
  expect(clientTlsOptions(clientTlsFields.parse({ insecure: true, ca_pem: authority.cert }))).toBeDefined()
})

test('a client reads its files again after reload_interval', () => {
  let nowMs = 0
  const ca_file = file('reload-ca.pem', authority.cert)
  const renewing = new ClientTls(clientTlsFields.parse({ ca_file, reload_interval: '1m' }), () => nowMs)
  const first = renewing.options()
  nowMs = 59_999
  expect(renewing.options()).toBe(first)
  file('reload-ca.pem', stranger.cert)
  nowMs = 60_000
  expect(renewing.options()?.ca).toEqual([stranger.cert])
  rmSync(ca_file)
  nowMs = 120_000
  expect(renewing.options()?.ca).toEqual([stranger.cert])
})

test('files that are missing or broken are errors that name them', () => {
  const f = (config: object, want: RegExp) =>
    expect(() =>
      createServerTls(serverTlsFields.parse(config), {
        alpn: [],
        onSecure() {},
        onProblem() {},
        nowMs: () => 0,
      }),
    ).toThrow(want)
  const key_file = file('good.key', server.key)
  f({ cert_file: '/nowhere/cert.pem', key_file }, /\/nowhere\/cert\.pem: tls\.cert_file: cannot be read/)
  f({ cert_pem: server.cert, key_file: '/nowhere/key.pem' }, /\/nowhere\/key\.pem: tls\.key_file/)
  f({ cert_file: file('empty.pem', ''), key_file }, /empty\.pem: tls\.cert_file: holds no PEM certificate/)
  f(
    { cert_pem: server.cert, key_file: file('wrong.key', client.key) },
    /wrong\.key: tls\.key_file: does not work/,
  )
  f({ ...serverPem, client_ca_file: file('junk.pem', 'junk') }, /junk\.pem: tls\.client_ca_file/)
})

test('a block that cannot work is refused when the config is read', () => {
  const f = (config: object, want: RegExp) => {
    const result = serverTlsFields.safeParse(config)
    expect(result.error?.issues.map((issue) => issue.message).join('; ')).toMatch(want)
  }
  f({}, /a server needs/)
  f({ cert_pem: 'x' }, /needed together/)
  f({ ...serverPem, cert_file: 'x' }, /exclude each other/)
  f({ ...serverPem, key_file: 'x' }, /exclude each other/)
  f({ ...serverPem, ca_file: 'x', ca_pem: 'y' }, /exclude each other/)
  f({ ...serverPem, min_version: '1.3', max_version: '1.2' }, /above max_version/)
  f({ ...serverPem, max_version: '1.1' }, /above max_version/)
  f({ ...serverPem, min_version: '1.4' }, /expected "1.0"/)
  f({ ...serverPem, cipher_suites: ['TLS_NONE'] }, /unknown cipher suite/)
  f({ ...serverPem, cipher_suites: ['TLS_RSA_WITH_AES_128_CBC_SHA'] }, /needs include_insecure/)
  f({ ...serverPem, curve_preferences: ['P999'] }, /unknown curve/)
  f({ ...serverPem, client_ca_file_reload: true }, /needs client_ca_file/)
  f({ ...serverPem, tpm: { enabled: true } }, /not supported/)
  f({ ...serverPem, nonsense: 1 }, /nonsense/)
})
