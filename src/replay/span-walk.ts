/**
 * Walks the spans of a request and tells of each whose it is: what is counted in a replay, of the recording
 * and of what a configuration kept of it. Nothing is allocated per span.
 */
import { AttributeCursor, keyBytes } from '../otlp/attributes.ts'
import { EXPORT_TRACE_SERVICE_REQUEST, RESOURCE, RESOURCE_SPANS, SCOPE_SPANS } from '../otlp/fields.ts'
import { FieldCursor, LEN } from '../otlp/wire.ts'
import { SpanFacts } from '../processors/tail-sampling/span-facts.ts'

const SERVICE_NAME = keyBytes('service.name')
/** Services that are told apart; the others are counted together. */
const MOST_SERVICES = 1000
const NAME_LENGTH = 200

/** Names of services by number. */
export class Services {
  readonly names: string[] = ['(none)', '(other)']
  readonly #numbers = new Map<string, number>()

  numberOf(name: string): number {
    let number = this.#numbers.get(name)
    if (number === undefined) {
      if (this.names.length > MOST_SERVICES) return 1
      number = this.names.push(name.slice(0, NAME_LENGTH)) - 1
      this.#numbers.set(name, number)
    }
    return number
  }
}

export interface SpanVisitor {
  /**
   * `facts` is good until the next span. `byteLength` is that of the span's field, tag and length included.
   */
  span(facts: SpanFacts, service: number, byteLength: number): void
}

export class SpanWalk {
  readonly #services: Services
  readonly #facts = new SpanFacts()
  readonly #request = new FieldCursor()
  readonly #resources = new FieldCursor()
  readonly #scopes = new FieldCursor()
  readonly #attributes = new AttributeCursor()

  constructor(services: Services) {
    this.#services = services
  }

  /* message ExportTraceServiceRequest { repeated ResourceSpans resource_spans = 1; } */
  walk(chunk: Uint8Array, visitor: SpanVisitor): void {
    const request = this.#request.reset(chunk)
    while (request.next()) {
      if (request.number !== EXPORT_TRACE_SERVICE_REQUEST.resourceSpans || request.wireType !== LEN) continue
      const service = this.#serviceOf(chunk, request.start, request.end)
      const resources = this.#resources.enter(request)
      while (resources.next()) {
        if (resources.number !== RESOURCE_SPANS.scopeSpans || resources.wireType !== LEN) continue
        this.#walkScope(resources, service, visitor)
      }
    }
  }

  /* message ScopeSpans { InstrumentationScope scope = 1; repeated Span spans = 2; string schema_url = 3; } */
  #walkScope(resources: FieldCursor, service: number, visitor: SpanVisitor): void {
    const scopes = this.#scopes.enter(resources)
    while (scopes.next()) {
      if (scopes.number !== SCOPE_SPANS.spans || scopes.wireType !== LEN) continue
      this.#facts.read(scopes.bytes, scopes.start, scopes.end)
      visitor.span(this.#facts, service, scopes.end - scopes.fieldStart)
    }
  }

  /*
   * message ResourceSpans { Resource resource = 1; repeated ScopeSpans scope_spans = 2; string schema_url =
   *   3; }
   */
  #serviceOf(chunk: Uint8Array, start: number, end: number): number {
    const resources = this.#resources.reset(chunk, start, end)
    while (resources.next()) {
      if (resources.number !== RESOURCE_SPANS.resource || resources.wireType !== LEN) continue
      const attributes = this.#attributes.reset(chunk, resources.start, resources.end, RESOURCE.attributes)
      return attributes.find(SERVICE_NAME) ? this.#services.numberOf(attributes.value.text()) : 0
    }
    return 0
  }
}

/** A time given as halves, in ms: for clocks and charts, which need no nanoseconds. */
export function halvesToMs(high: number, low: number): number {
  return ((high >>> 0) * 2 ** 32 + (low >>> 0)) / 1e6
}

/** The end of the last span of a request, in ms since 1970; 0 when none has an end time. */
export class LastEnd implements SpanVisitor {
  #high = 0
  #low = 0

  of(walk: SpanWalk, chunk: Uint8Array): number {
    this.#high = this.#low = 0
    walk.walk(chunk, this)
    return halvesToMs(this.#high, this.#low)
  }

  span(facts: SpanFacts): void {
    const { endHigh, endLow } = facts
    if (endHigh < this.#high || (endHigh === this.#high && endLow <= this.#low)) return
    this.#high = endHigh
    this.#low = endLow
  }
}
