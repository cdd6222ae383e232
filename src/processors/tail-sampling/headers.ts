/**
 * Resource and scope headers, kept once per distinct content.
 *
 * The header of a ResourceSpans (ScopeSpans) message is all of its fields but the scope_spans (spans): the
 * resource (scope), the schema url and fields that this version does not know. Held spans count as
 * references; a header without references is forgotten, so there are never more headers than held spans.
 */
import { randomInt } from 'node:crypto'
import { FieldCursor, LEN } from '../../otlp/wire.ts'

export interface ResourceHeader {
  readonly bytes: Uint8Array
  readonly hash: number
  nextSameHash: ResourceHeader | undefined
  references: number
  /** Scopes of this resource that have spans to send in the chunk being built. */
  readonly sending: ScopeHeader[]
}

export interface ScopeHeader {
  readonly number: number
  readonly resource: ResourceHeader
  readonly bytes: Uint8Array
  readonly hash: number
  nextSameHash: ScopeHeader | undefined
  references: number
  /**
   * Spans to send in the chunk being built: a list through the span table, and the length of their fields.
   */
  sendFirst: number
  sendLast: number
  sendBytes: number
}

/** Bytes that a header costs beside its content: objects, map entry. */
const OVERHEAD_BYTES = 200
/** The field of the repeated messages in both ResourceSpans and ScopeSpans. */
const CHILDREN = 2
const CHILD_TAG = CHILDREN * 8 + LEN

export class Headers {
  /** Scope headers by number. */
  readonly scopes: (ScopeHeader | undefined)[] = []
  readonly #freeNumbers: number[] = []
  readonly #scopeByHash = new Map<number, ScopeHeader>()
  readonly #resourceByHash = new Map<number, ResourceHeader>()
  #lastResource: ResourceHeader | undefined
  #lastScope: ScopeHeader | undefined
  readonly #cursor = new FieldCursor()
  #scratch = Buffer.allocUnsafeSlow(1024)
  #source: Buffer = this.#scratch
  #start = 0
  #end = 0
  heldBytes = 0

