/** The full run leaves no test of the fault bench out, runs none twice, and keeps rows of suites that did not run. */
import { existsSync, globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { mergeRows } from './result-table.ts'
import { GROUPS } from './suites.ts'

const FOLDER = join(import.meta.dirname, '..')
const ROOT = join(FOLDER, '../..')
const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: object }
const suites = GROUPS.flat()

/** Titles as they stand in the file; what is put into them counts as a number. */
function titlesOf(file: string): string[] {
  const text = readFileSync(join(FOLDER, file), 'utf8')
  const found = text.matchAll(/^ *test(?:\.skipIf\([^\n]*\))?\(\s*['`](.*?)['`],/gm)
  return [...found].map(([, title = '']) => title.replaceAll(/\$\{[^}]*\}/g, '7'))
}

test('every test belongs to one suite', () => {
  const files = globSync('*.test.ts', { cwd: FOLDER }).toSorted()
  expect(files.length).toBeGreaterThan(10)
  for (const file of files) {
    const own = suites.filter((suite) => suite.files?.includes(file))
    expect([file, own.length > 0]).toEqual([file, true])
    if (own.some(({ title }) => title === undefined)) {
      expect([file, own.length]).toEqual([file, 1])
      continue
    }
    const titles = titlesOf(file)
    expect([file, titles.length >= own.length]).toEqual([file, true])
    for (const title of titles) {
      const names = own.filter((suite) => new RegExp(`^${suite.title}`).test(title)).map(({ name }) => name)
      expect([title, names]).toEqual([title, [expect.any(String)]])
    }
  }
})

test('names are different, and files and scripts are there', () => {
  expect(new Set(suites.map(({ name }) => name)).size).toBe(suites.length)
  for (const { files = [], script } of suites) {
    for (const file of files) expect([file, existsSync(join(FOLDER, file))]).toEqual([file, true])
    if (script === undefined) continue
    const [command, word = '', , name = ''] = script.command
    if (command === 'npm') expect(Object.keys(scripts)).toContain(name)
    else expect([word, existsSync(join(ROOT, word))]).toEqual([word, true])
  }
})

test('a row is replaced by the next result of its suite, the others stay', () => {
  const row = (suite: string, failure?: string) => ({
    ...{ suite, seed: '7', faults: '3 faults', counts: { lost: 0 } },
    ...(failure !== undefined && { failure }),
  })
  const empty = 'before\n<!-- results of the last full run -->\n<!-- end of results -->\nafter\n'
  const first = mergeRows(empty, [row('kill -9 (of 200)'), row('disk full (8 MiB)')])
  const second = mergeRows(first, [row('kill -9', 'lost | torn')])
  const lines = second.split('\n').filter((line) => line.includes('| 7 |'))
  expect(lines.map((line) => line.replace(/\d{4}-\d\d-\d\d/, 'DAY'))).toEqual([
    '| kill -9 | DAY | 7 | 3 faults | **failed**: lost / torn, lost 0 |',
    '| disk full (8 MiB) | DAY | 7 | 3 faults | lost 0 |',
  ])
  expect([second.startsWith('before\n'), second.endsWith('\nafter\n')]).toEqual([true, true])
  expect(() => mergeRows('nothing', [row('kill -9')])).toThrow('no place')
})
