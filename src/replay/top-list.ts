/** The entries with the highest ranks, highest first; of equals those that came first. */
export class TopList<T> {
  readonly #limit: number
  readonly #ranks: number[] = []
  readonly entries: T[] = []

  constructor(limit: number) {
    this.#limit = limit
  }

  /** True when an entry of this rank would be kept: asked before one is made. */
  takes(rank: number): boolean {
    return this.entries.length < this.#limit || rank > (this.#ranks.at(-1) ?? 0)
  }

  add(rank: number, entry: T): void {
    let at = this.#ranks.length
    while (at > 0 && this.#ranks[at - 1]! < rank) at--
    this.#ranks.splice(at, 0, rank)
    this.entries.splice(at, 0, entry)
    if (this.entries.length <= this.#limit) return
    this.#ranks.pop()
    this.entries.pop()
  }
}
