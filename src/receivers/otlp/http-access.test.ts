/** Who gets in over HTTP: authenticators, cross-origin requests, TLS. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import https from 'node:https'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { createAuthority, createCertificate } from '../../../test/support/certificates.ts'
import { createReceiver, type TestOptions } from '../../../test/support/create-test.ts'
import { TestHost } from '../../../test/support/host.ts'
import { type HttpRequest, request } from '../../../test/support/http.ts'
import { traces } from '../../../test/support/otlp.ts'
import { UnauthenticatedError } from '../../errors.ts'
import otlp from './index.ts'

const JSON_TYPE = 'application/json'
const body = traces({ resource: { 'service.name': 'shop' }, spans: ['a', 'b'] }).bytes()

const closers: (() => PromiseLike<void>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0)) await close()
})

async function receive(config: object = {}, options: TestOptions = {}) {
  const made = createReceiver(otlp, { protocols: { http: { endpoint: '127.0.0.1:0', ...config } } }, options)
  closers.push(() => made[Symbol.asyncDispose]())
  await made.start()
  const port = made.host.listeners[0]?.port ?? 0
  const send = (data: Uint8Array | string, more: HttpRequest = {}) => request(port, data, more)
  return { ...made, port, send }
}

describe('auth', () => {
  const host = () => {
    const made = new TestHost()
    made.extensions.set('basicauth', {
      async authenticate(headers: ReadonlyMap<string, readonly string[]>) {
        if (headers.get('authorization')?.[0] !== 'Bearer good') throw new UnauthenticatedError('wrong token')
        return new Map([['subject', 'ann']])
      },
    })
    made.extensions.set('broken', { authenticate: async () => Promise.reject(new TypeError('secret')) })
    made.extensions.set('health', {})
    return made
  }
  test('lets in whom the authenticator knows, and refuses before the body is read', async () => {
    const { send, sink } = await receive({ auth: { authenticator: 'basicauth' } }, { host: host() })
    expect((await send(body, { headers: { Authorization: 'Bearer good' } })).status).toBe(200)
    expect(sink.take()[0]?.context.auth?.get('subject')).toBe('ann')
    const refused = await send('{', { type: JSON_TYPE, headers: { Authorization: 'Bearer bad' } })
    expect([refused.status, JSON.parse(refused.body.toString())]).toEqual([
      401,
      { code: 16, message: 'wrong token' },
    ])
    expect((await send(body)).status).toBe(401)
    expect(sink.batches).toEqual([])
  })
  test('takes request_params from the query', async () => {
    const auth = { authenticator: 'basicauth', request_params: ['authorization'] }
    const { send } = await receive({ auth }, { host: host() })
    expect((await send(body, { path: '/v1/traces?authorization=Bearer%20good' })).status).toBe(200)
    expect((await send(body, { path: '/v1/traces?other=Bearer%20good' })).status).toBe(401)
  })
  test('an authenticator that fails lets nobody in and tells nothing', async () => {
    const { send } = await receive({ auth: { authenticator: 'broken' } }, { host: host() })
    const answer = await send(body)
    expect(answer.status).toBe(401)
    expect(answer.body.toString()).not.toContain('secret')
  })
  test('an extension that is not there or is no authenticator fails the start', async () => {
    const f = (authenticator: string, want: RegExp) =>
      expect(receive({ auth: { authenticator } }, { host: host() })).rejects.toThrow(want)
    await f(
      'missing',
      /protocols\.http\.auth\.authenticator: extension "missing" is not in service\.extensions/,
    )
    await f('health', /is no authenticator/)
  })
})

describe('cors', () => {
  const cors = { allowed_origins: ['https://*.shop.example', 'http://a.example'], max_age: 60 }
  const preflight = (origin: string, names = 'content-type') => ({
    method: 'OPTIONS',
    headers: {
      Origin: origin,
      'Access-Control-Request-Method': 'POST',
      'Access-Control-Request-Headers': names,
    },
  })
  test('answers preflights without asking the authenticator', async () => {
    const host = new TestHost()
    host.extensions.set('never', { authenticate: () => Promise.reject(new UnauthenticatedError('no')) })
    const { send } = await receive({ cors, auth: { authenticator: 'never' } }, { host })
    const good = await send('', preflight('https://eu.shop.example'))
    expect(good.status).toBe(204)
    expect(good.headers).toMatchObject({
      'access-control-allow-origin': 'https://eu.shop.example',
      'access-control-allow-methods': 'POST',
      'access-control-allow-headers': 'content-type',
      'access-control-allow-credentials': 'true',
      'access-control-max-age': '60',
    })
    for (const bad of [preflight('https://shop.example'), preflight('http://a.example', 'x-other')])
      expect((await send('', bad)).headers['access-control-allow-origin']).toBeUndefined()
  })
  test('marks answers for allowed origins, errors too', async () => {
    const { send } = await receive({ cors: { ...cors, exposed_headers: ['X-A', 'X-B'] } })
    const headers = { Origin: 'http://a.example' }
    expect((await send(body, { headers })).headers).toMatchObject({
      'access-control-allow-origin': 'http://a.example',
      'access-control-expose-headers': 'X-A, X-B',
      vary: 'Origin',
    })
    expect((await send('{', { headers, type: JSON_TYPE })).headers['access-control-allow-origin']).toBe(
      'http://a.example',
    )
    expect((await send(body, { headers: { Origin: 'http://b.example' } })).headers).not.toHaveProperty(
      'access-control-allow-origin',
    )
  })
  test('is off without allowed origins', async () => {
    const { send } = await receive({ cors: { allowed_headers: ['x-a'] } })
    expect((await send('', preflight('http://a.example'))).status).toBe(405)
  })
})

test('TLS with client certificates', async () => {
  const authority = createAuthority()
  const server = createCertificate(authority, 'server')
  const client = createCertificate(authority, 'client')
  const folder = mkdtempSync(path.join(tmpdir(), 'weir-otlp-'))
  writeFileSync(`${folder}/ca.pem`, authority.cert)
  const tls = { cert_pem: server.cert, key_pem: server.key, client_ca_file: `${folder}/ca.pem` }
  const { send, sink, port } = await receive({ tls })
  rmSync(folder, { recursive: true })
  const agent = new https.Agent({ ca: authority.cert, ...client })
  expect((await send(body, { agent })).status).toBe(200)
  expect(sink.itemCount).toBe(2)
  await expect(send(body, { agent: new https.Agent({ ca: authority.cert }) })).rejects.toThrow()
  await expect(request(port, body, {})).rejects.toThrow()
  expect((await send(body, { agent })).status).toBe(200)
  agent.destroy()
})
