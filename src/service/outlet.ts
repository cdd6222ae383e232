/**
 * What a processor or connector gets as `next`: counts what is passed on, and leads to whatever stands
 * behind it today. A component that a reload leaves as it is (keep.ts) lives on with all that it holds;
 * only its outlets are pointed at the new graph.
 */
import type { Consumer } from '../component/define.ts'
import type { Counter } from '../component/telemetry.ts'
import type { Batch } from '../otlp/batch.ts'

export class Outlet implements Consumer {
  readonly #passed: Counter | undefined
  #next: Consumer

  constructor(next: Consumer, passed?: Counter) {
    this.#next = next
    this.#passed = passed
  }

  /** Only where fits(): components look at `releases` once. */
  switchTo(next: Consumer): void {
    this.#next = next
  }

  /**
   * What keeps the bytes must not follow upon what lets go of them: the component behind this may use their
   * memory again.
   */
  fits(next: Consumer): boolean {
    return (!this.releases || next.releases === true) && (!this.leases || canLease(next))
  }

  consume(batch: Batch): Promise<void> {
    this.#passed?.add(batch.itemCount)
    return this.#next.consume(batch)
  }

  get releases(): boolean {
    return this.#next.releases === true
  }

  get leases(): boolean {
    return this.#next.leases === true
  }
}

/** What it keeps, it holds the lease of; or it keeps nothing. */
export function canLease(consumer: Consumer): boolean {
  return consumer.leases === true || consumer.releases === true
}
