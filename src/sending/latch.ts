/** Something that happens once (retries are stopped, attempts are cut off), and who wants to be told. */
export class Latch {
  #reason: Error | undefined
  readonly #listeners = new Set<(reason: Error) => void>()

  get reason(): Error | undefined {
    return this.#reason
  }

  /** Calls `listener` when it happens, or at once if it has. The result takes the listener away again. */
  listen(listener: (reason: Error) => void): () => void {
    if (this.#reason) {
      listener(this.#reason)
      return () => {}
    }
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  trip(reason: Error): void {
    if (this.#reason) return
    this.#reason = reason
    const listeners = [...this.#listeners]
    this.#listeners.clear()
    for (const listener of listeners) listener(reason)
  }
}
