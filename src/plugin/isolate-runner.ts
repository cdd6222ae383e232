/**
 * The inside of a thread of the isolation pool: builds the processor that a task names, once per thread, feeds it one batch, and gives
 * back what it passed on, what it counted and what it logged.
 *
 * One task runs at a time, so what the processor calls `next` with belongs to that task. Later calls are refused.
 */
import { isDeepStrictEqual } from 'node:util'
import { systemClock } from '../component/clock.ts'
import type { AnyDefinition, AnyProcessor, Component, Consumer } from '../component/define.ts'
import type { Host } from '../component/host.ts'
import type {
  FailureReason,
  IsolatedResult,
  IsolatedTask,
  LogWrite,
  MetricWrite,
} from '../component/isolation.ts'
import { localRecovery } from '../component/local-budgets.ts'
import type { Logger } from '../component/logger.ts'
import type { Counter, Gauge, Histogram } from '../component/telemetry.ts'
import { isRetryable, RetryableError, toError, WeirError } from '../errors.ts'
import { Batch, type Signal } from '../otlp/batch.ts'
import { checkBatch, Junk } from './guard.ts'
import { importDefault } from './loader.ts'

const MOST_INSTANCES = 256
/** Log lines and writes to instruments of one batch; more are left out. */
const MOST_LINES = 100
const MOST_WRITES = 10_000

/** What one task gives back beside its answer. */
interface Notes {
  readonly signal: Signal
  readonly outputs: Batch[]
  readonly metrics: MetricWrite[]
  readonly logs: LogWrite[]
}

interface Instance {
  readonly processor: Consumer & Component
}

const instances = new Map<string, Promise<Instance>>()
let notes: Notes | undefined

/** Runs one task; whatever the plugin throws is in the result. `begun` is called when the processor is there and the time begins. */
export async function runIsolated(task: IsolatedTask, begun: () => void): Promise<IsolatedResult> {
  const own: Notes = { signal: task.signal, outputs: [], metrics: [], logs: [] }
  notes = own
  const { metrics, logs } = own
  try {
    const { processor } = await instanceOf(task)
    begun()
    if (task.bytes.length === 0) return { metrics, logs }
    const batch = new Batch(task.signal, [task.bytes], -1, task.context)
    const answer: unknown = processor.consume(batch)
    if (typeof (answer as Promise<unknown> | undefined)?.then !== 'function') {
      throw new Junk('returned no promise from consume()')
    }
    await answer
    const unchanged = own.outputs.length === 1 && own.outputs[0]?.chunks[0] === task.bytes
    if (unchanged) return { metrics, logs }
    return { outputs: own.outputs.map((batch) => batch.ownBytes()), metrics, logs }
  } catch (error) {
    return { failure: failureOf(error), metrics, logs }
  } finally {
    notes = undefined
  }
}

function failureOf(error: unknown) {
  const reason: FailureReason = error instanceof Junk ? 'junk' : 'error'
  const { message } = toError(error)
  if (!(error instanceof WeirError)) return { reason, message }
  const retryAfterMs = error instanceof RetryableError ? error.retryAfterMs : undefined
  return { reason, message, retryable: isRetryable(error), retryAfterMs }
}

function instanceOf(task: IsolatedTask): Promise<Instance> {
  const key = JSON.stringify([task.plugin, task.type, task.id, task.pipeline, task.config])
  let instance = instances.get(key)
  if (instance === undefined) {
    if (instances.size >= MOST_INSTANCES) stopOldest()
    instance = build(task)
    instances.set(key, instance)
    instance.catch(() => instances.delete(key))
  }
  return instance
}

function stopOldest(): void {
  const [oldest] = instances
  if (oldest === undefined) return
  instances.delete(oldest[0])
  oldest[1].then(({ processor }) => processor.shutdown?.(AbortSignal.timeout(1000))).catch(() => {})
}

