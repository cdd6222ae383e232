/**
 * Memory for payload that is kept for long, of which the garbage collector is not told: it would answer each
 * 64 MB of it with marking the whole heap, several times a second while a store of held spans fills. Shared
 * memory is what V8 does not count. Who allocates here says when it lets go, so that the ledger of the memory
 * limiter knows (docs/architecture.md, "Memory").
 */

let heldBytes = 0

/** What this thread holds in such memory. */
export function unmanagedBytes(): number {
  return heldBytes
}

/** Zeroed. To be followed by releaseUnmanaged() with its length. */
export function unmanagedBuffer(sizeBytes: number): Buffer {
  heldBytes += sizeBytes
  return Buffer.from(new SharedArrayBuffer(sizeBytes))
}

export function releaseUnmanaged(sizeBytes: number): void {
  heldBytes -= sizeBytes
}

let leftBytes = 0

/** Tells of payload that nobody needs any more and that is left to the garbage collector. */
export function leavePayload(sizeBytes: number): void {
  leftBytes += sizeBytes
}

/** How much payload was left to the garbage collector of this thread so far, collected or not. */
export function leftPayloadBytes(): number {
  return leftBytes
}

const PAGE_BYTES = 65_536
/** Address space that is set aside; memory is taken only for what is used. */
const MOST_PAGES = (1 << 30) / PAGE_BYTES
/** Pages that are taken at a time. */
const STEP_PAGES = 8

/** What is used of WebAssembly.Memory, of which Node's types say nothing. */
interface GrowingMemory {
  readonly buffer: SharedArrayBuffer
  grow(pages: number): number
}
declare const WebAssembly: {
  readonly Memory: new (limits: { initial: number; maximum: number; shared: true }) => GrowingMemory
}

/**
 * 32-bit words that grow in place: what is there is not copied, which for 100 MB takes longer than a decision
 * may hold up a shard. WebAssembly's memory is the kind that can do this. Beyond 1 GiB, or where no address
 * space is to be had, it doubles by copying.
 */
export class GrowingWords {
  words: Int32Array<ArrayBufferLike>
  #memory: GrowingMemory | undefined

  constructor() {
    this.#memory = reserve()
    this.words = this.#memory === undefined ? new Int32Array(1024) : new Int32Array(this.#memory.buffer)
    heldBytes += this.words.byteLength
  }

  get byteLength(): number {
    return this.words.byteLength
  }

  /** Makes room for `count` words; `words` is another view then. */
  ensure(count: number): Int32Array<ArrayBufferLike> {
    if (count <= this.words.length) return this.words
    heldBytes -= this.words.byteLength
    this.words = this.#grown(count)
    heldBytes += this.words.byteLength
    return this.words
  }

  #grown(count: number): Int32Array<ArrayBufferLike> {
    const memory = this.#memory
    if (memory !== undefined) {
      const wanted = Math.ceil((count * 4 - this.words.byteLength) / PAGE_BYTES)
      try {
        memory.grow(Math.max(wanted, STEP_PAGES))
        return new Int32Array(memory.buffer)
      } catch {
        this.#memory = undefined
      }
    }
    const doubled = new Int32Array(new SharedArrayBuffer(Math.max(count, this.words.length * 2) * 4))
    doubled.set(this.words)
    return doubled
  }

  /** The words are not used any more. */
  release(): void {
    heldBytes -= this.words.byteLength
    this.#memory = undefined
    this.words = new Int32Array(0)
  }
}

function reserve(): GrowingMemory | undefined {
  try {
    return new WebAssembly.Memory({ initial: 1, maximum: MOST_PAGES, shared: true })
  } catch {
    return undefined
  }
}
