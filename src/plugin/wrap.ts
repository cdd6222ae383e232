/**
 * From a plugin's definition to one for the registry: the same component behind a guard (guard.ts), and for
 * processors the field `isolate`, which runs them in the pool of the process (isolated.ts).
 */
import { z } from 'zod'
import type {
  AnyConnector,
  AnyDefinition,
  AnyExporter,
  AnyProcessor,
  AnyReceiver,
} from '../component/define.ts'
import type { IsolationLimits } from '../component/isolation.ts'
import type { Logger } from '../component/logger.ts'
import { duration } from '../config/fields.ts'
import type { Signal } from '../otlp/batch.ts'
import { EDITS_ITEMS } from './define.ts'
import { size } from './fields.ts'
import { type GuardInstruments, guarded, guardTelemetry, PluginGuard, privateCopy } from './guard.ts'
import { isolatedProcessor } from './isolated.ts'

/** What a definition says of itself beside what every component says. */
export interface PluginNotes {
  readonly apiVersion?: string
  readonly onFailure?: 'retry' | 'drop'
  readonly [EDITS_ITEMS]?: boolean
}

const positive = (text: string) =>
  duration()
    .refine((ms) => ms > 0, { error: 'must be greater than 0' })
    .prefault(text)

const limits = z.strictObject({
  timeout: positive('5s'), // For one batch, from the moment its thread takes it.
  max_heap: size()
    .refine((bytes) => bytes >= 32 * 1024 ** 2, { error: 'has to be at least 32MiB' })
    .prefault('128MiB'), // Heap and buffers of one thread.
  pool: z.int().min(1).max(64).default(2), // Threads of the process; of several processors the largest counts.
})

export const isolateField = z
  .union([z.boolean(), limits], { error: 'expected true, false, or {timeout, max_heap, pool}' })
  .default(false)
  .transform((value): IsolationLimits | undefined => {
    if (value === false) return undefined
    const { timeout, max_heap, pool } = value === true ? limits.parse({}) : value
    return { timeoutMs: timeout, maxHeapBytes: max_heap, pool }
  })
  .meta({ description: 'runs in a thread of its own, with limits' })

/** `file` is shown to the user, `path` is where the plugin is loaded from, with the mark of its version. */
export function wrap(definition: AnyDefinition, path: string, file: string): AnyDefinition {
  const telemetry = { ...definition.telemetry, ...guardTelemetry(definition.kind) }
  const source = path
  const common: Common = { name: `${definition.kind} "${definition.type}" of ${file}`, path }
  switch (definition.kind) {
    case 'processor':
      return { ...wrapProcessor(definition, common), telemetry, source }
    case 'exporter':
      return { ...wrapExporter(definition, common), telemetry, source }
    case 'connector':
      return { ...wrapConnector(definition, common), telemetry, source }
    case 'receiver':
      return { ...wrapReceiver(definition, common), telemetry, source }
    case 'extension': {
      const create: typeof definition.create = (settings) =>
        guardOf(definition, common, settings).create(() => definition.create(settings))
      return { ...definition, create, telemetry, source }
    }
  }
}

interface Common {
  readonly name: string
  readonly path: string
}

function guardOf(
  definition: AnyDefinition,
  { name }: Common,
  settings: { telemetry: unknown; logger: Logger },
): PluginGuard {
  const retry = (definition as PluginNotes).onFailure === 'retry'
  // wrap() put the guard's instruments into the table.
  return new PluginGuard(name, retry, settings.telemetry as GuardInstruments, settings.logger)
}

function wrapProcessor(definition: AnyProcessor, common: Common): AnyProcessor {
  const editsItems = (definition as PluginNotes)[EDITS_ITEMS] === true
  const { config } = definition
  // A schema that is no plain object (transformed as a whole) cannot take a field more.
  const extended = config instanceof z.ZodObject ? config.safeExtend({ isolate: isolateField }) : config
  return {
    ...definition,
    config: extended,
    capabilities: { mutatesData: !editsItems },
    create(settings) {
      const { isolate, ...own } =
        extended === config ? { isolate: undefined, ...settings.config } : settings.config
      const guard = guardOf(definition, common, settings)
      if (isolate !== undefined) {
        const source = { plugin: common.path, type: definition.type }
        return isolatedProcessor({ ...settings, guard, limits: isolate as IsolationLimits, ...source })
      }
      const next = guard.next(settings.next, settings.signal, editsItems)
      const config_ = extended === config ? settings.config : own
      const inner = guard.create(() => definition.create({ ...settings, config: config_, next }))
      return guarded(inner, {
        consume: (batch) => guard.consume(batch, () => inner.consume(batch)),
        ...(inner.refusal && { refusal: () => inner.refusal?.() }),
      })
    },
  }
}

/** What is sent stays what the other exporters send: a plugin exporter gets a copy. */
function wrapExporter(definition: AnyExporter, common: Common): AnyExporter {
  return {
    ...definition,
    create(settings) {
      const guard = guardOf(definition, common, settings)
      const inner = guard.create(() => definition.create(settings))
      return guarded(inner, {
        consume: (batch, attempt) => {
          const own = privateCopy(batch)
          return guard.consume(own, () => inner.consume(own, attempt))
        },
      })
    },
  }
}

function wrapConnector(definition: AnyConnector, common: Common): AnyConnector {
  return {
    ...definition,
    create(settings) {
      const guard = guardOf(definition, common, settings)
      const pairs = [...settings.next].map(
        ([id, next]) => [id, guard.next(next, settings.to, false)] as const,
      )
      const all = guard.next(settings.all, settings.to, false)
      const inner = guard.create(() => definition.create({ ...settings, next: new Map(pairs), all }))
      return guarded(inner, {
        consume: (batch) => {
          const own = privateCopy(batch)
          return guard.consume(own, () => inner.consume(own))
        },
      })
    },
  }
}

/** Junk from a receiver is answered to the receiver. */
function wrapReceiver(definition: AnyReceiver, common: Common): AnyReceiver {
  return {
    ...definition,
    create(settings) {
      const guard = guardOf(definition, common, settings)
      const next: typeof settings.next = Object.fromEntries(
        Object.entries(settings.next).map(([signal, one]) => {
          const checked = guard.next(one, signal as Signal, false) // The keys of `next` are signals.
          const consume: typeof one.consume = (batch) => guard.consume(batch, () => checked.consume(batch))
          return [signal, { ...checked, consume }]
        }),
      )
      return guard.create(() => definition.create({ ...settings, next }))
    },
  }
}
