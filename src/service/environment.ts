/**
 * What one thread offers to the components that run in it, and the Host that each of them sees.
 */
import type { Clock } from '../component/clock.ts'
import type { ComponentStatus, Host } from '../component/host.ts'
import type { IsolatedBatch, IsolatedResult } from '../component/isolation.ts'
import type { Logger } from '../component/logger.ts'
import type { Meter } from '../component/telemetry.ts'
import type { Link } from '../workers/link.ts'
import type { SharedView } from '../workers/shared.ts'
import type { ListenerPool } from './listeners.ts'
import type { Taps } from './taps.ts'

export type Respond = (question: string) => Uint8Array | Promise<Uint8Array>

export interface Environment {
  readonly shard: number
  readonly shards: number
  readonly clock: Clock
  readonly shared: SharedView
  readonly meter: Meter
  readonly logger: Logger
  readonly listeners: ListenerPool
  /** One per shard, undefined for this one. Length 1 when there is no other shard. */
  readonly links: readonly (Link | undefined)[]
  /** Answers to gather(), by scope. */
  readonly answers: Map<string, Respond>
  /** Asks the component with this scope on all shards, through main. */
  gather(scope: string, question: string, timeoutMs: number): Promise<Uint8Array[]>
  report(id: string, status: ComponentStatus, error: Error | undefined): void
  /** Where captures listen in. */
  readonly taps?: Taps
  /** The isolation pool of the process, where there is one. */
  runIsolated?(batch: IsolatedBatch): Promise<IsolatedResult>
}

/**
 * `scope` names the instance, the same on all shards and across reloads: `processors/tail_sampling/traces`.
 * `id` is what status reports are filed under: `processors/tail_sampling`.
 */
export function createHost(
  environment: Environment,
  scope: string,
  id: string,
  extensions: { get(id: string): unknown },
): Host {
  const { shared, listeners } = environment
  return {
    shard: environment.shard,
    shards: environment.shards,
    clock: environment.clock,
    memory: shared.memoryLedger(),
    recovery: shared.recovery,
    budget: (name, limit) => shared.budget(`${scope}/${name}`, limit),
    rateBudget: (name, perSecond, burst) => shared.rateBudget(`${scope}/${name}`, perSecond, burst),
    listen: (options, onConnection) => listeners.listen(options, onConnection),
    gather: (question, timeoutMs) => environment.gather(scope, question, timeoutMs),
    answer: (respond) => void environment.answers.set(scope, respond),
    extension: (name) => extensions.get(name),
    reportStatus: (status, error) => environment.report(id, status, error),
    ...(environment.runIsolated && { runIsolated: environment.runIsolated }),
  }
}
