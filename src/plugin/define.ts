/**
 * The define* functions that plugins call: those of component/define.ts with defaults for what a short component need not say, timers that
 * stop by themselves, and for processors the form `edit`, which works on one friendly item at a time:
 *
 *     export default defineProcessor({
 *       type: 'mark_slow',
 *       config: z.strictObject({ over: duration().prefault('1s') }),
 *       edit: ({ config }) => ({
 *         span(span) {
 *           const ms = Number(span.endTimeUnixNano - span.startTimeUnixNano) / 1e6
 *           if (ms > config.over) span.attributes.set('slow', true)
 *         },
 *       }),
 *     })
 */
import { z } from 'zod'
import type { Timer } from '../component/clock.ts'
import type { Component, Consumer, Exporter, Settings, Stability } from '../component/define.ts'
import * as base from '../component/define.ts'
import type { TelemetryTable } from '../component/telemetry.ts'
import { InvalidError } from '../errors.ts'
import { Batch, SIGNALS, type Signal } from '../otlp/batch.ts'
import { EditableBatch, ItemPasses } from './editable-batch.ts'
import type { LogRecord, Resource, Scope, Span } from './items.ts'
import type { DataPoint, Metric } from './metric-items.ts'
import { Timers } from './timers.ts'

/** What may be left out of any component. */
interface Short<C, T> {
  readonly type: string
  readonly deprecatedTypes?: readonly string[]
  /** Default: development. */
  readonly stability?: Stability
  /** One line for `weir components`. */
  readonly summary?: string
  /** Default: no fields. z.strictObject({...}) with defaults and checks. */
  readonly config?: z.ZodType<C>
  /** Own metrics. Their names begin with the kind: `processor_...`. */
  readonly telemetry?: T
  /** Versions of the plugin API that it was made for, for example `^1`. */
  readonly apiVersion?: string
}

/** Beside the settings of built-in components: timers that stop at shutdown, and whose errors are logged. */
export interface TimerSettings {
  every(periodMs: number, run: () => unknown): Timer
  after(delayMs: number, run: () => unknown): Timer
}

type CreateSettings<D> = D extends { create(settings: infer S): unknown } ? S & TimerSettings : never

export type ProcessorSettings<C, T extends TelemetryTable> = CreateSettings<base.ProcessorDefinition<C, T>>

/** What is done to each item; each function may be left out. They run from the outside in. */
export interface ItemHandlers extends Component {
  /** The batch as a whole, before the items; returns what takes its place, or nothing when it edited or only looked. */
  process?(batch: EditableBatch): Batch | undefined | Promise<Batch | undefined>
  resource?(resource: Resource): void
  scope?(scope: Scope): void
  span?(span: Span): void
  metric?(metric: Metric): void
  dataPoint?(point: DataPoint): void
  logRecord?(record: LogRecord): void
}

export interface PluginProcessor<C, T extends TelemetryTable> extends Short<C, T> {
  /** Default: all. */
  readonly signals?: readonly Signal[]
  readonly affinity?: base.Affinity
  /** Whether a batch on which it failed (a throw, a hang, out of memory) may be sent again. Default: drop. */
  readonly onFailure?: 'retry' | 'drop'
  readonly capabilities?: { readonly mutatesData: boolean }
  /** This or create(). */
  edit?(settings: ProcessorSettings<C, T>): ItemHandlers
  create?(settings: ProcessorSettings<C, T>): Consumer & Component
}

export interface PluginReceiver<C, T extends TelemetryTable> extends Short<C, T> {
  readonly signals?: readonly Signal[]
  listeners?(config: C): readonly base.ListenerClaim[]
  create(settings: CreateSettings<base.ReceiverDefinition<C, T>>): Component
}

export interface PluginExporter<C, T extends TelemetryTable> extends Short<C, T> {
  readonly signals?: readonly Signal[]
  readonly affinity?: base.Affinity
  sending?(config: C): base.SendingSettings
  listeners?(config: C): readonly base.ListenerClaim[]
  create(settings: CreateSettings<base.ExporterDefinition<C, T>>): Exporter
}

export interface PluginConnector<C, T extends TelemetryTable> extends Short<C, T> {
  /** Default: each signal to itself. */
  readonly routes?: base.ConnectorDefinition<C, T>['routes']
  create(settings: CreateSettings<base.ConnectorDefinition<C, T>>): Consumer & Component
}

export interface PluginExtension<C, T extends TelemetryTable> extends Short<C, T> {
  /** Default: shard. */
  readonly runsIn?: 'main' | 'shard'
  listeners?(config: C): readonly base.ListenerClaim[]
  create(settings: CreateSettings<base.ExtensionDefinition<C, T>>): Component
}

/** Read by the loader; true on processors in the form `edit`, which cannot reach the bytes of a batch. */
export const EDITS_ITEMS = Symbol('edits items')

