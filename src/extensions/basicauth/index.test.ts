import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { hashSync } from 'bcryptjs'
import { afterAll, expect, test } from 'vitest'
import { createExtension } from '../../../test/support/create-extension.ts'
import type { ClientAuthenticator, ServerAuthenticator } from '../../component/auth.ts'
import { RefusedError, UnauthenticatedError } from '../../errors.ts'
import { NO_CONTEXT } from '../../otlp/batch.ts'
import basicauth from './index.ts'
import { checkSlow, isSlow } from './slow-hashes.ts'

const folder = mkdtempSync(join(tmpdir(), 'weir-basicauth-'))
afterAll(() => rmSync(folder, { recursive: true }))

const LONG = 'a-much-longer-password-than-the-digest-of-sixty-four-bytes-is-wide-yes-it-is'
/** Made by OpenSSL's `passwd`, salt abcdefgh. */
const OPENSSL: readonly (readonly [string, string])[] = [
  ['secret', '$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1'],
  ['secret', '$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/'],
  ['secret', '$5$abcdefgh$gruCpC7VkOTspMQTTSAR8mtlO9Upms.fwqE5y16JVM.'],
  [
    'secret',
    '$6$abcdefgh$ltjgWl6579NluT/Vi1nwEvcil.G5Nbc4NiXZaNGStk8PSwGfQv72N2CKPPrVACtLtip/cZ/1GM/O6IND4WQhG.',
  ],
  [LONG, '$1$abcdefgh$15vpf6j7boZ8i5Af0pcF81'],
  [LONG, '$apr1$abcdefgh$gZMXwHyUNo.D0TC7rJ3oM.'],
  [LONG, '$5$abcdefgh$Lanayin/R7O9v2sRzV8d7VGweCc6W0xAssHcyoGESn.'],
  [
    LONG,
    '$6$abcdefgh$ThZZOPtOiKy/eJjz1Qj3LUuEr9Tf7gR709cu6Nnn5ibMSIaZZDOAr9G7z82mrI9qgKuzL2SgKBwMVSlD5/fhz.',
  ],
  ['x', '$1$abcdefgh$znAnv9M.XU2pRYfmSs46h/'],
  ['x', '$apr1$abcdefgh$82JubPF2dQkt1tVfvLnXS.'],
  ['x', '$5$abcdefgh$sI6g8tHKrJ6RX7w.YoN9B7a/5wK5jYEOMmMnt3tPl0/'],
  ['x', '$6$abcdefgh$D7W7qyozKBT.t6FD3DVYHvADbIO0eSyI4.p20LaEUjro8PqTGYYo/EQcuNjhFbzo9Yg5ir1KIEqFY/yJpgFph0'],
]

test.each(OPENSSL)('checks %s against what OpenSSL made', (password, encoded) => {
  expect(isSlow(encoded)).toBe(true)
  expect(checkSlow(password, encoded)).toBe(true)
  expect(checkSlow(`${password}x`, encoded)).toBe(false)
})

test('which hashes cost too much or are broken', () => {
  const f = (encoded: string, want: unknown) => expect(isSlow(encoded)).toEqual(want)
  f('secret', false)
  f('{SHA}abc', false)
  f(`$2y$10$${'a'.repeat(53)}`, true)
  f(`$2y$17$${'a'.repeat(53)}`, expect.stringContaining('cost of 17'))
  f('$2y$10$short', expect.stringContaining('broken'))
  f('$apr1$salt$short', expect.stringContaining('broken'))
  f(`$6$rounds=999999999$salt$${'a'.repeat(86)}`, expect.stringContaining('rounds'))
})

const basic = (credentials: string) =>
  new Map([['authorization', [`Basic ${Buffer.from(credentials).toString('base64')}`]]])

async function server(inline: string, file = '') {
  const made = await createExtension(basicauth, { htpasswd: { inline, file } })
  const authenticator = made.extension as unknown as ServerAuthenticator // htpasswd makes it one.
  const ask = (credentials: string) => authenticator.authenticate(basic(credentials))
  return { ...made, authenticator, ask }
}

