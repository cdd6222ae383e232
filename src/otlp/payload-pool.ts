/**
 * Buffers for payload that nobody refers to once its request is answered.
 *
 * Payload lies outside the heap, and letting the garbage collector find out that 36 KB of it are free costs
 * several times what using them does (docs/architecture.md, "Memory"). A stage that knows that everything
 * behind it lets go of the bytes when consume() has settled (`Consumer.releases`) takes buffers here and
 * gives them back. Who cannot know it allocates as usual.
 *
 * One pool per thread, bounded; buffers are given out by size class, at most twice as large as asked for. What was
 * not needed for a while is let go of (`trimPayload`), but for a part that is always kept.
 */

import { leavePayload } from './unmanaged.ts'

const SMALLEST_BITS = 12 // 4 KiB; smaller buffers cost the collector nothing to speak of.
const LARGEST_BITS = 24 // 16 MiB: a message of the usual limit, 4 MiB, is larger after an edit.
/** What the pool keeps for later, in all classes together. */
export const POOL_LIMIT_BYTES = 64 * 1024 * 1024
/** What it keeps however long nobody needs it. */
export const POOL_IDLE_BYTES = 16 * 1024 * 1024

const free: Buffer[][] = []
for (let bits = SMALLEST_BITS; bits <= LARGEST_BITS; bits++) free.push([])
/**
 * Marks buffers of the pool; true while they are out: only these are taken back. A WeakSet would cost each
 * small collection a visit.
 */
const LENT = Symbol('lent')
type Marked = ArrayBufferLike & { [LENT]?: boolean }
let keptBytes = 0
/** The least that was kept since the last trim: nobody needed that much. */
let spareBytes = 0

function classOf(sizeBytes: number): number {
  return Math.max(0, 32 - Math.clz32(sizeBytes - 1) - SMALLEST_BITS)
}

/** A buffer of at least `sizeBytes`, with whatever was in it before. */
export function takePayload(sizeBytes: number): Buffer {
  const index = classOf(sizeBytes)
  const list = free[index]
  if (list === undefined || sizeBytes < 1 << (SMALLEST_BITS - 1)) return Buffer.allocUnsafeSlow(sizeBytes)
  let buffer = list.pop()
  if (buffer === undefined) buffer = Buffer.allocUnsafeSlow(1 << (index + SMALLEST_BITS))
  else {
    keptBytes -= buffer.length
    if (keptBytes < spareBytes) spareBytes = keptBytes
  }
  ;(buffer.buffer as Marked)[LENT] = true
  return buffer
}

/** What lies here unused: it is taken before any other memory, so it stands in nobody's way. */
export function sparePayloadBytes(): number {
  return keptBytes
}

/** Takes back what `view` is a view of, if it came from here. Nobody may use any view of it from now on. */
export function givePayload(view: Uint8Array): void {
  const buffer: Marked = view.buffer
  // A buffer that went to another thread is empty here.
  if (buffer[LENT] !== true || buffer.byteLength === 0) return
  buffer[LENT] = false
  if (keptBytes + buffer.byteLength > POOL_LIMIT_BYTES) return void leavePayload(buffer.byteLength)
  keptBytes += buffer.byteLength
  free[classOf(buffer.byteLength)]?.push(Buffer.from(buffer))
}

/**
 * Leaves what `view` is a view of to the garbage collector: something refers to it for longer than its owner
 * knows.
 */
export function keepPayload(view: Uint8Array): void {
  const buffer: Marked = view.buffer
  if (buffer[LENT] === true) buffer[LENT] = false
}

/** Lets go of what nobody needed since the last call, the largest first. To be called every few seconds. */
export function trimPayload(): void {
  let surplus = Math.min(spareBytes, keptBytes - POOL_IDLE_BYTES)
  for (let index = free.length - 1; index >= 0 && surplus > 0; index--) {
    const list = free[index]!
    const size = 1 << (index + SMALLEST_BITS)
    const count = Math.min(list.length, Math.floor(surplus / size))
    list.length -= count
    leavePayload(count * size)
    keptBytes -= count * size
    surplus -= count * size
  }
  spareBytes = keptBytes
}
