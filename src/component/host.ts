/**
 * What a running component may ask of the service around it. One Host per component instance and shard.
 */
import type { Socket } from 'node:net'
import type { Clock } from './clock.ts'
import type { IsolatedBatch, IsolatedResult } from './isolation.ts'
import type { Recovery } from './recovery.ts'

/** A limit for the whole process, shared by all shards through shared memory. Survives the death of a shard. */
export interface Budget {
  readonly limit: number
  /** Units in use, over all shards. */
  used(): number
  /** Takes `count` units if they fit under the limit. */
  tryTake(count: number): boolean
  /** Takes units without a check (work that cannot be refused). */
  take(count: number): void
  give(count: number): void
}

/** A token bucket for the whole process. Starts full. */
export interface RateBudget {
  /** Takes `count` tokens if the bucket holds them now. */
  tryTake(count: number): boolean
}

/** What the memory limiter steers by (docs/architecture.md, "Memory"). */
export interface MemoryLedger {
  /** Payload bytes held plus heap and external memory of all shards, as last published, in bytes. */
  usedBytes(): number
  /** Measures this shard now and publishes it; then as usedBytes(). */
  refresh(): number
  /**
   * What the process takes beside that: code, stacks, and what allocators keep back. Measured against its
   * resident memory, over all threads.
   */
  restBytes(): number
  /** Collects garbage in this shard, where the runtime allows it. */
  collectGarbage(): void
}

export type ComponentStatus = 'starting' | 'ok' | 'recoverable_error' | 'permanent_error' | 'fatal_error'

export interface ListenOptions {
  /** What the listener is, for messages and for the list of listeners: `receivers/otlp/protocols/grpc`. */
  readonly name: string
  /** `host:port`, `:port`, `[::1]:port`, or a path with transport `unix`. Port 0 takes a free one. */
  readonly endpoint: string
  readonly transport?: 'tcp' | 'tcp4' | 'tcp6' | 'unix' | undefined
}

/**
 * A listening socket. It belongs to the shard, not to the component: a reload hands it to the next component that asks for the
 * same endpoint, without closing it. Accepted connections are given to whoever called listen() last.
 */
export interface Listener {
  /** Where it really listens: the port is resolved. */
  readonly address: string
  readonly port: number
  /** Stops taking connections for this component. Connections already accepted stay with it. */
  close(): Promise<void>
}

export interface Host {
  /** Number of this shard, from 0. */
  readonly shard: number
  readonly shards: number
  readonly clock: Clock
  readonly memory: MemoryLedger
  readonly recovery: Recovery
  /** The budget called `name` of this component id; the same on every shard. */
  budget(name: string, limit: number): Budget
  rateBudget(name: string, perSecond: number, burst: number): RateBudget
  listen(options: ListenOptions, onConnection: (socket: Socket) => void): Promise<Listener>
  /**
   * Asks the same component on all shards, this one included: each runs the function it gave to `answer` and its
   * bytes come back in the order of the shards. A dead or slow shard is left out after `timeoutMs`.
   */
  gather(question: string, timeoutMs: number): Promise<Uint8Array[]>
  answer(respond: (question: string) => Uint8Array | Promise<Uint8Array>): void
  /** The extension with this id, started; undefined when it is not in `service.extensions`. */
  extension(id: string): unknown
  reportStatus(status: ComponentStatus, error?: Error): void
  /**
   * Runs one batch through a plugin's processor in the pool of the process, and takes over its buffer. Rejects with RefusedError when the
   * pool is full; whatever fails in there is in the result. Absent where there is no pool.
   */
  runIsolated?(batch: IsolatedBatch): Promise<IsolatedResult>
}
