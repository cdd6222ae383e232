import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { actionArbitrary, applyActions, attributesArbitrary } from '../../test/support/attribute-actions.ts'
import { createProcessor } from '../../test/support/create-test.ts'
import {
  type Attributes,
  anyValue,
  attributesOf,
  Double,
  decodeBatch,
  encode,
  logs,
  metrics,
  type Plain,
  traces,
} from '../../test/support/otlp.ts'
import { type Logger, silentLogger } from '../component/logger.ts'
import { Batch, NO_METADATA, type RequestContext } from '../otlp/batch.ts'
import definition from './resource.ts'

type Actions = readonly Record<string, unknown>[]

async function edit(batch: Batch, attributes: Actions): Promise<Batch> {
  await using resource = createProcessor(definition, { attributes }, { signal: batch.signal })
  await resource.consume(batch)
  return resource.sink.take()[0]!
}

async function f(sent: Attributes | undefined, attributes: Actions, want: Record<string, unknown>) {
  const group = sent === undefined ? {} : { resource: sent }
  const output = await edit(traces({ ...group, spans: ['a', 'b'] }), attributes)
  expect(output.itemCount).toBe(2)
  expect(attributesOf(decodeBatch(output).resourceSpans[0].resource?.attributes)).toEqual(want)
}

