/**
 * Divides a chunk among shards: by trace id (affinity `trace`), or by the identity of the resource (affinity
 * `series`).
 *
 * Each part is again a valid request: the Resource* and Scope* headers are repeated in every part that has
 * items under them, items are copied as bytes. A chunk whose items all belong to one shard is passed on as it
 * is, without a copy.
 */
import type { Affinity } from '../component/define.ts'
import { takePayload } from '../otlp/payload-pool.ts'
import { ChunkWalker } from '../otlp/walk.ts'
import { FieldCursor, LEN, rangeEquals, WireWriter } from '../otlp/wire.ts'

export interface Part {
  /** Undefined when the shard gets nothing of this chunk. */
  readonly chunks: (Uint8Array | undefined)[]
  /** Items per shard; -1 when they were not counted. */
  readonly items: Int32Array
}

type ItemAffinity = Exclude<Affinity, 'none' | 'process'>

export class Partitioner {
  readonly #shards: number
  readonly #affinity: ItemAffinity
  readonly #walker = new ChunkWalker()
  readonly #cursor = new FieldCursor()
  readonly #header = new FieldCursor()

  constructor(shards: number, affinity: ItemAffinity) {
    this.#shards = shards
    this.#affinity = affinity
  }

  /** `pooled`: the parts lie in buffers of the payload pool. */
  divide(chunk: Uint8Array, pooled = false): Part {
    return this.#affinity === 'trace' ? this.#byTrace(chunk, pooled) : this.#bySeries(chunk)
  }

  #byTrace(chunk: Uint8Array, pooled: boolean): Part {
    const shards = this.#shards
    const items = new Int32Array(shards)
    const only = this.#onlyShard(chunk, items)
    const chunks: (Uint8Array | undefined)[] = new Array(shards).fill(undefined)
    if (only >= 0) {
      chunks[only] = chunk
      return { chunks, items }
    }
    const writers: WireWriter[] = []
    const room = Math.ceil(chunk.length / shards) + (chunk.length >>> 3) + 512
    for (let shard = 0; shard < shards; shard++) {
      writers.push(pooled ? new WireWriter(room, takePayload(room)) : new WireWriter(room))
    }
    // Per shard: 0 = no header open, 1 = resource open, 2 = resource and scope open.
    const open = new Uint8Array(shards)
    const walker = this.#walker.reset(chunk)
    while (walker.nextResource()) {
      while (walker.nextScope()) {
        // Neighbours that go to one shard are copied in one piece.
        let runShard = -1
        let runStart = 0
        let runEnd = 0
        while (walker.nextItem()) {
          const shard = traceShard(chunk, walker.itemStart, walker.itemEnd, shards, this.#cursor)
          if (shard === runShard && walker.itemFieldStart === runEnd) {
            runEnd = walker.itemEnd
            continue
          }
          if (runShard >= 0) writers[runShard]!.rawRange(chunk, runStart, runEnd)
          if (open[shard] !== 2) this.#openHeaders(writers[shard]!, chunk, open[shard] === 0)
          open[shard] = 2
          runShard = shard
          runStart = walker.itemFieldStart
          runEnd = walker.itemEnd
        }
        if (runShard >= 0) writers[runShard]!.rawRange(chunk, runStart, runEnd)
        for (let shard = 0; shard < shards; shard++) {
          if (open[shard] !== 2) continue
          writers[shard]!.end()
          open[shard] = 1
        }
      }
      for (let shard = 0; shard < shards; shard++) {
        if (open[shard] !== 1) continue
        writers[shard]!.end()
        open[shard] = 0
      }
    }
    for (let shard = 0; shard < shards; shard++) {
      if (writers[shard]!.length > 0) chunks[shard] = writers[shard]!.finish()
    }
    return { chunks, items }
  }

  /**
   * Begins the Scope* message that the walker is in, and the Resource* message around it if it is not open
   * yet.
   */
  #openHeaders(writer: WireWriter, chunk: Uint8Array, resourceToo: boolean): void {
    const walker = this.#walker
    if (resourceToo) {
      writer.begin(1, (walker.resourcesEnd - walker.resourcesStart) / this.#shards)
      this.#copyHeader(writer, chunk, walker.resourcesStart, walker.resourcesEnd)
    }
    writer.begin(2, (walker.scopesEnd - walker.scopesStart) / this.#shards)
    this.#copyHeader(writer, chunk, walker.scopesStart, walker.scopesEnd)
  }

  /** Counts the items of each shard. The shard that owns them all, or -1. */
  #onlyShard(chunk: Uint8Array, items: Int32Array): number {
    const walker = this.#walker.reset(chunk)
    let only = -2
    while (walker.nextResource()) {
      while (walker.nextScope()) {
        while (walker.nextItem()) {
          const shard = traceShard(chunk, walker.itemStart, walker.itemEnd, this.#shards, this.#cursor)
          items[shard]! += 1
          only = only === -2 || only === shard ? shard : -1
        }
      }
    }
    return only === -2 ? 0 : only
  }

  /**
   * All fields but the scopes or items (field 2): resource or scope, schema_url, and what this version does
   * not know.
   */
  #copyHeader(writer: WireWriter, chunk: Uint8Array, start: number, end: number): void {
    const header = this.#header.reset(chunk, start, end)
    while (header.next()) if (header.number !== 2) writer.rawRange(chunk, header.fieldStart, header.end)
  }

