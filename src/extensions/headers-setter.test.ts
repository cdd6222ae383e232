import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { createExtension } from '../../test/support/create-extension.ts'
import type { ClientAuthenticator } from '../component/auth.ts'
import { NO_CONTEXT, type RequestContext } from '../otlp/batch.ts'
import headersSetter from './headers-setter.ts'

const folder = mkdtempSync(join(tmpdir(), 'weir-headers-'))
afterAll(() => rmSync(folder, { recursive: true }))

async function apply(
  headers: unknown,
  before: Record<string, string> = {},
  context: RequestContext = NO_CONTEXT,
) {
  await using made = await createExtension(headersSetter, { headers })
  const client = made.extension as unknown as ClientAuthenticator // What it is.
  const sent = { ...before }
  await client.authorize(sent, context)
  return sent
}

test('the four actions', async () => {
  const f = async (action: string, before: Record<string, string>, want: Record<string, string>) =>
    expect([action, await apply([{ action, key: 'X-A', value: 'new' }], before)]).toEqual([action, want])
  await f('insert', {}, { 'x-a': 'new' })
  await f('insert', { 'x-a': 'old' }, { 'x-a': 'old' })
  await f('update', {}, {})
  await f('update', { 'x-a': 'old' }, { 'x-a': 'new' })
  await f('upsert', {}, { 'x-a': 'new' })
  await f('upsert', { 'x-a': 'old' }, { 'x-a': 'new' })
  await f('delete', { 'x-a': 'old', 'x-b': 'b' }, { 'x-b': 'b' })
  expect(await apply([{ key: 'X-A', value: 'new' }])).toEqual({ 'x-a': 'new' })
})

test('values from metadata, from what is known of the caller, and from a file', async () => {
  const context: RequestContext = {
    metadata: new Map([
      ['tenant', ['acme']],
      ['twice', ['a', 'b']],
    ]),
    auth: new Map<string, string | readonly string[]>([
      ['subject', 'ann'],
      ['membership', ['x', 'y']],
    ]),
  }
  const f = async (header: object, want: string) =>
    expect(await apply([{ key: 'k', ...header }], {}, context)).toEqual({ k: want })
  await f({ from_context: 'Tenant' }, 'acme')
  await f({ from_context: 'other', default_value: 'none' }, 'none')
  await f({ from_context: 'other' }, '')
  await f({ from_attribute: 'subject' }, 'ann')
  await f({ from_attribute: 'membership' }, '["x","y"]')
  await f({ from_attribute: 'nothing', default_value: 'none' }, 'none')
  const value_file = join(folder, 'value')
  writeFileSync(value_file, 'from file\n')
  await f({ value_file }, 'from file')
  await expect(apply([{ key: 'k', from_context: 'twice' }], {}, context)).rejects.toThrow(
    '2 values of "twice"',
  )
})
