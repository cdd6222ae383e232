// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the configuration's expressions.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { testRegistry } from '../../test/conformance/config/registry.ts'
import { ConfigError, formatProblem } from '../errors.ts'
import { checkConfig } from './check.ts'
import { loadConfig, loadTree } from './load.ts'
import { MAX_SOURCE_BYTES } from './parse.ts'

const folder = mkdtempSync(join(tmpdir(), 'weir-load-'))
afterAll(() => rmSync(folder, { recursive: true }))

function file(name: string, text: string | Uint8Array): string {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

/** The merged, expanded tree of some sources. */
function tree(sources: string[], env: Record<string, string> = {}, sets: string[] = []): Promise<unknown> {
  return loadTree({ sources, sets, env })
}

async function problems(sources: string[], env: Record<string, string> = {}, sets: string[] = []) {
  try {
    await loadConfig({ sources, sets, env, registry: testRegistry })
  } catch (error) {
    if (error instanceof ConfigError) return error.problems.map(formatProblem)
    throw error
  }
  return []
}

const BASE = `
receivers: {otlp: {protocols: {grpc: }}}
exporters: {nop: }
service: {pipelines: {traces: {receivers: [otlp], exporters: [nop]}}}
`

describe('merging', () => {
  test('maps are merged deeply, lists and scalars replaced, null replaces', async () => {
    const a = file('a.yaml', 'x: {m: {a: 1, b: 2}, l: [1, 2], s: old, gone: {a: 1}}')
    const b = file('b.yaml', 'x: {m: {b: 3, c: 4}, l: [3], s: new, gone: }')
    expect(await tree([a, b])).toEqual({ x: { m: { a: 1, b: 3, c: 4 }, l: [3], s: 'new', gone: null } })
    expect(await tree([b, a])).toEqual({
      x: { m: { a: 1, b: 2, c: 4 }, l: [1, 2], s: 'old', gone: { a: 1 } },
    })
  })

  test('--set comes after all sources and takes YAML values', async () => {
    const a = file('a.yaml', 'x: {a: 1, b: 2}')
    const sets = ['x.a=[p, q]', 'x.c.d=5s', 'x.b=', 'y=a=b']
    expect(await tree([a], {}, sets)).toEqual({ x: { a: ['p', 'q'], b: null, c: { d: '5s' } }, y: 'a=b' })
  })

  test('a problem points at the file that the value came from', async () => {
    const a = file('base.yaml', `${BASE}processors:\n  batch:\n    timeout: 1s\n`)
    const b = file('team.yaml', '\nprocessors:\n  batch:\n    send_batch_size: many\n')
    const c = file('last.yaml', 'processors: {batch: {timeout: soon}}')
    expect(await problems([a, b, c], {}, ['processors.batch.tmeout=1'])).toEqual([
      `${b}:4:22: processors.batch.send_batch_size: expected a number, got "many"`,
      `${c}:1:31: processors.batch.timeout: "soon" is not a duration such as 200ms, 5s or 1m30s`,
      '--set processors.batch.tmeout: processors.batch.tmeout: unknown key "tmeout"; did you mean "timeout"?',
    ])
  })
})

describe('sources', () => {
  test('path, file:, env: and yaml: with :: paths', async () => {
    const a = file('a.yaml', 'a: 1')
    const env = { CONFIG: 'b: {c: 2}' }
    const sources = [a, `file:${a}`, 'env:CONFIG', 'yaml:b::d::e: 3', 'yaml:{f: 4, "b::g": 5}']
    expect(await tree(sources, env)).toEqual({ a: 1, b: { c: 2, d: { e: 3 }, g: 5 }, f: 4 })
    expect(await tree(['env:MISSING:-x: 1'])).toEqual({ x: 1 })
  })

  test('what cannot be read is told by name', async () => {
    const junk = file('junk.yaml', new Uint8Array([0x61, 0xff, 0xfe, 0x00]))
    const control = file('control.yaml', 'a: b\nc: \u0001')
    const large = file('large.yaml', `a: ${'x'.repeat(MAX_SOURCE_BYTES)}`)
    const sources = [join(folder, 'missing'), folder, junk, control, large, 'http://host/config', 'yaml:a: [']
    expect(await problems(sources)).toEqual([
      `${join(folder, 'missing')}: cannot read "${join(folder, 'missing')}": there is no such file`,
      `${folder}: cannot read "${folder}": it is a directory`,
      `${junk}: "${junk}" is not UTF-8 text`,
      `${control}:2:4: not valid YAML: control character U+0001`,
      `${large}: "${large}" is larger than ${MAX_SOURCE_BYTES} bytes`,
      'http://host/config: the source "http:" is not supported: configuration is not loaded from the network',
      expect.stringMatching(/^yaml:a:1:\d+: not valid YAML: /),
    ])
  })

  test('the value of --set and of yaml: is not part of the place', async () => {
    const said = await problems([file('base.yaml', BASE), 'yaml:secret: hunter2'], {}, ['other=hunter2'])
    expect(said).toHaveLength(2)
    expect(said.join()).not.toContain('hunter2')
  })
})

describe('expansion', () => {
  const env = {
    NUM: '0123',
    PLAIN: '42',
    ON: 'true',
    MAP: '{a: [1, "${PLAIN}"]}',
    NAME: 'NUM',
    EMPTY: '',
    TEXT: 'some text',
    AGAIN: '${env:PLAIN}',
    DOLLARS: 'pa$$word',
    DOLLAR: 'pa$word',
    BROKEN: '[a, b',
    QUOTED: '"q"',
  }
  const expanded = async (value: string) => {
    const result = await tree([file('e.yaml', `v: ${JSON.stringify(value)}`)], env)
    return (result as { v: unknown }).v // The file above has this one key.
  }
  test.each<[string, unknown]>([
    ['${env:PLAIN}', 42],
    ['${PLAIN}', 42],
    ['${env:ON}', true],
    ['${env:NUM}', 0o123],
    ['x${env:NUM}', 'x0123'],
    ['${PLAIN}${PLAIN}', '4242'],
    ['${MAP}', { a: [1, 42] }],
    ['${env:${env:NAME}}', 0o123],
    ['${env:EMPTY:-default}', null],
    ['a${env:EMPTY:-default}b', 'ab'],
    ['${env:MISSING:-7}', 7],
    ['${MISSING:-seven}', 'seven'],
    ['${env:MISSING:-${env:PLAIN}}', 42],
    ['${env:MISSING}', null],
    ['a${MISSING}b', 'ab'],
    ['${AGAIN}', 42],
    ['${TEXT}', 'some text'],
    ['${BROKEN}', '[a, b'],
    ['${QUOTED}', '"q"'],
    ['${DOLLAR}', 'pa$word'],
    ['${DOLLARS}', 'pa$word'],
    ['${yaml:[1, 2]}', [1, 2]],
    ['$PLAIN', '$PLAIN'],
    ['$$', '$'],
    ['$${PLAIN}', '${PLAIN}'],
    ['$$${PLAIN}', '$42'],
    ['$$$${PLAIN}', '$${PLAIN}'],
    ['$$1 $1 ${', '$1 $1 ${'],
    ['}${PLAIN}', '}42'],
    ['$${a} ${PLAIN}', '${a} 42'],
  ])('%s', async (value, want) => {
    expect(await expanded(value)).toEqual(want)
  })

  test('keys are left alone', async () => {
    expect(await tree([file('k.yaml', '"${env:PLAIN}": 1')], env)).toEqual({ '${env:PLAIN}': 1 })
  })

  test('file: brings in maps with their places, and text without its last line break', async () => {
    const batch = file('batch.yaml', 'timeout: 1s\nsend_batch_sise: 10\n')
    const token = file('token', 's3cr3t\n')
    const base = `${BASE}processors: {batch: "\${file:${batch}}"}`
    expect(await problems([file('main.yaml', base)])).toEqual([
      `${batch}:2:1: processors.batch.send_batch_sise: unknown key "send_batch_sise"; did you mean "send_batch_size"?`,
    ])
    expect(await tree([file('t.yaml', `a: "\${file:${token}}"\nb: "Bearer \${file:${token}}"`)])).toEqual({
      a: 's3cr3t',
      b: 'Bearer s3cr3t',
    })
  })

  test('an endless file and expressions that multiply end with an error', async () => {
    const self = join(folder, 'self.yaml')
    writeFileSync(self, `a: "\${file:${self}}"\nb: "\${file:${self}}"\n`)
    expect((await problems([self]))[0]).toMatch(/more than 1000 expansions|nested deeper/)
    const bomb = {
      A: '${B}${B}${B}${B}',
      B: '${C}${C}${C}${C}',
      C: '${D}${D}${D}${D}',
      D: '${E}${E}${E}${E}',
      E: '${A}',
    }
    expect((await problems([file('bomb.yaml', 'a: ${A}')], bomb)).join()).toMatch(/more than 1000 expansions/)
  })
})

describe('the plain tree', () => {
  test('survives a structured clone and checks to the same configuration', async () => {
    const path = file(
      'full.yaml',
      `${BASE.replace('nop: }', 'otlp_grpc: {endpoint: "x:1", tenant: "${T}", token: "${T}", headers: {a: "${T}"}}}')}
`.replace('[nop]', '[otlp_grpc]'),
    )
    const env = { T: '007' }
    const loaded = await loadConfig({ sources: [path], sets: [], env, registry: testRegistry })
    const again = checkConfig(structuredClone(loaded.tree), testRegistry)
    const first = loaded.config.exporters.get('otlp_grpc')?.config as Record<string, { reveal?(): string }>
    const second = again.exporters.get('otlp_grpc')?.config as typeof first
    expect(first).toMatchObject({ tenant: '007', headers: { a: '007' } })
    expect(second).toMatchObject({ tenant: '007', headers: { a: '007' } })
    expect(second['token']?.reveal?.()).toBe('007')
    expect(`${second['token']}`).toBe('[redacted]')
  })

  test('checkConfig refuses what is no configuration', () => {
    for (const bad of [undefined, null, 3, [], {}, { receivers: 1 }]) {
      expect(() => checkConfig(bad, testRegistry)).toThrow(ConfigError)
    }
  })
})
