import { existsSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { testRegistry } from '../../test/conformance/config/registry.ts'
import { registry } from '../components.ts'
import { duration, harmless, refused, secret } from './fields.ts'
import { fieldRows, fieldsDocument } from './fields-table.ts'

test('each field says whether it works, its type and its default', () => {
  const schema = z.strictObject({
    timeout: duration().default(1500),
    list: z.array(z.strictObject({ name: z.string() })).default([]),
    mode: z.enum(['a', 'b']).optional(),
    pick: z.discriminatedUnion('type', [
      z.strictObject({ type: z.literal('x'), n: z.int() }),
      z.strictObject({ type: z.literal('y'), s: z.string().default('z') }),
    ]),
    headers: z.record(z.string(), z.string()),
    token: secret().optional(),
    old: harmless('nothing uses it'),
    never: refused('it would lose data'),
  })
  const f = fieldRows(schema).map((row) => [row.path, row.status, row.type, row.default, row.why].join(' | '))
  expect(f).toEqual([
    'timeout | works | duration | 1500ms | ',
    'list | works | list of map | [] | ',
    'list[].name | works | string |  | ',
    'mode | works | a, b |  | ',
    'pick | works | map |  | ',
    'pick.type | works | x or y |  | ',
    'pick.n | works | whole number |  | ',
    'pick.s | works | string | "z" | ',
    'headers | works | map |  | ',
    'token | works | secret |  | ',
    'old | harmless |  |  | nothing uses it',
    'never | refused |  |  | it would lose data',
  ])
})

test('the document has a part for every component and every refused type', () => {
  const text = fieldsDocument(testRegistry)
  for (const type of ['otlp', 'host_metrics', 'batch', 'otlp_grpc', 'forward', 'health_check']) {
    expect(text).toContain(` \`${type}\`\n`)
  }
  expect(text).toContain('| `datadog` | there is no exporter for this backend |')
})

test('docs/fields.md is current: weir fields > docs/fields.md', async () => {
  const path = new URL('../../docs/fields.md', import.meta.url)
  expect(existsSync(path) ? readFileSync(path, 'utf8') : '').toBe(fieldsDocument(await registry()))
})
