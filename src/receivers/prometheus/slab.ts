/**
 * Small pieces of bytes that live long, many to a buffer: one buffer each would cost more than what it holds.
 */
const SLAB_BYTES = 64 * 1024

export class Slab {
  #bytes: Uint8Array = new Uint8Array(0)
  #at = 0

  /** A copy that nobody writes to. */
  copy(source: Uint8Array, start = 0, end: number = source.length): Uint8Array {
    const length = end - start
    if (length > SLAB_BYTES / 4) return source.slice(start, end)
    if (this.#at + length > this.#bytes.length) {
      this.#bytes = new Uint8Array(SLAB_BYTES)
      this.#at = 0
    }
    this.#bytes.set(source.subarray(start, end), this.#at)
    const copy = this.#bytes.subarray(this.#at, this.#at + length)
    this.#at += length
    return copy
  }
}
