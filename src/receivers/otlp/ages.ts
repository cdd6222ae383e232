/** In which seconds requests came that are not done with: tells the oldest without a list of them all. */
export class Ages {
  /** How many of each second; the oldest second first. */
  readonly #seconds = new Map<number, number>()

  add(second: number): void {
    this.#seconds.set(second, (this.#seconds.get(second) ?? 0) + 1)
  }

  remove(second: number): void {
    const left = (this.#seconds.get(second) ?? 0) - 1
    if (left > 0) this.#seconds.set(second, left)
    else this.#seconds.delete(second)
  }

  /** In seconds; 0 when there is none. */
  oldest(nowMs: number): number {
    for (const second of this.#seconds.keys()) return Math.max(0, nowMs / 1000 - second)
    return 0
  }
}
