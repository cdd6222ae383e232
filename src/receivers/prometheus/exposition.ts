/**
 * The text formats, line by line: Prometheus text 0.0.4 and 1.0.0, OpenMetrics 0.0.1 and 1.0.0.
 *
 * One pass over bytes that the caller owns; a line is described by offsets and makes no object. The bytes
 * that name a series (`http_requests_total{code="200"}`) are its key: whoever knows them from the last scrape
 * passes them as `expected`, and then they are compared and not parsed. What is not of the format is an
 * InvalidError with its line, and the scrape has failed.
 */
import { InvalidError } from '../../errors.ts'
import { parseInteger, parseNumber } from './number.ts'

export type LineKind = 'end' | 'sample' | 'type' | 'help' | 'unit'

/** A longer line is an error. Long enough for a help text, or for hundreds of labels. */
export const MAX_LINE_BYTES = 1024 * 1024

const TAB = 0x09
const LF = 0x0a
const SPACE = 0x20
const QUOTE = 0x22
const HASH = 0x23
const COMMA = 0x2c
const EQUALS = 0x3d
const BACKSLASH = 0x5c
const OPEN = 0x7b
const CLOSE = 0x7d
/** Bits of `names`: may stand in a name, may begin it, only in the name of a metric. */
const INSIDE = 1
const FIRST = 2
const COLON = 4

const names = new Uint8Array(256)
for (let byte = 0; byte < 128; byte++) {
  const letter = String.fromCharCode(byte)
  if (/[a-zA-Z_]/.test(letter)) names[byte] = INSIDE | FIRST
  else if (/[0-9]/.test(letter)) names[byte] = INSIDE
  else if (letter === ':') names[byte] = COLON
}

export class Exposition {
  readonly bytes: Uint8Array
  readonly openMetrics: boolean
  /** Of the line that next() stopped at. */
  lineStart = 0
  lineEnd = 0
  /** A sample: the bytes that name its series, value, time. */
  seriesStart = 0
  seriesEnd = 0
  value = 0
  hasTimestamp = false
  timestampMs = 0
  /** The labels of its exemplar with their braces; 0 to 0 when there is none. */
  exemplarStart = 0
  exemplarEnd = 0
  exemplarValue = 0
  /** NaN when the exemplar has none. */
  exemplarSeconds = Number.NaN
  /** A comment: the name it is about, as written, and the text. */
  nameStart = 0
  nameEnd = 0
  textStart = 0
  textEnd = 0
  #at = 0
  #line = 0
  #end: number
  #ended = false

  constructor(bytes: Uint8Array, openMetrics: boolean) {
    this.bytes = bytes
    this.openMetrics = openMetrics
    this.#end = bytes.length
  }

  /**
   * Moves to the next line that says something. `expected`: what a series may be called that is likely to
   * come.
   */
  next(expected?: Uint8Array): LineKind {
    const { bytes } = this
    while (this.#at < this.#end) {
      this.#line++
      if (this.#ended) throw this.#error('data behind # EOF')
      this.lineStart = this.#at
      const found = bytes.indexOf(LF, this.#at)
      this.lineEnd = found < 0 ? this.#end : found
      this.#at = this.lineEnd + 1
      if (this.lineEnd - this.lineStart > MAX_LINE_BYTES) throw this.#error('line is too long')
      if (found < 0 && this.openMetrics && !this.#isEof()) throw this.#error('last line is cut off')
      const first = this.openMetrics ? this.lineStart : this.#skipBlanks(this.lineStart)
      if (first === this.lineEnd) {
        if (this.openMetrics) throw this.#error('empty line')
        continue
      }
      if (bytes[first] !== HASH) {
        this.#sample(first, expected)
        return 'sample'
      }
      const kind = this.#comment(first)
      if (kind) return kind
    }
    if (this.openMetrics && !this.#ended) throw new InvalidError('data does not end with # EOF')
    return 'end'
  }

  #error(message: string): InvalidError {
    return new InvalidError(`line ${this.#line}: ${message}`)
  }

  #skipBlanks(at: number): number {
    while (at < this.lineEnd && (this.bytes[at] === SPACE || this.bytes[at] === TAB)) at++
    return at
  }

  #skipWord(at: number): number {
    while (at < this.lineEnd && this.bytes[at] !== SPACE && this.bytes[at] !== TAB) at++
    return at
  }

  #isEof(): boolean {
    const { bytes, lineStart } = this
    return this.lineEnd - lineStart === 5 && bytes[lineStart] === HASH && this.#is(lineStart + 2, 'EOF')
  }

