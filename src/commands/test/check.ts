/** Expectations against what came: each failure with the lines that show the difference. */

import { nearest } from '../../config/nearest.ts'
import type { Signal } from '../../otlp/batch.ts'
import { differencesOf, type Matched, matchItems } from './match.ts'
import type { Item } from './output.ts'
import type { Amount, Expectation, OutputExpectation, WantedItems } from './schema.ts'
import { fieldWords, itemWords, words } from './words.ts'

/** `-` was expected and did not come, `+` came and was not expected. */
export interface Line {
  readonly mark: '-' | '+' | ' '
  readonly text: string
}

export interface Failure {
  readonly title: string
  readonly lines: readonly Line[]
}

/** What has come by one moment. */
export interface Snapshot {
  /** By exporter id; an exporter that got nothing is there, too. */
  readonly outputs: ReadonlyMap<string, Output>
  readonly metrics: readonly Series[]
  /** In the end only. */
  readonly dropped: number | undefined
}

export interface Output {
  readonly signals: ReadonlySet<Signal>
  readonly items: Readonly<Record<Signal, readonly Item[]>>
  readonly batches: number
}

interface Series {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

/** Lines of one kind that are shown for one list. */
const MOST_LINES = 12
const KINDS = { spans: 'traces', metrics: 'metrics', logs: 'logs' } as const
type Kind = keyof typeof KINDS
const NOUNS: Readonly<Record<Kind, string>> = { spans: 'spans', metrics: 'data points', logs: 'log records' }

export function check(expected: Expectation, snapshot: Snapshot): Failure[] {
  const failures: Failure[] = []
  const exact = expected.exact === true
  if (expected.output !== undefined) failures.push(...checkAll(expected.output, snapshot.outputs, exact))
  for (const [id, wanted] of Object.entries(expected.exporters ?? {})) {
    const output = snapshot.outputs.get(id)
    if (output === undefined) {
      const near = nearest(id, snapshot.outputs.keys())
      const hint =
        near === undefined
          ? `there are ${[...snapshot.outputs.keys()].join(', ')}`
          : `did you mean "${near}"?`
      failures.push({ title: `no exporter "${id}" is behind this input; ${hint}`, lines: [] })
    } else failures.push(...checkOutput(id, wanted, output, exact))
  }
  if (expected.dropped !== undefined && snapshot.dropped !== undefined) {
    failures.push(...checkAmount('dropped items', expected.dropped, snapshot.dropped))
  }
  for (const [text, wanted] of Object.entries(expected.metrics ?? {})) {
    failures.push(...checkMetric(text, wanted, snapshot.metrics))
  }
  return failures
}

/** Every exporter that takes these signals; where several fail alike, it is said once. */
function checkAll(
  wanted: OutputExpectation,
  outputs: ReadonlyMap<string, Output>,
  exact: boolean,
): Failure[] {
  const signals = signalsIn(wanted)
  const seen = new Map<string, string[]>()
  const byKey = new Map<string, Failure[]>()
  for (const [id, output] of outputs) {
    if (signals.length > 0 && !signals.some((signal) => output.signals.has(signal))) continue
    const failures = checkOutput(id, wanted, output, exact)
    if (failures.length === 0) continue
    const key = JSON.stringify(failures.map(({ lines }) => lines))
    const others = seen.get(key)
    if (others !== undefined) others.push(id)
    else {
      seen.set(key, [])
      byKey.set(key, failures)
    }
  }
  return [...byKey].flatMap(([key, failures]) => {
    const also = seen.get(key) ?? []
    if (also.length === 0) return failures
    return failures.map((failure) => ({
      ...failure,
      title: `${failure.title} (the same for ${also.join(', ')})`,
    }))
  })
}

function signalsIn(wanted: OutputExpectation): Signal[] {
  const kinds = Object.keys(KINDS) as Kind[] // As declared above.
  return kinds
    .filter((kind) => wanted[kind] ?? wanted.contains?.[kind] ?? wanted.lacks?.[kind])
    .map((kind) => KINDS[kind])
}

function checkOutput(id: string, wanted: OutputExpectation, output: Output, exact: boolean): Failure[] {
  const failures: Failure[] = []
  for (const [kind, signal] of Object.entries(KINDS) as [Kind, Signal][]) {
    const came = output.items[signal]
    const all = itemsIn(wanted, kind)
    if (all !== undefined) {
      const matched = matchItems(all, came, exact)
      const wrong = matched.missing.length + matched.different.length + matched.unexpected.length
      const numbers = `${matched.equal.length} of ${all.length} are, ${came.length} came`
      const title = `${id}: ${NOUNS[kind]} are not as expected (${numbers})`
      if (wrong > 0) failures.push({ title, lines: diffLines(matched, true) })
    }
    const some = wanted.contains && itemsIn(wanted.contains, kind)
    if (some !== undefined) {
      const matched = matchItems(some, came, exact)
      const numbers = `${matched.equal.length} of ${some.length} are, ${came.length} came`
      const title = `${id}: ${NOUNS[kind]} that should be there are not (${numbers})`
      if (matched.missing.length + matched.different.length > 0) {
        failures.push({ title, lines: diffLines(matched, came.length <= MOST_LINES) })
      }
    }
    for (const item of (wanted.lacks && itemsIn(wanted.lacks, kind)) ?? []) {
      const found = came.filter((one) => differencesOf(item, one, exact).length === 0)
      const title = `${id}: ${found.length} ${NOUNS[kind]} like ${itemWords(item)} should not be there`
      if (found.length > 0) failures.push({ title, lines: listed('+', found.map(itemWords)) })
    }
  }
  const count = output.items.traces.length + output.items.metrics.length + output.items.logs.length
  if (wanted.count !== undefined) {
    const wrong = checkAmount(`${id}: items`, wanted.count, count)
    const came = [...output.items.traces, ...output.items.metrics, ...output.items.logs]
    for (const one of wrong)
      failures.push({ ...one, lines: [...one.lines, ...listed(' ', came.map(itemWords))] })
  }
  if (wanted.batches !== undefined)
    failures.push(...checkAmount(`${id}: batches`, wanted.batches, output.batches))
  return failures
}

function itemsIn(wanted: WantedItems, kind: Kind): Item[] | undefined {
  const key = kind === 'logs' ? 'body' : 'name'
  return wanted[kind]?.map((one) => (typeof one === 'string' ? { [key]: one } : one))
}

function diffLines({ equal, different, missing, unexpected }: Matched, withUnexpected: boolean): Line[] {
  const lines: Line[] = listed(' ', equal.slice(0, 3).map(itemWords))
  if (equal.length > 3) lines.push({ mark: ' ', text: `and ${equal.length - 3} more as expected` })
  for (const { came, differences } of different.slice(0, MOST_LINES)) {
    lines.push({ mark: ' ', text: itemWords(came) })
    for (const { path, wanted, came: there } of differences) {
      lines.push({ mark: '-', text: `  ${path}: ${fieldWords(path, wanted)}` })
      lines.push({ mark: '+', text: `  ${path}: ${fieldWords(path, there)}` })
    }
  }
  if (different.length > MOST_LINES)
    lines.push({ mark: ' ', text: `and ${different.length - MOST_LINES} more that differ` })
  lines.push(...listed('-', missing.map(itemWords)))
  if (withUnexpected) lines.push(...listed('+', unexpected.map(itemWords)))
  return lines
}

function listed(mark: Line['mark'], texts: readonly string[]): Line[] {
  const lines: Line[] = texts.slice(0, MOST_LINES).map((text) => ({ mark, text }))
  if (texts.length > MOST_LINES) lines.push({ mark, text: `and ${texts.length - MOST_LINES} more` })
  return lines
}

function fits(wanted: Amount, came: number): boolean {
  if (typeof wanted === 'number') return wanted === came
  return (
    came >= (wanted.at_least ?? Number.NEGATIVE_INFINITY) &&
    came <= (wanted.at_most ?? Number.POSITIVE_INFINITY)
  )
}

function amountWords(wanted: Amount): string {
  if (typeof wanted === 'number') return String(wanted)
  const { at_least, at_most } = wanted
  return [at_least !== undefined && `at least ${at_least}`, at_most !== undefined && `at most ${at_most}`]
    .filter((text) => text !== false)
    .join(', ')
}

function checkAmount(what: string, wanted: Amount, came: number): Failure[] {
  if (fits(wanted, came)) return []
  return [
    {
      title: `${what}: expected ${amountWords(wanted)}, got ${came}`,
      lines: [
        { mark: '-', text: amountWords(wanted) },
        { mark: '+', text: String(came) },
      ],
    },
  ]
}

function checkMetric(text: string, wanted: Amount, series: readonly Series[]): Failure[] {
  const [, given = text, braces = ''] = /^([^{]*)(?:\{(.*)\})?$/.exec(text.trim()) ?? []
  const name = given.startsWith('otelcol_') ? given : `otelcol_${given}`
  const labels = [...braces.matchAll(/([A-Za-z_][\w.]*)\s*=\s*(?:"([^"]*)"|([^,"]*))/g)].map(
    ([, key = '', quoted, bare]) => [key, quoted ?? bare?.trim() ?? ''] as const,
  )
  const named = series.filter((one) => one.name === name)
  const chosen = named.filter((one) => labels.every(([key, value]) => one.labels[key] === value))
  const came = chosen.reduce((sum, one) => sum + one.value, 0)
  const wrong = checkAmount(text, wanted, came)
  const [failure] = wrong
  if (failure === undefined) return []
  const near = named.length > 0 ? undefined : nearest(name, new Set(series.map((one) => one.name)))
  const shown = named.map((one) => `${one.name}${words(one.labels)} ${one.value}`)
  const title = near === undefined ? failure.title : `${failure.title}; did you mean "${near}"?`
  return [{ title, lines: [...failure.lines, ...listed(' ', shown)] }]
}
