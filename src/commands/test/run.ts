/** Runs one case of a test file: data in at its times, the clock moved, what came compared. */
import { dirname, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ServiceConfig } from '../../config/types.ts'
import { isRetryable, toError } from '../../errors.ts'
import type { Batch, Signal } from '../../otlp/batch.ts'
import { ScriptedClock, settle } from '../../testing/clock.ts'
import { Bench } from './bench.ts'
import { check, type Failure, type Output, type Snapshot } from './check.ts'
import { Ids } from './ids.ts'
import { batchesOf } from './input.ts'
import { CannotRun, layoutOf } from './layout.ts'
import { itemsOf } from './output.ts'
import type { Expectation, Step, TestCase } from './schema.ts'
import { duration, words } from './words.ts'

export interface Outcome {
  readonly failures: readonly Failure[]
  readonly logged: readonly string[]
}

/** Waits in real time for plugins that do something else than wait for their clock. */
const REAL_WAIT_MS = 25
const LAST_WAIT_MS = 5000

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
