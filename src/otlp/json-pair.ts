/**
 * The shape that nearly all JSON consists of, as serializers write it: `{"key":"http.method","value":{"stringValue":"GET"}}`, or
 * with an intValue, boolValue or doubleValue. Its fixed parts are compared four bytes at a time. It gives up, with nothing
 * changed, on anything else, which json-decode.ts then reads token by token: bench/micro/json.ts has the difference.
 */
import { ANY_VALUE, KEY_VALUE } from './fields.ts'
import { double } from './json-doubles.ts'
import { int64 } from './json-numbers.ts'
import { CLOSE, type JsonText, MINUS, QUOTE } from './json-text.ts'
import { FIXED64, LEN, VARINT } from './wire.ts'

const word = (part: string) => Buffer.from(part).readInt32LE()
const OPEN_KEY = word('{"ke')
const OPEN_KEY_2 = word('y":"')
const VALUE = word(',"va')
const VALUE_2 = word('lue"')
const STRING = word(':{"s')
const STRING_2 = word('trin')
const STRING_3 = word('gVal')
const STRING_4 = word('ue":')
const INT = word(':{"i')
const INT_2 = word('ntVa')
const INT_3 = word('lue"')
const BOOL = word(':{"b')
const BOOL_2 = word('oolV')
const BOOL_3 = word('alue')
const DOUBLE = word(':{"d')
const DOUBLE_2 = word('oubl')
const DOUBLE_3 = word('eVal')
const DOUBLE_4 = word('ue":')
const COLON = 0x3a

const KEY_TAG = KEY_VALUE.key * 8 + LEN
const VALUE_TAG = KEY_VALUE.value * 8 + LEN
const STRING_TAG = ANY_VALUE.stringValue * 8 + LEN
const BOOL_TAG = ANY_VALUE.boolValue * 8 + VARINT
const INT_TAG = ANY_VALUE.intValue * 8 + VARINT
const DOUBLE_TAG = ANY_VALUE.doubleValue * 8 + FIXED64

/** Reads a KeyValue and writes it as a field with this tag. False when it has another shape. */
export function compactPair(text: JsonText, tag: number): boolean {
  const { view, source, output, at: from, put: before } = text
  if (view.getInt32(from, true) !== OPEN_KEY || view.getInt32(from + 4, true) !== OPEN_KEY_2) return false
  output[before] = tag
  output[before + 2] = KEY_TAG
  text.at = from + 8
  text.put = before + 4
  text.copyString()
  const { at, put } = text
  const keyLength = put - before - 4
  output[before + 3] = keyLength
  output[put] = VALUE_TAG
  if (
    keyLength > 0 &&
    keyLength < 128 &&
    view.getInt32(at, true) === VALUE &&
    view.getInt32(at + 4, true) === VALUE_2 &&
    scalar(text, at + 8, put + 2) &&
    source[text.at] === CLOSE &&
    source[text.at + 1] === CLOSE
  ) {
    text.at += 2
    text.closeLength(put + 2, 1)
    text.closeLength(before + 2, 1)
    return true
  }
  text.at = from
  text.put = before
  return false
}

/** Reads `:{"xValue":` and the value, and writes the field of the AnyValue at `put`. */
function scalar(text: JsonText, at: number, put: number): boolean {
  const { view, source, output } = text
  const begin = view.getInt32(at, true)
  if (begin === STRING) {
    if (view.getInt32(at + 4, true) !== STRING_2 || view.getInt32(at + 8, true) !== STRING_3) return false
    if (view.getInt32(at + 12, true) !== STRING_4 || source[at + 16] !== QUOTE) return false
    output[put] = STRING_TAG
    text.at = at + 17
    text.put = put + 2
    text.copyString()
    text.closeLength(put + 2, 1)
    return true
  }
  if (begin === INT) {
    if (view.getInt32(at + 4, true) !== INT_2 || view.getInt32(at + 8, true) !== INT_3) return false
    if (source[at + 12] !== COLON || !numeric(source[at + 13]!)) return false
    return number(text, INT_TAG, at + 13, put)
  }
  if (begin === DOUBLE) {
    if (view.getInt32(at + 4, true) !== DOUBLE_2 || view.getInt32(at + 8, true) !== DOUBLE_3) return false
    if (view.getInt32(at + 12, true) !== DOUBLE_4 || !numeric(source[at + 16]!)) return false
    return number(text, DOUBLE_TAG, at + 16, put)
  }
  if (begin !== BOOL) return false
  if (view.getInt32(at + 4, true) !== BOOL_2 || view.getInt32(at + 8, true) !== BOOL_3) return false
  const first = source[at + 14]
  if (source[at + 12] !== QUOTE || source[at + 13] !== COLON || (first !== 0x74 && first !== 0x66))
    return false
  text.at = at + 14
  output[put] = BOOL_TAG
  output[put + 1] = text.boolean() ? 1 : 0
  text.put = put + 2
  return true
}

function number(text: JsonText, tag: number, at: number, put: number): boolean {
  text.output[put] = tag
  text.at = at
  text.put = put + 1
  if (tag === INT_TAG) int64(text)
  else double(text)
  return true
}

/** Not null, which the long way knows. */
function numeric(byte: number): boolean {
  return byte === QUOTE || byte === MINUS || (byte >= 0x30 && byte <= 0x39)
}
