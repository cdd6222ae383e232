/**
 * Bytes of OTLP/JSON: ids in hex, all others in base64; read from a JsonText and written to its output with their length.
 */
import type { JsonField } from './json-field.ts'
import { HEX_DIGIT, type JsonText, QUOTE } from './json-text.ts'

/** Hex digits of an id. An empty id is an absent one; any other length than that of the field is an error. */
export function identifier(text: JsonText, field: JsonField): boolean {
  const start = text.at
  const digits = field.idBytes * 2
  const { source, output } = text
  // An id as it is nearly always written: no need to look for its end.
  if (
    source[start] === QUOTE &&
    source[start + 1 + digits] === QUOTE &&
    hex(text, source, start + 1, digits)
  ) {
    text.at = start + digits + 2
    return true
  }
  text.token()
  const length = text.tokenEnd - text.tokenStart
  if (length === 0) {
    output[text.put++] = 0
    return false
  }
  if (length !== digits) text.fail(`${field.name} must have ${digits} hex digits`, start)
  if (!hex(text, text.tokenBytes, text.tokenStart, digits)) text.fail(`${field.name} is not hex`, start)
  return true
}

/** Writes the bytes that these digits stand for, with their length. False, and nothing written, if they are not hex. */
function hex(text: JsonText, bytes: Uint8Array, at: number, digits: number): boolean {
  const { output } = text
  const stop = at + digits
  let put = text.put
  let all = 0
  output[put++] = digits >>> 1
  while (at < stop) {
    const high = HEX_DIGIT[bytes[at]!]!
    const low = HEX_DIGIT[bytes[at + 1]!]!
    all |= high | low
    output[put++] = (high << 4) | low
    at += 2
  }
  if (all > 15) return false
  text.put = put
  return true
}

/** Value of a base64 digit, in either alphabet; 255 for what is not one. */
const BASE64_DIGIT = new Uint8Array(256).fill(255)
for (const alphabet of ['+/', '-_'])
  for (const [index, digit] of [
    ...`ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789${alphabet}`,
  ].entries())
    BASE64_DIGIT[digit.charCodeAt(0)] = index

/** Either alphabet, padded or not. */
export function base64(text: JsonText): boolean {
  const from = text.at
  text.token()
  const { tokenBytes: bytes, output } = text
  let stop = text.tokenEnd
  const length = stop - text.tokenStart
  for (let padding = 0; padding < 2 && stop > text.tokenStart && bytes[stop - 1] === 0x3d; padding++) stop--
  const digits = stop - text.tokenStart
  if (digits % 4 === 1 || (stop !== text.tokenEnd && length % 4 !== 0))
    text.fail('wrong length of base64', from)
  const start = ++text.put
  let put = start
  let bits = 0
  let wrong = 0
  for (let index = 0; index < digits; index++) {
    const digit = BASE64_DIGIT[bytes[text.tokenStart + index]!]!
    wrong |= digit
    bits = (bits << 6) | digit
    const phase = index & 3
    if (phase !== 0) output[put++] = bits >>> (6 - phase * 2)
  }
  if (wrong > 63) text.fail('not base64', from)
  text.put = put
  text.closeLength(start, 1)
  return digits > 0
}
