/**
 * Runs the fault bench.
 *
 *     npm run test:faults                       a seeded part of every suite, as the tests of each change do
 *     npm run test:faults -- FILE -t TITLE      what vitest is told
 *     npm run test:faults -- --full             every suite in its whole length (support/suites.ts)
 *     npm run test:faults -- --full --resume    what did not end well in the last full run
 *     npm run test:faults -- --full --only WORD suites whose name has the word; again and again for more words
 *     npm run test:faults -- --only WORD        the same in short form; --list says what there is
 *
 * A full run says how far it is, and writes the row of a suite into docs/reliability.md when that ends
 * (--no-write leaves the page alone). A run that breaks off has lost what was running.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createWriteStream, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { type Row, writeRows } from './support/result-table.ts'
import type { Result } from './support/settings.ts'
import { GROUPS, type Suite } from './support/suites.ts'

const ROOT = join(import.meta.dirname, '../..')
const CACHE = join(ROOT, 'test/.cache/faults')
const STATE = join(CACHE, 'done.json')
const VITEST = [join(ROOT, 'node_modules/.bin/vitest'), 'run', '--config', 'test/vitest.config.ts']
const SEED = process.env['WEIR_SEED'] ?? '1'
/** A suite that takes so many times as long as it should, and some minutes, is ended. */
const PATIENCE = 3
const PATIENCE_MINUTES = 3
const MINUTE_MS = 60_000

const running = new Set<ChildProcess>()
/** With all that it started. */
function end(child: ChildProcess): void {
  if (child.pid === undefined || child.exitCode !== null) return
  try {
    process.kill(-child.pid, 'SIGKILL')
  } catch {} // It ended just now.
}
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(1))
process.once('exit', () => {
  for (const child of running) end(child)
})

interface Ended {
  readonly ok: boolean
  readonly minutes: number
}

const fileOf = (suite: Suite) => join(CACHE, suite.name.replaceAll(/[^a-z0-9]+/gi, '-'))

function commandOf(suite: Suite, full: boolean): readonly string[] {
  const { script, files = [], title } = suite
  if (script !== undefined) {
    const seed = script.seeded === true ? ['--seed', SEED] : []
    const given = full ? script.full : script.short
    return [...script.command, ...given, ...seed]
  }
  const reports = ['--reporter=default', '--reporter=json', `--outputFile.json=${fileOf(suite)}.json`]
  const paths = files.map((file) => `test/faults/${file}`)
  return [...VITEST, '--no-file-parallelism', ...reports, ...(title ? ['-t', `^${title}`] : []), ...paths]
}

interface VitestReport {
  readonly numPassedTests: number
  readonly testResults: readonly {
    readonly message?: string
    readonly assertionResults: readonly { readonly status: string; readonly failureMessages: string[] }[]
  }[]
}

/** What the suite reported, or else how many of its tests passed; and why it is red. */
function rowsOf(suite: Suite, ok: boolean, why: string | undefined): readonly Row[] {
  const path = fileOf(suite)
  const lines = existsSync(`${path}.jsonl`) ? readFileSync(`${path}.jsonl`, 'utf8').trim().split('\n') : []
  const results = lines.map((line) => JSON.parse(line) as Result)
  const read = suite.script?.read?.(readFileSync(`${path}.log`, 'utf8'))
  if (read !== undefined) results.push({ suite: suite.name, ...read })
  let failure = ok ? undefined : (why ?? 'see its output')
  if (existsSync(`${path}.json`)) {
    const report = JSON.parse(readFileSync(`${path}.json`, 'utf8')) as VitestReport
    const tests = report.testResults.flatMap(({ assertionResults }) => assertionResults)
    const messages = tests.flatMap(({ failureMessages }) => failureMessages)
    if (report.numPassedTests === 0 && ok) failure = 'no test ran'
    else if (!ok) failure = (messages[0]?.split('\n')[0] ?? failure)?.slice(0, 200)
    if (results.length === 0)
      results.push({ suite: suite.name, faults: '', counts: { 'tests passed': report.numPassedTests } })
  }
  if (results.length === 0) results.push({ suite: suite.name, faults: '', counts: {} })
  return results.map((result) => ({ ...result, seed: SEED, failure }))
}

async function runSuite(suite: Suite, full: boolean, write: boolean): Promise<Ended> {
  const path = fileOf(suite)
  for (const kind of ['json', 'jsonl', 'log']) rmSync(`${path}.${kind}`, { force: true })
  const [command = '', ...list] = commandOf(suite, full)
  const env = {
    ...process.env,
    ...{ WEIR_SEED: SEED, WEIR_FAULT_RESULTS: `${path}.jsonl` },
    ...(full && { WEIR_FULL: '1', ...suite.environment }),
  }
  const beganMs = performance.now()
  const child = spawn(command, list, { cwd: ROOT, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
  running.add(child)
  const log = createWriteStream(`${path}.log`)
  for (const stream of [child.stdout, child.stderr]) {
    stream.pipe(log, { end: false })
    stream.pipe(process.stdout, { end: false })
  }
  let why: string | undefined
  const limitMinutes = suite.minutes * PATIENCE + PATIENCE_MINUTES
  const timer = setTimeout(() => {
    why = `not done after ${Math.round(limitMinutes)} minutes`
    end(child)
  }, limitMinutes * MINUTE_MS)
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve))
  clearTimeout(timer)
  running.delete(child)
  await new Promise<void>((resolve) => log.end(resolve))
  const rows = rowsOf(suite, code === 0, why)
  if (write) writeRows(rows)
  const ok = rows.every(({ failure }) => failure === undefined)
  for (const { suite: name, failure } of rows)
    console.log(`== ${name}: ${failure === undefined ? 'well' : `FAILED: ${failure}`}`)
  return { ok, minutes: (performance.now() - beganMs) / MINUTE_MS }
}

