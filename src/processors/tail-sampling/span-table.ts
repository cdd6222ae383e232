/**
 * Held spans: five words each in one typed array, their encoded fields in slabs, their headers by reference.
 *
 * Spans are numbered from 1; 0 means none. The bytes of a span are its whole field in ScopeSpans, tag and
 * length included, so sending it is one copy. Spans that lie side by side in a chunk and are taken one after
 * the other are copied as one run; settle() must be called before anything reads or frees spans.
 */
import { GrowingWords } from '../../otlp/unmanaged.ts'
import { Headers, type ScopeHeader } from './headers.ts'
import type { Requests } from './requests.ts'
import { Slabs } from './slabs.ts'

/** Words of a span. */
const SLAB = 0
const OFFSET = 1
const LENGTH = 2
const NEXT = 3
const SCOPE = 4
const STRIDE = 5

const NO_BYTES = Buffer.alloc(0)

export class SpanTable {
  readonly slabs = new Slabs()
  readonly headers = new Headers()
  /** Set when requests come that lie in durable logs. */
  requests: Requests | undefined
  readonly #memory = new GrowingWords()
  #words = this.#memory.words
  #used = 1
  #free = 0
  count = 0
  /** The run of fields that are placed but not copied yet. */
  #chunk: Buffer = NO_BYTES
  #runStart = 0
  #runEnd = 0
  #runSlab = 0
  #runOffset = 0
  /** Compaction: where it stands, and the slabs it empties. */
  #compactAt = 0
  readonly #sparse = new Set<number>()

  get indexBytes(): number {
    return this.#words.byteLength + (this.requests?.heldBytes ?? 0)
  }

  /** Takes the field [start, end) of a chunk; its bytes are copied by settle() at the latest. */
  add(chunk: Buffer, start: number, end: number, scope: ScopeHeader): number {
    const length = end - start
    const slabs = this.slabs
    if (start === this.#runEnd && chunk === this.#chunk && slabs.fits(length)) {
      slabs.place(length)
    } else {
      this.settle()
      slabs.place(length)
      this.#chunk = chunk
      this.#runStart = start
      this.#runSlab = slabs.slab
      this.#runOffset = slabs.offset
    }
    this.#runEnd = end
    let span = this.#free
    if (span !== 0) this.#free = this.#words[span * STRIDE + NEXT]!
    else {
      span = this.#used++
      this.#words = this.#memory.ensure((span + 1) * STRIDE)
    }
    const words = this.#words
    const at = span * STRIDE
    words[at + SLAB] = slabs.slab
    words[at + OFFSET] = slabs.offset
    words[at + LENGTH] = length
    words[at + NEXT] = 0
    words[at + SCOPE] = scope.number
    scope.references++
    this.count++
    this.requests?.add(span)
    return span
  }

  /** Copies the open run into its slab. */
  settle(): void {
    if (this.#runEnd > this.#runStart)
      this.#chunk.copy(this.slabs.buffers[this.#runSlab]!, this.#runOffset, this.#runStart, this.#runEnd)
    this.#runStart = this.#runEnd = 0
    this.#chunk = NO_BYTES
  }

  next(span: number): number {
    return this.#words[span * STRIDE + NEXT]!
  }

  link(span: number, next: number): void {
    this.#words[span * STRIDE + NEXT] = next
  }

  scope(span: number): ScopeHeader {
    return this.headers.scopes[this.#words[span * STRIDE + SCOPE]!]!
  }

  /** The slab that holds the span's field, from start() to start() + length(). */
  bytes(span: number): Buffer {
    return this.slabs.buffers[this.#words[span * STRIDE + SLAB]!]!
  }

  start(span: number): number {
    return this.#words[span * STRIDE + OFFSET]!
  }

  length(span: number): number {
    return this.#words[span * STRIDE + LENGTH]!
  }

  /**
   * Frees a list of spans and says how many they were. Neighbours in the list mostly share slab and scope, so
   * these are told once for a run of spans.
   */
  freeList(first: number): number {
    this.settle()
    const { requests } = this
    if (requests !== undefined)
      for (let span = first; span !== 0; span = this.next(span)) requests.freed(span)
    const words = this.#words
    let count = 0
    let bytes = 0
    let run = 0
    for (let span = first; span !== 0; ) {
      const at = span * STRIDE
      const next = words[at + NEXT]!
      bytes += words[at + LENGTH]!
      run++
      const nextAt = next * STRIDE
      if (
        next === 0 ||
        words[nextAt + SLAB] !== words[at + SLAB] ||
        words[nextAt + SCOPE] !== words[at + SCOPE]
      ) {
        this.slabs.free(words[at + SLAB]!, bytes)
        this.headers.releaseScope(this.headers.scopes[words[at + SCOPE]!]!, run)
        count += run
        bytes = run = 0
      }
      words[at + LENGTH] = 0
      words[at + NEXT] = this.#free
      this.#free = span
      span = next
    }
    this.count -= count
    return count
  }

  /** Nothing is held any more, and nothing will be. */
  dispose(): void {
    this.slabs.dispose()
    this.requests?.dispose()
    this.#memory.release()
  }

  /**
   * Moves spans out of sparse slabs, looking at up to `limit` spans; true when there is more to do. Keeps
   * what the slabs hold at or below twice what is live, plus a few slabs, however long some traces stay.
   */
  compact(limit: number): boolean {
    this.settle()
    if (this.#compactAt === 0) {
      this.slabs.trim()
      if (!this.slabs.wasteful) return false
      for (const slab of this.slabs.sparse()) this.#sparse.add(slab)
      this.#compactAt = 1
    }
    const words = this.#words
    const end = Math.min(this.#used, this.#compactAt + limit)
    for (let at = this.#compactAt * STRIDE; at < end * STRIDE; at += STRIDE) {
      if (words[at + LENGTH] !== 0 && this.#sparse.has(words[at + SLAB]!)) this.#move(at)
    }
    this.#compactAt = end
    if (end < this.#used) return true
    this.#compactAt = 0
    this.#sparse.clear()
    return false
  }

  #move(at: number): void {
    const words = this.#words
    const slabs = this.slabs
    const length = words[at + LENGTH]!
    const from = words[at + SLAB]!
    const offset = words[at + OFFSET]!
    slabs.place(length)
    slabs.buffers[from]!.copy(slabs.buffers[slabs.slab]!, slabs.offset, offset, offset + length)
    words[at + SLAB] = slabs.slab
    words[at + OFFSET] = slabs.offset
    slabs.free(from, length)
  }
}
