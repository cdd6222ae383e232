/**
 * Which items a block `include` or `exclude` matches: all its properties have to match. What hangs on the
 * resource, the scope or the metric is judged once for each of them and not once per item.
 *
 * As the Go collector does it: all entries of `attributes` and of `resources` have to match, one of every
 * other list is enough; a resource without a service name has the name <nil-service-name>; a number from
 * YAML matches an int or a double of the same value, since YAML does not keep them apart here.
 */

import {
  AttributeCursor,
  EMPTY_VALUE,
  type JsValue,
  jsToAnyValue,
  keyBytes,
  ValueRef,
} from '../../otlp/attributes.ts'
import { ANY_VALUE, INSTRUMENTATION_SCOPE, LOG_RECORD, METRIC, RESOURCE, SPAN } from '../../otlp/fields.ts'
import type { ItemWalker } from '../../otlp/item-walker.ts'
import { FieldCursor, LEN, VARINT } from '../../otlp/wire.ts'
import { type MatchProperties, SPAN_KINDS } from './config.ts'
import { TextFilter } from './text-filter.ts'

const SERVICE_NAME = keyBytes('service.name')
const NO_SERVICE_NAME = '<nil-service-name>'

const fields = new FieldCursor()
const cursor = new AttributeCursor()
const value = new ValueRef()

export class Matcher {
  readonly #services: TextFilter | undefined
  readonly #spanNames: TextFilter | undefined
  readonly #spanKinds: readonly boolean[] | undefined
  readonly #metricNames: TextFilter | undefined
  readonly #bodies: TextFilter | undefined
  readonly #severityTexts: TextFilter | undefined
  readonly #severity: MatchProperties['log_severity_number']
  readonly #attributes: readonly AttributeFilter[]
  readonly #resources: readonly AttributeFilter[]
  readonly #libraries: readonly LibraryFilter[]
  /** Verdicts and what they are about; the numbers of a walker do not repeat within a batch. */
  #resourceNumber = -1
  #resourceMatches = false
  #scopeNumber = -1
  #scopeMatches = false
  #metricNumber = -1
  #metricMatches = false