  #is(at: number, word: string): boolean {
    for (let index = 0; index < word.length; index++)
      if (this.bytes[at + index] !== word.charCodeAt(index)) return false
    return at + word.length <= this.lineEnd
  }

  /** Undefined for a comment that says nothing. */
  #comment(first: number): LineKind | undefined {
    const word = this.openMetrics ? first + 2 : this.#skipBlanks(first + 1)
    const wordEnd = this.#skipWord(word)
    if (this.openMetrics) {
      if (this.bytes[first + 1] !== SPACE) throw this.#error('a comment that is neither metadata nor # EOF')
      if (this.#isEof()) {
        this.#ended = true
        return undefined
      }
    }
    const length = wordEnd - word
    const kind =
      length !== 4
        ? undefined
        : this.#is(word, 'TYPE')
          ? 'type'
          : this.#is(word, 'HELP')
            ? 'help'
            : this.openMetrics && this.#is(word, 'UNIT')
              ? 'unit'
              : undefined
    if (!kind) {
      if (this.openMetrics) throw this.#error('a comment that is neither metadata nor # EOF')
      return undefined
    }
    this.nameStart = this.#skipBlanks(wordEnd)
    this.nameEnd =
      this.bytes[this.nameStart] === QUOTE ? this.#skipQuoted(this.nameStart) : this.#skipWord(this.nameStart)
    if (this.nameEnd === this.nameStart) throw this.#error('a comment without the name of a metric')
    this.textStart = this.#skipBlanks(this.nameEnd)
    this.textEnd = this.lineEnd
    if (kind !== 'help')
      while (this.textEnd > this.textStart && this.#isBlank(this.textEnd - 1)) this.textEnd--
    return kind
  }

  #isBlank(at: number): boolean {
    return this.bytes[at] === SPACE || this.bytes[at] === TAB || this.bytes[at] === 0x0d
  }

  #sample(first: number, expected: Uint8Array | undefined): void {
    this.seriesStart = first
    const behind = expected ? this.#matches(first, expected) : 0
    this.seriesEnd = behind > 0 ? behind : this.#scanSeries(first)
    const { bytes } = this
    const valueStart = this.#skipBlanks(this.seriesEnd)
    const valueEnd = this.#skipWord(valueStart)
    const value = parseNumber(bytes, valueStart, valueEnd)
    if (value === undefined) throw this.#error('expected a number as value')
    this.value = value
    this.hasTimestamp = false
    this.exemplarStart = this.exemplarEnd = 0
    let at = this.#skipBlanks(valueEnd)
    if (at < this.lineEnd && !(this.openMetrics && bytes[at] === HASH)) {
      const end = this.#skipWord(at)
      this.#timestamp(at, end)
      at = this.#skipBlanks(end)
    }
    if (at === this.lineEnd) return
    if (!this.openMetrics || bytes[at] !== HASH) throw this.#error('unexpected text behind the sample')
    this.#exemplar(this.#skipBlanks(at + 1))
  }

  /** Text has whole milliseconds, OpenMetrics seconds. */
  #timestamp(start: number, end: number): void {
    const seconds = this.openMetrics ? parseNumber(this.bytes, start, end) : undefined
    const ms = seconds === undefined ? parseInteger(this.bytes, start, end) : Math.round(seconds * 1000)
    const wrong = this.openMetrics && seconds === undefined
    if (wrong || ms === undefined || !Number.isSafeInteger(ms)) throw this.#error('bad timestamp')
    this.timestampMs = ms
    this.hasTimestamp = true
  }

  #exemplar(at: number): void {
    if (this.bytes[at] !== OPEN) throw this.#error('an exemplar without labels')
    this.exemplarStart = at
    this.exemplarEnd = this.#scanLabels(at, false)
    const valueStart = this.#skipBlanks(this.exemplarEnd)
    const valueEnd = this.#skipWord(valueStart)
    const value = parseNumber(this.bytes, valueStart, valueEnd)
    if (value === undefined) throw this.#error('an exemplar without a value')
    this.exemplarValue = value
    const timeStart = this.#skipBlanks(valueEnd)
    const timeEnd = this.#skipWord(timeStart)
    this.exemplarSeconds = Number.NaN
    if (timeStart < this.lineEnd) {
      const seconds = parseNumber(this.bytes, timeStart, timeEnd)
      if (seconds === undefined || !Number.isFinite(seconds))
        throw this.#error('bad timestamp of an exemplar')
      this.exemplarSeconds = seconds
    }
    if (this.#skipBlanks(timeEnd) !== this.lineEnd) throw this.#error('unexpected text behind the exemplar')
  }

  /** Where the series ends if it is the expected one; 0 if it is another. */
  #matches(start: number, expected: Uint8Array): number {
    const { bytes } = this
    const end = start + expected.length
    if (end >= this.lineEnd || !this.#isBlank(end)) return 0
    for (let index = 0; index < expected.length; index++)
      if (bytes[start + index] !== expected[index]) return 0
    // `name {a="b"}` begins with a series, too, but is another.
    return bytes[this.#skipBlanks(end)] === OPEN ? 0 : end
  }

  #scanSeries(first: number): number {
    const { bytes } = this
    if (bytes[first] === OPEN) return this.#scanLabels(first, true)
    if ((names[bytes[first]!]! & (FIRST | COLON)) === 0) throw this.#error('expected the name of a metric')
    let at = first + 1
    while (at < this.lineEnd && names[bytes[at]!]! !== 0) at++
    const brace = this.#skipBlanks(at)
    if (brace < this.lineEnd && bytes[brace] === OPEN) return this.#scanLabels(brace, false)
    if (brace === at) throw this.#error('expected a space behind the name of a metric')
    return at
  }

  /**
   * From `{` to behind `}`. `named`: a quoted name without a value may stand there as the name of the metric.
   */
  #scanLabels(open: number, named: boolean): number {
    const { bytes } = this
    let at = this.#skipBlanks(open + 1)
    let nameless = named
    while (bytes[at] !== CLOSE) {
      const quoted = bytes[at] === QUOTE
      const end = quoted ? this.#skipQuoted(at) : this.#skipLabelName(at)
      at = this.#skipBlanks(end)
      if (bytes[at] === EQUALS && at < this.lineEnd) {
        at = this.#skipBlanks(at + 1)
        if (bytes[at] !== QUOTE) throw this.#error('expected a quoted value of a label')
        at = this.#skipBlanks(this.#skipQuoted(at))
      } else if (quoted && nameless) nameless = false
      else throw this.#error('expected = behind the name of a label')
      if (at < this.lineEnd && bytes[at] === COMMA) at = this.#skipBlanks(at + 1)
      else if (at >= this.lineEnd || bytes[at] !== CLOSE) throw this.#error('expected , or } behind a label')
    }
    if (at >= this.lineEnd) throw this.#error('labels without a closing }')
    if (nameless) throw this.#error('expected the name of a metric')
    return at + 1
  }

  #skipLabelName(at: number): number {
    const { bytes } = this
    if (at >= this.lineEnd || (names[bytes[at]!]! & FIRST) === 0)
      throw this.#error('expected the name of a label')
    while (at < this.lineEnd && (names[bytes[at]!]! & INSIDE) !== 0) at++
    return at
  }

  /** From a quote to behind the one that closes it. */
  #skipQuoted(at: number): number {
    const { bytes } = this
    for (at++; at < this.lineEnd; at++) {
      if (bytes[at] === BACKSLASH) at++
      else if (bytes[at] === QUOTE) return at + 1
    }
    throw this.#error('text without a closing quote')
  }
}
