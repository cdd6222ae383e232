/** Views on traces; views.ts says how views behave. */
import type { Batch } from './batch.ts'
import { RESOURCE_SPANS, SCOPE_SPANS, SPAN, SPAN_EVENT, SPAN_LINK, STATUS } from './fields.ts'
import { AttributesView, MessageView, ResourceGroupView, ScopeGroupView } from './views.ts'

export function* resourceSpans(batch: Batch): Generator<ResourceSpansView> {
  for (const chunk of batch.chunks) yield* new MessageView(chunk).readMessages(1, ResourceSpansView)
}

export class ResourceSpansView extends ResourceGroupView {
  scopes(): Generator<ScopeSpansView> {
    return this.readMessages(RESOURCE_SPANS.scopeSpans, ScopeSpansView)
  }
}

export class ScopeSpansView extends ScopeGroupView {
  spans(): Generator<SpanView> {
    return this.readMessages(SCOPE_SPANS.spans, SpanView)
  }
}

export class SpanView extends MessageView {
  get traceId(): string {
    return this.readHex(SPAN.traceId)
  }
  get spanId(): string {
    return this.readHex(SPAN.spanId)
  }
  get parentSpanId(): string {
    return this.readHex(SPAN.parentSpanId)
  }
  get traceState(): string {
    return this.readText(SPAN.traceState)
  }
  get name(): string {
    return this.readText(SPAN.name)
  }
  /** SPAN_KIND of fields.ts. */
  get kind(): number {
    return this.readUint(SPAN.kind)
  }
  get startTimeUnixNano(): bigint {
    return this.readFixed64(SPAN.startTimeUnixNano)
  }
  get endTimeUnixNano(): bigint {
    return this.readFixed64(SPAN.endTimeUnixNano)
  }
  get attributes(): AttributesView {
    return new AttributesView(this, SPAN.attributes)
  }
  get droppedAttributesCount(): number {
    return this.readUint(SPAN.droppedAttributesCount)
  }
  events(): Generator<EventView> {
    return this.readMessages(SPAN.events, EventView)
  }
  get droppedEventsCount(): number {
    return this.readUint(SPAN.droppedEventsCount)
  }
  links(): Generator<LinkView> {
    return this.readMessages(SPAN.links, LinkView)
  }
  get droppedLinksCount(): number {
    return this.readUint(SPAN.droppedLinksCount)
  }
  get status(): StatusView {
    return this.readMessage(SPAN.status, StatusView)
  }
  get flags(): number {
    return this.readUint(SPAN.flags)
  }
}

export class StatusView extends MessageView {
  get message(): string {
    return this.readText(STATUS.message)
  }
  /** STATUS_CODE of fields.ts. */
  get code(): number {
    return this.readUint(STATUS.code)
  }
}

export class EventView extends MessageView {
  get timeUnixNano(): bigint {
    return this.readFixed64(SPAN_EVENT.timeUnixNano)
  }
  get name(): string {
    return this.readText(SPAN_EVENT.name)
  }
  get attributes(): AttributesView {
    return new AttributesView(this, SPAN_EVENT.attributes)
  }
  get droppedAttributesCount(): number {
    return this.readUint(SPAN_EVENT.droppedAttributesCount)
  }
}

export class LinkView extends MessageView {
  get traceId(): string {
    return this.readHex(SPAN_LINK.traceId)
  }
  get spanId(): string {
    return this.readHex(SPAN_LINK.spanId)
  }
  get traceState(): string {
    return this.readText(SPAN_LINK.traceState)
  }
  get attributes(): AttributesView {
    return new AttributesView(this, SPAN_LINK.attributes)
  }
  get droppedAttributesCount(): number {
    return this.readUint(SPAN_LINK.droppedAttributesCount)
  }
  get flags(): number {
    return this.readUint(SPAN_LINK.flags)
  }
}