async function build(task: IsolatedTask): Promise<Instance> {
  const exported = await importDefault(task.plugin)
  const definitions = (Array.isArray(exported) ? exported : [exported]) as AnyDefinition[] // Main has looked at them.
  const definition = definitions.find(
    (one): one is AnyProcessor => one.kind === 'processor' && one.type === task.type,
  )
  if (definition === undefined) throw new TypeError(`there is no processor "${task.type}" any more`)
  const raw = JSON.parse(task.config) as Record<string, unknown>
  const { isolate: _, ...config } = raw
  const processor = definition.create({
    id: task.id,
    config: definition.config.parse(config),
    telemetry: instrumentsOf(definition),
    logger: recordingLogger({}),
    host: inertHost(),
    signal: task.signal,
    pipeline: task.pipeline,
    next: { consume: take },
    holdsCaller: true,
  })
  await processor.start?.()
  return { processor }
}

async function take(batch: Batch): Promise<void> {
  if (notes === undefined)
    throw new TypeError('an isolated processor passes on what it has before consume() settles')
  checkBatch(batch, notes.signal)
  notes.outputs.push(batch)
}

function instrumentsOf(definition: AnyProcessor) {
  const table: Record<string, Counter & Gauge & Histogram> = {}
  for (const key of Object.keys(definition.telemetry)) table[key] = recordingInstrument(key, {})
  return table
}

function recordingInstrument(
  key: string,
  labels: Readonly<Record<string, string>>,
): Counter & Gauge & Histogram {
  const write = (act: MetricWrite['act'], value: number) => {
    const metrics = notes?.metrics
    if (metrics === undefined) return
    const last = metrics.at(-1)
    // A counter that is raised per item is one write.
    if (act === 'add' && last?.act === 'add' && last.key === key && isDeepStrictEqual(last.labels, labels)) {
      metrics[metrics.length - 1] = { key, labels, act, value: last.value + value }
    } else if (metrics.length < MOST_WRITES) metrics.push({ key, labels, act, value })
  }
  return {
    add: (value: number) => write('add', value),
    set: (value: number) => write('set', value),
    record: (value: number) => write('record', value),
    with: (more: Readonly<Record<string, string>>) => recordingInstrument(key, { ...labels, ...more }),
  }
}

function recordingLogger(base: Readonly<Record<string, unknown>>): Logger {
  const write =
    (level: LogWrite['level']) =>
    (message: string, fields: Readonly<Record<string, unknown>> = {}) => {
      if (notes === undefined || notes.logs.length >= MOST_LINES) return
      notes.logs.push({ level, message: String(message), fields: asJson({ ...base, ...fields }) })
    }
  return {
    error: write('error'),
    warn: write('warn'),
    info: write('info'),
    debug: write('debug'),
    debugEnabled: true,
    child: (fields) => recordingLogger({ ...base, ...fields }),
  }
}

function asJson(fields: Readonly<Record<string, unknown>>): string {
  try {
    return JSON.stringify(fields, (_, value: unknown) => {
      if (typeof value === 'bigint') return value.toString()
      return value instanceof Error ? value.message : value
    })
  } catch {
    return '{}'
  }
}

/** What of a host can be had apart from the service. */
function inertHost(): Host {
  const unavailable = (what: string) => () => {
    throw new TypeError(`${what} is not available to an isolated processor`)
  }
  return {
    shard: 0,
    shards: 1,
    clock: systemClock,
    memory: {
      usedBytes: () => process.memoryUsage().heapUsed,
      refresh: () => process.memoryUsage().heapUsed,
      restBytes: () => 0,
      collectGarbage() {},
    },
    recovery: localRecovery(),
    budget: unavailable('host.budget()'),
    rateBudget: unavailable('host.rateBudget()'),
    listen: unavailable('host.listen()'),
    gather: unavailable('host.gather()'),
    answer: unavailable('host.answer()'),
    extension: () => undefined,
    reportStatus() {},
  }
}
