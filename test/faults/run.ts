/**
 * Runs the fault bench: `npm run test:faults` a seeded part of each suite, `npm run test:faults -- --full`
 * the whole, which writes its results as the table of docs/reliability.md. Other arguments go to vitest:
 * names of files, `-t` and so on.
 */
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Result } from './support/settings.ts'

const root = join(import.meta.dirname, '../..')
const page = join(root, 'docs/reliability.md')
const BEGIN = '<!-- results of the last full run -->'
const END = '<!-- end of results -->'

/** Rows of suites that did not run this time stay. */
function writeTable(results: readonly Result[], seed: string): void {
  const text = readFileSync(page, 'utf8')
  const [before = '', rest = ''] = text.split(BEGIN)
  const [old = '', after = ''] = rest.split(END)
  const rows = new Map<string, string>()
  for (const line of old.split('\n')) {
    const [, suite] = /^\| ([^|]+) \| \d{4}-/.exec(line) ?? []
    if (suite !== undefined) rows.set(suite, line)
  }
  const date = new Date().toISOString().slice(0, 10)
  for (const { suite, faults, counts } of results) {
    const cells = Object.entries(counts).map(([name, count]) => `${name} ${count}`)
    rows.set(suite, `| ${suite} | ${date} | ${seed} | ${faults} | ${cells.join(', ')} |`)
  }
  const head = '| suite | date | seed | faults | outcome |\n| --- | --- | --- | --- | --- |'
  const table = `${BEGIN}\n\n${head}\n${[...rows.values()].join('\n')}\n\n${END}`
  writeFileSync(page, `${before}${table}${after}`)
}

const given = process.argv.slice(2)
const full = given.includes('--full')
const folder = mkdtempSync(join(tmpdir(), 'weir-faults-'))
const collected = join(folder, 'results.jsonl')
const seed = process.env['WEIR_SEED'] ?? '1'
const others = given.filter((argument) => argument !== '--full')
const files = others.some((argument) => !argument.startsWith('-')) ? others : ['test/faults', ...others]
const environment = {
  WEIR_SEED: seed,
  ...(full && { WEIR_FULL: '1', WEIR_RUNS: process.env['WEIR_RUNS'] ?? '500' }),
  WEIR_FAULT_RESULTS: collected,
}
const vitest = join(root, 'node_modules/.bin/vitest')
const child = spawn(vitest, ['run', '--config', 'test/vitest.config.ts', '--no-file-parallelism', ...files], {
  cwd: root,
  stdio: 'inherit',
  env: { ...process.env, ...environment },
})
child.once('exit', (code) => {
  const lines = existsSync(collected) ? readFileSync(collected, 'utf8').trim().split('\n') : []
  rmSync(folder, { recursive: true, force: true })
  if (full && lines.length > 0)
    writeTable(
      lines.map((line) => JSON.parse(line) as Result),
      seed,
    )
  process.exitCode = code ?? 1
})
