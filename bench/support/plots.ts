/** The plots of bench/README.md, made of the results: cost against request size, memory against held spans. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { QuestionResult, RowResult, Run } from './question.ts'
import { median } from './statistics.ts'
import { type Chart, drawChart, type Series } from './svg.ts'

const FOLDER = join(import.meta.dirname, '../plots')
const COLOURS = ['#2563eb', '#ea580c']

export interface Plot {
  readonly title: string
  readonly file: string
}

/** A point for each row that has runs of this contender. */
function points(
  rows: readonly RowResult[],
  column: number,
  xOf: (row: RowResult) => number,
  yOf: (run: Run) => number,
): Series['points'] {
  return rows
    .flatMap((row) => {
      const values = (row.runs[row.labels[column] ?? ''] ?? []).map(yOf).filter((value) => value > 0)
      if (values.length === 0) return []
      return [{ x: xOf(row), y: median(values), low: Math.min(...values), high: Math.max(...values) }]
    })
    .toSorted((a, b) => a.x - b.x)
}

function requestSize(result: QuestionResult): Chart {
  const series = [0, 1].flatMap((column) =>
    ['grpc', 'http'].map((protocol): Series => {
      const rows = result.rows.filter((row) => row.protocol === protocol)
      return {
        label: `${rows[0]?.labels[column]}, ${protocol === 'grpc' ? 'gRPC' : 'HTTP'}`,
        colour: COLOURS[column] ?? '#000000',
        dashed: protocol === 'http',
        points: points(
          rows,
          column,
          (row) => row.items,
          (run) => run.cpuMicrosPerItem,
        ),
      }
    }),
  )
  return {
    title: 'What a span costs, by the size of its request',
    subtitle:
      'Traces -> limiter, resource, batch -> nop. A flat line is a cost that grows as the request does.',
    xLabel: 'spans a request',
    yLabel: 'CPU microseconds a span',
    series,
  }
}

function heldSpans(result: QuestionResult): Chart {
  const series = [0, 1].map((column): Series => {
    return {
      label: result.rows[0]?.labels[column] ?? '',
      colour: COLOURS[column] ?? '#000000',
      dashed: false,
      points: points(
        result.rows,
        column,
        (row) => Number(row.name.split(' ')[0]?.replaceAll(',', '')),
        (run) => (run.more?.['heldBytes'] ?? 0) / 1e6,
      ),
    }
  })
  return {
    title: 'Memory of what tail sampling holds',
    subtitle: 'Growth of RSS against the warmed-up process; traces of five spans of 420 bytes.',
    xLabel: 'held traces',
    yLabel: 'MB',
    series,
  }
}

const PLOTS = [
  { question: 'request-size', file: 'request-size.svg', chart: requestSize },
  { question: 'held-spans', file: 'held-spans.svg', chart: heldSpans },
]

/** Writes those whose question has results. */
export function writePlots(results: ReadonlyMap<string, QuestionResult>): Plot[] {
  mkdirSync(FOLDER, { recursive: true })
  return PLOTS.flatMap(({ question, file, chart }) => {
    const result = results.get(question)
    if (result === undefined) return []
    const drawing = chart(result)
    const series = drawing.series.filter(({ points: found }) => found.length > 0)
    if (series.length === 0) return []
    writeFileSync(join(FOLDER, file), drawChart({ ...drawing, series }))
    return [{ title: drawing.title, file }]
  })
}
