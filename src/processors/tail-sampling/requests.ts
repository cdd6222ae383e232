/**
 * Which request each held span came with, for requests that lie in a durable log (otlp/delivery.ts): one
 * word a span, one counter a request. It exists from the first such request on; without a log nothing here
 * costs anything.
 *
 * Requests are numbered from 1 and numbers are used again; 0 is a request that lies in no log. A request is
 * held while it is read, while spans of it are in the table, and by each chunk that has some of them, until
 * that is done with.
 */
import type { Delivery } from '../../otlp/delivery.ts'
import { GrowingWords } from '../../otlp/unmanaged.ts'
import { doubled } from './trace-table.ts'

export class Requests {
  /** The request that is being read. */
  current = 0
  /** While set: spans that are freed are not done with, for this reason. */
  unfinished: Error | undefined
  /** Spans that were freed so. */
  unfinishedSpans = 0
  /** Spans in the table that lie in a log. */
  spans = 0
  readonly #memory = new GrowingWords()
  #bySpan = this.#memory.words
  #counts = new Int32Array(256)
  /** The last gathering that a request was met in. */
  #marks = new Int32Array(256)
  #mark = 0
  readonly #deliveries: (Delivery | undefined)[] = [undefined]
  readonly #free: number[] = []

  get heldBytes(): number {
    return this.#bySpan.byteLength + this.#counts.byteLength * 2
  }

  /** Spans that are taken from now on came with this request. */
  begin(delivery: Delivery): void {
    const request = this.#free.pop() ?? this.#deliveries.length
    if (request >= this.#counts.length) {
      this.#counts = doubled(this.#counts)
      this.#marks = doubled(this.#marks)
    }
    delivery.hold()
    this.#deliveries[request] = delivery
    this.#counts[request] = 1
    this.#marks[request] = 0
    this.current = request
  }

  end(): void {
    const request = this.current
    this.current = 0
    if (request !== 0) this.release(request)
  }

  /** A span is put into the table, of whatever request. */
  add(span: number): void {
    if (span >= this.#bySpan.length) this.#bySpan = this.#memory.ensure(span + 1)
    const request = this.current
    this.#bySpan[span] = request
    if (request === 0) return
    this.#counts[request]!++
    this.spans++
  }

  isDurable(span: number): boolean {
    return this.#of(span) !== 0
  }

  /** Spans from before this table existed may lie beyond its end. */
  #of(span: number): number {
    return this.#bySpan[span] ?? 0
  }

  /** A span leaves the table. */
  freed(span: number): void {
    const request = this.#of(span)
    if (request === 0) return
    this.spans--
    if (this.unfinished !== undefined) this.unfinishedSpans++
    this.release(request, this.unfinished)
  }

  hold(request: number): void {
    this.#counts[request]!++
  }

  /** With an error: a part of it is neither delivered nor counted. */
  release(request: number, error?: Error): void {
    const delivery = this.#deliveries[request]
    if (error !== undefined) {
      delivery?.hold()
      delivery?.settle(error)
    }
    if (--this.#counts[request]! > 0) return
    this.#deliveries[request] = undefined
    this.#free.push(request)
    delivery?.settle()
  }

  delivery(request: number): Delivery | undefined {
    return this.#deliveries[request]
  }

  /** Begins a new gathering of requests. */
  gather(): void {
    this.#mark = (this.#mark + 1) | 0
  }

  /** The request of the span when it lies in a log and this gathering has not met it yet, else 0. */
  met(span: number): number {
    const request = this.#of(span)
    if (request === 0 || this.#marks[request] === this.#mark) return 0
    this.#marks[request] = this.#mark
    return request
  }

  dispose(): void {
    this.#memory.release()
  }
}
