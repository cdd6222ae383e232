/**
 * The chunks that wait to become a batch, in the order they came.
 *
 * Large chunks are kept by reference. Tiny ones are copied next to each other into slabs: each is a whole
 * request, so a run of them is one too, and thousands of one-span requests become a few chunks instead of
 * thousands of views that each hold on to the receiver's memory.
 */
import { Batch, type RequestContext, type Signal } from '../../otlp/batch.ts'
import { putRange } from '../../otlp/wire.ts'

/** Chunks below this are copied. */
const TINY_BYTES = 4 * 1024
const LEAST_SLAB_BYTES = 4 * 1024
const MOST_SLAB_BYTES = 64 * 1024

export class Pile {
  items = 0
  readonly #signal: Signal
  readonly #context: RequestContext
  #chunks: Uint8Array[] = []
  /** The slab being filled, and the run in it that is not in #chunks yet. */
  #slab: Uint8Array | undefined
  #runStart = 0
  #at = 0
  #copiedBytes = 0
  /** Follows the traffic, so that a thousand quiet groups do not hold 64 KiB each. */
  #slabBytes = LEAST_SLAB_BYTES

  constructor(signal: Signal, context: RequestContext) {
    this.#signal = signal
    this.#context = context
  }

  add(batch: Batch): void {
    const { chunks } = batch
    for (let index = 0; index < chunks.length; index++) {
      const chunk = chunks[index]!
      if (chunk.length < TINY_BYTES) this.#copy(chunk)
      else {
        this.#closeRun()
        this.#chunks.push(chunk)
      }
    }
    this.items += batch.itemCount
  }

  #copy(chunk: Uint8Array): void {
    let slab = this.#slab
    if (slab === undefined || this.#at + chunk.length > slab.length) {
      this.#closeRun()
      if (slab !== undefined) this.#slabBytes = Math.min(this.#slabBytes * 2, MOST_SLAB_BYTES)
      slab = this.#slab = Buffer.allocUnsafeSlow(this.#slabBytes)
      this.#runStart = this.#at = 0
    }
    this.#at = putRange(slab, this.#at, chunk, 0, chunk.length)
    this.#copiedBytes += chunk.length
  }

  #closeRun(): void {
    if (this.#slab === undefined || this.#at === this.#runStart) return
    this.#chunks.push(this.#slab.subarray(this.#runStart, this.#at))
    this.#runStart = this.#at
  }

  /** All that is piled up, as one batch; the pile is empty afterwards. */
  take(): Batch {
    this.#closeRun()
    const batch = new Batch(this.#signal, this.#chunks, this.items, this.#context)
    this.#chunks = []
    this.items = 0
    // The batch keeps the slab alive; the next one is about as large as this one would have needed.
    this.#slab = undefined
    while (this.#slabBytes > LEAST_SLAB_BYTES && this.#slabBytes >= this.#copiedBytes * 2)
      this.#slabBytes /= 2
    this.#copiedBytes = 0
    return batch
  }
}
