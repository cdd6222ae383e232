/**
 * OTLP/JSON to protobuf in one pass: what a receiver does once with a JSON body, at the door.
 *
 * The text is read token by token and each value is written at once in its wire form, in the order of the input; no
 * object and no string is made per item. Accepted is what the OTLP specification or the Go Collector accepts: keys
 * in lowerCamelCase or snake_case, null for any default, numbers in quotes or not, enums by number or name.
 * Unknown keys are stepped over whatever they hold. Defaults are left out, members of a oneof never. Of a scalar
 * given twice the last one counts, elements of lists add up, messages given twice merge.
 */
import { InvalidError } from '../errors.ts'
import type { Signal } from './batch.ts'
import { base64, identifier } from './json-bytes.ts'
import { double } from './json-doubles.ts'
import type { JsonField, MessageSchema } from './json-field.ts'
import * as kinds from './json-field.ts'
import * as numbers from './json-numbers.ts'
import { compactPair } from './json-pair.ts'
import { KEY_VALUE as KEY_VALUE_SCHEMA, REQUEST } from './json-schema.ts'
import { skipValue } from './json-skip.ts'
import { CLOSE, CLOSE_LIST, COLON, COMMA, JsonText, OPEN, OPEN_LIST, QUOTE } from './json-text.ts'
import { MAX_DEPTH, VARINT } from './wire.ts'

const text = new JsonText()

/** Makes an encoded Export*ServiceRequest of its JSON form. Throws WireError with the place in `body`. */
export function decodeJson(signal: Signal, body: Uint8Array): Uint8Array {
  try {
    text.open(body)
    if (text.space() === OPEN) {
      text.at++
      message(REQUEST[signal], 1)
    } else if (!text.nullHere()) text.fail('expected {')
    text.space()
    if (text.at < text.end) text.fail('expected the end of the JSON text')
    if (text.put > text.output.length) throw new InvalidError('the JSON text makes too large a message')
    return text.take()
  } finally {
    text.close()
  }
}

/** Reads an object whose brace was just read, up to its closing brace. */
function message(schema: MessageSchema, depth: number): void {
  if (depth > MAX_DEPTH) text.fail('nested too deeply')
  let seen = 0
  let previous = schema.head
  let byte = text.space()
  if (byte === CLOSE) {
    text.at++
    return
  }
  while (true) {
    if (byte !== QUOTE) text.fail('expected a key')
    const field = key(schema, previous.next)
    if (field === undefined) skipValue(text, depth)
    else {
      previous.next = field
      previous = field
      value(field, (seen & field.bit) !== 0, depth)
      seen |= field.bit
    }
    byte = text.space()
    if (byte === CLOSE) {
      text.at++
      return
    }
    if (byte !== COMMA) text.fail('expected , or }')
    text.at++
    byte = text.space()
  }
}

/** Reads a key and its colon. The field that followed last time is tried first, whole words at once. */
function key(schema: MessageSchema, expected: JsonField | undefined): JsonField | undefined {
  if (expected !== undefined) {
    const { words, mask } = expected
    const { view } = text
    const last = words.length - 1
    let at = text.at + 1
    let index = 0
    while (index < last && view.getInt32(at, true) === words[index]) {
      index++
      at += 4
    }
    if (index === last && (view.getInt32(at, true) & mask) === words[last]) {
      text.at += expected.quoted.length
      return expected
    }
  }
  text.token()
  const field = schema.find(text.tokenBytes, text.tokenStart, text.tokenEnd)
  text.expect(COLON)
  return field
}

/** Reads the value of a field. `again`: the field had one before, so that a zero must be written to overrule it. */
function value(field: JsonField, again: boolean, depth: number): void {
  const byte = text.space()
  if (byte === 0x6e && text.nullHere()) return
  if (field.repeated) {
    if (byte !== OPEN_LIST) text.fail(`expected [ for ${field.name}`)
    text.at++
    if (field.packed) packedList(field)
    else list(field, depth)
    return
  }
  const before = text.put
  writeTag(field)
  const kept = element(field, depth)
  if (!kept && !field.explicit && !again) text.put = before
}

