/**
 * Whose items are in the pile, when some of them lie in a durable log (otlp/delivery.ts): a request is done
 * with when all batches that took items of it are. Nothing is noted until the first such request comes.
 */
import type { Delivery } from '../../otlp/delivery.ts'

interface Owner {
  readonly delivery: Delivery | undefined
  /** Items that are still in the pile. */
  items: number
}

export interface Share {
  /** Of the requests that have items in the batch. Each is held once for it. */
  readonly deliveries: readonly Delivery[]
  /** Items of the batch that lie in no log. */
  readonly volatileItems: number
}

export class Owners {
  #piled: Owner[] = []

  /** Notes items that are being added to a pile of `piledItems`. */
  add(delivery: Delivery | undefined, items: number, piledItems: number): void {
    if (delivery === undefined && this.#piled.length === 0) return
    if (this.#piled.length === 0 && piledItems > 0)
      this.#piled.push({ delivery: undefined, items: piledItems })
    delivery?.hold()
    const last = this.#piled.at(-1)
    if (delivery === undefined && last?.delivery === undefined && last) last.items += items
    else this.#piled.push({ delivery, items })
  }

  /** The first `items` items leave the pile in one batch. */
  assign(items: number): Share {
    if (this.#piled.length === 0) return { deliveries: [], volatileItems: items }
    const deliveries: Delivery[] = []
    let left = items
    let volatileItems = 0
    let done = 0
    for (const owner of this.#piled) {
      if (left <= 0) break
      const taken = Math.min(owner.items, left)
      owner.items -= taken
      left -= taken
      if (owner.items === 0) done++
      if (owner.delivery === undefined) volatileItems += taken
      else {
        deliveries.push(owner.delivery)
        if (owner.items > 0) owner.delivery.hold() // For what stays in the pile.
      }
    }
    this.#piled.splice(0, done)
    return { deliveries, volatileItems }
  }
}