  /** The header of the ResourceSpans message from `start` to `end`. */
  resource(chunk: Buffer, start: number, end: number): ResourceHeader {
    this.#collect(chunk, start, end)
    const last = this.#lastResource
    if (last !== undefined && last.references > 0 && this.#matches(last.bytes)) return last
    const hash = this.#hash(0)
    let header = this.#resourceByHash.get(hash)
    while (header !== undefined && !this.#matches(header.bytes)) header = header.nextSameHash
    if (header === undefined) {
      const bytes = this.#copy()
      const nextSameHash = this.#resourceByHash.get(hash)
      header = { bytes, hash, nextSameHash, references: 0, sending: [] }
      this.#resourceByHash.set(hash, header)
      this.heldBytes += bytes.length + OVERHEAD_BYTES
    }
    this.#lastResource = header
    return header
  }

  /** The header of the ScopeSpans message from `start` to `end`, under this resource. */
  scope(resource: ResourceHeader, chunk: Buffer, start: number, end: number): ScopeHeader {
    this.#collect(chunk, start, end)
    const last = this.#lastScope
    if (last?.resource === resource && last.references > 0 && this.#matches(last.bytes)) return last
    const hash = this.#hash(resource.hash)
    let header = this.#scopeByHash.get(hash)
    while (header !== undefined && !(header.resource === resource && this.#matches(header.bytes)))
      header = header.nextSameHash
    if (header === undefined) {
      const bytes = this.#copy()
      const nextSameHash = this.#scopeByHash.get(hash)
      const number = this.#freeNumbers.pop() ?? this.scopes.length
      const send = { sendFirst: 0, sendLast: 0, sendBytes: 0 }
      header = { number, resource, bytes, hash, nextSameHash, references: 0, ...send }
      this.scopes[number] = header
      this.#scopeByHash.set(hash, header)
      resource.references++
      this.heldBytes += bytes.length + OVERHEAD_BYTES
    }
    this.#lastScope = header
    return header
  }

  releaseScope(scope: ScopeHeader, references: number): void {
    scope.references -= references
    if (scope.references > 0) return
    unlink(this.#scopeByHash, scope)
    this.scopes[scope.number] = undefined
    this.#freeNumbers.push(scope.number)
    this.heldBytes -= scope.bytes.length + OVERHEAD_BYTES
    this.releaseResource(scope.resource)
  }

  releaseResource(resource: ResourceHeader): void {
    if (--resource.references > 0) return
    unlink(this.#resourceByHash, resource)
    this.heldBytes -= resource.bytes.length + OVERHEAD_BYTES
  }

  /** Finds the header's bytes: in place when they lie together, else joined in the scratch buffer. */
  #collect(chunk: Buffer, messageStart: number, messageEnd: number): void {
    const cursor = this.#cursor
    let start = messageStart
    let end = messageStart
    let joined = -1
    for (let at = messageStart; ; at = cursor.offset) {
      at = skipChildren(chunk, at, messageEnd)
      if (!cursor.reset(chunk, at, messageEnd).next()) break
      if (cursor.number === CHILDREN && cursor.wireType === LEN) continue
      if (joined >= 0) joined = this.#append(joined, chunk, at, cursor.end)
      else if (start === end) start = at
      else if (end !== at) {
        joined = this.#append(0, chunk, start, end)
        joined = this.#append(joined, chunk, at, cursor.end)
      }
      end = cursor.end
    }
    this.#source = joined < 0 ? chunk : this.#scratch
    this.#start = joined < 0 ? start : 0
    this.#end = joined < 0 ? end : joined
  }

  #append(at: number, chunk: Buffer, start: number, end: number): number {
    const needed = at + end - start
    if (needed > this.#scratch.length) {
      const grown = Buffer.allocUnsafeSlow(needed * 2)
      this.#scratch.copy(grown, 0, 0, at)
      this.#scratch = grown
    }
    chunk.copy(this.#scratch, at, start, end)
    return needed
  }

  #matches(bytes: Uint8Array): boolean {
    const length = this.#end - this.#start
    if (bytes.length !== length) return false
    return length === 0 || this.#source.compare(bytes, 0, length, this.#start, this.#end) === 0
  }

  #copy(): Uint8Array {
    const bytes = Buffer.allocUnsafeSlow(this.#end - this.#start)
    this.#source.copy(bytes, 0, this.#start, this.#end)
    return bytes
  }

  #hash(seed: number): number {
    const source = this.#source
    let hash = SEED ^ seed
    for (let at = this.#start; at < this.#end; at++) {
      hash = Math.imul(hash ^ source[at]!, 0x01000193)
      hash ^= hash >>> 15
    }
    return hash | 0
  }
}

/**
 * Steps over children in their usual encoding: this passes over every span. The cursor takes what is unusual.
 */
function skipChildren(chunk: Buffer, at: number, end: number): number {
  while (at + 4 <= end && chunk[at] === CHILD_TAG) {
    const first = chunk[at + 1]!
    const second = chunk[at + 2]!
    const next =
      first < 128
        ? at + 2 + first
        : second < 128
          ? at + 3 + (first & 127) + second * 128
          : Number.POSITIVE_INFINITY
    if (next > end) break
    at = next
  }
  return at
}

/** Differs per process, so that nobody can prepare headers that collide. */
const SEED = randomInt(2 ** 32) | 0

function unlink<H extends { readonly hash: number; nextSameHash: H | undefined }>(
  byHash: Map<number, H>,
  header: H,
): void {
  const first = byHash.get(header.hash)
  if (first === header) {
    if (header.nextSameHash === undefined) byHash.delete(header.hash)
    else byHash.set(header.hash, header.nextSameHash)
  } else {
    let before = first
    while (before !== undefined && before.nextSameHash !== header) before = before.nextSameHash
    if (before !== undefined) before.nextSameHash = header.nextSameHash
  }
  header.nextSameHash = undefined
}