test('every format lets in who knows the password, and nobody else', async () => {
  const lines = [
    `bcrypt:${hashSync('b-pass', 4).replace('$2b$', '$2y$')}`,
    'sha:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=', // password
    'ssha:{SSHA}zpvk7cYSBS+6uo8kwnD8bklpQKNzYWx0', // s-pass, salt
    'plain:p:w', // The password has a colon.
    `md5:${OPENSSL[1]?.[1]}`,
    'broken:$2y$10$nothing',
    'no colon at all',
  ]
  await using made = await server(lines.join('\n'))
  const f = async (credentials: string, want: boolean) => {
    const outcome = await made.ask(credentials).then(
      (data) => data.get('username'),
      (error: unknown) => error,
    )
    if (want) expect(outcome).toBe(credentials.split(':')[0])
    else expect(outcome).toBeInstanceOf(UnauthenticatedError)
  }
  await f('bcrypt:b-pass', true)
  await f('bcrypt:b-pass2', false)
  await f('sha:password', true)
  await f('sha:passwor', false)
  await f('ssha:s-pass', true)
  await f('ssha:s-pas', false)
  await f('plain:p:w', true)
  await f('plain:p', false)
  await f('md5:secret', true)
  await f('md5:secre', false)
  await f('broken:$2y$10$nothing', false)
  await f('nobody:b-pass', false)
  await f('nobody', false)
  expect(made.meter.read('extension_auth_refused')).toBe(8)
})

test('what is no Basic header is refused, and refusals repeat nothing', async () => {
  await using made = await server('ann:marker')
  const f = (header: string | undefined, want: RegExp) =>
    expect(
      made.authenticator.authenticate(new Map(header === undefined ? [] : [['authorization', [header]]])),
    ).rejects.toThrow(want)
  await f(undefined, /^no authorization header$/)
  await f('Bearer marker', /^the scheme is not Basic$/)
  await f('Basic %%%', /^the credentials are not base64$/)
  await f(`Basic ${Buffer.from('ann:nearly-marker').toString('base64')}`, /^user or password is wrong$/)
  expect(made.authenticator.challenge).toContain('Basic realm=')
})

test('a slow password is computed once, right or wrong, also for callers at one time and unknown users', async () => {
  await using made = await server(`ann:${hashSync('right', 4)}`)
  const checks = () => made.meter.read('extension_basicauth_checks')
  await Promise.all([1, 2, 3].map(() => made.ask('ann:right')))
  await made.ask('ann:right')
  expect(checks()).toBe(1)
  for (let i = 0; i < 3; i++) await expect(made.ask('ann:wrong')).rejects.toThrow(UnauthenticatedError)
  expect(checks()).toBe(2)
  await expect(made.ask('nobody:x')).rejects.toThrow('user or password is wrong')
  expect(checks()).toBe(3) // The same work as for a user that exists.
})

test('guessing is bounded: over the rate callers are told to come back, those known get in', async () => {
  await using made = await server(`ann:${hashSync('right', 4)}`)
  await made.ask('ann:right')
  const outcomes = await Promise.all(
    Array.from({ length: 400 }, (_, i) => made.ask(`ann:guess${i}`).catch((error: unknown) => error)),
  )
  const refused = outcomes.filter((error) => error instanceof RefusedError).length
  expect(refused).toBeGreaterThanOrEqual(200)
  expect(outcomes.every((one) => one instanceof RefusedError || one instanceof UnauthenticatedError)).toBe(
    true,
  )
  expect(made.meter.read('extension_basicauth_checks')).toBeLessThanOrEqual(200)
  expect((await made.ask('ann:right')).get('username')).toBe('ann')
})

test('the file is read again when it changes; inline counts more', async () => {
  const file = join(folder, 'htpasswd')
  writeFileSync(file, 'ann:one\nbob:file\n')
  await using made = await server('bob:inline', file)
  await made.ask('ann:one')
  await made.ask('bob:inline')
  await expect(made.ask('bob:file')).rejects.toThrow()
  writeFileSync(file, 'ann:two-is-longer\n')
  await made.clock.advance(1000)
  await expect
    .poll(() =>
      made.ask('ann:two-is-longer').then(
        () => true,
        () => false,
      ),
    )
    .toBe(true)
  await expect(made.ask('ann:one')).rejects.toThrow()
  rmSync(file)
  await made.clock.advance(1000)
  await made.ask('ann:two-is-longer')
})

test('nobody to let in, or no file, fails the start', async () => {
  await expect(server('only-a-user')).rejects.toThrow('names no user')
  await expect(server('', join(folder, 'missing'))).rejects.toThrow('missing')
})

test('sends user and password, from files that may change', async () => {
  const password_file = join(folder, 'password')
  writeFileSync(password_file, 'first\n')
  await using made = await createExtension(basicauth, { client_auth: { username: 'ann', password_file } })
  const client = made.extension as unknown as ClientAuthenticator // client_auth makes it one.
  const sent = async () => {
    const headers: Record<string, string> = {}
    await client.authorize(headers, NO_CONTEXT)
    return Buffer.from(headers['authorization']?.slice(6) ?? '', 'base64').toString()
  }
  expect(await sent()).toBe('ann:first')
  expect(client.needsTls).toBe(true)
  writeFileSync(password_file, 'second one')
  await made.clock.advance(1000)
  await expect.poll(sent).toBe('ann:second one')
})