const clock = (minutes: number) =>
  `${Math.floor(minutes)}:${String(Math.floor((minutes % 1) * 60)).padStart(2, '0')}`
const minutesOf = (groups: readonly (readonly Suite[])[]) =>
  groups.reduce((sum, group) => sum + Math.max(...group.map(({ minutes }) => minutes)), 0)

/** Names of suites that ended well in the full run with this seed. */
function doneBefore(): ReadonlySet<string> {
  if (!existsSync(STATE)) return new Set()
  const { seed, done } = JSON.parse(readFileSync(STATE, 'utf8')) as { seed: string; done: string[] }
  return new Set(seed === SEED ? done : [])
}

interface Choice {
  readonly full: boolean
  readonly resume: boolean
  readonly write: boolean
  readonly only: readonly string[]
}

async function runGroups({ full, resume, write, only }: Choice): Promise<boolean> {
  mkdirSync(CACHE, { recursive: true })
  const done = new Set(full && (resume || only.length > 0) ? doneBefore() : [])
  const words = only.map((word) => word.toLowerCase())
  const chosen = ({ name }: Suite) =>
    (words.length === 0 || words.some((word) => name.toLowerCase().includes(word))) &&
    !(resume && done.has(name))
  const groups = GROUPS.map((group) => group.filter(chosen)).filter((group) => group.length > 0)
  const count = groups.reduce((sum, group) => sum + group.length, 0)
  if (count === 0) {
    console.log('== no suite is left, or has this name: --list says what there is')
    return resume
  }
  const beganMs = performance.now()
  const used = () => (performance.now() - beganMs) / MINUTE_MS
  const expected = full ? `, about ${clock(minutesOf(groups))} minutes` : ''
  console.log(`== ${count} suites${expected}, seed ${SEED}`)
  let [number, late, well] = [0, 0, true]
  for (const [index, group] of groups.entries()) {
    const names = group.map(({ name }) => `${++number} of ${count}: ${name}`).join('; ')
    const left = full ? `, about ${clock(minutesOf(groups.slice(index)))} left` : ''
    console.log(`== [${clock(used())} used${left}] ${names}`)
    const ended = await Promise.all(group.map((suite) => runSuite(suite, full, write)))
    well &&= ended.every(({ ok }) => ok)
    late += Math.max(...ended.map(({ minutes }) => minutes)) - minutesOf([group])
    for (const [place, { ok }] of ended.entries()) if (ok) done.add(group[place]?.name ?? '')
    if (full) writeFileSync(STATE, JSON.stringify({ seed: SEED, done: [...done] }))
  }
  const against = full ? `, ${clock(Math.abs(late))} ${late > 0 ? 'more' : 'less'} than expected` : ''
  console.log(`== ${clock(used())} minutes${against}: ${well ? 'all well' : 'FAILED'}`)
  return well
}

/** One run of vitest over the whole folder, or over what the arguments say. */
async function runVitest(given: readonly string[]): Promise<boolean> {
  const files = given.some((argument) => !argument.startsWith('-')) ? given : ['test/faults', ...given]
  const [command = '', ...list] = [...VITEST, '--no-file-parallelism', ...files]
  const child = spawn(command, list, {
    cwd: ROOT,
    stdio: 'inherit',
    env: { ...process.env, WEIR_SEED: SEED },
  })
  return await new Promise((resolve) => child.once('exit', (code) => resolve(code === 0)))
}

const OWN = ['--full', '--only', '--list', '--resume', '--no-write']
const given = process.argv.slice(2)
if (!given.some((argument) => OWN.includes(argument.split('=')[0] ?? ''))) {
  process.exitCode = (await runVitest(given)) ? 0 : 1
} else {
  const flag = { type: 'boolean', default: false } as const
  const { values } = parseArgs({
    args: given,
    options: {
      ...{ full: flag, list: flag, resume: flag, 'no-write': flag },
      only: { type: 'string', multiple: true, default: [] },
    },
  })
  if (values.list) {
    for (const group of GROUPS) {
      const lines = group.map(({ name, minutes }) => `${clock(minutes).padStart(6)}  ${name}`)
      console.log(lines.join('\n    at the same time:\n'))
    }
    console.log(`${clock(minutesOf(GROUPS)).padStart(6)}  all`)
  } else {
    const { full, resume, only } = values
    const well = await runGroups({ full, resume, only, write: full && !values['no-write'] })
    process.exit(well ? 0 : 1)
  }
}
