/**
 * One pass over the items of a batch, for those who pull: move to an item, change or drop it, move on. What mapItems() of otlp/edit.ts
 * is for a function that is called per item. Chunks without a change are taken over by reference; one with a
 * change is assembled anew from the first changed item on.
 */
import { Assembler } from '../otlp/assemble.ts'
import type { Batch, Signal } from '../otlp/batch.ts'
import { ItemWalker } from '../otlp/item-walker.ts'
import { WireWriter } from '../otlp/wire.ts'
import type { InnerItem } from './items.ts'
import { DataPoint } from './metric-items.ts'

/** What a changed item is written into is kept for the next one unless it grew larger. */
const KEPT_BYTES = 65_536

export class ItemPass<I extends InnerItem> {
  readonly item: I
  readonly #walker = new ItemWalker()
  #writer = new WireWriter(1024)
  #batch: Batch | undefined
  #signal: Signal = 'traces'
  #chunks: readonly Uint8Array[] = []
  #chunk = -1
  /** Chunks before the current one, as they are now. */
  #output: Uint8Array[] = []
  #assembler: Assembler | undefined
  /** Items of this chunk before the current one that were kept, while there is no assembler. */
  #kept = 0
  #dropped = 0
  #changed = false
  #standing = false

  constructor(item: I) {
    this.item = item
  }

  /** `whole`: the items of metrics are whole metrics, not data points. */
  open(batch: Batch, whole = false): this {
    this.#batch = batch
    // In the outer shape of a request a metric stands where a log record does.
    this.#signal = whole ? 'logs' : batch.signal
    this.#chunks = batch.chunks
    this.#chunk = -1
    this.#output = []
    this.#assembler = undefined
    this.#dropped = 0
    this.#changed = this.#standing = false
    return this
  }

  /** Moves to the next item, after keeping what was done to the one before. */
  next(): boolean {
    if (this.#standing) this.#settle()
    const walker = this.#walker
    while (true) {
      if (this.#chunk >= 0) {
        while (walker.next()) {
          if (walker.opaque && this.#signal === 'metrics') {
            this.#keep()
            continue
          }
          this.#point()
          this.#standing = true
          return true
        }
        this.#closeChunk()
      }
      const chunk = this.#chunks[++this.#chunk]
      if (chunk === undefined) {
        this.#chunk = -1
        this.#chunks = []
        return false
      }
      walker.reset(this.#signal, chunk)
      this.#kept = 0
    }
  }

  /** Ends the pass, wherever it stands; the same batch when nothing changed. */
  finish(): Batch {
    const batch = this.#batch
    if (batch === undefined) throw new RangeError('no batch is open')
    if (this.#standing) this.#settle()
    if (this.#chunk >= 0) {
      if (this.#assembler === undefined) this.#output.push(this.#chunks[this.#chunk]!)
      else {
        while (this.#walker.next()) this.#keep()
        this.#closeChunk()
      }
      for (let rest = this.#chunk + 1; rest < this.#chunks.length; rest++)
        this.#output.push(this.#chunks[rest]!)
    }
    this.#batch = undefined
    this.#chunks = []
    if (this.#writer.capacity > KEPT_BYTES) this.#writer = new WireWriter(1024)
    if (!this.#changed) return batch
    // Dropped metrics are not counted in points: the batch counts itself when asked.
    const whole = this.#signal !== batch.signal
    return batch.with(this.#output, whole ? -1 : batch.itemCount - this.#dropped)
  }

  #point(): void {
    const { bytes, start, end, around } = this.#walker
    const item = this.item
    if (item instanceof DataPoint) item.pointAt(bytes, start, end, this.#walker)
    else item.point(bytes, start, end, 0)
    item.resource.point(bytes, around.resourceStart, around.resourceEnd)
    item.scope.point(bytes, around.scopeStart, around.scopeEnd)
  }

  #settle(): void {
    this.#standing = false
    const item = this.item
    if (item.dropped) {
      this.#assemble()
      this.#dropped++
    } else if (item.changed) {
      const writer = this.#writer.truncate(0)
      item.writeInto(writer)
      this.#assemble().addContent(this.#walker, writer.view())
    } else this.#keep()
  }

  #keep(): void {
    if (this.#assembler === undefined) this.#kept++
    else this.#assembler.add(this.#walker)
  }

  /** At the first change in a chunk: what was kept so far is copied, and the walker stands where it stood. */
  #assemble(): Assembler {
    if (this.#assembler !== undefined) return this.#assembler
    const walker = this.#walker
    const chunk = walker.bytes
    const assembler = new Assembler(chunk.length + 256)
    walker.reset(this.#signal, chunk)
    for (let index = 0; index < this.#kept && walker.next(); index++) assembler.add(walker)
    walker.next()
    this.#assembler = assembler
    this.#changed = true
    return assembler
  }

  #closeChunk(): void {
    const assembler = this.#assembler
    this.#assembler = undefined
    if (assembler === undefined) {
      this.#output.push(this.#chunks[this.#chunk]!)
      return
    }
    const chunk = assembler.finish()
    if (chunk.length > 0) this.#output.push(chunk)
  }
}
