/**
 * The callers whose items are in the pile, when they are held until the batch with their items was taken
 * by the next stage. A caller whose items are split over several batches waits for all of them.
 */
import { isRetryable } from '../../errors.ts'

export class HeldCaller {
  readonly promise: Promise<void>
  /** Items that are still in the pile, and batches under way that have some of the others. */
  itemsPiled: number
  batches = 0
  readonly cutByMs: number
  #resolve: () => void = () => {}
  #reject: (error: unknown) => void = () => {}
  #error: unknown

  constructor(items: number, cutByMs: number) {
    this.itemsPiled = items
    this.cutByMs = cutByMs
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  /** One of its batches is done. */
  settle(error: unknown): void {
    // When one part may be sent again and another not, sending all again loses nothing.
    if (error !== undefined && (this.#error === undefined || isRetryable(error))) this.#error = error
    this.batches--
    if (this.batches > 0 || this.itemsPiled > 0) return
    if (this.#error === undefined) this.#resolve()
    else this.#reject(this.#error)
  }
}

export class HeldCallers {
  #piled: HeldCaller[] = []
  /**
   * When the pile must be cut at the latest, for the caller with the least time; Infinity when nobody is
   * in a hurry.
   */
  cutByMs = Number.POSITIVE_INFINITY

  add(items: number, cutByMs: number): Promise<void> {
    const caller = new HeldCaller(items, cutByMs)
    this.#piled.push(caller)
    if (cutByMs < this.cutByMs) this.cutByMs = cutByMs
    return caller.promise
  }

  /** The callers of the first `items` items of the pile, which leave it in one batch. */
  assign(items: number): HeldCaller[] {
    const assigned: HeldCaller[] = []
    let left = items
    let done = 0
    for (const caller of this.#piled) {
      if (left <= 0) break
      const taken = Math.min(caller.itemsPiled, left)
      caller.itemsPiled -= taken
      caller.batches++
      left -= taken
      assigned.push(caller)
      if (caller.itemsPiled === 0) done++
    }
    this.#piled.splice(0, done)
    this.cutByMs = Number.POSITIVE_INFINITY
    for (const caller of this.#piled) this.cutByMs = Math.min(this.cutByMs, caller.cutByMs)
    return assigned
  }
}
