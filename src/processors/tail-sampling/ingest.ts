/**
 * Walks the chunks of a batch and offers each span to the engine. It can stop before any span and go on
 * later, for `block_on_overflow`.
 *
 * The bytes of the batch are read only and not kept: the store copies what it takes.
 */
import { EXPORT_TRACE_SERVICE_REQUEST, RESOURCE_SPANS, SCOPE_SPANS } from '../../otlp/fields.ts'
import { FieldCursor, LEN } from '../../otlp/wire.ts'
import { traceShard } from '../../workers/partition.ts'
import type { Headers, ResourceHeader, ScopeHeader } from './headers.ts'
import type { Message } from './trace-store.ts'

export interface SpanSink {
  /** Takes the span field [fieldStart, end) with content [start, end); false when there is no room now. */
  takeSpan(message: Message, fieldStart: number, start: number, end: number): boolean
  /** All spans of one ResourceSpans have been taken. */
  endResource(): void
}

/** The message being read; one per ingest, used again. */
class CurrentMessage implements Message {
  chunk: Buffer = Buffer.alloc(0)
  number = 0
  firstOfResource = 0
  #scope: ScopeHeader | undefined

  get scope(): ScopeHeader {
    // Spans come after their scope.
    if (this.#scope === undefined) throw new TypeError('no message is being read')
    return this.#scope
  }
  set scope(scope: ScopeHeader) {
    this.#scope = scope
  }
}

export class Ingest {
  readonly #headers: Headers
  readonly #sink: SpanSink
  readonly #message = new CurrentMessage()
  readonly #request = new FieldCursor()
  readonly #resources = new FieldCursor()
  readonly #scopes = new FieldCursor()
  #chunks: readonly Uint8Array[] = []
  #nextChunk = 0
  #resource: ResourceHeader | undefined
  #scope: ScopeHeader | undefined
  /** #scopes stands on a span that was refused. */
  #refused = false

  readonly #shard: number
  readonly #shards: number
  readonly #span = new FieldCursor()
  /** Spans of other shards are left out. */
  #ownedOnly = false
  /** Spans of this batch that were offered to the engine and taken. */
  taken = 0

  constructor(headers: Headers, sink: SpanSink, shard: number, shards: number) {
    this.#headers = headers
    this.#sink = sink
    this.#shard = shard
    this.#shards = shards
  }

  begin(chunks: readonly Uint8Array[], ownedOnly: boolean): void {
    this.#ownedOnly = ownedOnly
    this.taken = 0
    this.#chunks = chunks
    this.#nextChunk = 0
    this.#request.reset(this.#message.chunk, 0, 0)
  }

  /** Goes on until the end (true) or until the sink has no room (false). */
  run(): boolean {
    while (this.#resource !== undefined || this.#nextResource()) {
      while (this.#scope !== undefined || this.#nextScope()) {
        if (!this.#takeSpans()) return false
        this.#leaveScope()
      }
      this.#leaveResource()
      this.#sink.endResource()
    }
    this.#chunks = []
    return true
  }

  /** Forgets the batch, after an error in its framing or at the end. */
  abandon(): void {
    this.#leaveScope()
    this.#leaveResource()
    this.#refused = false
    this.#chunks = []
  }

  /* message ExportTraceServiceRequest { repeated ResourceSpans resource_spans = 1; } */
  #nextResource(): boolean {
    const request = this.#request
    while (true) {
      while (request.next()) {
        if (request.number !== EXPORT_TRACE_SERVICE_REQUEST.resourceSpans || request.wireType !== LEN)
          continue
        this.#resource = this.#headers.resource(this.#message.chunk, request.start, request.end)
        this.#resource.references++
        this.#resources.enter(request)
        this.#message.firstOfResource = (this.#message.number + 1) | 0
        return true
      }
      const chunk = this.#chunks[this.#nextChunk++]
      if (chunk === undefined) return false
      this.#message.chunk = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
      request.reset(this.#message.chunk)
    }
  }

  /*
   * message ResourceSpans { Resource resource = 1; repeated ScopeSpans scope_spans = 2;
   *   string schema_url = 3; }
   */
  #nextScope(): boolean {
    const resources = this.#resources
    while (resources.next()) {
      if (resources.number !== RESOURCE_SPANS.scopeSpans || resources.wireType !== LEN) continue
      const resource = this.#resource
      if (resource === undefined) return false
      const scope = this.#headers.scope(resource, this.#message.chunk, resources.start, resources.end)
      scope.references++
      this.#scope = scope
      this.#message.scope = scope
      this.#message.number = (this.#message.number + 1) | 0
      this.#scopes.enter(resources)
      return true
    }
    return false
  }

  /* message ScopeSpans { InstrumentationScope scope = 1; repeated Span spans = 2; string schema_url = 3; } */
  #takeSpans(): boolean {
    const scopes = this.#scopes
    const message = this.#message
    while (this.#refused || scopes.next()) {
      if (scopes.number !== SCOPE_SPANS.spans || scopes.wireType !== LEN) continue
      if (this.#ownedOnly && !this.#owns(message.chunk, scopes.start, scopes.end)) continue
      this.#refused = !this.#sink.takeSpan(message, scopes.fieldStart, scopes.start, scopes.end)
      if (this.#refused) return false
      this.taken++
    }
    return true
  }

  #owns(chunk: Buffer, start: number, end: number): boolean {
    return traceShard(chunk, start, end, this.#shards, this.#span) === this.#shard
  }

  #leaveScope(): void {
    if (this.#scope !== undefined) this.#headers.releaseScope(this.#scope, 1)
    this.#scope = undefined
  }

  #leaveResource(): void {
    if (this.#resource !== undefined) this.#headers.releaseResource(this.#resource)
    this.#resource = undefined
  }
}
