/**
 * The attribute policies: any resource or span of the trace with an attribute of this key whose value passes
 * a test.
 *
 * Spans are scanned as they lie in the slabs, at decision time; the answer for a resource is kept, since
 * consecutive spans and traces share it.
 */
import { LRUCache } from 'lru-cache'
import { compileRe2 } from '../../config/re2.ts'
import { ANY_VALUE, KEY_VALUE, RESOURCE, RESOURCE_SPANS, SPAN } from '../../otlp/fields.ts'
import { FieldCursor, LEN, rangeEquals, readString, readVarint, VARINT } from '../../otlp/wire.ts'
import type { BasicPolicy } from './config.ts'
import type { ResourceHeader } from './headers.ts'
import type { Evaluator } from './policies.ts'
import type { TraceStore } from './trace-store.ts'
import { FIRST_SPAN, NOT_SAMPLED, SAMPLED } from './trace-table.ts'

/** Tests the value of an attribute that has the key: the content of its AnyValue. */
type ValueTest = (value: FieldCursor, onSpan: boolean) => boolean

const utf8 = new TextEncoder()

export class AttributeEvaluator implements Evaluator {
  readonly #key: Uint8Array
  readonly #test: ValueTest
  readonly #whenMatched: number
  readonly #otherwise: number
  readonly #fields = new FieldCursor()
  readonly #pair = new FieldCursor()
  readonly #value = new FieldCursor()
  #resource: ResourceHeader | undefined
  #resourceMatched = false

  constructor(key: string, invert: boolean, test: ValueTest) {
    this.#key = utf8.encode(key)
    this.#test = test
    this.#whenMatched = invert ? NOT_SAMPLED : SAMPLED
    this.#otherwise = invert ? SAMPLED : NOT_SAMPLED
  }

  evaluate(store: TraceStore, trace: number): number {
    const spans = store.spans
    let span = store.traces.words[store.traces.at(trace) + FIRST_SPAN]!
    while (span !== 0) {
      if (this.#matchesResource(spans.scope(span).resource)) return this.#whenMatched
      const field = this.#fields.reset(
        spans.bytes(span),
        spans.start(span),
        spans.start(span) + spans.length(span),
      )
      if (field.next() && this.#matches(field.enter(field), SPAN.attributes, true)) return this.#whenMatched
      span = spans.next(span)
    }
    return this.#otherwise
  }

  #matchesResource(resource: ResourceHeader): boolean {
    if (resource === this.#resource) return this.#resourceMatched
    this.#resourceMatched = false
    const header = this.#fields.reset(resource.bytes)
    while (header.next()) {
      if (header.number !== RESOURCE_SPANS.resource || header.wireType !== LEN) continue
      this.#resourceMatched = this.#matches(header.enter(header), RESOURCE.attributes, false)
      break
    }
    this.#resource = resource
    return this.#resourceMatched
  }

  /** Whether the first attribute of the message that has the key passes the test. */
  #matches(message: FieldCursor, attributes: number, onSpan: boolean): boolean {
    while (message.next()) {
      if (message.number !== attributes || message.wireType !== LEN) continue
      if (this.#hasKey(message)) return this.#test(this.#value, onSpan)
    }
    return false
  }

  /* message KeyValue { string key = 1; AnyValue value = 2; } Leaves #value on the value. */
  #hasKey(attribute: FieldCursor): boolean {
    const pair = this.#pair.enter(attribute)
    let found = this.#key.length === 0
    let start = 0
    let end = 0
    while (pair.next()) {
      if (pair.wireType !== LEN) continue
      if (pair.number === KEY_VALUE.key) {
        found = rangeEquals(pair.bytes, pair.start, pair.end, this.#key)
        if (!found) return false
      } else if (pair.number === KEY_VALUE.value) {
        start = pair.start
        end = pair.end
      }
    }
    this.#value.reset(pair.bytes, start, end)
    return found
  }
}

/** Moves to the field of the AnyValue's oneof that counts, the last one; false when the value is empty. */
function toLast(value: FieldCursor): boolean {
  let any = false
  while (value.next()) any = true
  return any
}

export function numericAttribute(policy: BasicPolicy['numeric_attribute']): Evaluator {
  const minimum = policy.min_value === 0 ? -Infinity : policy.min_value
  const maximum = policy.max_value === 0 ? Infinity : policy.max_value
  return new AttributeEvaluator(policy.key, policy.invert_match, (value) => {
    const int = toLast(value) && value.number === ANY_VALUE.intValue && value.wireType === VARINT
    const number = int ? intValue(value) : 0
    return number >= minimum && number <= maximum
  })
}

/**
 * An int64 as a number. Beyond 2^53 it is rounded, which is harmless: the bounds are whole numbers below
 * that, so comparing gives the same answer.
 */
function intValue(value: FieldCursor): number {
  return value.end - value.start <= 7 ? readVarint(value.bytes, value.start) : Number(value.int64())
}

export function booleanAttribute(policy: BasicPolicy['boolean_attribute']): Evaluator {
  return new AttributeEvaluator(policy.key, policy.invert_match, (value) => {
    const bool = toLast(value) && value.number === ANY_VALUE.boolValue && value.uint() !== 0
    return bool === policy.value
  })
}

export function stringAttribute(policy: BasicPolicy['string_attribute']): Evaluator {
  const matches = policy.enabled_regex_matching
    ? regexMatcher(policy.values, policy.cache_max_size)
    : exactMatcher(policy.values)
  return new AttributeEvaluator(policy.key, policy.invert_match, (value, onSpan) => {
    const string = toLast(value) && value.number === ANY_VALUE.stringValue && value.wireType === LEN
    const start = string ? value.start : 0
    const end = string ? value.end : 0
    if (onSpan && start === end) return false
    return matches(value.bytes, start, end)
  })
}

type RangeMatcher = (bytes: Uint8Array, start: number, end: number) => boolean

export function exactMatcher(values: readonly string[]): RangeMatcher {
  const byHash = new Map<number, Uint8Array[]>()
  for (const text of values) {
    if (text === '') continue
    const bytes = utf8.encode(text)
    const hash = hashRange(bytes, 0, bytes.length)
    byHash.set(hash, [...(byHash.get(hash) ?? []), bytes])
  }
  return (bytes, start, end) => {
    const candidates = byHash.get(hashRange(bytes, start, end))
    if (candidates === undefined) return false
    for (const candidate of candidates) if (rangeEquals(bytes, start, end, candidate)) return true
    return false
  }
}

const DEFAULT_CACHE_SIZE = 128

/**
 * Values that were matched before are found by their bytes, so that they are neither decoded nor matched
 * again.
 */
function regexMatcher(patterns: readonly string[], cacheSize: number): RangeMatcher {
  const expressions = patterns.map((pattern) => compileRe2(pattern))
  const cache = new LRUCache<number, { readonly bytes: Uint8Array; readonly matched: boolean }>({
    max: cacheSize > 0 ? cacheSize : DEFAULT_CACHE_SIZE,
  })
  return (bytes, start, end) => {
    const hash = hashRange(bytes, start, end)
    const known = cache.get(hash)
    if (known !== undefined && rangeEquals(bytes, start, end, known.bytes)) return known.matched
    const text = readString(bytes, start, end)
    const matched = expressions.some((expression) => expression.test(text))
    cache.set(hash, { bytes: Uint8Array.prototype.slice.call(bytes, start, end), matched })
    return matched
  }
}

function hashRange(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5
  for (let at = start; at < end; at++) hash = Math.imul(hash ^ bytes[at]!, 0x01000193)
  return hash
}