  constructor(match: MatchProperties) {
    this.#services = TextFilter.from(match.services, match)
    this.#spanNames = TextFilter.from(match.span_names, match)
    const kinds = TextFilter.from(match.span_kinds, match)
    this.#spanKinds = kinds && SPAN_KINDS.map((kind) => kinds.matches(kind))
    this.#metricNames = TextFilter.from(match.metric_names, match)
    this.#bodies = TextFilter.from(match.log_bodies, match)
    this.#severityTexts = TextFilter.from(match.log_severity_texts, match)
    this.#severity = match.log_severity_number
    this.#attributes = match.attributes.map((entry) => new AttributeFilter(entry, match))
    this.#resources = match.resources.map((entry) => new AttributeFilter(entry, match))
    this.#libraries = match.libraries.map(({ name, version }) => ({
      name: new TextFilter([name], match),
      version: version === undefined ? undefined : new TextFilter([version], match),
    }))
  }

  /** To be called before the items of a batch. */
  begin(): void {
    this.#resourceNumber = this.#scopeNumber = this.#metricNumber = -1
  }

  matches(items: ItemWalker): boolean {
    if (items.resourceNumber !== this.#resourceNumber) {
      this.#resourceNumber = items.resourceNumber
      this.#resourceMatches = this.#matchesResource(items)
    }
    if (!this.#resourceMatches) return false
    if (items.scopeNumber !== this.#scopeNumber) {
      this.#scopeNumber = items.scopeNumber
      this.#scopeMatches = this.#libraries.length === 0 || this.#matchesScope(items)
    }
    if (!this.#scopeMatches) return false
    switch (items.signal) {
      case 'traces':
        return this.#matchesSpan(items)
      case 'logs':
        return this.#matchesLog(items)
      default:
        return this.#matchesMetric(items)
    }
  }

  #matchesResource({ bytes, around }: ItemWalker): boolean {
    if (this.#services !== undefined) {
      cursor.reset(bytes, around.resourceStart, around.resourceEnd, RESOURCE.attributes)
      const name = cursor.find(SERVICE_NAME) ? cursor.value.text() : NO_SERVICE_NAME
      if (!this.#services.matches(name)) return false
    }
    return matchesAll(this.#resources, bytes, around.resourceStart, around.resourceEnd, RESOURCE.attributes)
  }

  // message InstrumentationScope { string name = 1; string version = 2; ... }
  #matchesScope({ bytes, around }: ItemWalker): boolean {
    let nameStart = 0
    let nameEnd = 0
    let versionStart = 0
    let versionEnd = 0
    fields.reset(bytes, around.scopeStart, around.scopeEnd)
    while (fields.next()) {
      if (fields.wireType !== LEN) continue
      if (fields.number === INSTRUMENTATION_SCOPE.name) {
        nameStart = fields.start
        nameEnd = fields.end
      } else if (fields.number === INSTRUMENTATION_SCOPE.version) {
        versionStart = fields.start
        versionEnd = fields.end
      }
    }
    return this.#libraries.some(
      ({ name, version }) =>
        name.matchesRange(bytes, nameStart, nameEnd) &&
        (version?.matchesRange(bytes, versionStart, versionEnd) ?? true),
    )
  }

  // message Span { string name = 5; SpanKind kind = 6; repeated KeyValue attributes = 9; ... }
  #matchesSpan({ bytes, start, end }: ItemWalker): boolean {
    if (this.#spanNames !== undefined || this.#spanKinds !== undefined) {
      let nameStart = 0
      let nameEnd = 0
      let kind = 0
      fields.reset(bytes, start, end)
      while (fields.next()) {
        if (fields.number === SPAN.name && fields.wireType === LEN) {
          nameStart = fields.start
          nameEnd = fields.end
        } else if (fields.number === SPAN.kind) kind = fields.uint()
      }
      if (this.#spanNames !== undefined && !this.#spanNames.matchesRange(bytes, nameStart, nameEnd))
        return false
      if (this.#spanKinds !== undefined && this.#spanKinds[kind] !== true) return false
    }
    return matchesAll(this.#attributes, bytes, start, end, SPAN.attributes)
  }

  // message LogRecord { SeverityNumber severity_number = 2; string severity_text = 3; AnyValue body = 5;
  // ... }
  #matchesLog({ bytes, start, end }: ItemWalker): boolean {
    if (this.#bodies !== undefined || this.#severityTexts !== undefined || this.#severity !== undefined) {
      let textStart = 0
      let textEnd = 0
      let severity = 0
      value.clear()
      fields.reset(bytes, start, end)
      while (fields.next()) {
        if (fields.number === LOG_RECORD.severityNumber && fields.wireType === VARINT)
          severity = fields.uint()
        else if (fields.wireType !== LEN) continue
        else if (fields.number === LOG_RECORD.severityText) {
          textStart = fields.start
          textEnd = fields.end
        } else if (fields.number === LOG_RECORD.body) value.read(bytes, fields.start, fields.end)
      }
      if (this.#bodies !== undefined && !this.#bodies.matches(value.text())) return false
      if (this.#severityTexts !== undefined && !this.#severityTexts.matchesRange(bytes, textStart, textEnd))
        return false
      if (this.#severity !== undefined) {
        if (severity === 0 ? !this.#severity.match_undefined : severity < this.#severity.min) return false
      }
    }
    return matchesAll(this.#attributes, bytes, start, end, LOG_RECORD.attributes)
  }

  // message Metric { string name = 1; ... }
  #matchesMetric(items: ItemWalker): boolean {
    if (this.#metricNames === undefined) return true
    if (items.metricNumber === this.#metricNumber) return this.#metricMatches
    this.#metricNumber = items.metricNumber
    let start = 0
    let end = 0
    fields.reset(items.bytes, items.metricStart, items.metricEnd)
    while (fields.next()) {
      if (fields.number !== METRIC.name || fields.wireType !== LEN) continue
      start = fields.start
      end = fields.end
    }
    this.#metricMatches = this.#metricNames.matchesRange(items.bytes, start, end)
    return this.#metricMatches
  }
}

interface LibraryFilter {
  readonly name: TextFilter
  readonly version: TextFilter | undefined
}

function matchesAll(
  filters: readonly AttributeFilter[],
  bytes: Uint8Array,
  start: number,
  end: number,
  field: number,
): boolean {
  for (const filter of filters) if (!filter.matches(bytes, start, end, field)) return false
  return true
}

/** One `{ key, value }`: the attribute is there, and has this value if one is given. */
class AttributeFilter {
  readonly #key: Uint8Array
  readonly #pattern: TextFilter | undefined
  readonly #wanted: unknown
  /** A text, list or map: its kind and how it prints. */
  readonly #kind: number = EMPTY_VALUE
  readonly #text: string = ''

  constructor(entry: MatchProperties['attributes'][number], match: MatchProperties) {
    this.#key = keyBytes(entry.key)
    this.#wanted = entry.value ?? undefined
    if (this.#wanted === undefined) return
    if (match.match_type === 'regexp') this.#pattern = new TextFilter([String(this.#wanted)], match)
    const encoded = jsToAnyValue(this.#wanted as JsValue) // From YAML: nothing else can be in it.
    const wanted = new ValueRef().read(encoded, 0, encoded.length)
    this.#kind = wanted.kind
    this.#text = wanted.text()
  }

  matches(bytes: Uint8Array, start: number, end: number, field: number): boolean {
    if (!cursor.reset(bytes, start, end, field).find(this.#key)) return false
    if (this.#wanted === undefined) return true
    const found = cursor.value
    if (this.#pattern !== undefined) {
      const scalar = found.kind >= ANY_VALUE.stringValue && found.kind <= ANY_VALUE.doubleValue
      return scalar && this.#pattern.matches(found.text())
    }
    if (typeof this.#wanted === 'number' || typeof this.#wanted === 'bigint') {
      if (found.kind === ANY_VALUE.intValue) return found.int() === toInt(this.#wanted)
      return found.kind === ANY_VALUE.doubleValue && found.double() === Number(this.#wanted)
    }
    return found.kind === this.#kind && found.text() === this.#text
  }
}

function toInt(number: number | bigint): bigint | undefined {
  if (typeof number === 'bigint') return number
  return Number.isInteger(number) ? BigInt(number) : undefined
}
