import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose'
import { afterAll, expect, test } from 'vitest'
import { createExtension } from '../../../test/support/create-extension.ts'
import { HttpBackend } from '../../../test/support/http-backend.ts'
import type { ServerAuthenticator } from '../../component/auth.ts'
import oidc from './index.ts'

const folder = mkdtempSync(join(tmpdir(), 'weir-oidc-'))
afterAll(() => rmSync(folder, { recursive: true }))

interface Key {
  readonly algorithm: string
  readonly kid: string
  readonly jwk: JWK
  readonly privateKey: Awaited<ReturnType<typeof generateKeyPair>>['privateKey']
}

async function makeKey(algorithm: string, kid: string): Promise<Key> {
  const { publicKey, privateKey } = await generateKeyPair(algorithm, { extractable: true })
  return {
    algorithm,
    kid,
    privateKey,
    jwk: { ...(await exportJWK(publicKey)), kid, alg: algorithm, use: 'sig' },
  }
}

/** A provider on loopback: discovery and keys. */
class Issuer {
  readonly backend = new HttpBackend()
  keys: readonly Key[] = []
  discovery: object = {}
  async start(keys: readonly Key[]): Promise<this> {
    this.keys = keys
    await this.backend.start()
    this.backend.always = (request, response) => {
      const found = request.url === '/.well-known/openid-configuration'
      const document = { issuer: this.url, jwks_uri: `${this.url}/keys`, ...this.discovery }
      response.writeHead(200, { 'content-type': 'application/json' })
      response.end(JSON.stringify(found ? document : { keys: this.keys.map(({ jwk }) => jwk) }))
    }
    return this
  }
  get url(): string {
    return this.backend.url
  }
  sign(key: Key, claims: object = {}): Promise<string> {
    const all = { iss: this.url, aud: 'weir', sub: 'ann', exp: 2_000_000_000, ...claims }
    return new SignJWT(all as Record<string, unknown>)
      .setProtectedHeader({ alg: key.algorithm, kid: key.kid })
      .sign(key.privateKey)
  }
  fetches(): number {
    return this.backend.requests.filter(({ url }) => url === '/keys').length
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.backend[Symbol.asyncDispose]()
  }
}

async function make(config: object) {
  const made = await createExtension(oidc, config)
  const server = made.extension as unknown as ServerAuthenticator // What it is.
  const ask = (token: string, header = 'authorization') =>
    server.authenticate(new Map([[header, [`Bearer ${token}`]]]))
  const refusal = (token: string) =>
    ask(token).then(
      () => 'let in',
      (error: unknown) => (error instanceof Error ? `${error.name}: ${error.message}` : ''),
    )
  return { ...made, server, ask, refusal }
}

const rsa = await makeKey('RS256', 'rsa')

test.each(['RS256', 'PS512', 'ES256', 'ES384', 'EdDSA'])('takes a token signed by %s', async (algorithm) => {
  const key = await makeKey(algorithm, 'k')
  await using issuer = await new Issuer().start([rsa, key])
  await using made = await make({ providers: [{ issuer_url: issuer.url, audience: 'weir' }] })
  const data = await made.ask(await issuer.sign(key, { tenant_id: 'acme', roles: ['a', 1] }))
  expect(data.get('subject')).toBe('ann')
  expect(data.get('claims.tenant_id')).toBe('acme')
  expect(data.get('claims.roles')).toEqual(['a', '1'])
  expect(data.get('membership')).toEqual([])
})

test('what is refused, and why; a refusal says nothing of the configuration', async () => {
  await using issuer = await new Issuer().start([rsa])
  await using made = await make({ issuer_url: issuer.url, audience: 'weir' })
  const f = async (claims: object, want: string) =>
    expect(await made.refusal(await issuer.sign(rsa, claims))).toBe(`UnauthenticatedError: ${want}`)
  await f({ aud: 'other' }, 'the token is for another audience')
  await f({ aud: undefined }, 'the token is for another audience')
  await f({ iss: 'http://evil' }, 'the token is of another issuer')
  await f({ exp: 1 }, 'the token has expired')
  await f({ exp: undefined }, 'the token has expired')
  await f({ nbf: 1_990_000_000 }, 'the token is not valid yet')
  expect(await made.refusal(await issuer.sign(rsa, { aud: ['x', 'weir'] }))).toBe('let in')
  const good = await issuer.sign(rsa)
  const [head, payload, signature] = good.split('.')
  expect(
    await made.refusal(`${head}.${payload}.${signature?.replace(/^./, (c) => (c === 'A' ? 'B' : 'A'))}`),
  ).toContain('signature')
  const none = Buffer.from('{"alg":"none"}').toString('base64url')
  expect(await made.refusal(`${none}.${payload}.`)).toContain('UnauthenticatedError')
  // The public key as the secret of an HMAC, the oldest trick.
  const hmac = await new SignJWT({ iss: issuer.url, aud: 'weir', sub: 'x', exp: 2_000_000_000 })
    .setProtectedHeader({ alg: 'HS256', kid: 'rsa' })
    .sign(new TextEncoder().encode(JSON.stringify(rsa.jwk)))
  expect(await made.refusal(hmac)).toContain('algorithm')
  for (const junk of ['', 'x', 'a.b.c', '..', 'x'.repeat(20_000)])
    expect(await made.refusal(junk)).toContain('UnauthenticatedError')
  expect(made.meter.read('extension_auth_refused')).toBe(14)
})

