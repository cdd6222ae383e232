/** Results on disk: bench/results/NAME.json, one file a question. A row that was not run again stays as it was. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Question, QuestionResult, RowResult } from './question.ts'

const FOLDER = join(import.meta.dirname, '../results')
const fileOf = (name: string) => join(FOLDER, `${name}.json`)

export function readResult(question: Question): QuestionResult | undefined {
  const path = fileOf(question.name)
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as QuestionResult) : undefined
}

/** Rows in the order of the question; rows that it no longer has are left out. */
export function writeResult(
  question: Question,
  about: Omit<QuestionResult, 'rows'>,
  fresh: readonly RowResult[],
): void {
  const known = new Map((readResult(question)?.rows ?? []).map((row) => [row.name, row]))
  for (const row of fresh) known.set(row.name, row)
  const rows = question.rows.flatMap(({ name }) => known.get(name) ?? [])
  mkdirSync(FOLDER, { recursive: true })
  writeFileSync(fileOf(question.name), `${JSON.stringify({ ...about, rows }, shorten, 1)}\n`)
}

/** Six digits say all that these figures know. */
function shorten(_key: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value
}
