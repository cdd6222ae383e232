/**
 * Memory for encoded spans: fixed-size slabs that are filled from front to back and used again when they are
 * empty.
 *
 * Invariants: a byte range, once placed, stays where it is until it is freed or moved by its owner; live
 * bytes of a slab are the sum of the ranges placed and not freed. A range larger than a slab gets a slab of
 * its own, which goes back to the runtime when it is freed. Empty slabs are kept for later, up to a limit.
 */
import { releaseUnmanaged, unmanagedBuffer } from '../../otlp/unmanaged.ts'

export const SLAB_BYTES = 1 << 20

/** Empty slabs that are kept: this many, plus as many as are in use. */
const SPARE_SLABS = 8
/** Slabs of stores that were given up, for the next one in this thread: a reload takes no new memory. */
const inherited: Buffer[] = []
const MOST_INHERITED = 32

export class Slabs {
  /** The bytes of each slab by number; EMPTY where a number is not in use. */
  readonly buffers: Buffer[] = []
  readonly #live: number[] = []
  readonly #freeNumbers: number[] = []
  readonly #spare: Buffer[] = []
  #current = -1
  #fill = 0
  #inUse = 0
  /** Where the last place() put its range. */
  slab = 0
  offset = 0
  /** Bytes of all slabs, spare ones included: what the runtime holds. */
  heldBytes = 0
  /** Bytes of ranges that were placed and not freed. */
  liveBytes = 0

  get slabsInUse(): number {
    return this.#inUse
  }

  /** True when the next place() of this size goes right behind the last one. */
  fits(length: number): boolean {
    return this.#current >= 0 && this.#fill + length <= SLAB_BYTES
  }

  /** Reserves a range and leaves its place in `slab` and `offset`. The caller copies the bytes. */
  place(length: number): void {
    this.liveBytes += length
    if (length > SLAB_BYTES) {
      this.slab = this.#open(length)
      this.offset = 0
      this.#live[this.slab] = length
      return
    }
    if (!this.fits(length)) {
      const previous = this.#current
      this.#current = this.#open(SLAB_BYTES)
      this.#fill = 0
      if (previous >= 0 && this.#live[previous] === 0) this.#close(previous)
    }
    this.slab = this.#current
    this.offset = this.#fill
    this.#fill += length
    this.#live[this.slab]! += length
  }

  /**
   * Gives a range back. No run of ranges may be waiting for its copy (see SpanWriter) when this is called.
   */
  free(slab: number, length: number): void {
    this.liveBytes -= length
    const live = (this.#live[slab]! -= length)
    if (live > 0) return
    if (slab === this.#current) this.#fill = 0
    else this.#close(slab)
  }

  /** Slabs of which less than half is live, the one being filled aside: moving their ranges frees memory. */
  sparse(): number[] {
    const found: number[] = []
    for (let slab = 0; slab < this.buffers.length; slab++) {
      const size = this.buffers[slab]!.length
      if (size === SLAB_BYTES && slab !== this.#current && this.#live[slab]! < SLAB_BYTES / 2)
        found.push(slab)
    }
    return found
  }

  /** More than half of the slabs in use is dead, and it is enough to be worth the copying. */
  get wasteful(): boolean {
    return this.#inUse * SLAB_BYTES > 2 * this.liveBytes + 8 * SLAB_BYTES
  }

  #open(size: number): number {
    let buffer = size === SLAB_BYTES ? this.#spare.pop() : undefined
    if (buffer === undefined) {
      buffer = (size === SLAB_BYTES ? inherited.pop() : undefined) ?? unmanagedBuffer(size)
      this.heldBytes += size
    }
    const slab = this.#freeNumbers.pop() ?? this.buffers.length
    this.buffers[slab] = buffer
    this.#live[slab] = 0
    if (size === SLAB_BYTES) this.#inUse++
    return slab
  }

  #close(slab: number): void {
    const buffer = this.buffers[slab]!
    this.buffers[slab] = EMPTY
    this.#freeNumbers.push(slab)
    if (buffer.length === SLAB_BYTES) {
      this.#inUse--
      if (this.#spare.length < SPARE_SLABS + this.#inUse) {
        this.#spare.push(buffer)
        return
      }
    }
    this.#forget(buffer)
  }

  #forget(buffer: Buffer): void {
    this.heldBytes -= buffer.length
    releaseUnmanaged(buffer.length)
  }

  /** Nothing is held any more, and nothing will be. */
  dispose(): void {
    for (const buffer of [...this.buffers, ...this.#spare]) {
      if (buffer.length === SLAB_BYTES && inherited.length < MOST_INHERITED) {
        this.heldBytes -= SLAB_BYTES
        inherited.push(buffer)
      } else if (buffer.length > 0) this.#forget(buffer)
    }
    this.buffers.length = this.#spare.length = this.#live.length = this.#freeNumbers.length = 0
    this.#current = -1
    this.#inUse = this.liveBytes = 0
  }

  /** Gives spare slabs above the limit back to the runtime; called as load goes down. */
  trim(): void {
    while (this.#spare.length > SPARE_SLABS + this.#inUse) this.#forget(this.#spare.pop()!)
  }
}

const EMPTY = Buffer.alloc(0)
