/** bench/README.md, made of the results of all questions. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { writePlots } from './plots.ts'
import {
  CPU,
  type Figure,
  type Question,
  type QuestionResult,
  type RowResult,
  type Run,
  USUAL,
} from './question.ts'
import { readResult } from './results.ts'
import { median, spread } from './statistics.ts'

const runsOf = (row: RowResult, label: string): readonly Run[] => row.runs[label] ?? []

/** What the goal is about: the ratio of the medians, or the figure of the first contender. */
export function ratioOf(question: Question, row: RowResult): number {
  const { pick } = question.figure ?? CPU
  const [first, second] = row.labels.map((label) => median(runsOf(row, label).map(pick)))
  if (question.absolute === true) return first ?? Number.NaN
  return (first ?? Number.NaN) / (second ?? Number.NaN)
}

function goalText(question: Question, limit: number | undefined): string {
  if (limit === undefined) return ''
  return `${question.moreIsBetter === true ? '>=' : '<='} ${limit.toFixed(2)}`
}

function verdict(question: Question, row: RowResult): string {
  const ratio = ratioOf(question, row)
  if (row.goal === undefined || Number.isNaN(ratio)) return ''
  const meets = (limit: number) => (question.moreIsBetter === true ? ratio >= limit : ratio <= limit)
  if (row.stretch !== undefined && meets(row.stretch)) return 'stretch met'
  return meets(row.goal) ? 'met' : '**missed**'
}

const number = (value: number, digits: number) => (Number.isNaN(value) ? '-' : value.toFixed(digits))

function detail(row: RowResult, figure: Figure): string {
  return row.labels
    .map((label) => number(median(runsOf(row, label).map((run) => figure.pick(run))), figure.digits))
    .join(' / ')
}

export function tableHeader(question: Question, labels: readonly string[]): string {
  const figure = question.figure ?? CPU
  const ratio = question.absolute === true ? [] : ['ratio']
  const columns = [
    'case',
    ...labels.map((label) => `${label}, ${figure.label}`),
    ...ratio,
    'goal',
    ...(question.details ?? USUAL).map(({ label }) => label),
    'errors',
    'rounds',
  ]
  return `| ${columns.join(' | ')} |\n|${' --- |'.repeat(columns.length)}`
}

export function tableRow(question: Question, row: RowResult): string {
  const figure = question.figure ?? CPU
  const ratio = question.absolute === true ? [] : [`**${number(ratioOf(question, row), 2)}**`]
  const errors = row.labels.map((label) => runsOf(row, label).reduce((sum, run) => sum + run.errors, 0))
  const rounds = row.labels.map((label) => runsOf(row, label).length)
  const cells = [
    row.name,
    ...row.labels.map((label) =>
      spread(
        runsOf(row, label).map((run) => figure.pick(run)),
        figure.digits,
      ),
    ),
    ...ratio,
    goalText(question, row.goal),
    ...(question.details ?? USUAL).map((each) => detail(row, each)),
    errors.join(' / '),
    Math.min(...rounds).toString(),
  ]
  return `| ${cells.join(' | ')} |`
}

function summary(results: readonly [Question, QuestionResult][]): string {
  const rows = results.flatMap(([question, result]) =>
    result.rows
      .filter((row) => row.goal !== undefined)
      .map((row) => {
        const figure = question.figure ?? CPU
        const [first, second] = row.labels.map((label) =>
          number(median(runsOf(row, label).map((run) => figure.pick(run))), figure.digits),
        )
        const what = `${figure.label}, ${row.labels[0]} / ${row.labels[1]}`
        const cells = [
          row.name,
          what,
          `${first} / ${second}`,
          `**${number(ratioOf(question, row), 2)}**`,
          goalText(question, row.goal),
          goalText(question, row.stretch),
          verdict(question, row),
        ]
        return `| ${cells.join(' | ')} |`
      }),
  )
  const head =
    '| work | figure | medians | result | goal | stretch | |\n| --- | --- | --- | --- | --- | --- | --- |'
  return `${head}\n${rows.join('\n')}`
}

/** Two figures in a cell belong to the two columns before, in their order. */
function section(question: Question, result: QuestionResult): string {
  const labels = result.rows[0]?.labels ?? ['', '']
  const rows = result.rows.map((row) => tableRow(question, row)).join('\n')
  const files = question.rows.flatMap(({ config, contenders }) => [
    config,
    ...contenders.flatMap((contender) => contender.config ?? []),
  ])
  const configs = [...new Set(files)].map((file) => `[${file}](configs/${file})`).join(', ')
  const origin = `${configs}. \`npm run bench -- --only ${question.name}\`. ${result.date}, commit ${result.commit}.`
  return `## ${question.title}\n\n${wrap(question.about)}\n\n${tableHeader(question, labels)}\n${rows}\n\n${origin}\n`
}

/** Lines of at most 120 columns. */
function wrap(text: string): string {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + word.length + 1 > 120) {
      lines.push(line)
      line = word
    } else {
      line = line === '' ? word : `${line} ${word}`
    }
  }
  return [...lines, line].join('\n')
}

export function writeReport(questions: readonly Question[]): void {
  const results = questions.flatMap((question): [Question, QuestionResult][] => {
    const result = readResult(question)
    return result === undefined || result.rows.length === 0 ? [] : [[question, result]]
  })
  const newest = results.map(([, result]) => result).toSorted((a, b) => b.date.localeCompare(a.date))[0]
  const plots = writePlots(new Map(results.map(([question, result]) => [question.name, result])))
  const pictures = plots.map(({ title, file }) => `![${title}](plots/${file})\n\n`).join('')
  const sections = results.map(([question, result]) => `${section(question, result)}\n`).join('')
  const body = results.length === 0 ? '' : `## Goals\n\n${summary(results)}\n\n${pictures}${sections}`
  const text = `# Bench

What Weir costs beside other collectors, measured in the same run on the same machine with the same YAML. Generated by
\`npm run bench\` from bench/results; do not edit.

CPU is user and system time of the collector process (from /proc), from after the warm-up until everything that was sent is
decided and exported, in microseconds an item (span, data point, log record). Runs of the two contenders alternate, each with a
fresh process; median and range of the rounds. Two figures in a cell belong to the contenders in their order. Quote ratios: absolute
times are those of a small shared machine, where load, sink and collector share the cores. Requests have 100 items over 32
connections unless the row says otherwise; spans have about 420 bytes, and each request brings new traces. Load and sink are
processes of their own: their CPU an item and the cores they used show whether they limit a row (near 1.00 they do).

${newest === undefined ? 'Nothing was measured yet.' : `Last run: ${newest.machine}, Node ${newest.node}.`}

${body}## Running it

\`\`\`
npm run bench                     all questions, 5 rounds: about 70 minutes; says how much is left
npm run bench -- --goals          rows with a goal alone: about 45 minutes
npm run bench -- --quick          1 round, and overload for 15 s instead of 60: about 20 minutes
npm run bench -- --only WORD      questions or rows whose name has the word; the results of the others stay
npm run bench -- --rounds N       fewer or more rounds
npm run bench -- --list           names of questions and rows, and how long they take
npm run bench -- --report         writes this page and the plots again from bench/results
npm run bench:micro               the micro benches, one after the other
\`\`\`

\`--no-write\` leaves results and this page alone. The other collectors come from \`test/peers/build.sh otelcol rotel\`; without them only
Weir is measured and there is no ratio. A question is a file in bench/cases, its YAML stands in bench/configs.
`
  writeFileSync(join(import.meta.dirname, '../README.md'), text)
}