describe('actions', () => {
  test('insert adds only what is absent, update changes only what is there, upsert does both', async () => {
    const set = (action: string) => [{ key: 'env', value: 'prod', action }]
    await f({}, set('insert'), { env: 'prod' })
    await f({ env: 'dev' }, set('insert'), { env: 'dev' })
    await f({ host: 'h' }, set('update'), { host: 'h' })
    await f({ env: 'dev', host: 'h' }, set('UPDATE'), { env: 'prod', host: 'h' })
    await f({ env: 'dev', host: 'h' }, set('upsert'), { env: 'prod', host: 'h' })
    await f(undefined, set('upsert'), { env: 'prod' })
  })

  test('values keep their type', async () => {
    const value = { list: [1, 'two', true], text: 'x' }
    await f({}, [{ key: 'k', value: 7, action: 'insert' }], { k: 7n })
    await f({}, [{ key: 'k', value: 7.5, action: 'insert' }], { k: 7.5 })
    await f({}, [{ key: 'k', value: false, action: 'insert' }], { k: false })
    await f({}, [{ key: 'k', value, action: 'insert' }], { k: { list: [1n, 'two', true], text: 'x' } })
    await f({ k: 'text' }, [{ key: 'k', value: 7, action: 'upsert' }], { k: 7n })
  })

  test('from_attribute copies any type; a missing source does nothing, or takes the default', async () => {
    const copy = { key: 'to', from_attribute: 'from', action: 'upsert' }
    await f({ from: 3 }, [copy], { from: 3n, to: 3n })
    await f({ from: ['a'], to: 1 }, [copy], { from: ['a'], to: ['a'] })
    await f({ to: 1 }, [copy], { to: 1n })
    await f({ to: 1 }, [{ ...copy, default_value: 'none' }], { to: 'none' })
    await f({}, [{ key: 'to', default_value: 'alone', action: 'insert' }], { to: 'alone' })
  })

  test('from_context takes metadata, auth and the address, several values joined', async () => {
    const context: RequestContext = {
      metadata: new Map([
        ['x-tenant', ['a', 'b']],
        ['empty', []],
      ]),
      auth: new Map([['subject', 'ann']]),
      clientAddress: '10.0.0.1:4000',
    }
    await using resource = createProcessor(definition, {
      attributes: [
        { key: 'tenant', from_context: 'metadata.X-Tenant', action: 'insert' },
        { key: 'bare', from_context: 'x-tenant', action: 'insert' },
        { key: 'subject', from_context: 'auth.subject', action: 'insert' },
        { key: 'address', from_context: 'client.address', action: 'insert' },
        { key: 'missing', from_context: 'metadata.empty', action: 'insert' },
        { key: 'fallback', from_context: 'auth.other', default_value: 'd', action: 'insert' },
      ],
    })
    const read = () =>
      attributesOf(decodeBatch(resource.sink.take()[0]!).resourceSpans[0].resource?.attributes)
    await resource.consume(traces({ spans: ['a'], context }))
    expect(read()).toEqual({
      tenant: 'a;b',
      bare: 'a;b',
      subject: 'ann',
      address: '10.0.0.1:4000',
      fallback: 'd',
    })
    await resource.consume(traces({ spans: ['a'], context: { metadata: NO_METADATA } }))
    expect(read()).toEqual({ fallback: 'd' })
  })

  test('delete takes a key, a pattern on keys, or both', async () => {
    const sent = { 'http.url': 'u', 'http.method': 'GET', host: 'h' }
    await f(sent, [{ key: 'host', action: 'delete' }], { 'http.url': 'u', 'http.method': 'GET' })
    await f(sent, [{ pattern: '^http\\.', action: 'delete' }], { host: 'h' })
    await f(sent, [{ pattern: 'url', key: 'host', action: 'delete' }], { 'http.method': 'GET' })
  })

  test('hash gives SHA-256 in hex, of text and of the bytes of numbers; other values stay', async () => {
    const hash = [{ pattern: '.', action: 'hash' }]
    await f({ k: 'hello' }, hash, { k: '2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824' })
    await f({ k: true }, hash, { k: '4bf5122f344554c53bde2ebb8cd2b7e3d1600ad631c385a5d7cce23c7785459a' })
    await f({ k: 1 }, hash, { k: '7c9fa136d4413fa6173637e883b6998d32e1d675f88cddff9dcbcf331820f4b8' })
    await f({ k: ['a'], e: '' }, hash, { k: ['a'], e: '' })
  })

  test('extract writes every group of a match over its key, and nothing without a match', async () => {
    const extract = [
      { key: 'url', pattern: '^(?P<scheme>\\w+)://(?P<host>[^/:]+)(:(?P<port>\\d+))?', action: 'extract' },
    ]
    expect(() => definition.config.parse({ attributes: extract })).toThrow(/group without a name/)
    const named = [
      { key: 'url', pattern: '^(?P<scheme>\\w+)://(?P<host>[^/]+)(?P<path>/.*)?', action: 'extract' },
    ]
    await f({ url: 'http://shop/a', host: 'x' }, named, {
      url: 'http://shop/a',
      host: 'shop',
      scheme: 'http',
      path: '/a',
    })
    await f({ url: 'http://shop' }, named, { url: 'http://shop', host: 'shop', scheme: 'http', path: '' })
    await f({ url: 'nothing', host: 'x' }, named, { url: 'nothing', host: 'x' })
    await f({ url: 5 }, named, { url: 5n })
  })

  test('convert changes the type where it can', async () => {
    const to = (converted_type: string) => [{ key: 'k', action: 'convert', converted_type }]
    await f({ k: '12' }, to('int'), { k: 12n })
    await f({ k: '1e3' }, to('int'), { k: '1e3' })
    await f({ k: '9223372036854775808' }, to('int'), { k: '9223372036854775808' })
    await f({ k: -2.9 }, to('int'), { k: -2n })
    await f({ k: true }, to('double'), { k: 1 })
    await f({ k: '1e3' }, to('double'), { k: 1000 })
    await f({ k: 3 }, to('double'), { k: 3 })
    await f({ k: '0x' }, to('double'), { k: '0x' })
    await f({ k: new Double(1e21) }, to('string'), { k: '1e+21' })
    await f({ k: { b: 1, a: '<' } }, to('string'), { k: '{"a":"\\u003c","b":1}' })
  })

  test('actions run in order, each on what the earlier ones left', async () => {
    const sent = { a: 'one', b: 'two' }
    await f(
      sent,
      [
        { key: 'c', from_attribute: 'a', action: 'insert' },
        { key: 'a', action: 'delete' },
        { key: 'd', from_attribute: 'a', action: 'insert' },
        { key: 'a', value: 'new', action: 'insert' },
        { key: 'c', action: 'update', value: 9 },
        { key: 'c', action: 'convert', converted_type: 'string' },
      ],
      { b: 'two', c: '9', a: 'new' },
    )
  })
})

