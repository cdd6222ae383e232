/**
 * `weir test`: unit tests of pipelines, written in YAML beside the configuration (docs/testing.md). Exit
 * code 0 when all pass, 1 when some fail, 2 when something could not be run.
 */
import { globSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ConfigError } from '../../errors.ts'
import { type LoadedTests, loadTests, problemsOf, SUFFIX } from './file.ts'
import { CannotRun } from './layout.ts'
import { type CaseResult, Colours, type FileResult, fileText, junit, summary } from './report.ts'
import { runCase } from './run.ts'
import type { TestCase } from './schema.ts'

export interface TestOptions {
  /** Files, folders and globs; none means the current folder. */
  readonly files: readonly string[]
  readonly junit?: string | undefined
  /** Only cases whose name contains this. */
  readonly only?: string | undefined
  readonly colour: boolean
  write(text: string): void
  complain(text: string): void
}

const MOST_FILES = 10_000

/** Runs everything, and returns the exit code. */
export async function testPipelines(options: TestOptions): Promise<number> {
  const found = findTestFiles(options.files)
  for (const problem of found.problems) options.complain(`${problem}\n`)
  if (found.files.length === 0) {
    if (found.problems.length === 0) options.complain('no test files: expected NAME.test.yaml\n')
    return 2
  }
  const colours = new Colours(options.colour)
  const results: FileResult[] = []
  for (const file of found.files) {
    const result = await runFile(file, options.only)
    results.push(result)
    options.write(fileText(result, colours))
  }
  options.write(summary(results, colours))
  if (options.junit !== undefined) writeFileSync(options.junit, junit(results))
  const cases = results.flatMap((result) => result.cases)
  const broken = [...results, ...cases].some(({ problems }) => problems.length > 0)
  if (broken || found.problems.length > 0) return 2
  if (cases.length === 0) {
    options.complain(`no test has a name with "${options.only}"\n`)
    return 2
  }
  return cases.some(({ failures }) => failures.length > 0) ? 1 : 0
}

export function findTestFiles(given: readonly string[]): { files: string[]; problems: string[] } {
  const files = new Set<string>()
  const problems: string[] = []
  for (const path of given.length === 0 ? ['.'] : given) {
    const stat = statSync(path, { throwIfNoEntry: false })
    if (stat?.isFile()) {
      files.add(path)
      continue
    }
    const pattern = stat?.isDirectory() ? join(path, '**/*.test.{yaml,yml}') : path
    const found = globSync(pattern, { exclude: ['**/node_modules/**'] }).filter((name) => SUFFIX.test(name))
    for (const name of found.sort().slice(0, MOST_FILES)) files.add(name)
    if (found.length === 0) problems.push(`no test files in "${path}": expected NAME.test.yaml`)
  }
  return { files: [...files], problems }
}

async function runFile(file: string, only: string | undefined): Promise<FileResult> {
  let tests: LoadedTests
  try {
    tests = await loadTests(file)
  } catch (error) {
    return { file, cases: [], problems: problemsOf(error, file) }
  }
  const cases: CaseResult[] = []
  for (const [index, { testCase, place }] of tests.cases.entries()) {
    if (only !== undefined && !testCase.name.includes(only)) continue
    const began = performance.now()
    const common = { name: testCase.name, file, line: place.line, failures: [], logged: [], problems: [] }
    try {
      const outcome = await run(tests, testCase)
      cases.push({ ...common, ...outcome, ms: performance.now() - began })
    } catch (error) {
      const problems =
        error instanceof CannotRun
          ? [tests.problem(index, error.path, error.message)]
          : problemsOf(error, file)
      cases.push({ ...common, problems, ms: performance.now() - began })
    }
  }
  return { file, cases, problems: [] }
}

/** A case runs, or its configuration is refused as it says. */
async function run(tests: LoadedTests, testCase: TestCase): Promise<Pick<CaseResult, 'failures' | 'logged'>> {
  const { config_error: wanted } = testCase
  if (wanted === undefined) return runCase(testCase, await tests.configFor(testCase), tests.file)
  const failure = (title: string, came: readonly string[]) => ({
    failures: [
      {
        title,
        lines: [{ mark: '-', text: wanted } as const, ...came.map((text) => ({ mark: '+', text }) as const)],
      },
    ],
    logged: [],
  })
  try {
    await tests.configFor(testCase)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    const messages = error.problems.map(({ path, message }) => `${path}: ${message}`)
    if (messages.some((message) => message.includes(wanted))) return { failures: [], logged: [] }
    return failure('the configuration is refused for another reason', messages)
  }
  return failure('the configuration should be refused, and is taken', [])
}