test('a checked token is remembered, until it expires', async () => {
  await using issuer = await new Issuer().start([rsa])
  await using made = await make({ issuer_url: issuer.url, audience: 'weir' })
  const exp = Math.floor(made.clock.wallMs() / 1000) + 60
  const token = await issuer.sign(rsa, { exp })
  const first = await made.ask(token)
  expect(await made.ask(token)).toBe(first)
  await made.clock.advance(61_000)
  expect(await made.refusal(token)).toContain('expired')
})

test('new keys are fetched when a token names one; junk cannot make it fetch often', async () => {
  await using issuer = await new Issuer().start([rsa])
  await using made = await make({ issuer_url: issuer.url, audience: 'weir' })
  const next = await makeKey('ES256', 'next')
  issuer.keys = [next]
  expect(issuer.fetches()).toBe(1)
  await made.clock.advance(10_001)
  await made.ask(await issuer.sign(next))
  expect(issuer.fetches()).toBe(2)
  expect(await made.refusal(await issuer.sign(rsa))).toContain('no key of the issuer')
  const junk = await makeKey('ES256', 'junk')
  for (let i = 0; i < 20; i++) await made.refusal(await issuer.sign(junk, { sub: String(i) }))
  expect(issuer.fetches()).toBe(2)
})

test('several providers: the issuer of the token chooses; groups and user by their claims; another header', async () => {
  await using one = await new Issuer().start([rsa])
  const key = await makeKey('ES256', 'two')
  await using two = await new Issuer().start([key])
  await using made = await make({
    attribute: 'X-Token',
    providers: [
      { issuer_url: one.url, ignore_audience: true, username_claim: 'email', groups_claim: 'groups' },
      { issuer_url: two.url, audience: 'weir' },
    ],
  })
  const claims = { aud: 'any', email: 'a@b', groups: ['x', 'y'] }
  const data = await made.ask(await one.sign(rsa, claims), 'x-token')
  expect([data.get('subject'), data.get('membership')]).toEqual(['a@b', ['x', 'y']])
  expect((await made.ask(await two.sign(key), 'x-token')).get('subject')).toBe('ann')
  await expect(made.ask(await one.sign(rsa, { aud: 'any' }), 'x-token')).rejects.toThrow('names no user')
  await expect(made.ask(await one.sign(rsa, { iss: 'x' }), 'x-token')).rejects.toThrow(
    'no provider of this issuer',
  )
  await expect(made.ask(await two.sign(key))).rejects.toThrow('no token in the header x-token')
})

test('keys of a file, without asking anybody, followed when they change', async () => {
  const public_keys_file = join(folder, 'keys.json')
  writeFileSync(public_keys_file, JSON.stringify({ keys: [rsa.jwk] }))
  const issuer_url = 'https://login.example'
  await using made = await make({ providers: [{ issuer_url, audience: 'weir', public_keys_file }] })
  const signer = new Issuer()
  const sign = (key: Key) => signer.sign(key, { iss: issuer_url })
  Object.defineProperty(signer, 'url', { value: issuer_url })
  const token = await sign(rsa)
  expect((await made.ask(token)).get('raw')).toBe(token)
  const next = await makeKey('EdDSA', 'next')
  writeFileSync(public_keys_file, JSON.stringify({ keys: [next.jwk] }))
  await made.clock.advance(1000)
  await expect.poll(async () => made.refusal(await sign(next))).toBe('let in')
  expect(await made.refusal(token)).toContain('no key of the issuer') // Not even one that was remembered.
})

test('a provider that is down, lies or floods fails the start', async () => {
  const f = async (discovery: object, want: RegExp) => {
    await using issuer = await new Issuer().start([rsa])
    issuer.discovery = discovery
    await expect(make({ issuer_url: issuer.url, audience: 'weir' })).rejects.toThrow(want)
  }
  await f({ issuer: 'http://other' }, /of another issuer/)
  await f({ jwks_uri: 'file:///etc/passwd' }, /no jwks_uri/)
  await f({ more: 'x'.repeat(5 * 1024 * 1024) }, /answered too much/)
  await expect(make({ issuer_url: 'http://127.0.0.1:1', audience: 'weir' })).rejects.toThrow('127.0.0.1:1')
})
