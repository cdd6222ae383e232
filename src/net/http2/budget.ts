/**
 * Bytes of messages that one server holds, from the first byte of a message to its answer: in total, and on each connection.
 * Who finds no room stops reading its socket and waits here, in order.
 */

export interface Waiter {
  /** Tries again; false when there is still no room in total. */
  retry(): boolean
}

export class Budget {
  readonly #limitBytes: number
  readonly #connectionLimitBytes: number
  #usedBytes = 0
  #waiting: Waiter[] = []
  #waking = false

  constructor(limitBytes: number, connectionLimitBytes: number) {
    this.#limitBytes = limitBytes
    this.#connectionLimitBytes = connectionLimitBytes
  }

  get usedBytes(): number {
    return this.#usedBytes
  }

  /** Takes `bytes` when there is room next to what the connection holds, or when nothing is held. */
  tryTake(bytes: number, connectionBytes: number): boolean {
    if (this.#usedBytes > 0 && this.#usedBytes + bytes > this.#limitBytes) return false
    if (connectionBytes > 0 && connectionBytes + bytes > this.#connectionLimitBytes) return false
    this.#usedBytes += bytes
    return true
  }

  /** For what is there already. */
  take(bytes: number): void {
    this.#usedBytes += bytes
  }

  give(bytes: number): void {
    this.#usedBytes -= bytes
    if (this.#waiting.length === 0 || this.#waking) return
    this.#waking = true
    setImmediate(() => this.#wake())
  }

  wait(waiter: Waiter): void {
    this.#waiting.push(waiter)
  }

  leave(waiter: Waiter): void {
    const index = this.#waiting.indexOf(waiter)
    if (index >= 0) this.#waiting.splice(index, 1)
  }

  /** Those that find no room again line up again. */
  #wake(): void {
    this.#waking = false
    const waiting = this.#waiting
    this.#waiting = []
    for (let index = 0; index < waiting.length; index++) {
      if (this.#usedBytes >= this.#limitBytes) {
        this.#waiting = waiting.slice(index).concat(this.#waiting)
        return
      }
      waiting[index]!.retry()
    }
  }
}
