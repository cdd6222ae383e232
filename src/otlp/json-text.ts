/**
 * A place in a JSON text and a place in the bytes that are made of it. It knows tokens: space, strings and
 * literals. Numbers are in json-numbers.ts, values that nobody wants in json-skip.ts, messages in json-decode.ts.
 *
 * Invariants:
 * - The text is valid UTF-8 and is followed by PADDING zero bytes, so that reading a word or scanning a string needs
 *   no check of the end: a zero byte is no JSON outside a string and forbidden inside one.
 * - `output` has room for 9/8 of the text that is left, plus SLACK. Only packed arrays can grow faster than that;
 *   they call ensure(). So nothing else checks before it writes.
 */
import { isUtf8 } from 'node:buffer'
import { WireError } from '../errors.ts'

const PADDING = 64
/** Open messages (MAX_DEPTH times five bytes of length and tag) and words written past the end of a string. */
const SLACK = 1024
/** Buffers above this size are given up after the request that needed them. */
const KEEP_BYTES = 2 * 1024 * 1024

export const QUOTE = 0x22
export const COMMA = 0x2c
export const COLON = 0x3a
export const OPEN_LIST = 0x5b
export const CLOSE_LIST = 0x5d
export const OPEN = 0x7b
export const CLOSE = 0x7d
export const MINUS = 0x2d
const BACKSLASH = 0x5c
const HIGH_BITS = 0x80808080 | 0
const NULL_WORD = 0x6c6c756e // null
const TRUE_WORD = 0x65757274 // true
const ALSE_WORD = 0x65736c61 // alse

/** Of the same class as the buffers that replace it, which keeps reads from them fast. */
const NOTHING = Buffer.allocUnsafeSlow(0)
const NO_VIEW = new DataView(NOTHING.buffer)

const SIMPLE_ESCAPES = new Uint8Array(128)
for (const [letter, byte] of Object.entries({ '"': 34, '\\': 92, '/': 47, b: 8, f: 12, n: 10, r: 13, t: 9 }))
  SIMPLE_ESCAPES[letter.charCodeAt(0)] = byte

/** Value of a hex digit, any case; 255 for what is not one. */
export const HEX_DIGIT = new Uint8Array(256).fill(255)
for (let digit = 0; digit < 16; digit++) {
  HEX_DIGIT[digit.toString(16).charCodeAt(0)] = digit
  HEX_DIGIT[digit.toString(16).toUpperCase().charCodeAt(0)] = digit
}

export class JsonText {
  source: Buffer = NOTHING
  view: DataView = NO_VIEW
  /** The next byte of the text. */
  at = 0
  end = 0
  output: Uint8Array = NOTHING
  outputView: DataView = NO_VIEW
  /** Where the next byte is written. */
  put = 0
  /** The string that token() read: a range of `tokenBytes`. */
  tokenBytes: Uint8Array = NOTHING
  tokenStart = 0
  tokenEnd = 0

  /** Takes a copy of the text. Bytes that are not UTF-8 become U+FFFD; a byte order mark is dropped. */
  open(body: Uint8Array): void {
    const text = isUtf8(body) ? body : new TextEncoder().encode(new TextDecoder().decode(body))
    const length = text.length
    if (this.source.length < length + PADDING) {
      this.source = Buffer.allocUnsafeSlow(length + (length >>> 2) + 4096)
      this.view = new DataView(this.source.buffer)
    }
    this.source.set(text)
    this.source.fill(0, length, length + PADDING)
    this.end = length
    this.at = length >= 3 && text[0] === 0xef && text[1] === 0xbb && text[2] === 0xbf ? 3 : 0
    this.put = 0
    this.ensure()
  }

  /** The bytes made so far, in a buffer of just their size. */
  take(): Uint8Array {
    const result = Buffer.allocUnsafeSlow(this.put)
    result.set(this.output.subarray(0, this.put))
    return result
  }

  /** Forgets the text; lets go of buffers that were needed for an unusually large one. */
  close(): void {
    this.tokenBytes = NOTHING
    if (this.source.length > KEEP_BYTES) {
      this.source = NOTHING
      this.view = NO_VIEW
    }
    if (this.output.length > KEEP_BYTES) {
      this.output = NOTHING
      this.outputView = NO_VIEW
    }
  }

  /** Restores the invariant on the room in `output`. */
  ensure(): void {
    const left = this.end - this.at
    const needed = this.put + left + (left >>> 3) + SLACK
    if (needed <= this.output.length) return
    const grown = Buffer.allocUnsafeSlow(needed + (needed >>> 1))
    grown.set(this.output.subarray(0, this.put))
    this.output = grown
    this.outputView = new DataView(grown.buffer)
  }

  /**
   * Writes the length of what begins at `start` into the `room` bytes before it, and moves the content if that was the
   * wrong room. Gives the room that it took.
   */
  closeLength(start: number, room: number): number {
    const length = this.put - start
    if (length > 127 || room !== 1) return this.#closeLongLength(start, room)
    this.output[start - 1] = length
    return 1
  }

