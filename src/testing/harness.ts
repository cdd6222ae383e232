/**
 * Runs one component as the service would: its config checked by its own schema, real counters, a clock that the test moves, and
 * recording sinks behind it.
 *
 *     await using redact = harness(definition, { keys: ['email'] })
 *     await redact.consume(traces({ spans: [{ name: 'a', attributes: { email: 'x' } }] }))
 *     assert.deepEqual(spansOf(...redact.sink.take())[0].attributes, {})
 */
import type { AnyDefinition, Component, Consumer } from '../component/define.ts'
import type { LogFields, Logger } from '../component/logger.ts'
import { type Batch, SIGNALS, type Signal } from '../otlp/batch.ts'
import type { ScriptedClock } from './clock.ts'
import { TestHost } from './host.ts'
import { TestMeter } from './meter.ts'
import { Sink } from './sink.ts'

export interface HarnessOptions {
  /** Default: the type. */
  readonly id?: string
  /** Default: the first that the component takes. */
  readonly signal?: Signal
  /** For extensions, budgets and listeners. */
  readonly host?: TestHost
  /** Instead of the sink. */
  readonly next?: Consumer
  /** For connectors: ids of the pipelines behind it; each has a sink of its own. Default: one, `out`. */
  readonly pipelines?: readonly string[]
  readonly holdsCaller?: boolean
}

export interface LoggedLine extends LogFields {
  readonly level: string
  readonly message: string
}

export interface Harness extends AsyncDisposable {
  readonly component: Component & { consume?(batch: Batch, attempt: AbortSignal): Promise<void> }
  readonly sink: Sink
  /** Of a connector, by pipeline. */
  readonly sinks: ReadonlyMap<string, Sink>
  readonly clock: ScriptedClock
  readonly host: TestHost
  readonly meter: TestMeter
  /** What it logged. */
  readonly logged: readonly LoggedLine[]
  start(): Promise<void>
  /** Hands a batch to a processor, exporter or connector. */
  consume(batch: Batch): Promise<void>
  shutdown(): Promise<void>
}

export function harness(
  definition: AnyDefinition,
  config: unknown = {},
  options: HarnessOptions = {},
): Harness {
  const host = options.host ?? new TestHost()
  const meter = new TestMeter()
  const sink = new Sink()
  const logged: LoggedLine[] = []
  const sinks = new Map((options.pipelines ?? ['out']).map((id) => [id, new Sink()]))
  const id = options.id ?? definition.type
  const base = {
    id,
    config: definition.config.parse(config ?? {}),
    telemetry: meter.instruments(definition.telemetry, { [definition.kind]: id }),
    logger: recordingLogger(logged, {}),
    host,
  }
  const component = create(definition, base, options, options.next ?? sink, sinks)
  return {
    ...{ component, sink, sinks, host, meter, logged },
    clock: host.clock,
    start: async () => component.start?.(),
    async consume(batch) {
      if (component.consume === undefined) throw new TypeError(`a ${definition.kind} takes no batches`)
      await component.consume(batch, AbortSignal.timeout(30_000))
    },
    shutdown: async () => component.shutdown?.(AbortSignal.timeout(10_000)),
    [Symbol.asyncDispose]: async () => component.shutdown?.(AbortSignal.timeout(10_000)),
  }
}

// biome-ignore lint/suspicious/noExplicitAny: settings for a definition of any config and telemetry.
type Base = any

function create(
  definition: AnyDefinition,
  base: Base,
  options: HarnessOptions,
  next: Consumer,
  sinks: ReadonlyMap<string, Sink>,
): Harness['component'] {
  switch (definition.kind) {
    case 'processor': {
      const signal = options.signal ?? definition.signals[0] ?? 'traces'
      return definition.create({
        ...base,
        ...{ signal, pipeline: signal, next, holdsCaller: options.holdsCaller ?? false },
      })
    }
    case 'exporter':
      return definition.create({ ...base, signal: options.signal ?? definition.signals[0] ?? 'traces' })
    case 'receiver':
      return definition.create({ ...base, next: Object.fromEntries(SIGNALS.map((signal) => [signal, next])) })
    case 'connector': {
      const route = definition.routes.find(
        ({ from }) => options.signal === undefined || from === options.signal,
      )
      const all: Consumer = {
        consume: async (batch) =>
          void (await Promise.all([...sinks.values()].map((one) => one.consume(batch)))),
      }
      return definition.create({
        ...base,
        from: route?.from ?? 'traces',
        to: route?.to ?? 'traces',
        next: sinks,
        all,
      })
    }
    case 'extension': {
      const service = { notReadyReason: () => undefined, startedAtMs: 0, statuses: () => new Map() }
      return definition.create({ ...base, service })
    }
  }
}

function recordingLogger(lines: LoggedLine[], base: LogFields): Logger {
  const write =
    (level: string) =>
    (message: string, fields: LogFields = {}) =>
      void lines.push({ level, message, ...base, ...fields })
  return {
    error: write('error'),
    warn: write('warn'),
    info: write('info'),
    debug: write('debug'),
    debugEnabled: true,
    child: (fields) => recordingLogger(lines, { ...base, ...fields }),
  }
}