function filled<C, T extends TelemetryTable>(short: Short<C, T>) {
  return {
    stability: 'development' as const,
    summary: '',
    config: z.strictObject({}) as unknown as z.ZodType<C>, // Without a schema nobody reads C.
    telemetry: {} as T, // Without a table nobody reads T.
    ...short,
  }
}

export function defineProcessor<const T extends TelemetryTable, C = unknown>(short: PluginProcessor<C, T>) {
  const { edit, create } = short
  if ((edit === undefined) === (create === undefined)) {
    throw new TypeError(`processor "${short.type}": it has either edit() or create()`)
  }
  const build = create?.bind(short) ?? ((settings: ProcessorSettings<C, T>) => itemProcessor(settings, short))
  return base.defineProcessor<C, T>({
    signals: SIGNALS,
    capabilities: { mutatesData: false },
    ...filled(short),
    ...(edit && { [EDITS_ITEMS]: true }),
    create: (settings) => withTimers(settings, build),
  })
}

export function defineReceiver<const T extends TelemetryTable, C = unknown>(short: PluginReceiver<C, T>) {
  return base.defineReceiver<C, T>({
    signals: SIGNALS,
    ...filled(short),
    create: (settings) => withTimers(settings, (all) => short.create(all)),
  })
}

export function defineExporter<const T extends TelemetryTable, C = unknown>(short: PluginExporter<C, T>) {
  return base.defineExporter<C, T>({
    signals: SIGNALS,
    ...filled(short),
    create: (settings) => withTimers(settings, (all) => short.create(all)),
  })
}

export function defineConnector<const T extends TelemetryTable, C = unknown>(short: PluginConnector<C, T>) {
  return base.defineConnector<C, T>({
    routes: SIGNALS.map((signal) => ({ from: signal, to: signal })),
    ...filled(short),
    create: (settings) => withTimers(settings, (all) => short.create(all)),
  })
}

export function defineExtension<const T extends TelemetryTable, C = unknown>(short: PluginExtension<C, T>) {
  return base.defineExtension<C, T>({
    runsIn: 'shard',
    ...filled(short),
    create: (settings) => withTimers(settings, (all) => short.create(all)),
  })
}

/** The component itself, with a shutdown() that also stops its timers. */
function withTimers<S extends Settings<unknown, TelemetryTable>, M extends Component>(
  settings: S,
  create: (settings: S & TimerSettings) => M,
): M {
  const timers = new Timers(settings.host.clock, settings.logger)
  const made = create({
    ...settings,
    every: (periodMs, run) => timers.every(periodMs, run),
    after: (delayMs, run) => timers.after(delayMs, run),
  })
  if (typeof made !== 'object' || made === null) throw new TypeError('create() has to return a component')
  const stop = made.shutdown?.bind(made)
  made.shutdown = async (deadline) => {
    timers.stop()
    await stop?.(deadline)
  }
  return made
}

/** A processor out of functions for items. */
function itemProcessor<C, T extends TelemetryTable>(
  settings: ProcessorSettings<C, T>,
  short: PluginProcessor<C, T>,
): Consumer & Component {
  const handlers = short.edit?.(settings)
  if (typeof handlers !== 'object' || handlers === null) throw new TypeError('edit() has to return functions')
  const { next, signal } = settings
  const passes = new ItemPasses()
  return {
    async consume(batch) {
      let current = batch
      if (handlers.process !== undefined) {
        const editable = new EditableBatch(batch) // Not shared: process() may wait while other batches come.
        const answer: unknown = await handlers.process(editable)
        if (answer !== undefined && !(answer instanceof Batch && answer.signal === signal)) {
          throw new InvalidError(`process() returned ${describe(answer)} and not a batch of ${signal}`)
        }
        current = answer ?? editable.edited()
      }
      current = editItems(current, handlers, passes)
      if (current.itemCount > 0 || batch.itemCount === 0) await next.consume(current)
    },
    start: async () => handlers.start?.(),
    drain: () => handlers.drain?.(),
    shutdown: async (deadline) => handlers.shutdown?.(deadline),
  }
}

function editItems(batch: Batch, handlers: ItemHandlers, passes: ItemPasses): Batch {
  const { resource, scope, span, metric, dataPoint, logRecord } = handlers
  const editable = new EditableBatch(batch, passes)
  if (resource) for (const one of editable.resources()) resource.call(handlers, one)
  if (scope) for (const one of editable.scopes()) scope.call(handlers, one)
  if (metric) for (const one of editable.metrics()) metric.call(handlers, one)
  if (span) for (const one of editable.spans()) span.call(handlers, one)
  if (dataPoint) for (const one of editable.dataPoints()) dataPoint.call(handlers, one)
  if (logRecord) for (const one of editable.logRecords()) logRecord.call(handlers, one)
  return editable.edited()
}

export function describe(value: unknown): string {
  if (value === null) return 'null'
  if (value instanceof Batch) return `a batch of ${value.signal}`
  return typeof value === 'object'
    ? `an object (${value.constructor?.name ?? 'no class'})`
    : `a ${typeof value}`
}
