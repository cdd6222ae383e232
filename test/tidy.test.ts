/** The rules of the house that a program can check: direction of imports, size of files, ASCII, nothing unreachable. */
import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { expect, test } from 'vitest'

const root = join(import.meta.dirname, '..')
const files = globSync('src/**/*.{ts,mjs}', { cwd: root }).sort()
const sources = files.filter((file) => !file.endsWith('.test.ts'))
const read = (file: string) => readFileSync(join(root, file), 'utf8')

/** Files that one imports, as paths from the root; packages are left out. */
function imports(file: string): string[] {
  const found: string[] = []
  for (const [, path] of read(file).matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)) {
    found.push(relative(root, join(root, dirname(file), path ?? '')))
  }
  return found
}

const KINDS = ['receivers', 'processors', 'exporters', 'connectors', 'extensions']
/** Lower layers first: a layer may import itself and what stands before it. */
const LAYERS: readonly (readonly string[])[] = [
  ['errors.ts', 'version.ts'],
  ['otlp', 'config'],
  ['component'],
  ['net', 'workers', 'storage', 'sending', 'prometheus', 'plugin'],
  ['testing'],
  ['service', ...KINDS],
  ['components.ts', 'refused-components.ts', 'registry.ts', 'testing.ts', 'replay', 'commands'],
  [
    'main.ts',
    'command-line.ts',
    'shard.ts',
    'shard.mjs',
    'isolate.ts',
    'isolate.mjs',
    'index.ts',
    'weir.mjs',
  ],
]
const layerOf = (file: string) => {
  const top = file.split('/')[1] ?? ''
  return LAYERS.findIndex((names) => names.includes(top))
}
/** config/types.ts and fields.ts describe components and are described by them: types only, no code runs in a circle. */
const typeOnly = (file: string, target: string) => {
  const name = target.split('/').at(-1)?.replace('.ts', '') ?? ''
  const lines = read(file).match(new RegExp(`import[^;]*?from '[^']*${name}\\.ts'`, 'g')) ?? []
  return (
    lines.length > 0 && lines.every((line) => /^import type/.test(line.slice(line.lastIndexOf('import'))))
  )
}

test('imports point one way', () => {
  const wrong: string[] = []
  for (const file of sources) {
    for (const target of imports(file)) {
      if (layerOf(file) < 0) wrong.push(`${file}: in no layer`)
      const up = layerOf(target) > layerOf(file)
      const config = file.startsWith('src/config/') && target.startsWith('src/component/')
      if (up && !config && !typeOnly(file, target)) wrong.push(`${file} imports ${target}`)
    }
  }
  expect(wrong).toEqual([])
})

test('kinds never import each other, and the service imports no kind', () => {
  const wrong: string[] = []
  for (const file of sources) {
    const from = file.split('/')[1] ?? ''
    for (const target of imports(file)) {
      const to = target.split('/')[1] ?? ''
      if (KINDS.includes(to) && to !== from && (KINDS.includes(from) || from === 'service')) {
        wrong.push(`${file} imports ${target}`)
      }
    }
  }
  expect(wrong).toEqual([])
})

test('every file is reachable from an entry', () => {
  const seen = new Set<string>()
  const visit = (file: string) => {
    if (seen.has(file) || !existsSync(join(root, file))) return
    seen.add(file)
    for (const target of imports(file)) visit(target)
    // Worker entries are named by URL, the entry of the command by a string.
    for (const [, name] of read(file).matchAll(/'\.\.?\/((?:\.\.\/)?[a-z-]+\.ts)'/g)) visit(`src/${name}`)
  }
  for (const entry of [
    'src/main.ts',
    'src/shard.mjs',
    'src/isolate.mjs',
    'src/index.ts',
    'src/testing.ts',
    'src/weir.mjs',
  ])
    visit(entry)
  expect(sources.filter((file) => !seen.has(file))).toEqual([])
})

test('files stay short, lines too, and pure ASCII', () => {
  const wrong: string[] = []
  for (const file of files) {
    const text = read(file)
    const lines = text.split('\n')
    // Tests hold tables of data.
    if (lines.length > (file.endsWith('.test.ts') ? 561 : 401))
      wrong.push(`${file}: ${lines.length - 1} lines`)
    const longest = Math.max(...lines.map((line) => line.length))
    if (longest > (file.endsWith('.test.ts') ? 200 : 140)) wrong.push(`${file}: a line of ${longest} columns`)
    for (const [index, line] of lines.entries()) {
      if (/[^\x20-\x7e\t]/.test(line)) wrong.push(`${file}:${index + 1}: not ASCII`)
    }
  }
  expect(wrong).toEqual([])
})

test('only their layers touch threads and HTTP/2', () => {
  const wrong: string[] = []
  for (const file of sources) {
    const text = read(file)
    const threads =
      /^import \{[^}]*(Worker|parentPort|MessageChannel)/m.test(text) &&
      text.includes("'node:worker_threads'")
    if (threads && !/^src\/(workers\/|shard\.ts)/.test(file)) wrong.push(`${file} starts threads`)
    if (text.includes("'node:http2'") && !file.startsWith('src/net/')) wrong.push(`${file} uses node:http2`)
  }
  expect(wrong).toEqual([])
})