function writeTag(field: JsonField): void {
  text.output[text.put++] = field.tag
  if (field.tag2 !== 0) text.output[text.put++] = field.tag2
}

/** Writes one value behind its tag. False when it is the default. */
function element(field: JsonField, depth: number): boolean {
  switch (field.kind) {
    case kinds.STRING:
      return string()
    case kinds.ID:
      return identifier(text, field)
    case kinds.BYTES:
      return base64(text)
    case kinds.BOOL:
      return (text.output[text.put++] = text.boolean() ? 1 : 0) === 1
    case kinds.MESSAGE:
      nested(field, depth)
      return true
    case kinds.ENUM:
      return enumeration(field)
    default:
      return number(field.kind)
  }
}

function number(kind: number): boolean {
  switch (kind) {
    case kinds.FIXED_64:
      return numbers.fixed64(text)
    case kinds.DOUBLE:
      return double(text)
    case kinds.INT_64:
      return numbers.int64(text)
    case kinds.UINT_32:
      return numbers.uint32(text)
    case kinds.FIXED_32:
      return numbers.fixed32(text)
    case kinds.SFIXED_64:
      return numbers.sfixed64(text)
    case kinds.UINT_64:
      return numbers.uint64(text)
    case kinds.SINT_32:
      return numbers.sint32(text)
    default:
      return numbers.int32(text)
  }
}

function nested(field: JsonField, depth: number): void {
  if (text.space() !== OPEN) text.fail(`expected { for ${field.name}`)
  text.at++
  const room = field.room
  const start = (text.put += room)
  message(field.message!, depth + 1) // A field of this kind has a message.
  field.room = text.closeLength(start, room)
}

function list(field: JsonField, depth: number): void {
  const pairs = field.message === KEY_VALUE_SCHEMA
  let byte = text.space()
  if (byte === CLOSE_LIST) {
    text.at++
    return
  }
  while (true) {
    if (!(pairs && compactPair(text, field.tag))) listElement(field, depth)
    byte = text.space()
    if (byte === CLOSE_LIST) {
      text.at++
      return
    }
    if (byte !== COMMA) text.fail('expected , or ]')
    text.at++
    byte = text.space()
  }
}

/** An element that is null counts as an empty one, so that the others keep their places. */
function listElement(field: JsonField, depth: number): void {
  writeTag(field)
  if (text.nullHere()) text.output[text.put++] = 0
  else element(field, depth)
}

function packedList(field: JsonField): void {
  const before = text.put
  writeTag(field)
  const room = field.room
  const start = (text.put += room)
  let byte = text.space()
  if (byte !== CLOSE_LIST) {
    while (true) {
      text.ensure()
      if (!text.nullHere()) number(field.kind)
      else for (let count = field.wireType === VARINT ? 1 : 8; count > 0; count--) text.output[text.put++] = 0
      byte = text.space()
      if (byte === CLOSE_LIST) break
      if (byte !== COMMA) text.fail('expected , or ]')
      text.at++
      text.space()
    }
  }
  text.at++
  if (text.put === start) text.put = before
  else field.room = text.closeLength(start, room)
}

function string(): boolean {
  if (text.source[text.at] !== QUOTE) text.fail('expected a string')
  text.at++
  const start = ++text.put
  text.copyString()
  const length = text.put - start
  if (length < 128) text.output[start - 1] = length
  else text.closeLength(start, 1)
  return length > 0
}

function enumeration(field: JsonField): boolean {
  if (text.source[text.at] !== QUOTE) return numbers.int32(text)
  const start = text.at
  text.token()
  const known = field.enumNames.get(text.tokenText())
  if (known === undefined) return text.fail(`unknown name of ${field.name}`, start)
  return numbers.enumNumber(text, known)
}
