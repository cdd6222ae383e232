/**
 * What goes between a shard and the threads that isolated processors run in (workers/isolate-pool.ts): plain values, and encoded
 * batches whose buffers are moved.
 */
import type { RequestContext, Signal } from '../otlp/batch.ts'

/** One batch for one processor. An empty one starts the processor and shows whether it can be built. */
export interface IsolatedBatch {
  /** Id of the processor, its pipeline and its signal. */
  readonly id: string
  readonly pipeline: string
  readonly signal: Signal
  /** File and type of the plugin. */
  readonly plugin: string
  readonly type: string
  /** A chunk of its own, whose buffer is given away. */
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly context: RequestContext
  readonly limits: IsolationLimits
}

export interface IsolationLimits {
  /** For one batch. */
  readonly timeoutMs: number
  /** Heap and buffers of one thread. */
  readonly maxHeapBytes: number
  /** Threads in the pool of the process. */
  readonly pool: number
}

/** As IsolatedBatch, with the processor's own configuration as it was written, in JSON. */
export interface IsolatedTask extends IsolatedBatch {
  readonly config: string
}

export type FailureReason = 'error' | 'junk' | 'timeout' | 'memory' | 'exit'

export interface IsolatedResult {
  /** What it passed on, a chunk each; undefined: the batch as it came. */
  readonly outputs?: readonly Uint8Array<ArrayBuffer>[] | undefined
  readonly failure?: IsolatedFailure | undefined
  /** What it did to its instruments, and what it logged, to be done again in the shard. */
  readonly metrics: readonly MetricWrite[]
  readonly logs: readonly LogWrite[]
}

export interface IsolatedFailure {
  readonly reason: FailureReason
  readonly message: string
  /** What the error itself said of sending again, when it was one of errors.ts. */
  readonly retryable?: boolean | undefined
  readonly retryAfterMs?: number | undefined
}

export interface MetricWrite {
  /** Key in the definition's telemetry table. */
  readonly key: string
  readonly labels: Readonly<Record<string, string>>
  readonly act: 'add' | 'set' | 'record'
  readonly value: number
}

export interface LogWrite {
  readonly level: 'error' | 'warn' | 'info' | 'debug'
  readonly message: string
  /** As JSON: fields may hold what cannot be cloned. */
  readonly fields: string
}
