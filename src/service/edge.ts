/**
 * Counts items on the edges of the graph, under the Go collector's metric names (docs/telemetry.md), so
 * that no component counts what passes through it.
 */
import type { Consumer } from '../component/define.ts'
import { type Counter, counter, type Meter } from '../component/telemetry.ts'

import type { Batch, Signal } from '../otlp/batch.ts'
import { Outlet } from './outlet.ts'

/** What an item of each signal is called in metric names. */
export const ITEM_NAMES: Readonly<Record<Signal, string>> = {
  traces: 'spans',
  metrics: 'metric_points',
  logs: 'log_records',
}

/**
 * Counts what a receiver hands on: accepted when the pipeline took it, refused when not. Knows what is
 * under way, so that a graph is only stopped when its pipelines have answered.
 */
export class ReceiverEdge implements Consumer {
  readonly #next: Consumer
  readonly #meter: Meter
  readonly #receiver: string
  readonly #signal: Signal
  readonly #byTransport = new Map<string, { accepted: Counter; refused: Counter }>()
  #underWay = 0
  #onIdle: (() => void)[] = []

  constructor(next: Consumer, meter: Meter, receiver: string, signal: Signal) {
    this.#next = next
    this.#meter = meter
    this.#receiver = receiver
    this.#signal = signal
  }

  consume(batch: Batch): Promise<void> {
    if (batch.context.delivery !== undefined) return this.#passOn(batch)
    const { accepted, refused } = this.#counters(batch.context.transport ?? '')
    const count = batch.itemCount
    this.#underWay++
    return this.#next.consume(batch).then(
      () => {
        accepted.add(count)
        this.#done()
      },
      (error: unknown) => {
        refused.add(count)
        this.#done()
        throw error
      },
    )
  }

  /** The receiver has a log, and has told by answered() what it took. */
  #passOn(batch: Batch): Promise<void> {
    this.#underWay++
    return this.#next.consume(batch).finally(() => this.#done())
  }

  answered(batch: Batch, accepted: boolean): void {
    const counters = this.#counters(batch.context.transport ?? '')
    counters[accepted ? 'accepted' : 'refused'].add(batch.itemCount)
  }

  refusal() {
    return this.#next.refusal?.()
  }

  get releases() {
    return this.#next.releases === true
  }

  /** Resolves when nothing is under way, or at the deadline. */
  idle(deadline: AbortSignal): Promise<void> {
    if (this.#underWay === 0 || deadline.aborted) return Promise.resolve()
    return new Promise((resolve) => {
      this.#onIdle.push(resolve)
      deadline.addEventListener('abort', () => resolve(), { once: true })
    })
  }

  #done(): void {
    this.#underWay--
    if (this.#underWay === 0) for (const wake of this.#onIdle.splice(0)) wake()
  }

  #counters(transport: string) {
    let made = this.#byTransport.get(transport)
    if (made === undefined) {
      const items = ITEM_NAMES[this.#signal]
      const table = {
        accepted: counter(
          `receiver_accepted_${items}`,
          '{item}',
          `Number of ${items} taken by the pipeline.`,
        ),
        refused: counter(`receiver_refused_${items}`, '{item}', `Number of ${items} that were not taken.`),
      }
      made = this.#meter.instruments(table, { receiver: this.#receiver, transport })
      if (this.#byTransport.size < 16) this.#byTransport.set(transport, made)
    }
    return made
  }
}

const processorTable = {
  incoming: counter('processor_incoming_items', '{item}', 'Items passed to the processor.', ['otel_signal']),
  outgoing: counter('processor_outgoing_items', '{item}', 'Items passed on by the processor.', [
    'otel_signal',
  ]),
}

/** The counters before and behind one processor. */
export function processorEdges(meter: Meter, processor: string, signal: Signal) {
  const { incoming, outgoing } = meter.instruments(processorTable, { processor, otel_signal: signal })
  return {
    before(next: Consumer): Consumer {
      const refusal = next.refusal?.bind(next)
      return {
        consume(batch) {
          incoming.add(batch.itemCount)
          return next.consume(batch)
        },
        ...(next.consumeOwned && {
          async consumeOwned(batch: Batch) {
            const taken = (await next.consumeOwned?.(batch)) ?? 0
            incoming.add(taken)
            return taken
          },
        }),
        ...(refusal && { refusal }),
        releases: next.releases === true,
      }
    },
    behind(next: Consumer): Outlet {
      return new Outlet(next, outgoing)
    },
  }
}
