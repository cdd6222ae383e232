import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { createExtension } from '../../test/support/create-extension.ts'
import type { ClientAuthenticator, ServerAuthenticator } from '../component/auth.ts'
import { UnauthenticatedError } from '../errors.ts'
import { NO_CONTEXT } from '../otlp/batch.ts'
import bearertokenauth from './bearertokenauth.ts'

const folder = mkdtempSync(join(tmpdir(), 'weir-bearer-'))
afterAll(() => rmSync(folder, { recursive: true }))

async function make(config: unknown) {
  const made = await createExtension(bearertokenauth, config)
  const both = made.extension as unknown as ServerAuthenticator & ClientAuthenticator // It stands on both sides.
  const asked = (value: string | undefined, header = 'authorization') =>
    both.authenticate(new Map(value === undefined ? [] : [[header, [value]]])).then(
      () => true,
      (error: unknown) => error instanceof UnauthenticatedError && error.message,
    )
  const sent = async () => {
    const headers: Record<string, string> = {}
    await both.authorize(headers, NO_CONTEXT)
    return headers
  }
  return { ...made, both, asked, sent }
}

test('who has the token gets in; refusals repeat nothing', async () => {
  await using made = await make({ token: 'marker' })
  expect(await made.asked('Bearer marker')).toBe(true)
  for (const wrong of ['Bearer marke', 'Bearer marker ', 'bearer marker', 'marker', 'Basic marker', ''])
    expect(await made.asked(wrong)).toBe('scheme or token is wrong')
  expect(await made.asked(undefined)).toBe('no authorization header')
  expect(made.both.challenge).toBe('Bearer realm="weir"')
  expect(made.meter.read('extension_auth_refused')).toBe(7)
})

test('several tokens, another header, no scheme', async () => {
  await using made = await make({ tokens: ['a', 'b'], header: 'X-Api-Key', scheme: '' })
  expect(await made.asked('a', 'x-api-key')).toBe(true)
  expect(await made.asked('b', 'x-api-key')).toBe(true)
  expect(await made.asked('c', 'x-api-key')).toBe('scheme or token is wrong')
  expect(await made.asked('a')).toBe('no x-api-key header')
  expect(await made.sent()).toEqual({ 'x-api-key': 'a' })
})

test('the file wins and is read again; empty lines are no tokens; a file that goes leaves the last ones', async () => {
  const filename = join(folder, 'token')
  writeFileSync(filename, '\nold\n\n')
  await using made = await make({ token: 'config', filename })
  expect(await made.asked('Bearer old')).toBe(true)
  expect(await made.asked('Bearer config')).not.toBe(true)
  expect(await made.asked('Bearer ')).not.toBe(true)
  expect(made.both.rejected?.(await made.sent())).toBe(false)
  const before = await made.sent()
  writeFileSync(filename, 'newer\nother\n')
  await made.clock.advance(1000)
  await expect.poll(() => made.asked('Bearer newer')).toBe(true)
  expect(await made.asked('Bearer other')).toBe(true)
  expect(await made.asked('Bearer old')).not.toBe(true)
  expect(made.both.rejected?.(before)).toBe(true) // A second try has another token.
  rmSync(filename)
  await made.clock.advance(2000)
  expect(await made.asked('Bearer newer')).toBe(true)
})

test('a file that is missing fails the start, unless it may come later: then nobody gets in before', async () => {
  const filename = join(folder, 'late')
  await expect(make({ filename })).rejects.toThrow('late')
  await using made = await make({ filename, retry_on_failure: { enabled: true } })
  expect(await made.asked('Bearer ')).not.toBe(true)
  await expect(made.sent()).rejects.toThrow('there is no token yet')
  writeFileSync(filename, 'there')
  await made.clock.advance(1000)
  await expect.poll(() => made.asked('Bearer there')).toBe(true)
})
