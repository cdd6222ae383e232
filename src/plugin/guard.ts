/**
 * What stands around every component that comes from a plugin: whatever it throws, rejects with or passes on, the batch gets an
 * answer that names it, a counter says what happened, and nobody else's data changes.
 *
 * - A throw is permanent for its batch, unless it is one of errors.ts that is not, or the definition says `onFailure: 'retry'`.
 *   What comes from behind the plugin passes as it is.
 * - What it passes on has to be a batch of the right signal whose bytes can be decoded.
 * - It never sees bytes that somebody else has: processors in the form `edit` cannot reach them, others get a private copy.
 */
import type { AnyDefinition, Component, Consumer } from '../component/define.ts'
import type { FailureReason } from '../component/isolation.ts'
import type { Logger } from '../component/logger.ts'
import { type Counter, counter, type Instruments } from '../component/telemetry.ts'
import { ConfigError, DownstreamError, isRetryable, RetryableError, toError, WeirError } from '../errors.ts'
import { Batch, type Signal } from '../otlp/batch.ts'
import { checkChunk } from '../otlp/receive.ts'
import { describe } from './define.ts'

export const KINDS = ['receiver', 'processor', 'exporter', 'connector', 'extension'] as const

/** The counters of the guard, in the plugin's own table. Keys that a plugin would not choose. */
export function guardTelemetry(kind: AnyDefinition['kind']) {
  return {
    'weir.failed': counter(
      `${kind}_plugin_failed_batches`,
      '{batch}',
      'Batches on which the plugin failed, by reason: error, junk, timeout, memory, exit.',
      ['reason'],
    ),
    'weir.failed_items': counter(
      `${kind}_plugin_failed_items`,
      '{item}',
      'Items in batches on which the plugin failed.',
      ['reason'],
    ),
  }
}

export type GuardInstruments = Instruments<ReturnType<typeof guardTelemetry>>

export class PluginGuard {
  readonly #name: string
  readonly #retry: boolean
  readonly #instruments: GuardInstruments
  readonly #logger: Logger
  readonly #counters = new Map<FailureReason, { batches: Counter; items: Counter }>()
  /** Errors that came from behind the plugin. */
  readonly #foreign = new WeakSet<object>()

  /** `name` is what the user sees: `processor "redact" of ./redact.ts`. */
  constructor(name: string, retry: boolean, instruments: GuardInstruments, logger: Logger) {
    this.#logger = logger
    this.#name = name
    this.#retry = retry
    this.#instruments = instruments
  }

  /** Counts a failure and gives the error that the batch is answered with. */
  failure(reason: FailureReason, cause: unknown, items: number): Error {
    if (typeof cause === 'object' && cause !== null && this.#foreign.has(cause)) return toError(cause)
    let counters = this.#counters.get(reason)
    if (counters === undefined) {
      counters = {
        batches: this.#instruments['weir.failed'].with({ reason }),
        items: this.#instruments['weir.failed_items'].with({ reason }),
      }
      this.#counters.set(reason, counters)
    }
    counters.batches.add(1)
    counters.items.add(items)
    const error = this.#answer(cause)
    // What was to be sent again is not lost; the rest is.
    this.#logger[isRetryable(error) ? 'warn' : 'error']('the plugin failed on a batch', {
      reason,
      items,
      error: error.message,
    })
    return error
  }

  #answer(cause: unknown): Error {
    if (cause instanceof Junk) return this.#error(`${this.#name} ${cause.message}`, cause)
    if (cause instanceof WeirError) return cause
    return this.#error(`${this.#name} failed: ${toError(cause).message}`, cause)
  }

  #error(message: string, cause: unknown): Error {
    return this.#retry ? new RetryableError(message, { cause }) : new DownstreamError(message, { cause })
  }

  /** The consumer that the plugin gets as `next`. */
  next(next: Consumer, signal: Signal, trusted: boolean): Consumer {
    const foreign = this.#foreign
    return {
      async consume(batch) {
        if (!trusted) checkBatch(batch, signal)
        try {
          await next.consume(batch)
        } catch (error) {
          if (typeof error === 'object' && error !== null) foreign.add(error)
          throw error
        }
      },
      ...(next.refusal && { refusal: () => next.refusal?.() }),
      releases: next.releases === true,
    }
  }

  /** One call of the plugin's consume(). */
  async consume(batch: Batch, call: () => unknown): Promise<void> {
    try {
      const answer = call()
      if (typeof (answer as Promise<unknown> | undefined)?.then !== 'function') {
        throw new Junk(`returned ${describe(answer)} from consume(), and not a promise`)
      }
      await answer
    } catch (error) {
      throw this.failure(error instanceof Junk ? 'junk' : 'error', error, itemsOf(batch))
    }
  }

  /** Builds the component; what create() throws names the plugin. */
  create<M extends Component>(create: () => M): M {
    try {
      const made = create()
      if (typeof made !== 'object' || made === null)
        throw new TypeError(`create() returned ${describe(made)}`)
      return made
    } catch (error) {
      if (error instanceof ConfigError) throw error
      throw new Error(`${this.#name}: ${toError(error).message}`, { cause: error })
    }
  }
}

/** What a plugin passed on is no batch. */
export class Junk extends Error {}

export function checkBatch(batch: unknown, signal: Signal): void {
  if (!(batch instanceof Batch)) throw new Junk(`passed on ${describe(batch)}, and not a batch`)
  if (batch.signal !== signal) throw new Junk(`passed on ${batch.signal} where ${signal} go`)
  for (const chunk of batch.chunks) {
    try {
      checkChunk(signal, chunk)
    } catch (error) {
      throw new Junk(`passed on bytes that are not OTLP: ${toError(error).message}`)
    }
  }
}

/** Junk counts as no item. */
function itemsOf(batch: unknown): number {
  try {
    return batch instanceof Batch ? batch.itemCount : 0
  } catch {
    return 0
  }
}

/** Bytes that nobody else has. */
export function privateCopy(batch: Batch): Batch {
  return batch.with(
    batch.chunks.map((chunk) => new Uint8Array(chunk)),
    batch.itemCount,
  )
}

/** The component behind its guard: the same life cycle, another consume(). */
export function guarded<M extends Component, X>(inner: M, rest: X): X & Component {
  return {
    ...rest,
    ...(inner.start && { start: async () => inner.start?.() }),
    ...(inner.drain && { drain: () => inner.drain?.() }),
    shutdown: async (deadline) => inner.shutdown?.(deadline),
  }
}
