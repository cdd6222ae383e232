/**
 * The `trace_state` policy: any span whose W3C tracestate has an entry with this key and one of these values.
 * A tracestate that breaks the W3C grammar matches nothing, as in the Go collector.
 */
import type { Counter } from '../../component/telemetry.ts'
import { SPAN } from '../../otlp/fields.ts'
import { FieldCursor, LEN, rangeEquals } from '../../otlp/wire.ts'
import { exactMatcher } from './attribute-match.ts'
import type { BasicPolicy } from './config.ts'
import type { Evaluator } from './policies.ts'
import type { TraceStore } from './trace-store.ts'
import { FIRST_SPAN, NOT_SAMPLED, SAMPLED } from './trace-table.ts'

const MOST_MEMBERS = 32
const COMMA = 0x2c
const EQUALS = 0x3d
const AT = 0x40
const SPACE = 0x20
const TAB = 0x09

export function traceState(policy: BasicPolicy['trace_state'], unparseable: Counter): Evaluator {
  const key = new TextEncoder().encode(policy.key)
  // Key, value and the sign between them may have 256 characters.
  const short = policy.values.filter((value) => key.length + Buffer.byteLength(value) < 256)
  const matches = exactMatcher(short)
  const state = new TraceStateReader(key)
  const cursor = new FieldCursor()
  return {
    evaluate(store: TraceStore, trace: number): number {
      const spans = store.spans
      let span = store.traces.words[store.traces.at(trace) + FIRST_SPAN]!
      for (; span !== 0; span = spans.next(span)) {
        cursor.reset(spans.bytes(span), spans.start(span), spans.start(span) + spans.length(span))
        if (!cursor.next()) continue
        cursor.enter(cursor)
        while (cursor.next()) {
          if (cursor.number !== SPAN.traceState || cursor.wireType !== LEN) continue
          const found = state.find(cursor.bytes, cursor.start, cursor.end)
          if (state.broken) unparseable.add(1)
          if (found && matches(cursor.bytes, state.valueStart, state.valueEnd)) return SAMPLED
        }
      }
      return NOT_SAMPLED
    },
  }
}

export class TraceStateReader {
  /** The header that was read last breaks the grammar. */
  broken = false
  valueStart = 0
  valueEnd = 0
  readonly #key: Uint8Array
  /** Ends of the keys seen in the header being read, to find duplicates: start and end of each. */
  readonly #keys = new Int32Array(MOST_MEMBERS * 2)

  constructor(key: Uint8Array) {
    this.#key = key
  }

  /** True when the whole header is valid and has the key; its value is then valueStart to valueEnd. */
  find(bytes: Uint8Array, start: number, end: number): boolean {
    let members = 0
    let found = false
    this.broken = true
    for (let at = start; at < end; ) {
      let comma = at
      while (comma < end && bytes[comma] !== COMMA) comma++
      if (comma > at) {
        if (members === MOST_MEMBERS) return false
        const key = this.#readMember(bytes, at, comma, members)
        if (key < 0) return false
        if (key === 1) found = true
        members++
      }
      at = comma + 1
    }
    this.broken = false
    return found
  }

  /** -1 for a broken member, 1 when it has the key, else 0. */
  #readMember(bytes: Uint8Array, start: number, end: number, members: number): number {
    let keyStart = start
    while (keyStart < end && (bytes[keyStart] === SPACE || bytes[keyStart] === TAB)) keyStart++
    let keyEnd = keyStart
    while (keyEnd < end && bytes[keyEnd] !== EQUALS) keyEnd++
    if (keyEnd === end || !isKey(bytes, keyStart, keyEnd)) return -1
    let valueEnd = end
    while (valueEnd > keyEnd + 1 && (bytes[valueEnd - 1] === SPACE || bytes[valueEnd - 1] === TAB)) valueEnd--
    if (!isValue(bytes, keyEnd + 1, valueEnd)) return -1
    for (let index = 0; index < members; index++) {
      const otherStart = this.#keys[index * 2]!
      if (sameRange(bytes, keyStart, keyEnd, otherStart, this.#keys[index * 2 + 1]!)) return -1
    }
    this.#keys[members * 2] = keyStart
    this.#keys[members * 2 + 1] = keyEnd
    if (!rangeEquals(bytes, keyStart, keyEnd, this.#key)) return 0
    this.valueStart = keyEnd + 1
    this.valueEnd = valueEnd
    return 1
  }
}

/** A simple key (256 characters), or tenant@system (241 and 14). */
function isKey(bytes: Uint8Array, start: number, end: number): boolean {
  let at = start
  while (at < end && bytes[at] !== AT) at++
  if (at === end) return end - start <= 256 && isKeyPart(bytes, start, end, false)
  if (at - start > 241 || end - at - 1 > 14) return false
  return isKeyPart(bytes, start, at, true) && isKeyPart(bytes, at + 1, end, false)
}

function isKeyPart(bytes: Uint8Array, start: number, end: number, digitFirst: boolean): boolean {
  if (start === end) return false
  for (let at = start; at < end; at++) {
    const byte = bytes[at]!
    const letter = byte >= 0x61 && byte <= 0x7a
    const digit = byte >= 0x30 && byte <= 0x39
    const sign = byte === 0x5f || byte === 0x2d || byte === 0x2a || byte === 0x2f
    if (at === start ? !(letter || (digitFirst && digit)) : !(letter || digit || sign)) return false
  }
  return true
}

/** 1 to 256 printable ASCII characters without comma and equals sign. */
function isValue(bytes: Uint8Array, start: number, end: number): boolean {
  if (end <= start || end - start > 256) return false
  for (let at = start; at < end; at++) {
    const byte = bytes[at]!
    if (byte < SPACE || byte > 0x7e || byte === EQUALS || byte === COMMA) return false
  }
  return true
}

function sameRange(bytes: Uint8Array, startA: number, endA: number, startB: number, endB: number): boolean {
  if (endA - startA !== endB - startB) return false
  for (let at = 0; at < endA - startA; at++) if (bytes[startA + at] !== bytes[startB + at]) return false
  return true
}
