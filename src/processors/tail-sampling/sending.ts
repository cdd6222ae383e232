/**
 * Builds the chunks that go downstream: spans of kept traces, grouped by resource and scope.
 *
 * Spans that are added leave the list of their trace and join the list of their scope, so nothing is
 * allocated until the chunk itself, which is measured first and written once. Building it frees the spans.
 */
import { EXPORT_TRACE_SERVICE_REQUEST, RESOURCE_SPANS } from '../../otlp/fields.ts'
import { takePayload } from '../../otlp/payload-pool.ts'
import { lenFieldLength, WireWriter } from '../../otlp/wire.ts'
import type { ResourceHeader, ScopeHeader } from './headers.ts'
import type { Requests } from './requests.ts'
import type { SpanTable } from './span-table.ts'

export class Sending {
  readonly #spans: SpanTable
  readonly #resources: ResourceHeader[] = []
  /** Spans and bytes that wait to be built into a chunk. */
  count = 0
  byteLength = 0
  /**
   * Of the chunk built last: the requests in durable logs that have spans in it, each held, and how many
   * spans lie in no log.
   */
  requests: number[] = []
  volatileSpans = 0

  constructor(spans: SpanTable) {
    this.#spans = spans
  }

  /** Takes over a span; whoever holds it forgets it. */
  add(span: number): void {
    const spans = this.#spans
    const scope = spans.scope(span)
    spans.link(span, 0)
    if (scope.sendFirst === 0) {
      scope.sendFirst = span
      if (scope.resource.sending.length === 0) this.#resources.push(scope.resource)
      scope.resource.sending.push(scope)
      this.byteLength += scope.bytes.length
    } else {
      spans.link(scope.sendLast, span)
    }
    scope.sendLast = span
    const length = spans.length(span)
    scope.sendBytes += length
    this.byteLength += length
    this.count++
  }

  /** One chunk with everything that was added; `pooled`: in memory of the payload pool. */
  build(pooled: boolean): Uint8Array {
    this.requests = []
    this.volatileSpans = this.count
    this.#spans.requests?.gather()
    let size = 0
    for (const resource of this.#resources)
      size += lenFieldLength(EXPORT_TRACE_SERVICE_REQUEST.resourceSpans, contentLength(resource))
    const writer = pooled ? new WireWriter(size, takePayload(size)) : new WireWriter(size)
    for (const resource of this.#resources) {
      writer
        .tag(EXPORT_TRACE_SERVICE_REQUEST.resourceSpans, 2)
        .varint(contentLength(resource))
        .raw(resource.bytes)
      for (const scope of resource.sending) this.#writeScope(writer, scope)
      resource.sending.length = 0
    }
    this.#resources.length = 0
    this.count = 0
    this.byteLength = 0
    return writer.finish()
  }

  #writeScope(writer: WireWriter, scope: ScopeHeader): void {
    const spans = this.#spans
    writer
      .tag(RESOURCE_SPANS.scopeSpans, 2)
      .varint(scope.bytes.length + scope.sendBytes)
      .raw(scope.bytes)
    const first = scope.sendFirst
    scope.sendFirst = 0
    scope.sendLast = 0
    scope.sendBytes = 0
    for (let span = first; span !== 0; span = spans.next(span)) {
      const start = spans.start(span)
      writer.rawRange(spans.bytes(span), start, start + spans.length(span))
    }
    if (spans.requests !== undefined) this.#noteRequests(spans.requests, first)
    spans.freeList(first)
  }

  #noteRequests(requests: Requests, first: number): void {
    for (let span = first; span !== 0; span = this.#spans.next(span)) {
      if (requests.isDurable(span)) this.volatileSpans--
      const request = requests.met(span)
      if (request === 0) continue
      requests.hold(request)
      this.requests.push(request)
    }
  }
}

function contentLength(resource: ResourceHeader): number {
  let length = resource.bytes.length
  for (const scope of resource.sending)
    length += lenFieldLength(RESOURCE_SPANS.scopeSpans, scope.bytes.length + scope.sendBytes)
  return length
}
