/**
 * The report as aligned plain text. What came with the data (names, ids) is shown without control
 * characters.
 */
import { stripVTControlCharacters } from 'node:util'
import { bytes, count, milliseconds, percent, seconds } from './numbers.ts'
import type { ConfigReport, DifferenceReport, PolicyReport, Report } from './report.ts'
import type { TraceExample } from './summary.ts'

/** Services in the table; the page and the JSON have all. */
const MOST_SERVICES = 20
const WIDEST_NAME = 48
const DIFFERENCE_EXAMPLES = 5

type Row = readonly string[]

export function tableOf(report: Report): string {
  const lines: string[] = [...recordingLines(report), '']
  for (const config of report.configs) lines.push(...configLines(report, config), '')
  lines.push(...serviceLines(report), '')
  if (report.difference !== null) lines.push(...differenceLines(report.difference), '')
  for (const config of report.configs) lines.push(...lossLines(report, config))
  return `${lines.join('\n').trimEnd()}\n`
}

const ARRIVALS = {
  recorded: 'as recorded',
  estimated: 'not recorded: taken from the order of the messages and the ends of their spans',
  mixed: 'recorded for some messages, for the others taken from the ends of their spans',
}

function recordingLines({ recording, input }: Report): string[] {
  const { files, seconds: range, from, to } = recording
  const lines = [
    `Recording     ${plural(files, 'file')}, ${bytes(recording.bytes)}, ${plural(recording.messages, 'message')}`,
    `Time          ${from === null ? 'unknown' : `${from} to ${to} (${seconds(range)})`}`,
    `Arrival       ${ARRIVALS[recording.arrival]}`,
    `Traces        ${count(input.traces)}, of them ${count(input.errorTraces)} with errors`,
    `Spans         ${count(input.spans)}, ${bytes(input.encodedBytes)} encoded`,
    `Per day       ${perDay(input.perDay)}`,
  ]
  const notes: string[] = []
  if (recording.withoutSpans > 0) notes.push(`${count(recording.withoutSpans)} messages without spans`)
  if (recording.broken > 0) notes.push(`${count(recording.broken)} messages that could not be decoded`)
  if (recording.cutOffFiles > 0) notes.push(`${count(recording.cutOffFiles)} files that end within a message`)
  if (input.forgottenTraces > 0) notes.push(`${count(input.forgottenTraces)} traces counted before their end`)
  if (notes.length > 0) lines.push(`Note          ${notes.join('; ')}`)
  return lines
}

function plural(number: number, word: string): string {
  return `${count(number)} ${word}${number === 1 ? '' : 's'}`
}

function perDay(rate: Report['input']['perDay']): string {
  if (rate === null) return 'unknown: the recording is too short'
  return `${count(rate.traces)} traces, ${count(rate.spans)} spans, ${bytes(rate.bytes)}`
}

function configLines(report: Report, config: ConfigReport): string[] {
  const { kept, share } = config
  const spans = `${count(kept.spans)} spans (${percent(share.spans)})`
  const lines = [
    `${config.label}: ${clean(config.processor)} of ${clean(config.source)}`,
    `  keeps       ${count(kept.traces)} traces (${percent(share.traces)}), ${spans}, ${bytes(config.encodedBytes)} encoded`,
    `  per day     ${perDay(config.perDay)}`,
  ]
  if (kept.partialTraces > 0)
    lines.push(`  in part     ${count(kept.partialTraces)} of the kept traces lost some of their spans`)
  if (config.pushedOutTraces > 0)
    lines.push(`  pushed out  ${count(config.pushedOutTraces)} undecided traces, since num_traces were held`)
  if (config.tooLargeTraces > 0)
    lines.push(`  too large   ${count(config.tooLargeTraces)} traces above maximum_trace_size_bytes`)
  const rows: Row[] = [['policy', 'type', 'outcome', 'traces', 'share', 'spans', 'bytes', 'matches', 'alone']]
  for (const policy of config.policies) rows.push(policyRow(policy, report.input.traces))
  return [...lines, '', ...align(rows, 3)]
}

