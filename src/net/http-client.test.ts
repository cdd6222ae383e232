import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { createAuthority, createCertificate } from '../../test/support/certificates.ts'
import { TestHost } from '../../test/support/host.ts'
import { HttpBackend } from '../../test/support/http-backend.ts'
import { ConfigError, RetryableError } from '../errors.ts'
import { httpClientFields } from './client-fields.ts'
import { HttpClient } from './http-client.ts'

const folder = mkdtempSync(join(tmpdir(), 'weir-http-'))
const schema = z.strictObject(httpClientFields())
const authority = createAuthority()
const pair = createCertificate(authority, 'server')
const client = createCertificate(authority, 'client')

function file(name: string, text: string): string {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

let server: Server
let url: URL
let subjects: unknown[] = []
beforeAll(async () => {
  const options = { ...pair, ca: authority.cert, requestCert: true, rejectUnauthorized: false }
  server = createServer(options, (request, response) => {
    const socket = request.socket as unknown as { getPeerCertificate(): { subject?: { CN?: string } } }
    subjects.push(socket.getPeerCertificate().subject?.CN)
    response.end('fine')
  })
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  url = new URL(`https://127.0.0.1:${(server.address() as AddressInfo).port}/in`)
})
afterAll(() => {
  server.closeAllConnections()
  server.close()
  rmSync(folder, { recursive: true })
})

async function post(config: object, target = url, host = new TestHost()): Promise<unknown> {
  const made = new HttpClient(schema.parse(config), host)
  try {
    made.start()
    const response = await made.post(target, {}, [Buffer.from('x')], AbortSignal.timeout(10_000))
    return `${response.status} ${Buffer.from(response.body)}`
  } catch (error) {
    return error
  } finally {
    await made.shutdown()
  }
}

test('TLS: verifies by the CA or not at all, and presents its certificate', async () => {
  const ca_file = file('ca.pem', authority.cert)
  const cert_file = file('client.pem', client.cert)
  const key_file = file('client.key', client.key)
  subjects = []
  expect(await post({ tls: { ca_file } })).toBe('200 fine')
  expect(await post({ tls: { insecure_skip_verify: true } })).toBe('200 fine')
  expect(await post({ tls: { ca_file, cert_file, key_file } })).toBe('200 fine')
  expect(subjects).toEqual([undefined, undefined, 'client'])
  expect(await post({})).toBeInstanceOf(RetryableError)
  expect(await post({ tls: { insecure: true } })).toBeInstanceOf(RetryableError) // https stays verified TLS.
  expect(await post({ tls: { ca_file, server_name_override: 'other.example' } })).toBeInstanceOf(
    RetryableError,
  )
  expect(await post({ tls: { ca_file: join(folder, 'none.pem') } })).toBeInstanceOf(ConfigError)
})

test('credentials: of the URL, of an authenticator, which must exist', async () => {
  await using backend = await new HttpBackend().start()
  const host = new TestHost()
  host.extensions.set('bearer', {
    async authorize(headers: Record<string, string>) {
      headers['authorization'] = 'Bearer t'
    },
  })
  const withUser = new URL(backend.url.replace('http://', 'http://ann:p%40ss@'))
  await post({}, withUser)
  await post({ auth: { authenticator: 'bearer' } }, new URL(backend.url), host)
  const sent = backend.requests.map((request) => request.headers.authorization)
  expect(sent).toEqual([`Basic ${Buffer.from('ann:p@ss').toString('base64')}`, 'Bearer t'])
  const missing = await post({ auth: { authenticator: 'none' } }, new URL(backend.url), host)
  expect(missing).toBeInstanceOf(ConfigError)
})

test('headers take a map or a list, and their values never print', () => {
  const f = (headers: unknown) => schema.parse({ headers }).headers
  expect(f({ a: 'secret', b: 1 }).map(({ name, value }) => [name, value.reveal()])).toEqual([
    ['a', 'secret'],
    ['b', '1'],
  ])
  expect(f([{ name: 'a', value: 'secret' }])[0]?.value.reveal()).toBe('secret')
  expect(JSON.stringify(f({ a: 'secret' }))).not.toContain('secret')
  expect(f(null)).toEqual([])
  expect(schema.safeParse({ headers: { 'bad name': 'x' } }).success).toBe(false)
  expect(schema.safeParse({ headers: { a: 'x\r\nb: c' } }).success).toBe(false)
})
