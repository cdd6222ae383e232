/** Runs one case of a test file: data in at its times, the clock moved, what came compared. */
import { dirname, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { defineExporter } from '../../component/define.ts'
import { hint } from '../../config/nearest.ts'
import type { PipelineConfig, ServiceConfig } from '../../config/types.ts'
import { isRetryable, toError } from '../../errors.ts'
import { type Batch, SIGNALS, type Signal } from '../../otlp/batch.ts'
import { ScriptedClock, settle } from '../../testing/clock.ts'
import { Bench, type BenchLayout } from './bench.ts'
import { check, type Failure, type Output, type Snapshot } from './check.ts'
import { Ids } from './ids.ts'
import { batchesOf } from './input.ts'
import { itemsOf } from './output.ts'
import type { Expectation, Step, TestCase } from './schema.ts'
import { duration, words } from './words.ts'

/** Something in the test file cannot be run: the message is for its author. `path` is below the case. */
export class CannotRun extends Error {
  readonly path: readonly (string | number)[]
  constructor(message: string, path: readonly (string | number)[] = []) {
    super(message)
    this.path = path
  }
}

export interface Outcome {
  readonly failures: readonly Failure[]
  readonly logged: readonly string[]
}

/** Waits in real time for plugins that do something else than wait for their clock. */
const REAL_WAIT_MS = 25
const LAST_WAIT_MS = 5000
const OUTPUT = 'output'

interface Sent {
  readonly step: Step
  readonly index: number
  outcome: 'waiting' | 'taken' | Error
  readonly items: number
  readonly ended: Promise<void>
}

export async function runCase(testCase: TestCase, config: ServiceConfig, file: string): Promise<Outcome> {
  const ids = new Ids()
  const steps = asList(testCase.input)
  const startNs = BigInt(new ScriptedClock().wallMs()) * 1_000_000n
  const planned = plan(steps, startNs, ids, file)
  const signals = new Set(planned.flatMap(({ batches }) => batches.map(({ signal }) => signal)))
  if (signals.size === 0) throw new CannotRun('there is no input')
  const layout = layoutOf(testCase, config, signals)
  let bench: Bench
  try {
    bench = new Bench(layout)
    await bench.start()
  } catch (error) {
    return {
      failures: [{ title: `the pipeline does not start: ${toError(error).message}`, lines: [] }],
      logged: [],
    }
  }
  const moments = asList(testCase.expect)
  const read = () => snapshotOf(bench, startNs, ids)
  const failures: Failure[] = []
  const sent: Sent[] = []
  let nowMs = 0
  const goTo = async (ms: number) => {
    await bench.clock.advance(Math.max(0, ms - nowMs))
    nowMs = Math.max(nowMs, ms)
  }
  const early = moments.filter(({ at }) => at !== undefined).sort((a, b) => (a.at ?? 0) - (b.at ?? 0))
  const checkUntil = async (ms: number) => {
    while (early[0]?.at !== undefined && early[0].at < ms) {
      const [moment] = early.splice(0, 1) as [Expectation] // There is one, as was just seen.
      await goTo(moment.at ?? 0)
      failures.push(
        ...titled(check(moment, { ...read(), dropped: undefined }), `after ${duration(moment.at ?? 0)}: `),
      )
    }
  }
  for (const { step, index, atMs, batches } of planned) {
    await checkUntil(atMs)
    await goTo(atMs)
    if (step.memory !== undefined) bench.useMemory(step.memory)
    for (const batch of batches) sent.push(await send(bench, batch, step, index))
  }
  await checkUntil(Number.POSITIVE_INFINITY)
  await goTo((planned.at(-1)?.atMs ?? 0) + testCase.advance)
  await bench.drain()
  await Promise.race([
    Promise.all(sent.map(({ ended }) => ended)),
    sleep(LAST_WAIT_MS, undefined, { ref: false }),
  ])
  failures.push(...refusals(sent))
  const last = { ...read(), dropped: droppedItems(bench, sent) }
  for (const moment of moments) if (moment.at === undefined) failures.push(...check(moment, last))
  return { failures, logged: bench.logged }
}

function asList<T>(value: T | T[] | undefined): T[] {
  return value === undefined ? [] : Array.isArray(value) ? value : [value]
}

function titled(failures: readonly Failure[], prefix: string): Failure[] {
  return failures.map((failure) => ({ ...failure, title: prefix + failure.title }))
}

function plan(steps: readonly Step[], startNs: bigint, ids: Ids, file: string) {
  let atMs = 0
  const place = (index: number) => (steps.length > 1 ? ['input', index] : ['input'])
  return steps.map((step, index) => {
    if (step.at !== undefined && step.at < atMs) {
      throw new CannotRun(`at ${duration(step.at)} is before the input that stands before it`, place(index))
    }
    atMs = step.at ?? atMs
    const nowNs = startNs + BigInt(Math.round(atMs * 1e6))
    try {
      const batches = batchesOf(step, {
        startNs,
        nowNs,
        ids,
        resolve: (path) => resolve(dirname(file), path),
      })
      return { step, index, atMs, batches }
    } catch (error) {
      throw new CannotRun(toError(error).message, place(index))
    }
  })
}

async function send(bench: Bench, batch: Batch, step: Step, index: number): Promise<Sent> {
  let sent: Sent
  const ended = bench.feed(batch).then(
    () => void (sent.outcome = 'taken'),
    (error: unknown) => void (sent.outcome = toError(error)),
  )
  sent = { step, index, outcome: 'waiting', items: batch.itemCount, ended }
  await settle()
  // Held callers wait for the clock; this is for plugins that wait for something else.
  if (sent.outcome === 'waiting') await Promise.race([ended, sleep(REAL_WAIT_MS)])
  return sent
}

function refusals(sent: readonly Sent[]): Failure[] {
  const failures: Failure[] = []
  for (const { step, index, outcome } of sent) {
    const what = `input ${index + 1}`
    const { refused } = step
    const error = outcome instanceof Error ? outcome : undefined
    if (outcome === 'waiting') {
      failures.push({ title: `${what}: neither taken nor refused in the end`, lines: [] })
    } else if (refused === undefined) {
      if (error !== undefined) failures.push({ title: `${what}: refused: ${error.message}`, lines: [] })
    } else if (error === undefined) {
      failures.push({
        title: `${what}: expected to be refused, and was taken`,
        lines: [{ mark: '-', text: words(refused) }],
      })
    } else {
      const { retryable, message } =
        typeof refused === 'string'
          ? { retryable: refused === 'retryable' }
          : { message: undefined, ...refused }
      const came = isRetryable(error) ? 'retryable' : 'permanent'
      const wrong =
        (retryable !== undefined && retryable !== isRetryable(error)) ||
        (typeof message === 'string' && !error.message.includes(message))
      if (wrong) {
        failures.push({
          title: `${what}: refused in another way`,
          lines: [
            { mark: '-', text: words(refused) },
            { mark: '+', text: `${came}: ${error.message}` },
          ],
        })
      }
    }
  }
  return failures
}

/** Items that went into a processor and did not come out, but for those whose sender heard of it. */
function droppedItems(bench: Bench, sent: readonly Sent[]): number {
  let balance = bench.refusedByExporters
  for (const { name, value } of bench.readMetrics()) {
    if (name === 'otelcol_processor_incoming_items') balance += value
    if (name === 'otelcol_processor_outgoing_items') balance -= value
  }
  for (const { outcome, items } of sent) if (outcome instanceof Error) balance -= items
  return balance
}

function snapshotOf(bench: Bench, startNs: bigint, ids: Ids): Omit<Snapshot, 'dropped'> {
  const outputs = new Map<
    string,
    Output & { batches: number; signals: Set<Signal>; items: Record<Signal, unknown[]> }
  >()
  const exporters = bench.pipelines.flatMap(({ exporters: own, signal }) => own.map((id) => ({ id, signal })))
  for (const { id, signal } of exporters) {
    if (bench.isConnector(id)) continue
    const output = outputs.get(id) ?? {
      batches: 0,
      signals: new Set(),
      items: { traces: [], metrics: [], logs: [] },
    }
    output.signals.add(signal)
    outputs.set(id, output)
  }
  for (const { exporter, batch } of bench.recordings) {
    const output = outputs.get(exporter)
    if (output === undefined) continue
    output.batches++
    output.items[batch.signal].push(...itemsOf(batch, startNs, ids))
  }
  return { outputs, metrics: bench.readMetrics() }
}

/** Where the input goes in. */
function layoutOf(testCase: TestCase, config: ServiceConfig, signals: ReadonlySet<Signal>): BenchLayout {
  const { pipeline, receiver, processor, processors } = testCase
  const given = Object.entries({ pipeline, receiver, processor, processors }).filter(
    ([, value]) => value !== undefined,
  )
  const [first, second] = given.map(([key]) => key)
  if (second !== undefined) throw new CannotRun(`either ${first} or ${second}, not both`, [second])
  const answers = testCase.answers ?? {}
  const only = processors ?? (processor === undefined ? undefined : [processor])
  if (only !== undefined) return processorLayout(only, config, signals, answers, first ?? '')
  const { pipelines } = config.service
  checkAnswers(answers, config)
  if (pipeline !== undefined) {
    const head = pipelines.find(({ id }) => id === pipeline)
    if (head === undefined)
      throw unknown(
        'pipeline',
        pipeline,
        pipelines.map(({ id }) => id),
      )
    const from = head.receivers.find((id) => config.receivers.has(id)) ?? 'test'
    return { config, heads: [head], receiver: from, answers }
  }
  const id = receiver ?? onlyReceiver(config, signals)
  const heads = pipelines.filter(({ receivers }) => receivers.includes(id))
  if (heads.length === 0) throw unknown('receiver', id, config.receivers.keys())
  return { config, heads, receiver: id, answers }
}

function unknown(key: string, word: string, known: Iterable<string>): CannotRun {
  const names = key === 'pipeline' ? 'pipelines' : key === 'receiver' ? 'receivers' : 'configured'
  return new CannotRun(
    `there is no ${key === 'processors' ? 'processor' : key} "${word}"${hint(word, known, names)}`,
    [key],
  )
}

function checkAnswers(answers: Readonly<Record<string, unknown>>, config: ServiceConfig): void {
  for (const id of Object.keys(answers)) {
    if (config.exporters.has(id)) continue
    const near = hint(id, config.exporters.keys(), 'exporters')
    throw new CannotRun(`there is no exporter "${id}"${near}`, ['answers', id])
  }
}

function onlyReceiver(config: ServiceConfig, signals: ReadonlySet<Signal>): string {
  const { pipelines } = config.service
  const fitting = [...config.receivers.keys()].filter((id) =>
    [...signals].every((signal) =>
      pipelines.some((one) => one.signal === signal && one.receivers.includes(id)),
    ),
  )
  const [id] = fitting
  if (id !== undefined && fitting.length === 1) return id
  const many = fitting.length > 1
  const why = many ? `${fitting.join(' and ')} could take it` : 'no receiver takes all of these signals'
  throw new CannotRun(`say which pipeline or receiver the input goes to: ${why}`)
}

const recorded = defineExporter({
  type: 'output',
  stability: 'stable',
  summary: 'What comes out of the processors of a test.',
  signals: SIGNALS,
  config: undefined as never, // Never parsed.
  telemetry: {},
  create: () => ({ consume: async () => {} }),
})

function processorLayout(
  ids: readonly string[],
  config: ServiceConfig,
  signals: ReadonlySet<Signal>,
  answers: BenchLayout['answers'],
  key: string,
): BenchLayout {
  for (const id of ids) {
    const found = config.processors.get(id)
    if (found === undefined) throw unknown(key, id, config.processors.keys())
    const other = [...signals].find((signal) => !found.definition.signals.includes(signal))
    if (other !== undefined) throw new CannotRun(`processor "${id}" takes no ${other}`, [key])
  }
  for (const id of Object.keys(answers)) {
    if (id !== OUTPUT)
      throw new CannotRun(`the exporter behind single processors is "${OUTPUT}"`, ['answers', id])
  }
  const heads: PipelineConfig[] = [...signals].map((signal) => ({
    ...{ id: signal, signal, receivers: [], processors: ids, exporters: [OUTPUT] },
  }))
  const exporters = new Map([[OUTPUT, { id: OUTPUT, definition: recorded, config: {} }]])
  return { config: { ...config, exporters }, heads, receiver: 'test', answers }
}
