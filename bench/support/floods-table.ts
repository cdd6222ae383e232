/**
 * Results of the floods: bench/results/floods.json, and the table of docs/security.md that is made of it. An
 * attack that did not run again keeps its result.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { median } from './statistics.ts'

const ROOT = join(import.meta.dirname, '../..')
const RESULTS = join(ROOT, 'bench/results/floods.json')
const PAGE = join(ROOT, 'docs/security.md')
const BEGIN = '<!-- results of the floods -->'
const END = '<!-- end of the floods -->'

/** Of other clients, in milliseconds. What is after one round is before the next. */
export interface FloodRound {
  readonly beforeMs: number
  readonly meanwhileMs: number
  readonly afterMs: number
  /** While the same attack is made on another Weir beside it: what is felt of the CPU alone. */
  readonly elsewhereMs: number
  readonly cpuBeforePercent: number
  readonly cpuMeanwhilePercent: number
}

export interface FloodResult {
  readonly attack: string
  readonly date: string
  readonly rounds: readonly FloodRound[]
  /** Connections of the attacker at the end of a round, and how many of all requests of others failed. */
  readonly held: number
  readonly errors: number
  /** What closed connections and failed requests were counted as, in one round. */
  readonly counted: Readonly<Record<string, number>>
  readonly rssMb: Memory
  /** Used heaps and what lies outside of them. */
  readonly ledgerMb: Memory
}

export interface Memory {
  readonly before: number
  readonly most: number
  readonly after: number
}

export interface FloodResults {
  readonly machine: string
  readonly node: string
  readonly commit: string
  readonly connections: number
  readonly seconds: number
  readonly attacks: readonly FloodResult[]
}

const MOST_RATIO = 2
/** p99 of a few ms moves by as much for no reason. */
const NOISE_MS = 2
/** Memory is back when three quarters of what an attack added are gone, or hardly anything was added. */
const KEPT_SHARE = 0.25
const NOTHING_MB = 32

const p99s = (rounds: readonly FloodRound[], pick: (round: FloodRound) => number) => median(rounds.map(pick))
const usualMs = (round: FloodRound) => (round.beforeMs + round.afterMs) / 2
const ratioElsewhere = ({ rounds }: FloodResult): number =>
  p99s(rounds, (round) => round.meanwhileMs / round.elsewhereMs)

/** p99 meanwhile beside the mean of before and after, the median of the rounds. */
export const ratioOf = ({ rounds }: FloodResult): number =>
  p99s(rounds, (round) => round.meanwhileMs / usualMs(round))

export const memoryReturned = ({ before, most, after }: Memory): boolean =>
  after - before <= Math.max(NOTHING_MB, (most - before) * KEPT_SHARE)

/** What is wrong; nothing when all is well. */
export function complaints(result: FloodResult): string[] {
  const grown = p99s(result.rounds, (round) => round.meanwhileMs - usualMs(round))
  const found: string[] = []
  if (ratioOf(result) > MOST_RATIO && grown > NOISE_MS) found.push('p99')
  if (result.errors > 0) found.push(`${result.errors} errors`)
  // The allocator may keep what the heaps gave back, and a heap may wait for its collection.
  if (!memoryReturned(result.rssMb) && !memoryReturned(result.ledgerMb)) found.push('memory')
  return found
}

const HEAD = [
  ...['attack', 'p99 before / meanwhile / after, ms', 'ratio', 'attack elsewhere: p99, ratio', 'rounds'],
  'CPU %, before / meanwhile',
  ...['errors', 'connections held', 'counted in a round', 'RSS MB before / most / after'],
  ...['heaps and payload MB', ''],
]
export const TABLE_HEAD = `| ${HEAD.join(' | ')} |\n|${' --- |'.repeat(HEAD.length)}`

export function tableRow(result: FloodResult): string {
  const { rounds, rssMb, ledgerMb } = result
  const shown = (pick: (round: FloodRound) => number, digits: number) => p99s(rounds, pick).toFixed(digits)
  const memory = ({ before, most, after }: Memory) => `${before} / ${most} / ${after}`
  const counted = Object.entries(result.counted).map(([reason, count]) => `${reason} ${count}`)
  const wrong = complaints(result)
  const times = [
    shown((round) => round.beforeMs, 1),
    shown((round) => round.meanwhileMs, 1),
    shown((round) => round.afterMs, 1),
  ]
  const cpu = [shown((round) => round.cpuBeforePercent, 0), shown((round) => round.cpuMeanwhilePercent, 0)]
  const cells = [
    ...[result.attack, times.join(' / '), `**${ratioOf(result).toFixed(2)}**`],
    `${shown((round) => round.elsewhereMs, 1)}, ${ratioElsewhere(result).toFixed(2)}`,
    ...[rounds.length, cpu.join(' / '), result.errors, result.held, counted.join(', ')],
    ...[memory(rssMb), memory(ledgerMb), wrong.length === 0 ? 'well' : `**${wrong.join(', ')}**`],
  ]
  return `| ${cells.join(' | ')} |`
}

/** Writes results and table; gives what is known of all attacks. */
export function writeFloods(fresh: FloodResults, order: readonly string[]): FloodResults {
  const known = new Map<string, FloodResult>()
  if (existsSync(RESULTS)) {
    const { attacks } = JSON.parse(readFileSync(RESULTS, 'utf8')) as FloodResults
    for (const each of attacks) known.set(each.attack, each)
  }
  for (const each of fresh.attacks) known.set(each.attack, each)
  const all = { ...fresh, attacks: order.flatMap((attack) => known.get(attack) ?? []) }
  const shorten = (_key: string, value: unknown) =>
    typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(4)) : value
  writeFileSync(RESULTS, `${JSON.stringify(all, shorten, 1)}\n`)
  const text = readFileSync(PAGE, 'utf8')
  const [before = '', rest] = text.split(BEGIN)
  const after = rest?.split(END)[1]
  if (after === undefined) throw new RangeError('the page has no place for the floods')
  const about =
    `Last run: ${all.machine}, Node ${all.node}, commit ${all.commit}; ${all.connections} connections where they are held, ` +
    `${all.seconds} s each.`
  const table = `${TABLE_HEAD}\n${all.attacks.map(tableRow).join('\n')}`
  writeFileSync(PAGE, `${before}${BEGIN}\n\n${about}\n\n${table}\n\n${END}${after}`)
  return all
}