  #closeLongLength(start: number, room: number): number {
    const { output } = this
    let length = this.put - start
    const needed =
      length < 0x80 ? 1 : length < 0x4000 ? 2 : length < 0x200000 ? 3 : length < 0x10000000 ? 4 : 5
    if (needed !== room) {
      output.copyWithin(start + needed - room, start, this.put)
      this.put += needed - room
    }
    let at = start - room
    while (length > 127) {
      output[at++] = (length & 127) | 128
      length >>>= 7
    }
    output[at] = length
    return needed
  }

  fail(message: string, at: number = this.at): never {
    if (at >= this.end) throw new WireError('the JSON text ends too early', this.end)
    throw new WireError(message, at)
  }

  /** Steps over white space; gives the byte that follows, where `at` then stands. */
  space(): number {
    const source = this.source
    let byte = source[this.at]!
    while (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) byte = source[++this.at]!
    return byte
  }

  expect(byte: number): void {
    if (this.space() !== byte) this.fail(`expected ${String.fromCharCode(byte)}`)
    this.at++
  }

  /** Steps over `null` if it stands here. */
  nullHere(): boolean {
    if (this.view.getInt32(this.at, true) !== NULL_WORD) return false
    this.at += 4
    return true
  }

  boolean(): boolean {
    const first = this.source[this.at]
    if (first === 0x74 && this.view.getInt32(this.at, true) === TRUE_WORD) {
      this.at += 4
      return true
    }
    if (first !== 0x66 || this.view.getInt32(this.at + 1, true) !== ALSE_WORD)
      this.fail('expected true or false')
    this.at += 5
    return false
  }

  /**
   * Writes the string whose opening quote lies just behind, as UTF-8 without quotes and escapes; `at` ends after its
   * closing quote. Four bytes at a time: the three masks have a high bit set in the byte that holds a quote, a
   * backslash or a control character; only the lowest one that is set is exact, and it is the one that is used.
   */
  copyString(): void {
    const { view, outputView } = this
    let at = this.at
    let put = this.put
    while (true) {
      const word = view.getInt32(at, true)
      outputView.setInt32(put, word, true)
      const quote = word ^ 0x22222222
      const slash = word ^ 0x5c5c5c5c
      const found =
        (((quote - 0x01010101) & ~quote) | ((slash - 0x01010101) & ~slash) | ((word - 0x20202020) & ~word)) &
        HIGH_BITS
      if (found === 0) {
        at += 4
        put += 4
        continue
      }
      const index = (31 - Math.clz32(found & -found)) >>> 3
      at += index
      put += index
      const byte = this.source[at]!
      if (byte === QUOTE) break
      if (byte !== BACKSLASH) this.fail('control character in a string', at)
      this.at = at + 1
      this.put = put
      this.#escape()
      at = this.at
      put = this.put
    }
    this.at = at + 1
    this.put = put
  }

  /** Writes the character of the escape whose backslash lies just behind. */
  #escape(): void {
    const letter = this.source[this.at]!
    const simple = letter < 128 ? SIMPLE_ESCAPES[letter]! : 0
    if (simple !== 0) {
      this.output[this.put++] = simple
      this.at++
      return
    }
    if (letter !== 0x75) this.fail('unknown escape in a string')
    let code = this.#hex4(this.at + 1)
    this.at += 5
    if (code >= 0xd800 && code < 0xe000) {
      const paired =
        code < 0xdc00 && this.source[this.at] === BACKSLASH && this.source[this.at + 1] === 0x75
          ? this.#hex4(this.at + 2)
          : 0
      if (paired >= 0xdc00 && paired < 0xe000) {
        code = 0x10000 + ((code - 0xd800) << 10) + (paired - 0xdc00)
        this.at += 6
      } else code = 0xfffd // Half a pair is no character.
    }
    this.#character(code)
  }

  #hex4(at: number): number {
    const source = this.source
    let code = 0
    for (let index = 0; index < 4; index++) {
      const digit = HEX_DIGIT[source[at + index]!]!
      if (digit > 15) this.fail('expected four hex digits', at + index)
      code = code * 16 + digit
    }
    return code
  }

  #character(code: number): void {
    const output = this.output
    if (code < 0x80) output[this.put++] = code
    else if (code < 0x800) {
      output[this.put++] = 0xc0 | (code >>> 6)
      output[this.put++] = 0x80 | (code & 63)
    } else if (code < 0x10000) {
      output[this.put++] = 0xe0 | (code >>> 12)
      output[this.put++] = 0x80 | ((code >>> 6) & 63)
      output[this.put++] = 0x80 | (code & 63)
    } else {
      output[this.put++] = 0xf0 | (code >>> 18)
      output[this.put++] = 0x80 | ((code >>> 12) & 63)
      output[this.put++] = 0x80 | ((code >>> 6) & 63)
      output[this.put++] = 0x80 | (code & 63)
    }
  }

  /**
   * Reads a string that is not copied but looked at: a key, an enum name, base64, a number in quotes. The range is in the
   * text itself unless the string has escapes.
   */
  token(): void {
    if (this.source[this.at] !== QUOTE) this.fail('expected a string')
    const source = this.source
    const start = this.at + 1
    let at = start
    let byte = source[at]!
    while (byte !== QUOTE && byte !== BACKSLASH && byte >= 0x20) byte = source[++at]!
    this.tokenBytes = source
    this.tokenStart = start
    this.tokenEnd = at
    if (byte === QUOTE) {
      this.at = at + 1
      return
    }
    if (byte !== BACKSLASH) this.fail('control character in a string', at)
    const put = this.put
    this.at = start
    this.copyString()
    this.tokenBytes = Buffer.from(this.output.subarray(put, this.put))
    this.tokenStart = 0
    this.tokenEnd = this.tokenBytes.length
    this.put = put
  }

  tokenText(): string {
    return Buffer.from(this.tokenBytes.subarray(this.tokenStart, this.tokenEnd)).toString('utf8')
  }
}
