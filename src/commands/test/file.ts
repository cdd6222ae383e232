/**
 * Reads a test file, and the configuration that its cases run against. What is wrong is told with its place.
 */
import { existsSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import type { Registry } from '../../component/define.ts'
import { checkConfig } from '../../config/check.ts'
import { decode } from '../../config/decode.ts'
import { loadConfig } from '../../config/load.ts'
import { type Entry, emptyMap, find, formatPath, type Path, type Place } from '../../config/node.ts'
import { Report } from '../../config/report.ts'
import { readSource } from '../../config/sources.ts'
import type { ServiceConfig } from '../../config/types.ts'
import { ConfigError, type ConfigProblem, toError } from '../../errors.ts'
import { componentsOf } from '../../registry.ts'
import { type TestCase, type TestFile, testFileSchema } from './schema.ts'

export const SUFFIX = /\.test\.ya?ml$/

export interface LoadedTests {
  readonly file: string
  readonly config: string
  readonly cases: readonly { readonly testCase: TestCase; readonly place: Place }[]
  /**
   * The configuration with the `set` of a case: read once for those that agree, checked anew, since
   * components keep state by it.
   */
  configFor(testCase: TestCase): Promise<ServiceConfig>
  /** A problem at a path below a case, as one that can be printed. */
  problem(index: number, path: Path, message: string): ConfigProblem
}

/** Throws a ConfigError with everything that is wrong with the file itself. */
export async function loadTests(file: string): Promise<LoadedTests> {
  const report = new Report()
  const { entry } = await readSource(file, process.env, report)
  report.throwIfFailed([file])
  const start = { file, line: 1, column: 1 }
  const root: Entry = entry ?? { keyPlace: start, value: emptyMap(start) }
  const parsed = decode(testFileSchema, root, [], report)
  report.throwIfFailed([file])
  if (parsed === undefined)
    throw new ConfigError([{ file, line: 1, column: 1, path: '', message: 'no tests' }])
  const config = configOf(file, parsed, root)
  checkNames(parsed, root, report)
  report.throwIfFailed([file])
  const configs = new Map<string, Promise<Loaded>>()
  return {
    file,
    config,
    cases: parsed.tests.map((testCase, index) => ({
      testCase,
      place: find(root, ['tests', index, 'name']).keyPlace,
    })),
    async configFor(testCase) {
      const sets = [...(parsed.set ?? []), ...(testCase.set ?? [])]
      const key = JSON.stringify(sets)
      const known = configs.get(key) ?? load(config, sets, parsed)
      configs.set(key, known)
      const { tree, registry } = await known
      return checkConfig(tree, registry)
    },
    problem(index, path, message) {
      const full = ['tests', index, ...path]
      const { place } = find(root, full)
      return { ...place, path: formatPath(full), message }
    },
  }
}

function configOf(file: string, parsed: TestFile, root: Entry): string {
  const folder = dirname(file)
  if (parsed.config !== undefined) {
    const path = join(folder, parsed.config)
    if (existsSync(path)) return path
    const { place } = find(root, ['config'])
    throw new ConfigError([
      { ...place, path: 'config', message: `there is no file "${parsed.config}" beside this one` },
    ])
  }
  const stem = basename(file).replace(SUFFIX, '')
  const near = [`${stem}.yaml`, `${stem}.yml`, 'collector.yaml'].map((name) => join(folder, name))
  const found = near.find((path) => resolve(path) !== resolve(file) && existsSync(path))
  if (found !== undefined) return found
  const why = `there is no ${stem}.yaml and no collector.yaml beside this file`
  const message = `say which configuration is tested: config: FILE (${why})`
  throw new ConfigError([{ file, line: 1, column: 1, path: '', message }])
}

function checkNames(parsed: TestFile, root: Entry, report: Report): void {
  const seen = new Set<string>()
  for (const [index, { name, expect, config_error }] of parsed.tests.entries()) {
    const tell = (path: Path, message: string) => {
      const full = ['tests', index, ...path]
      report.error(find(root, full).place, full, message)
    }
    if (seen.has(name)) tell(['name'], `there is another test "${name}"`)
    seen.add(name)
    if (expect === undefined && config_error === undefined) tell([], `the test "${name}" expects nothing`)
    const moments = expect === undefined ? [] : Array.isArray(expect) ? expect : [expect]
    for (const [place, moment] of moments.entries()) {
      const path = Array.isArray(expect) ? ['expect', place] : ['expect']
      if (moment.at !== undefined && moment.dropped !== undefined) {
        tell([...path, 'dropped'], 'what is dropped is known in the end only: leave out at')
      }
    }
  }
}

interface Loaded {
  readonly tree: unknown
  readonly registry: Registry
}

async function load(config: string, sets: readonly string[], parsed: TestFile): Promise<Loaded> {
  const own = Object.entries(parsed.env ?? {}).map(([key, value]) => [key, String(value)] as const)
  const { tree } = await loadConfig({
    sources: [config],
    sets,
    env: { ...process.env, ...Object.fromEntries(own) },
    registry: componentsOf,
    async resolvePackage(name, from) {
      const { resolveFrom } = await import('../../plugin/resolve.ts')
      return resolveFrom(name, from)
    },
  })
  return { tree, registry: await componentsOf(tree) }
}

/** Problems of whatever was thrown. */
export function problemsOf(error: unknown, file: string): readonly ConfigProblem[] {
  if (error instanceof ConfigError) return error.problems
  return [{ file, line: 0, column: 0, path: '', message: toError(error).message }]
}
