/**
 * `npm run bench`: CPU per item, memory and answer times of Weir beside other collectors (those that test/peers/build.sh has
 * installed), on the same YAML, in alternating runs. Results go to bench/results, tables and plots are made of them.
 *
 *     npm run bench                      all questions, 5 rounds
 *     npm run bench -- --only tail       questions and rows whose name has the word
 *     npm run bench -- --goals           rows with a goal alone
 *     npm run bench -- --quick           1 round; --rounds N, --list, --report, --no-write: bench/README.md
 */
import { execFileSync } from 'node:child_process'
import { cpus, totalmem } from 'node:os'
import { parseArgs } from 'node:util'
import { findPeer } from '../test/support/peers.ts'
import { QUESTIONS } from './cases/index.ts'
import { measure } from './support/measure.ts'
import { type Contender, CPU, type Question, type Row, type RowResult, type Run } from './support/question.ts'
import { tableHeader, tableRow, writeReport } from './support/report.ts'
import { writeResult } from './support/results.ts'

const { values: flags } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    only: { type: 'string', default: '' },
    goals: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
    report: { type: 'boolean', default: false },
    'no-write': { type: 'boolean', default: false },
  },
})

/** What starting, warming up and stopping a run takes beside its own seconds. */
const START_SECONDS = 1.2
const word = flags.only.toLowerCase()
const installed = (contender: Contender) =>
  contender.collector === 'weir' || findPeer(contender.collector) !== undefined

interface Planned {
  readonly question: Question
  readonly row: Row
  readonly contenders: readonly Contender[]
  readonly rounds: number
  readonly runSeconds: number
}

function plan(): Planned[] {
  return QUESTIONS.flatMap((question) => {
    const all = question.name.includes(word)
    return question.rows
      .filter((row) => all || row.name.toLowerCase().includes(word))
      .filter((row) => !flags.goals || row.goal !== undefined)
      .map((row) => {
        const { warmUpSeconds, seconds, settleSeconds } = row.length
        const plain =
          START_SECONDS + warmUpSeconds + seconds + 2 * settleSeconds + (row.sink === true ? 2 : 0)
        return {
          question,
          row,
          contenders: row.contenders.filter(installed),
          rounds: flags.quick ? 1 : Math.min(Number(flags.rounds), row.maxRounds ?? 1000),
          runSeconds: question.runSeconds?.(row) ?? plain,
        }
      })
  })
}

/** Says how far it is, after each run. */
class Progress {
  readonly #startMs = performance.now()
  readonly #totalSeconds: number
  readonly #total: number
  #doneSeconds = 0
  #done = 0

  constructor(planned: readonly Planned[]) {
    const runs = planned.map(({ rounds, contenders }) => rounds * contenders.length)
    this.#total = runs.reduce((sum, count) => sum + count, 0)
    this.#totalSeconds = planned.reduce(
      (sum, { runSeconds }, index) => sum + runSeconds * (runs[index] ?? 0),
      0,
    )
  }

  toString(): string {
    return `${this.#total} runs, about ${clock(this.#totalSeconds)}`
  }

  step(runSeconds: number, text: string): void {
    this.#done++
    this.#doneSeconds += runSeconds
    const pace = (performance.now() - this.#startMs) / 1000 / this.#doneSeconds
    const left = clock((this.#totalSeconds - this.#doneSeconds) * pace)
    console.log(`[${this.#done}/${this.#total}, ${left} left] ${text}`)
  }
}

function clock(left: number): string {
  const seconds = Math.max(0, Math.round(left))
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`
}

/** A core that the load or the sink nearly fills, or a collector with little to do: the row says less than it seems. */
function warnings(row: Row, run: Run): string {
  const found: string[] = []
  if (run.driverCores > 0.8) found.push(`the load used ${run.driverCores.toFixed(2)} of a core`)
  if (run.sinkCores > 0.8) found.push(`the sink used ${run.sinkCores.toFixed(2)} of a core`)
  if (run.collectorCores < 0.4 && row.load.connections > 2)
    found.push(`the collector was idle (${run.collectorCores.toFixed(2)} cores)`)
  if (run.errors > 0) found.push(`${run.errors} errors`)
  return found.length === 0 ? '' : ` WARNING: ${found.join(', ')}`
}

async function runRow(planned: Planned, progress: Progress): Promise<RowResult> {
  const { question, row, contenders, rounds, runSeconds } = planned
  const figure = question.figure ?? CPU
  const runs: Record<string, Run[]> = {}
  for (let round = 0; round < rounds; round++) {
    // Who goes first changes too.
    for (const contender of round % 2 === 0 ? contenders : contenders.toReversed()) {
      const { label } = contender
      const what = `${question.name}: ${row.name}: round ${round + 1}, ${label}`
      try {
        const run = await (question.measure ?? measure)(row, contender, flags.quick)
        ;(runs[label] ??= []).push(run)
        const value = `${figure.pick(run).toFixed(figure.digits)} ${figure.label}`
        progress.step(runSeconds, `${what}: ${value}${warnings(row, run)}`)
      } catch (error) {
        process.exitCode = 1
        progress.step(runSeconds, `${what}: FAILED: ${String(error).slice(0, 600)}`)
      }
    }
  }
  const { items, protocol, connections } = row.load
  const [first, second] = row.contenders
  return {
    name: row.name,
    config: row.config,
    labels: [first.label, second.label],
    items,
    protocol,
    connections,
    ...(row.goal !== undefined && { goal: row.goal }),
    ...(row.stretch !== undefined && { stretch: row.stretch }),
    runs,
  }
}

async function main(): Promise<void> {
  const planned = plan()
  if (planned.length === 0) throw new Error(`no question or row has '${flags.only}' in its name`)
  for (const peer of new Set(planned.flatMap(({ row }) => row.contenders)))
    if (!installed(peer))
      console.log(`${peer.label} is not installed (test/peers/build.sh ${peer.collector})`)
  const progress = new Progress(planned)
  console.log(`${progress}`)
  const machine = `${cpus().length} cores, ${cpus()[0]?.model}, ${Math.round(totalmem() / 2 ** 30)} GiB`
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim()
  for (const question of new Set(planned.map((each) => each.question))) {
    const results: RowResult[] = []
    for (const each of planned.filter((candidate) => candidate.question === question)) {
      const result = await runRow(each, progress)
      results.push(result)
      if (flags['no-write'] || Object.keys(result.runs).length === 0) continue
      const about = { name: question.name, machine, node: process.version, commit }
      writeResult(question, { ...about, date: new Date().toISOString().slice(0, 10) }, results)
    }
    console.log(`\n${tableHeader(question, results[0]?.labels ?? [])}`)
    for (const result of results) console.log(tableRow(question, result))
    console.log('')
    if (!flags['no-write']) writeReport(QUESTIONS)
  }
}

if (flags.list) {
  const planned = plan()
  for (const { name } of QUESTIONS) {
    const rows = planned.filter(({ question }) => question.name === name)
    if (rows.length > 0) console.log(`${name}: ${new Progress(rows)}`)
    for (const { row } of rows) console.log(`    ${row.name}`)
  }
  console.log(`${new Progress(planned)}`)
} else if (flags.report) {
  writeReport(QUESTIONS)
} else {
  await main()
}
