/**
 * Results as text for people, coloured where the output is a terminal, and as JUnit XML for build servers.
 */
import { relative } from 'node:path'
import type { ConfigProblem } from '../../errors.ts'
import { formatProblem } from '../../errors.ts'
import type { Failure } from './check.ts'

export interface CaseResult {
  readonly name: string
  readonly file: string
  readonly line: number
  readonly ms: number
  readonly failures: readonly Failure[]
  readonly logged: readonly string[]
  /** It could not be run. */
  readonly problems: readonly ConfigProblem[]
}

export interface FileResult {
  readonly file: string
  readonly cases: readonly CaseResult[]
  /** Nothing of the file could be run. */
  readonly problems: readonly ConfigProblem[]
}

const MOST_LOGGED = 5

export class Colours {
  readonly #on: boolean
  constructor(on: boolean) {
    this.#on = on
  }
  #wrap(code: number, text: string): string {
    return this.#on ? `\u001b[${code}m${text}\u001b[0m` : text
  }
  red = (text: string) => this.#wrap(31, text)
  green = (text: string) => this.#wrap(32, text)
  dim = (text: string) => this.#wrap(2, text)
  bold = (text: string) => this.#wrap(1, text)
}

export function fileText({ file, cases, problems }: FileResult, colours: Colours): string {
  const lines = [colours.bold(shortened(file))]
  for (const problem of problems) lines.push(`  ${colours.red('cannot run')} ${formatProblem(problem)}`)
  for (const one of cases) lines.push(...caseLines(one, colours))
  return `${lines.join('\n')}\n`
}

function caseLines(one: CaseResult, colours: Colours): string[] {
  const { name, failures, problems, logged } = one
  if (problems.length > 0) {
    return problems.map((problem) => `  ${colours.red('cannot run')} ${name}: ${formatProblem(problem)}`)
  }
  if (failures.length === 0)
    return [`  ${colours.green('ok')} ${name} ${colours.dim(`(${Math.round(one.ms)} ms)`)}`]
  const lines = [`  ${colours.red('FAILED')} ${name} ${colours.dim(`(${shortened(one.file)}:${one.line})`)}`]
  for (const { title, lines: diff } of failures) {
    lines.push(`    ${title}`)
    for (const { mark, text } of diff) {
      const line = `      ${mark} ${text}`
      lines.push(mark === '-' ? colours.green(line) : mark === '+' ? colours.red(line) : colours.dim(line))
    }
  }
  if (failures.some(({ lines: diff }) => diff.some(({ mark }) => mark !== ' '))) {
    lines.push(`      ${colours.dim('(- expected, + came)')}`)
  }
  for (const line of logged.slice(0, MOST_LOGGED)) lines.push(`    ${colours.dim(`logged ${line}`)}`)
  return lines
}

export function summary(files: readonly FileResult[], colours: Colours): string {
  const cases = files.flatMap((file) => file.cases)
  const failed = cases.filter(({ failures }) => failures.length > 0).length
  const broken =
    cases.filter(({ problems }) => problems.length > 0).length +
    files.filter(({ problems }) => problems.length > 0).length
  const passed = cases.filter(({ failures, problems }) => failures.length + problems.length === 0).length
  const parts = [`${passed} passed`]
  if (failed > 0) parts.push(colours.red(`${failed} failed`))
  if (broken > 0) parts.push(colours.red(`${broken} could not run`))
  return `${parts.join(', ')}\n`
}

function shortened(file: string): string {
  const path = relative(process.cwd(), file)
  return path.startsWith('..') ? file : path
}

export function junit(files: readonly FileResult[]): string {
  const lines = ['<?xml version="1.0" encoding="UTF-8"?>', '<testsuites name="weir">']
  for (const { file, cases, problems } of files) {
    const failed = cases.filter(({ failures }) => failures.length > 0).length
    const errors = cases.filter((one) => one.problems.length > 0).length + (problems.length > 0 ? 1 : 0)
    const count = cases.length + (problems.length > 0 ? 1 : 0)
    const seconds = cases.reduce((sum, { ms }) => sum + ms, 0) / 1000
    lines.push(
      `  <testsuite name=${attribute(shortened(file))} tests="${count}" failures="${failed}"` +
        ` errors="${errors}" time="${seconds.toFixed(3)}">`,
    )
    if (problems.length > 0) {
      lines.push(
        `    <testcase classname=${attribute(shortened(file))} name="file">`,
        `      ${errorOf(problems)}`,
        '    </testcase>',
      )
    }
    for (const one of cases) lines.push(...junitCase(one))
    lines.push('  </testsuite>')
  }
  return `${[...lines, '</testsuites>'].join('\n')}\n`
}

function junitCase({ name, file, line, ms, failures, problems }: CaseResult): string[] {
  const path = attribute(shortened(file))
  const place = `classname=${path} name=${attribute(name)} file=${path} line="${line}"`
  const head = `    <testcase ${place} time="${(ms / 1000).toFixed(3)}"`
  if (failures.length + problems.length === 0) return [`${head}/>`]
  const lines = [`${head}>`]
  if (problems.length > 0) lines.push(`      ${errorOf(problems)}`)
  for (const { title, lines: diff } of failures) {
    const body = diff.map(({ mark, text }) => `${mark} ${text}`).join('\n')
    lines.push(`      <failure message=${attribute(title)}>${escaped(body)}</failure>`)
  }
  return [...lines, '    </testcase>']
}

function errorOf(problems: readonly ConfigProblem[]): string {
  const text = problems.map(formatProblem).join('\n')
  return `<error message=${attribute(problems[0]?.message ?? '')}>${escaped(text)}</error>`
}

function attribute(text: string): string {
  return `"${escaped(text).replaceAll('"', '&quot;').replaceAll('\n', '&#10;')}"`
}

/** Control characters have no form in XML 1.0. */
function escaped(text: string): string {
  return text
    .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f]/g, '?')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
}