  #bySeries(chunk: Uint8Array): Part {
    const shards = this.#shards
    const lists: Uint8Array[][] = []
    for (let shard = 0; shard < shards; shard++) lists.push([])
    const request = this.#header.reset(chunk)
    let only = -2
    while (request.next()) {
      if (request.number !== 1 || request.wireType !== LEN) continue
      const shard = seriesShard(chunk, request.start, request.end, shards)
      lists[shard]!.push(request.raw())
      only = only === -2 || only === shard ? shard : -1
    }
    const chunks: (Uint8Array | undefined)[] = lists.map((list) =>
      list.length === 0 ? undefined : list.length === 1 ? list[0] : join(list),
    )
    if (only >= 0) chunks[only] = chunk
    return { chunks, items: new Int32Array(shards).fill(-1) }
  }
}

/**
 * The shards that own spans of these chunks, one bit each. Stops looking when it is all of them; no spans
 * belong to shard 0.
 */
export function traceOwners(chunks: readonly Uint8Array[], shards: number): number {
  const all = (1 << shards) - 1
  let owners = 0
  const walker = new ChunkWalker()
  const cursor = new FieldCursor()
  for (const chunk of chunks) {
    walker.reset(chunk)
    while (walker.nextResource()) {
      while (walker.nextScope()) {
        while (walker.nextItem()) {
          owners |= 1 << traceShard(chunk, walker.itemStart, walker.itemEnd, shards, cursor)
          if (owners === all) return owners
        }
      }
    }
  }
  return owners === 0 ? 1 : owners
}

/** The shard that owns a span: by its trace id. Spans without one belong to shard 0. */
export function traceShard(
  chunk: Uint8Array,
  start: number,
  end: number,
  shards: number,
  cursor: FieldCursor,
): number {
  // Nearly every sender writes trace_id (field 1) first: 0x0a, 16, then the id.
  if (end - start >= 18 && chunk[start] === 0x0a && chunk[start + 1] === 16) {
    return hashId(chunk, start + 2) % shards
  }
  cursor.reset(chunk, start, end)
  while (cursor.next()) {
    if (cursor.number === 1 && cursor.end - cursor.start === 16) return hashId(chunk, cursor.start) % shards
  }
  return 0
}

/** Mixes all 16 bytes: some senders have constant halves. */
function hashId(chunk: Uint8Array, at: number): number {
  let hash = 0
  for (let word = 0; word < 16; word += 4) {
    const value =
      chunk[at + word]! |
      (chunk[at + word + 1]! << 8) |
      (chunk[at + word + 2]! << 16) |
      (chunk[at + word + 3]! << 24)
    hash = Math.imul(hash ^ value, 0x9e3779b1)
    hash ^= hash >>> 15
  }
  hash = Math.imul(hash, 0x85ebca6b)
  return (hash ^ (hash >>> 13)) >>> 0
}

/**
 * Not Buffer.concat: its small results lie in a pool, and these buffers are transferred to another thread.
 */
function join(list: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(list.reduce((sum, bytes) => sum + bytes.length, 0))
  let at = 0
  for (const bytes of list) {
    joined.set(bytes, at)
    at += bytes.length
  }
  return joined
}

const IDENTITY_KEYS = ['service.namespace', 'service.name', 'service.instance.id'].map((key) =>
  Buffer.from(key),
)

/**
 * The shard that owns the series of a Resource*: by its service.namespace, service.name and
 * service.instance.id.
 */
export function seriesShard(chunk: Uint8Array, start: number, end: number, shards: number): number {
  const found = [0, 0, 0]
  const outer = new FieldCursor(chunk, start, end)
  const resource = new FieldCursor()
  const pair = new FieldCursor()
  while (outer.next()) {
    if (outer.number !== 1 || outer.wireType !== LEN) continue
    resource.enter(outer)
    while (resource.next()) {
      if (resource.number !== 1 || resource.wireType !== LEN) continue
      pair.enter(resource)
      let key = -1
      let hash = 0
      while (pair.next()) {
        if (pair.number === 1) {
          key = IDENTITY_KEYS.findIndex((name) => rangeEquals(chunk, pair.start, pair.end, name))
          if (key < 0) break
        } else if (pair.number === 2) {
          hash = hashRange(chunk, pair.start, pair.end)
        }
      }
      if (key >= 0 && found[key] === 0) found[key] = hash
    }
  }
  let hash = 0
  for (const part of found) hash = Math.imul(hash ^ part, 0x9e3779b1) ^ (hash >>> 15)
  return (hash >>> 0) % shards
}

function hashRange(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5
  for (let at = start; at < end; at++) hash = Math.imul(hash ^ bytes[at]!, 0x01000193)
  return hash | 0 || 1
}
