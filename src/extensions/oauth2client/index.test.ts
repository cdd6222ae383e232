import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { createExtension } from '../../../test/support/create-extension.ts'
import { HttpBackend } from '../../../test/support/http-backend.ts'
import type { ClientAuthenticator } from '../../component/auth.ts'
import { NO_CONTEXT } from '../../otlp/batch.ts'
import oauth2client from './index.ts'

const folder = mkdtempSync(join(tmpdir(), 'weir-oauth2-'))
afterAll(() => rmSync(folder, { recursive: true }))

const token = (text: string, expires_in?: number | string) => ({
  status: 200,
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({ access_token: text, token_type: 'bearer', expires_in }),
})

async function make(backend: HttpBackend, config: object = {}) {
  const all = { client_id: 'id', client_secret: 's/cr:t', token_url: `${backend.url}/token`, ...config }
  const made = await createExtension(oauth2client, all)
  const client = made.extension as unknown as ClientAuthenticator // What it is.
  const sent = async () => {
    const headers: Record<string, string> = {}
    await client.authorize(headers, NO_CONTEXT)
    return headers['authorization']
  }
  return { ...made, client, sent }
}

test('asks for a token once for all callers, with scopes and parameters, and keeps it', async () => {
  await using backend = await new HttpBackend().start()
  backend.script.push(token('t1'))
  await using made = await make(backend, {
    scopes: ['a', 'b'],
    endpoint_params: { audience: 'x', r: [1, 2] },
  })
  expect(await Promise.all([made.sent(), made.sent(), made.sent()])).toEqual(Array(3).fill('Bearer t1'))
  await made.clock.advance(24 * 3600_000)
  expect(await made.sent()).toBe('Bearer t1') // Without expires_in it lasts.
  expect(backend.requests.length).toBe(1)
  const [request] = backend.requests
  expect(request?.headers.authorization).toBe(`Basic ${Buffer.from('id:s%2Fcr%3At').toString('base64')}`)
  expect(request?.body.toString()).toBe('grant_type=client_credentials&scope=a+b&audience=x&r=1&r=2')
})

test('a server that wants the credentials in the body gets them there, also the next time', async () => {
  await using backend = await new HttpBackend().start()
  backend.script.push({ status: 401 }, token('t1', 3600), token('t2', 3600))
  await using made = await make(backend)
  expect(await made.sent()).toBe('Bearer t1')
  expect(made.client.rejected?.({ authorization: 'Bearer t1' })).toBe(true)
  expect(await made.sent()).toBe('Bearer t2')
  const bodies = backend.requests.map(({ body }) => body.toString().includes('client_secret=s%2Fcr%3At'))
  expect(bodies).toEqual([false, true, true])
  expect(backend.requests[2]?.headers.authorization).toBeUndefined()
})

test('renews expiry_buffer before the end, and uses the old token on when that fails', async () => {
  await using backend = await new HttpBackend().start()
  backend.script.push(token('t1', '3600'), { status: 500 }, token('t2', 3600))
  await using made = await make(backend, { expiry_buffer: '10m' })
  expect(await made.sent()).toBe('Bearer t1')
  await made.clock.advance(49 * 60_000)
  expect(await made.sent()).toBe('Bearer t1')
  await made.clock.advance(2 * 60_000)
  expect(await made.sent()).toBe('Bearer t1') // The server answered 500.
  expect(await made.sent()).toBe('Bearer t1') // It is left alone for a second.
  expect(backend.requests.length).toBe(2)
  await made.clock.advance(1001)
  expect(await made.sent()).toBe('Bearer t2')
})

test('a short-lived token is not asked for before each request', async () => {
  await using backend = await new HttpBackend().start()
  backend.script.push(token('t1', 60), token('t2', 60))
  await using made = await make(backend)
  for (let i = 0; i < 5; i++) expect(await made.sent()).toBe('Bearer t1')
  await made.clock.advance(31_000)
  expect(await made.sent()).toBe('Bearer t2')
})

test('a token that was refused is given up once', async () => {
  await using backend = await new HttpBackend().start()
  backend.script.push(token('t1', 3600), token('t2', 3600))
  await using made = await make(backend)
  await made.sent()
  made.client.rejected?.({ authorization: 'Bearer t1' })
  expect(await made.sent()).toBe('Bearer t2')
  made.client.rejected?.({ authorization: 'Bearer t1' }) // Of a request that was sent before.
  expect(await made.sent()).toBe('Bearer t2')
  expect(backend.requests.length).toBe(2)
})

test('id and secret from files are read for each token', async () => {
  await using backend = await new HttpBackend().start()
  const [client_id_file, client_secret_file] = [join(folder, 'id'), join(folder, 'secret')]
  writeFileSync(client_id_file, 'one\n')
  writeFileSync(client_secret_file, 'first\n')
  backend.script.push(token('t1', 3600), token('t2', 3600))
  await using made = await make(backend, { client_id_file, client_secret_file })
  await made.sent()
  writeFileSync(client_secret_file, 'second!\n')
  made.client.rejected?.({ authorization: 'Bearer t1' })
  await made.sent()
  const sent = backend.requests.map(({ headers }) =>
    Buffer.from(headers.authorization?.slice(6) ?? '', 'base64').toString(),
  )
  expect(sent).toEqual(['one:first', 'one:second%21'])
})

test('what a broken or hostile token server answers fails the attempt, is bounded, and is not repeated', async () => {
  await using backend = await new HttpBackend().start()
  const bomb = Buffer.alloc(8 * 1024 * 1024, '{"access_token":"')
  const json = { 'content-type': 'application/json' }
  const f = async (answer: object, want: RegExp) => {
    backend.script.push(answer, answer)
    await using made = await make(backend)
    const error = await made.sent().then(
      () => undefined,
      (thrown: unknown) => thrown,
    )
    expect(error).toMatchObject({ retryable: true, message: expect.stringMatching(want) })
    expect(String(error)).not.toContain('marker')
    backend.script.length = 0
  }
  await f(
    { status: 400, headers: json, body: '{"error":"invalid_client","x":"marker"}' },
    /400 \(invalid_client\)$/,
  )
  await f({ status: 200, headers: json, body: '{"token":"marker"}' }, /without an access_token/)
  await f(
    { status: 200, headers: json, body: '{"access_token":"marker\\r\\nx: y"}' },
    /without an access_token/,
  )
  await f({ status: 200, headers: json, body: bomb }, /without an access_token/)
  await f(
    { status: 200, headers: { ...json, 'content-encoding': 'gzip' }, body: 'marker' },
    /without an access_token/,
  )
  await f({ status: 302, headers: { location: 'http://marker/' } }, /answered 302$/)
})

test('a form is understood, too', async () => {
  await using backend = await new HttpBackend().start()
  const headers = { 'content-type': 'application/x-www-form-urlencoded' }
  backend.script.push({ status: 200, headers, body: 'access_token=t1&expires_in=60&token_type=MAC' })
  await using made = await make(backend)
  expect(await made.sent()).toBe('MAC t1')
})
