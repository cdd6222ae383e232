/**
 * A plugin's processor that runs elsewhere: the shard sends a copy of each batch to the pool of the process (Host.runIsolated) and passes
 * on what comes back. Whatever happens there, here it is one failed batch.
 *
 * It works batch by batch: what it holds back after a batch is answered cannot be passed on later, and what it remembers is
 * its thread's own.
 */
import type { Component, Consumer, Settings } from '../component/define.ts'
import type {
  IsolatedBatch,
  IsolatedFailure,
  IsolatedResult,
  IsolationLimits,
} from '../component/isolation.ts'
import type { Logger } from '../component/logger.ts'
import type { Counter, Gauge, Histogram, TelemetryTable } from '../component/telemetry.ts'
import { DownstreamError, RetryableError } from '../errors.ts'
import type { RequestContext, Signal } from '../otlp/batch.ts'
import type { PluginGuard } from './guard.ts'

type AnyInstrument = Counter & Gauge & Histogram

interface IsolatedSettings extends Settings<unknown, TelemetryTable> {
  readonly signal: Signal
  readonly pipeline: string
  readonly next: Consumer
  readonly guard: PluginGuard
  readonly limits: IsolationLimits
  readonly plugin: string
  readonly type: string
}

export function isolatedProcessor(settings: IsolatedSettings): Consumer & Component {
  const { host, guard, signal, next, logger } = settings
  const instruments = settings.telemetry as Readonly<Record<string, AnyInstrument>>
  const run = async (bytes: Uint8Array<ArrayBuffer>, context: RequestContext): Promise<IsolatedResult> => {
    if (host.runIsolated === undefined) throw new TypeError('isolate: this host has no pool')
    const { id, pipeline, plugin, type, limits } = settings
    const { metadata, clientAddress, transport, auth, deadlineMs } = context
    const request: IsolatedBatch = {
      ...{ id, pipeline, signal, plugin, type, limits, bytes },
      context: { metadata, clientAddress, transport, auth, deadlineMs },
    }
    const result = await host.runIsolated(request)
    replay(result, instruments, logger)
    return result
  }
  return {
    async start() {
      const { failure } = await run(new Uint8Array(0), { metadata: new Map() })
      if (failure !== undefined)
        throw new Error(`does not start in isolation (${failure.reason}): ${failure.message}`)
    },
    async consume(batch) {
      const { outputs, failure } = await run(batch.ownBytes(), batch.context)
      if (failure !== undefined) throw guard.failure(failure.reason, errorOf(failure), batch.itemCount)
      if (outputs === undefined) await next.consume(batch)
      else for (const bytes of outputs) await next.consume(batch.with([bytes]))
    },
  }
}

/** What a plugin threw keeps what it said of sending again; the rest is for the definition to say. */
function errorOf({ message, retryable, retryAfterMs }: IsolatedFailure): Error {
  if (retryable === undefined) return new Error(message)
  return retryable ? new RetryableError(message, { retryAfterMs }) : new DownstreamError(message)
}

function replay(
  { metrics, logs }: IsolatedResult,
  instruments: Readonly<Record<string, AnyInstrument>>,
  logger: Logger,
): void {
  for (const { key, labels, act, value } of metrics) {
    const instrument = instruments[key]
    if (instrument === undefined) continue
    const bound = Object.keys(labels).length === 0 ? instrument : instrument.with(labels)
    ;(bound as AnyInstrument)[act](value) // Of the three it has the one that was called there.
  }
  for (const { level, message, fields } of logs) logger[level](message, JSON.parse(fields))
}
