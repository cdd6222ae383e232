/**
 * Counts items on the edges of the graph, under the Go collector's metric names (docs/telemetry.md), so that no component
 * counts what passes through it.
 */
import type { Consumer } from '../component/define.ts'
import { type Counter, counter, type Meter } from '../component/telemetry.ts'

import type { Signal } from '../otlp/batch.ts'

/** What an item of each signal is called in metric names. */
export const ITEM_NAMES: Readonly<Record<Signal, string>> = {
  traces: 'spans',
  metrics: 'metric_points',
  logs: 'log_records',
}

/** Counts what a receiver hands on: accepted when the pipeline took it, refused or failed when not. */
export function receiverEdge(next: Consumer, meter: Meter, receiver: string, signal: Signal): Consumer {
  const items = ITEM_NAMES[signal]
  const table = {
    accepted: counter(`receiver_accepted_${items}`, '{item}', `Number of ${items} taken by the pipeline.`),
    refused: counter(`receiver_refused_${items}`, '{item}', `Number of ${items} that were not taken.`),
  }
  const byTransport = new Map<string, { accepted: Counter; refused: Counter }>()
  const counters = (transport: string) => {
    let made = byTransport.get(transport)
    if (made === undefined) {
      made = meter.instruments(table, { receiver, transport })
      if (byTransport.size < 16) byTransport.set(transport, made)
    }
    return made
  }
  return {
    consume(batch) {
      const { accepted, refused } = counters(batch.context.transport ?? '')
      const count = batch.itemCount
      return next.consume(batch).then(
        () => accepted.add(count),
        (error: unknown) => {
          refused.add(count)
          throw error
        },
      )
    },
    refusal: () => next.refusal?.(),
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
        ...(refusal && { refusal }),
      }
    },
    behind(next: Consumer): Consumer {
      return {
        consume(batch) {
          outgoing.add(batch.itemCount)
          return next.consume(batch)
        },
      }
    },
  }
}
