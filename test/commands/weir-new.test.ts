/**
 * `weir new`: what it writes passes as written, for every kind, and it overwrites nothing. That it does so
 * with the packed package is shown by test/packaging.
 */
import { execFile } from 'node:child_process'
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { NEW_KINDS, scaffold } from '../../src/commands/new/index.ts'

const ROOT = join(import.meta.dirname, '../..')
const folder = mkdtempSync(join(tmpdir(), 'weir-new-'))
afterAll(() => rmSync(folder, { recursive: true }))
// As if the package were installed; its sources stand for what is built of them.
mkdirSync(join(folder, 'node_modules'))
symlinkSync(ROOT, join(folder, 'node_modules/weir-collector'))

function node(args: readonly string[], cwd = folder) {
  return new Promise<{ code: number; out: string; err: string }>((resolve) => {
    execFile(process.execPath, args, { cwd }, (error, out, err) => {
      resolve({ code: error === null ? 0 : Number(error.code), out, err })
    })
  })
}
const weir = (...args: string[]) => node([join(ROOT, 'src/main.ts'), ...args])

test('components of every kind pass their unit tests, their pipeline tests and validate --strict', async () => {
  for (const kind of NEW_KINDS) {
    expect(scaffold(kind, `my-${kind}`, folder)).toMatchObject({ names: { type: `my_${kind}` } })
  }
  expect(readdirSync(folder).filter((name) => name.startsWith('my-'))).toHaveLength(4 * NEW_KINDS.length)
  const unit = await node(['--conditions=source', '--test'])
  expect(unit.code, unit.out).toBe(0)
  expect(unit.out).toMatch(/^\S* ?pass 3\d$/m)
  const pipelines = await weir('test')
  expect([pipelines.code, pipelines.err], pipelines.out).toEqual([0, ''])
  expect(pipelines.out).toContain('6 passed')
  for (const kind of NEW_KINDS) {
    const checked = await weir('validate', '--strict', '--config', `my-${kind}.yaml`)
    expect([checked.code, checked.out], checked.err).toEqual([0, ''])
    expect(checked.err.split('\n').filter((line) => line !== '' && !line.startsWith('note: '))).toEqual([])
  }
}, 120_000)

test('types are right as an editor sees them', async () => {
  // As `npm init` may have it; the package.json that npm install writes says nothing of types.
  const compilerOptions = { typeRoots: [join(ROOT, 'node_modules/@types')], verbatimModuleSyntax: false }
  const options = { extends: join(ROOT, 'tsconfig.json'), include: ['my-*.ts'], compilerOptions }
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(options))
  const { out } = await node([join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', folder])
  expect(out.split('\n').filter((line) => line.startsWith('my-') || line.startsWith('error'))).toEqual([])
}, 120_000)

test('names and kinds that cannot be are said so, and nothing is written', async () => {
  const f = (kind: string, name: string, want: string) => expect(scaffold(kind, name, folder)).toContain(want)
  const before = readdirSync(folder)
  f('procesor', 'x', 'unknown kind "procesor"; did you mean "processor"?')
  f('processor', 'Mask Cards', '"Mask Cards" is not a name')
  f('processor', '../escape', '"../escape" is not a name')
  expect(scaffold('processor', 'x', join(folder, 'none'))).toContain('there is no folder')
  expect(readdirSync(folder)).toEqual(before)
  const { code, out } = await weir('new', 'processor', 'Mask Cards')
  expect([code, out]).toEqual([1, ''])
})

test('nothing is overwritten, not even one of the four files', () => {
  const other = join(folder, 'other')
  mkdirSync(other)
  cpSync(join(folder, 'my-processor.yaml'), join(other, 'my-processor.yaml'))
  expect(scaffold('exporter', 'my-processor', other)).toMatch(
    /^nothing written: \S*my-processor\.yaml is there already$/,
  )
  expect(readdirSync(other)).toEqual(['my-processor.yaml'])
})

test('where .ts files are CommonJS, it writes .mts', () => {
  const old = join(folder, 'old')
  mkdirSync(old)
  writeFileSync(join(old, 'package.json'), '{"type":"commonjs"}')
  scaffold('processor', 'mask', old)
  expect(readdirSync(old)).toContain('mask.mts')
  expect(readFileSync(join(old, 'mask.yaml'), 'utf8')).toContain('- ./mask.mts')
  expect(readFileSync(join(old, 'mask.test.mts'), 'utf8')).toContain("from './mask.mts'")
})