describe('bytes', () => {
  test('a chunk in which nothing changes is handed on as it is', async () => {
    const batch = traces({ resource: { env: 'prod' }, spans: ['a'] })
    const same = await edit(batch, [
      { key: 'env', value: 'prod', action: 'upsert' },
      { key: 'other', action: 'delete' },
      { key: 'new', value: 1, action: 'insert' },
      { key: 'new', action: 'delete' },
    ])
    expect(same).toBe(batch)
    const two = new Batch('traces', [
      ...batch.chunks,
      ...traces({ resource: { env: 'dev' }, spans: ['b'] }).chunks,
    ])
    const output = await edit(two, [{ key: 'env', value: 'prod', action: 'upsert' }])
    expect(output.chunks[0]).toBe(two.chunks[0])
    expect(output.chunks[1]).not.toBe(two.chunks[1])
  })

  test('of a key that occurs twice the first is edited', async () => {
    const attribute = (key: string, value: string) => ({ key, value: { stringValue: value } })
    const twice = [attribute('k', '1'), attribute('k', '2'), attribute('o', '3')]
    const bytes = encode('logs', { resourceLogs: [{ resource: { attributes: twice } }] })
    const output = await edit(new Batch('logs', [bytes]), [{ key: 'k', value: 'new', action: 'upsert' }])
    expect(decodeBatch(output).resourceLogs[0].resource.attributes).toEqual([
      attribute('k', 'new'),
      attribute('k', '2'),
      attribute('o', '3'),
    ])
  })

  test('unknown fields and the order of the rest survive, also with the resource last', async () => {
    const field = (number: number, ...content: Uint8Array[]) => {
      const bytes = Buffer.concat(content)
      return Buffer.concat([Buffer.from([number * 8 + 2, bytes.length]), bytes])
    }
    const unknown = Buffer.from([0xba, 0x3e, 2, 1, 2])
    const pair = (key: string, value: string, ...more: Uint8Array[]) =>
      field(1, field(1, Buffer.from(key)), field(2, field(1, Buffer.from(value))), ...more)
    const scope = field(2, field(2, field(5, Buffer.from('a'))), unknown)
    const build = (...added: Uint8Array[]) =>
      field(1, scope, field(1, pair('x', '1', unknown), unknown, pair('z', '2'), unknown, ...added), unknown)
    const output = await edit(new Batch('traces', [build()]), [{ key: 'q', value: 'new', action: 'insert' }])
    expect(output.bytes()).toEqual(build(pair('q', 'new')))
    const replaced = await edit(output, [
      { key: 'z', action: 'delete' },
      { key: 'q', value: 'v', action: 'update' },
    ])
    const resource = field(1, pair('x', '1', unknown), unknown, unknown, pair('q', 'v'))
    expect(replaced.bytes()).toEqual(field(1, scope, resource, unknown))
  })

  test('all three signals and several resources in a chunk are edited', async () => {
    const action = [{ key: 'env', value: 'p'.repeat(200), action: 'upsert' }]
    for (const batch of [
      traces(
        { resource: { env: 'a' }, spans: ['a'] },
        { spans: ['b'] },
        { resource: { o: 'c' }, spans: ['c'] },
      ),
      metrics(
        { resource: {}, metrics: [{ name: 'm', gauge: { dataPoints: [{ asInt: 1 }] } }] },
        { metrics: [] },
      ),
      logs({ resource: { env: 'a' }, logs: ['a'] }, { logs: ['b'] }),
    ]) {
      const [list] = Object.values(decodeBatch(batch)) as [Plain[]]
      const output = await edit(batch, action)
      const [edited] = Object.values(decodeBatch(output)) as [Plain[]]
      expect(edited.length).toBe(list.length)
      for (const [index, entry] of edited.entries()) {
        expect(attributesOf(entry.resource.attributes)).toMatchObject({ env: 'p'.repeat(200) })
        const { resource: _, ...rest } = entry
        const { resource: __, ...want } = list[index]
        expect(rest).toEqual(want)
      }
    }
  })

  test('broken bytes reject and do not throw', async () => {
    await using resource = createProcessor(definition, {
      attributes: [{ key: 'k', value: 1, action: 'insert' }],
    })
    await expect(resource.consume(new Batch('traces', [Buffer.from([0x0a, 9, 1])], 1))).rejects.toThrow(
      /byte/,
    )
  })

  test('decode(edit(bytes)) equals edit(decode(bytes)) for random attributes and actions', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.option(attributesArbitrary, { nil: undefined }), { minLength: 1, maxLength: 4 }),
        fc.array(actionArbitrary, { minLength: 1, maxLength: 6 }),
        async (resources, actions) => {
          const request = {
            resourceLogs: resources.map((attributes) => ({
              ...(attributes && { resource: { attributes, droppedAttributesCount: 3 } }),
              scopeLogs: [{ logRecords: [{ body: anyValue('line') }] }],
            })),
          }
          const output = await edit(new Batch('logs', [encode('logs', request)]), actions)
          const edited = decodeBatch(output).resourceLogs
          const plain = decodeBatch(new Batch('logs', [encode('logs', request)])).resourceLogs
          for (const [index, group] of plain.entries()) {
            const want = applyActions(group.resource?.attributes ?? [], actions)
            expect(edited[index].resource?.attributes ?? []).toEqual(want)
            expect(edited[index].scopeLogs).toEqual(group.scopeLogs)
          }
        },
      ),
      { numRuns: 400 },
    )
  })
})

