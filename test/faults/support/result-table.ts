/**
 * The table of results in docs/reliability.md. A row is replaced by the next result of its suite; rows of
 * suites that did not run stay.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Result } from './settings.ts'

const PAGE = join(import.meta.dirname, '../../../docs/reliability.md')
const BEGIN = '<!-- results of the last full run -->'
const END = '<!-- end of results -->'
const HEAD = '| suite | date | seed | faults | outcome |\n| --- | --- | --- | --- | --- |'

/** A result of a part, `kill -9 (of 200)`, gives way to that of the whole. */
const keyOf = (suite: string) => suite.replace(/ \(of \d+\)$/, '')

export interface Row extends Result {
  readonly seed: string
  /** Why the suite is red. */
  readonly failure?: string | undefined
}

function lineOf({ suite, seed, faults, counts, failure }: Row): string {
  const cells = Object.entries(counts).map(([name, count]) => `${name} ${count}`)
  const red = failure === undefined ? [] : [`**failed**: ${failure.replaceAll('|', '/')}`]
  const date = new Date().toISOString().slice(0, 10)
  return `| ${suite} | ${date} | ${seed} | ${faults} | ${[...red, ...cells].join(', ')} |`
}

export function mergeRows(text: string, results: readonly Row[]): string {
  const [before = '', rest] = text.split(BEGIN)
  const [old = '', after] = rest?.split(END) ?? []
  if (after === undefined) throw new RangeError('the page has no place for the table')
  const rows = new Map<string, string>()
  for (const line of old.split('\n')) {
    const [, suite] = /^\| ([^|]+) \| \d{4}-/.exec(line) ?? []
    if (suite !== undefined) rows.set(keyOf(suite), line)
  }
  for (const result of results) rows.set(keyOf(result.suite), lineOf(result))
  return `${before}${BEGIN}\n\n${HEAD}\n${[...rows.values()].join('\n')}\n\n${END}${after}`
}

export function writeRows(results: readonly Row[]): void {
  writeFileSync(PAGE, mergeRows(readFileSync(PAGE, 'utf8'), results))
}
