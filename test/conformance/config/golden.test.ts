/**
 * Golden configurations: YAML, a line of dashes, and what `weir validate` says about it, or `ok`. A comment
 * line `# env NAME=value` or `# set key=value` in the input is given to the loader as well. The components
 * are those of registry.ts, which never change, or with `# built-in components` those that ship.
 *
 * `UPDATE_GOLDEN=1` writes what is printed now; the difference is then read by a person.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { registry } from '../../../src/components.ts'
import { checkConfig } from '../../../src/config/check.ts'
import { loadConfig } from '../../../src/config/load.ts'
import { ConfigError, formatProblem } from '../../../src/errors.ts'
import { testRegistry } from './registry.ts'

const DASHES = '----------\n'
const folder = import.meta.dirname
const names = readdirSync(folder).filter((name) => name.endsWith('.golden'))
const scratch = mkdtempSync(join(tmpdir(), 'weir-golden-'))
afterAll(() => rmSync(scratch, { recursive: true }))

function directives(input: string, word: string): string[] {
  return [...input.matchAll(new RegExp(`^# ${word} (.*)$`, 'gm'))].map((match) => match[1] ?? '')
}

async function verdict(name: string, input: string): Promise<string> {
  const file = join(scratch, `${name}.yaml`)
  writeFileSync(file, input)
  const env = Object.fromEntries(directives(input, 'env').map((one) => one.split(/=(.*)/s).slice(0, 2)))
  const sets = directives(input, 'set')
  const known = /^# built-in components$/m.test(input) ? registry : testRegistry
  const lines: string[] = []
  try {
    const loaded = await loadConfig({ sources: [file], sets, env, registry: known })
    for (const warning of loaded.warnings) lines.push(`warning: ${formatProblem(warning)}`)
    // The plain tree that shards are sent means the same.
    const tree = structuredClone(loaded.tree)
    const again = typeof known === 'function' ? await known(tree) : known
    expect(checkConfig(tree, again).service).toEqual(loaded.config.service)
    lines.push('ok')
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    lines.push(...error.problems.map(formatProblem))
  }
  return `${lines.join('\n').replaceAll(file, 'config.yaml')}\n`
}

describe('golden configurations', () => {
  test.each(names)('%s', async (name) => {
    const path = join(folder, name)
    const text = readFileSync(path, 'utf8')
    const at = text.lastIndexOf(DASHES)
    const input = text.slice(0, at)
    const said = await verdict(name, input)
    if (process.env['UPDATE_GOLDEN']) writeFileSync(path, `${input}${DASHES}${said}`)
    else expect(said).toBe(text.slice(at + DASHES.length))
  })

  test('there are at least 30 that are refused', () => {
    const bad = names.filter((name) => !readFileSync(join(folder, name), 'utf8').endsWith('\nok\n'))
    expect(bad.length).toBeGreaterThanOrEqual(30)
  })
})
