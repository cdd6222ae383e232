/**
 * Splits batches by items or by bytes. Put together again (Batch.concat), the parts hold the same items in
 * the same order under the same headers; headers are repeated where the cut went through them, and a metric
 * may be cut between its data points.
 *
 * Chunks that fit are taken over by reference; only what a cut goes through is copied. Resources and scopes
 * without items are kept in chunks taken over and left out of chunks that are cut.
 */
import { Assembler } from './assemble.ts'
import type { Batch } from './batch.ts'
import { countItems } from './count.ts'
import { ItemWalker } from './item-walker.ts'

/** Parts of at most `limitItems` items, all but the last of just so many. 0 or less means no limit. */
export function splitBatch(batch: Batch, limitItems: number): Batch[] {
  if (limitItems <= 0 || batch.itemCount <= limitItems) return [batch]
  const parts = new Parts(batch)
  for (const chunk of batch.chunks) {
    if (parts.items >= limitItems) parts.close()
    const count = batch.chunks.length === 1 ? batch.itemCount : countItems(batch.signal, chunk)
    if (parts.items + count <= limitItems) {
      parts.addChunk(chunk, count)
    } else {
      const items = new ItemWalker().reset(batch.signal, chunk)
      while (items.next()) {
        if (parts.items >= limitItems && !items.opaque) parts.close()
        parts.addItem(items)
      }
      parts.closeChunk()
    }
  }
  return parts.finish()
}

/**
 * Parts of at most `limitBytes` bytes each, as far as items allow: one that is larger with its headers is a
 * part of its own. 0 or less means no limit.
 */
export function splitByBytes(batch: Batch, limitBytes: number): Batch[] {
  if (limitBytes <= 0 || batch.byteLength <= limitBytes) return [batch]
  const parts = new Parts(batch)
  for (const chunk of batch.chunks) {
    if (parts.byteLength + chunk.length > limitBytes && chunk.length <= limitBytes) parts.close()
    if (parts.byteLength + chunk.length <= limitBytes) {
      parts.addChunk(chunk, countItems(batch.signal, chunk))
      continue
    }
    const items = new ItemWalker().reset(batch.signal, chunk)
    while (items.next()) {
      if (!parts.isEmpty && parts.byteLengthWith(items) > limitBytes) parts.close()
      parts.addItem(items)
    }
    parts.closeChunk()
  }
  return parts.finish()
}

/** The parts made so far and the one being filled. */
class Parts {
  items = 0
  /** Of the chunks of this part; the one being built is not counted. */
  byteLength = 0
  readonly #batch: Batch
  readonly #made: Batch[] = []
  readonly #assembler: Assembler
  #chunks: Uint8Array[] = []

  constructor(batch: Batch) {
    this.#batch = batch
    this.#assembler = new Assembler(4096)
  }

  get isEmpty(): boolean {
    return this.#chunks.length === 0 && this.#assembler.isEmpty
  }

  byteLengthWith(items: ItemWalker): number {
    return this.byteLength + this.#assembler.lengthWith(items)
  }

  addChunk(chunk: Uint8Array, items: number): void {
    this.#chunks.push(chunk)
    this.items += items
    this.byteLength += chunk.length
  }

  addItem(items: ItemWalker): void {
    this.#assembler.add(items)
    if (!items.opaque) this.items++
  }

  closeChunk(): void {
    if (!this.#assembler.isEmpty) this.addChunk(this.#assembler.finish(), 0)
  }

  close(): void {
    this.closeChunk()
    if (this.#chunks.length > 0) this.#made.push(this.#batch.with(this.#chunks, this.items))
    this.#chunks = []
    this.items = 0
    this.byteLength = 0
  }

  finish(): Batch[] {
    this.close()
    return this.#made
  }
}
