/**
 * The `ot` entry of a span's tracestate, read and written as bytes:
 *
 *     ot=rv:6e6d1a75832a2f;th:c;other:x,vendor=value
 *
 * Entries of other vendors and other fields of `ot` are kept. A tracestate that breaks the rules of W3C,
 * or of `ot`, is not read at all and never changed.
 */
import { putRange } from '../../otlp/wire.ts'
import type { SamplingState } from './sampling-state.ts'
import { HEX_DIGITS, readHex, writeRandomness, writeThreshold } from './threshold.ts'

const MOST_BYTES = 1024
const MOST_ENTRIES = 32
const MOST_KEY_BYTES = 256
const MOST_TENANT_BYTES = 241
const MOST_SYSTEM_BYTES = 14
const MOST_VALUE_BYTES = 256

const SPACE = 32
const TAB = 9
const COMMA = 44
const EQUALS = 61
const SEMICOLON = 59
const COLON = 58
const AT = 64
const LOWER_O = 111
const LOWER_T = 116
const LOWER_R = 114
const LOWER_V = 118
const LOWER_H = 104

export class TraceState {
  #bytes: Uint8Array = new Uint8Array(0)
  /** Ranges of other vendors' entries and of other fields of `ot`: start and end by turns. */
  readonly #entries: number[] = []
  readonly #fields: number[] = []
  readonly #number = { high: 0, low: 0 }
  /** What write() made: the bytes before `length`. */
  readonly output: Uint8Array = new Uint8Array(MOST_BYTES * 2)
  length = 0

  /** Reads a tracestate into `state`. False when it is malformed. */
  read(bytes: Uint8Array, start: number, end: number, state: SamplingState): boolean {
    this.#bytes = bytes
    this.#entries.length = 0
    this.#fields.length = 0
    if (start === end) return true
    if (end - start > MOST_BYTES) return false
    let count = 0
    for (let at = start; at <= end; ) {
      const next = find(bytes, COMMA, at, end)
      let from = at
      let to = next
      while (from < to && isBlank(bytes[from]!)) from++
      while (to > from && isBlank(bytes[to - 1]!)) to--
      at = next + 1
      if (from === to) continue
      if (++count > MOST_ENTRIES || !this.#readEntry(from, to, state)) return false
    }
    return true
  }

  #readEntry(start: number, end: number, state: SamplingState): boolean {
    const bytes = this.#bytes
    const equals = find(bytes, EQUALS, start, end)
    if (equals === end || !isKey(bytes, start, equals)) return false
    if (!isValue(bytes, equals + 1, end)) return false
    if (equals - start !== 2 || bytes[start] !== LOWER_O || bytes[start + 1] !== LOWER_T) {
      this.#entries.push(start, end)
      return true
    }
    // Of several `ot` entries the last counts.
    this.#fields.length = 0
    state.clear()
    for (let at = equals + 1; at <= end; ) {
      const next = find(bytes, SEMICOLON, at, end)
      if (!this.#readField(at, next, state)) return false
      at = next + 1
    }
    return true
  }

  #readField(start: number, end: number, state: SamplingState): boolean {
    const bytes = this.#bytes
    const colon = find(bytes, COLON, start, end)
    if (colon === start || colon === end) return false
    for (let at = start; at < colon; at++)
      if (!isLower(bytes[at]!) && (at === start || !isDigit(bytes[at]!))) return false
    for (let at = colon + 1; at < end; at++) if (!isFieldByte(bytes[at]!)) return false
    const first = colon - start === 2 ? bytes[start] : 0
    const second = bytes[start + 1]
    if (first === LOWER_R && second === LOWER_V) {
      if (end - colon - 1 !== HEX_DIGITS || !readHex(bytes, colon + 1, end, this.#number)) return false
      state.setRandomness(this.#number.high, this.#number.low)
    } else if (first === LOWER_T && second === LOWER_H) {
      if (!readHex(bytes, colon + 1, end, this.#number)) return false
      state.setThreshold(this.#number.high, this.#number.low)
    } else this.#fields.push(start, end)
    return true
  }

  /** Makes the tracestate anew, with what `state` holds now, in `output`. */
  write(state: SamplingState): void {
    const output = this.output
    let at = 0
    if (state.hasRandomness || state.hasThreshold || this.#fields.length > 0) {
      output[at++] = LOWER_O
      output[at++] = LOWER_T
      output[at++] = EQUALS
      const first = at
      if (state.hasRandomness) {
        at = writeName(output, at, LOWER_R, LOWER_V)
        at = writeRandomness(output, at, state.randomHigh, state.randomLow)
      }
      if (state.hasThreshold) {
        if (at > first) output[at++] = SEMICOLON
        at = writeName(output, at, LOWER_T, LOWER_H)
        at = writeThreshold(output, at, state.thresholdHigh, state.thresholdLow)
      }
      for (let index = 0; index < this.#fields.length; index += 2) {
        if (at > first) output[at++] = SEMICOLON
        at = putRange(output, at, this.#bytes, this.#fields[index]!, this.#fields[index + 1]!)
      }
    }
    for (let index = 0; index < this.#entries.length; index += 2) {
      if (at > 0) output[at++] = COMMA
      at = putRange(output, at, this.#bytes, this.#entries[index]!, this.#entries[index + 1]!)
    }
    this.length = at
  }
}

function writeName(output: Uint8Array, at: number, first: number, second: number): number {
  output[at] = first
  output[at + 1] = second
  output[at + 2] = COLON
  return at + 3
}

/** Where the byte is first; `end` when it is not there. */
function find(bytes: Uint8Array, byte: number, start: number, end: number): number {
  let at = start
  while (at < end && bytes[at] !== byte) at++
  return at
}

function isBlank(byte: number): boolean {
  return byte === SPACE || byte === TAB
}
function isLower(byte: number): boolean {
  return byte >= 97 && byte <= 122
}
function isDigit(byte: number): boolean {
  return byte >= 48 && byte <= 57
}
/** a-z 0-9 _ - * / */
function isKeyByte(byte: number): boolean {
  return isLower(byte) || isDigit(byte) || byte === 95 || byte === 45 || byte === 42 || byte === 47
}
/** a-z A-Z 0-9 . _ - */
function isFieldByte(byte: number): boolean {
  return isLower(byte | 32) || isDigit(byte) || byte === 46 || byte === 95 || byte === 45
}

/** key, or tenant@system. */
function isKey(bytes: Uint8Array, start: number, end: number): boolean {
  if (end <= start || end - start > MOST_KEY_BYTES) return false
  const at = find(bytes, AT, start, end)
  const first = bytes[start]!
  if (!isLower(first) && (at === end || !isDigit(first))) return false
  if (at < end) {
    if (at - start > MOST_TENANT_BYTES || end - at - 1 > MOST_SYSTEM_BYTES) return false
    if (at + 1 === end || !isLower(bytes[at + 1]!)) return false
  }
  for (let index = start + 1; index < end; index++)
    if (index !== at && !isKeyByte(bytes[index]!)) return false
  return true
}

/** Printable ASCII without comma and equals sign, not ending in a blank. */
function isValue(bytes: Uint8Array, start: number, end: number): boolean {
  if (end <= start || end - start > MOST_VALUE_BYTES || bytes[end - 1] === SPACE) return false
  for (let index = start; index < end; index++) {
    const byte = bytes[index]!
    if (byte < SPACE || byte > 126 || byte === COMMA || byte === EQUALS) return false
  }
  return true
}
