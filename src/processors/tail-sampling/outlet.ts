/**
 * The way out: hands chunks to the next stage, a bounded number at a time, and counts what it refuses.
 *
 * Retrying is not done here: a queue behind does that. Chunks beyond the bound wait in order; whoever makes
 * them asks `full` first, and waits for `room()`.
 */
import type { Consumer } from '../../component/define.ts'
import type { Logger } from '../../component/logger.ts'
import { isRetryable, ShutdownError, toError } from '../../errors.ts'
import { Batch, NO_CONTEXT, NO_METADATA } from '../../otlp/batch.ts'
import type { Delivery } from '../../otlp/delivery.ts'
import { givePayload } from '../../otlp/payload-pool.ts'
import type { TailTelemetry } from './telemetry.ts'

const MOST_IN_FLIGHT = 8

interface Chunk {
  readonly batch: Batch
  /** Spans in it that lie in no durable log. */
  readonly volatileSpans: number
}

export class Outlet {
  /** Spans that are waiting or under way, and lie in no log. */
  volatileSpans = 0
  readonly #next: Consumer
  readonly #logger: Logger
  readonly #telemetry: TailTelemetry
  readonly #onSettled: () => void
  readonly #waiting: Chunk[] = []
  #inFlight = 0
  #wakers: (() => void)[] = []

  constructor(next: Consumer, logger: Logger, telemetry: TailTelemetry, onSettled: () => void) {
    this.#onSettled = onSettled
    this.#next = next
    this.#logger = logger
    this.#telemetry = telemetry
  }

  /** The next stage lets go of what it was sent: chunks are to come from the payload pool, and go back to it. */
  get releases(): boolean {
    return this.#next.releases === true
  }

  get full(): boolean {
    return this.#inFlight >= MOST_IN_FLIGHT
  }

  /** More waits than may be in flight: late spans are to be held back. */
  get overflowing(): boolean {
    return this.#waiting.length > MOST_IN_FLIGHT
  }

  get idle(): boolean {
    return this.#inFlight === 0 && this.#waiting.length === 0
  }

  /** With the delivery of the requests in durable logs that have spans in it. */
  send(bytes: Uint8Array, spans: number, delivery: Delivery | undefined, volatileSpans: number): void {
    const context = delivery ? { metadata: NO_METADATA, delivery } : NO_CONTEXT
    const chunk = { batch: new Batch('traces', [bytes], spans, context), volatileSpans }
    this.volatileSpans += volatileSpans
    if (this.full) this.#waiting.push(chunk)
    else void this.#consume(chunk)
  }

  async #consume({ batch, volatileSpans }: Chunk): Promise<void> {
    const { delivery } = batch.context
    this.#inFlight++
    try {
      await this.#next.consume(batch)
      this.#telemetry.keptSpans.add(batch.itemCount)
      delivery?.settle()
    } catch (error) {
      // What lies in a log comes again from there.
      const again = delivery !== undefined && isRetryable(error)
      this.#refused(again ? volatileSpans : batch.itemCount, error)
      delivery?.settle(again ? error : undefined)
    }
    if (this.releases) for (const chunk of batch.chunks) givePayload(chunk)
    this.volatileSpans -= volatileSpans
    this.#onSettled()
    this.#inFlight--
    const waiting = this.#waiting.shift()
    if (waiting !== undefined) void this.#consume(waiting)
    if (!this.full || this.idle) {
      const wakers = this.#wakers
      this.#wakers = []
      for (const wake of wakers) wake()
    }
  }

  #refused(spans: number, error: unknown): void {
    if (spans === 0) return
    this.#telemetry.droppedSpans.with({ reason: 'downstream' }).add(spans)
    this.#logger.error('the next stage refused sampled spans; they are dropped', {
      spans,
      error: toError(error).message,
    })
  }

  /** Resolves when not full. */
  async room(): Promise<void> {
    while (this.full) await this.#change()
  }

  /** Resolves when everything is handed on or refused, or at the deadline. */
  async drained(deadline: AbortSignal): Promise<void> {
    const abort = () => {
      const wakers = this.#wakers
      this.#wakers = []
      for (const wake of wakers) wake()
    }
    deadline.addEventListener('abort', abort, { once: true })
    while (!this.idle && !deadline.aborted) await this.#change()
    deadline.removeEventListener('abort', abort)
  }

  /** Gives up the chunks that have not been handed on; returns their spans. */
  abandon(): number {
    let spans = 0
    for (const { batch, volatileSpans } of this.#waiting.splice(0)) {
      spans += volatileSpans
      this.volatileSpans -= volatileSpans
      batch.context.delivery?.settle(new ShutdownError('shut down before it could be handed on'))
    }
    return spans
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#wakers.push(resolve))
  }
}