describe('config', () => {
  test('entries without an action are upserts, with one warning', async () => {
    const warnings: string[] = []
    const logger: Logger = { ...silentLogger, warn: (message) => warnings.push(message) }
    const attributes = [
      { key: 'service.name', value: 'caxton' },
      { key: 'service.version', from_attribute: 'version' },
    ]
    await using resource = createProcessor(definition, { attributes }, { logger })
    await resource.consume(traces({ resource: { version: '2' }, spans: ['a'] }))
    expect(attributesOf(decodeBatch(resource.sink.take()[0]!).resourceSpans[0].resource.attributes)).toEqual({
      version: '2',
      'service.name': 'caxton',
      'service.version': '2',
    })
    expect(warnings).toEqual(['Entries without an action are taken as upsert.'])
  })

  test('bad actions are refused with their place', () => {
    const g = (action: unknown, path: string, message: RegExp) => {
      const result = definition.config.safeParse({ attributes: [action] })
      const issues = result.error?.issues ?? []
      expect(issues.map((issue) => issue.path.join('.'))).toContain(`attributes.0${path}`)
      expect(issues.map((issue) => issue.message).join()).toMatch(message)
    }
    g({ key: 'k', action: 'remove' }, '.action', /unknown action "remove"/)
    g({ value: 1, action: 'insert' }, '.key', /needs a key/)
    g({ key: 'k', action: 'upsert' }, '.key', /needs one of/)
    g({ key: 'k', value: 1, from_context: 'c', action: 'upsert' }, '.from_context', /not both/)
    g({ key: 'k', value: 1, pattern: 'p', action: 'upsert' }, '.pattern', /does not use/)
    g({ key: 'k', value: 1, converted_type: 'int', action: 'upsert' }, '.converted_type', /does not use/)
    g({ action: 'delete' }, '.key', /a key, a pattern or both/)
    g({ key: 'k', value: 1, action: 'delete' }, '.value', /does not use/)
    g({ key: 'k', default_value: 1, action: 'hash' }, '.default_value', /does not use/)
    g({ key: 'k', pattern: '(?=a)', action: 'hash' }, '.pattern', /invalid pattern/)
    g({ key: 'k', action: 'extract' }, '.pattern', /needs a pattern/)
    g({ key: 'k', pattern: 'a', action: 'extract' }, '.pattern', /no named group/)
    g({ key: 'k', action: 'convert' }, '.converted_type', /needs a converted_type/)
    g({ key: 'k', converted_type: 'bool', action: 'convert' }, '.converted_type', /not one of/)
    g({ key: 'k', vlaue: 1 }, '', /Unrecognized key/)
    expect(definition.config.safeParse({ attributes: [] }).success).toBe(false)
    expect(definition.config.safeParse({}).success).toBe(false)
  })
})
