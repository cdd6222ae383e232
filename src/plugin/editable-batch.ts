/**
 * A batch in the hands of a plugin: loops over friendly items, and the batch that comes of it.
 *
 *     for (const span of batch.spans()) {
 *       if (span.name === 'health') span.drop()
 *       span.attributes.set('team', 'shop')
 *     }
 *     return batch.edited()
 *
 * Each loop is one pass over the bytes, and works on what the loops before left. The bytes of the batch are never written to. A loop
 * for another signal than the batch's shows nothing. In one batch one loop runs at a time.
 */
import type { Batch, RequestContext, Signal } from '../otlp/batch.ts'
import { ItemPass } from './item-pass.ts'
import { type InnerItem, LogRecord, Resource, Scope, Span } from './items.ts'
import { DataPoint, Metric } from './metric-items.ts'
import { resourcePass, scopePass } from './outer-pass.ts'

export class EditableBatch {
  #batch: Batch
  #open = false
  readonly #passes: ItemPasses

  constructor(batch: Batch, passes: ItemPasses = new ItemPasses()) {
    this.#batch = batch
    this.#passes = passes
  }

  get signal(): Signal {
    return this.#batch.signal
  }

  get context(): RequestContext {
    return this.#batch.context
  }

  /** Spans, data points or log records that are left. */
  get itemCount(): number {
    return this.#batch.itemCount
  }

  spans(): Generator<Span, void> {
    return this.#run('traces', () => this.#passes.spans.open(this.#batch))
  }
  logRecords(): Generator<LogRecord, void> {
    return this.#run('logs', () => this.#passes.logRecords.open(this.#batch))
  }
  dataPoints(): Generator<DataPoint, void> {
    return this.#run('metrics', () => this.#passes.dataPoints.open(this.#batch))
  }
  metrics(): Generator<Metric, void> {
    return this.#run('metrics', () => this.#passes.metrics.open(this.#batch, true))
  }

  /** Every resource, once for each group of items that came with it. */
  resources(): Generator<Resource, void> {
    return this.#outer(() => resourcePass(this.#batch, this.#passes.resource))
  }
  scopes(): Generator<Scope, void> {
    return this.#outer(() => scopePass(this.#batch, this.#passes.scope))
  }

  /** The batch after all loops: the one that came in when nothing was changed. */
  edited(): Batch {
    if (this.#open) throw new TypeError('edited() inside a loop over the batch')
    return this.#batch
  }

  #begin(): void {
    if (this.#open) throw new TypeError('a loop over the batch inside another one')
    this.#open = true
  }

  *#run<I extends InnerItem>(signal: Signal, open: () => ItemPass<I>): Generator<I, void> {
    if (this.#batch.signal !== signal) return
    this.#begin()
    const pass = open()
    try {
      while (pass.next()) yield pass.item
    } finally {
      this.#batch = pass.finish()
      this.#open = false
    }
  }

  /** When a loop ends early, the rest of the pass runs without it. */
  *#outer<I>(open: () => Generator<I, Batch>): Generator<I, void> {
    this.#begin()
    const pass = open()
    let step = pass.next()
    try {
      while (!step.done) {
        yield step.value
        step = pass.next()
      }
    } finally {
      while (!step.done) step = pass.next()
      this.#batch = step.value
      this.#open = false
    }
  }
}

/** The items of one user, made when first needed and used again for the next batch. */
export class ItemPasses {
  #spans: ItemPass<Span> | undefined
  #logRecords: ItemPass<LogRecord> | undefined
  #dataPoints: ItemPass<DataPoint> | undefined
  #metrics: ItemPass<Metric> | undefined
  #resource: Resource | undefined
  #scope: Scope | undefined

  get spans(): ItemPass<Span> {
    return (this.#spans ??= new ItemPass(new Span()))
  }
  get logRecords(): ItemPass<LogRecord> {
    return (this.#logRecords ??= new ItemPass(new LogRecord()))
  }
  get dataPoints(): ItemPass<DataPoint> {
    return (this.#dataPoints ??= new ItemPass(new DataPoint()))
  }
  get metrics(): ItemPass<Metric> {
    return (this.#metrics ??= new ItemPass(new Metric()))
  }
  get resource(): Resource {
    return (this.#resource ??= new Resource())
  }
  get scope(): Scope {
    return (this.#scope ??= new Scope())
  }
}

/** The batch with friendly items, for components that take batches as they are: exporters, connectors, create(). */
export function editBatch(batch: Batch): EditableBatch {
  return new EditableBatch(batch)
}