const OUTCOMES = {
  sampled: 'kept',
  dropped: 'dropped',
  not_sampled: 'not sampled',
  undecided: 'no decision',
  late: 'kept late',
}

function policyRow(policy: PolicyReport, traces: number): Row {
  const { decided } = policy
  const named = policy.policy !== ''
  return [
    named ? clean(policy.policy) : '-',
    named ? policy.type : '-',
    OUTCOMES[policy.outcome],
    count(decided.traces),
    percent(traces === 0 ? 0 : decided.traces / traces),
    count(decided.spans),
    bytes(decided.bytes),
    named ? count(policy.matchedTraces) : '-',
    policy.outcome === 'sampled' ? count(policy.onlyTraces) : '-',
  ]
}

function serviceLines({ services, configs }: Report): string[] {
  const header = ['service', 'traces', 'spans', 'bytes']
  for (const { label } of configs) {
    const of = configs.length > 1 ? ` ${label}` : ''
    header.push(`kept traces${of}`, `kept spans${of}`, 'share', `errors lost${of}`)
  }
  const rows: Row[] = [header]
  for (const service of services.slice(0, MOST_SERVICES)) {
    const row = [clean(service.service), count(service.traces), count(service.spans), bytes(service.bytes)]
    for (const kept of service.kept)
      row.push(
        count(kept.traces),
        count(kept.spans),
        percent(kept.spans / service.spans),
        count(kept.lostErrorTraces),
      )
    rows.push(row)
  }
  const lines = ['Services', ...align(rows, 1)]
  if (services.length > MOST_SERVICES)
    lines.push(`  and ${count(services.length - MOST_SERVICES)} more (--json and --html have all)`)
  return lines
}

function differenceLines(difference: DifferenceReport): string[] {
  const cells = [
    ['both', difference.both],
    ['A only', difference.onlyA],
    ['B only', difference.onlyB],
    ['none', difference.none],
  ] as const
  const rows: Row[] = [['kept by', 'traces', 'spans', 'bytes']]
  for (const [name, cell] of cells)
    rows.push([name, count(cell.traces), count(cell.spans), bytes(cell.bytes)])
  const lines = ['Difference', ...align(rows, 1)]
  for (const [name, { examples }] of [cells[1], cells[2]])
    if (examples.length > 0)
      lines.push('', `  ${name}, the slowest:`, ...exampleLines(examples.slice(0, DIFFERENCE_EXAMPLES)))
  return lines
}

function lossLines({ input, configs }: Report, config: ConfigReport): string[] {
  const of = configs.length > 1 ? ` by ${config.label}` : ''
  const { lostErrors, slowestLost } = config
  const lines = [
    `Traces with errors lost${of}: ${count(lostErrors.traces)} of ${count(input.errorTraces)}`,
    ...exampleLines(lostErrors.examples),
    '',
    `Slowest traces lost${of}`,
    ...exampleLines(slowestLost),
    '',
  ]
  return lines
}

function exampleLines(examples: readonly TraceExample[]): string[] {
  if (examples.length === 0) return ['  none']
  const rows: Row[] = [['trace id', 'service', '', 'duration', 'spans']]
  for (const { traceId, service, error, durationMs, spans } of examples)
    rows.push([traceId, clean(service), error ? 'error' : '', milliseconds(durationMs), count(spans)])
  return align(rows, 3)
}

/** Columns side by side: the first ones to the left, the others, which are numbers, to the right. */
function align(rows: readonly Row[], left: number): string[] {
  const widths: number[] = []
  for (const row of rows)
    for (const [column, text] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, text.length)
  return rows.map((row) => {
    const cells = row.map((text, column) =>
      column < left ? text.padEnd(widths[column] ?? 0) : text.padStart(widths[column] ?? 0),
    )
    return `  ${cells.join('  ').trimEnd()}`
  })
}

function clean(text: string): string {
  const plain = stripVTControlCharacters(text).replace(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e]/g, '?')
  return plain.length > WIDEST_NAME ? `${plain.slice(0, WIDEST_NAME - 3)}...` : plain
}
