/**
 * Protobuf to OTLP/JSON: lowerCamelCase keys, ids in hex, 64-bit integers in quotes, enums as numbers, defaults and
 * unknown fields left out, one document for all chunks of a batch.
 *
 * Fields are written in the order of the wire, so a message is read once. Legal protobuf may hold what JSON cannot say in
 * that order: a scalar twice, a repeated field in two runs, two members of a oneof. No SDK writes that; when it
 * is met, the chunk is brought into the canonical form first (json-canonical.ts) and written again.
 */

import { WireError } from '../errors.ts'
import type { Signal } from './batch.ts'
import type { JsonBuffer } from './json-buffer.ts'
import { canonical } from './json-canonical.ts'
import type { JsonField, MessageSchema } from './json-field.ts'
import * as kinds from './json-field.ts'
import { REQUEST } from './json-schema.ts'
import { FIXED64, FieldCursor, LEN, MAX_DEPTH, readFixed32, VARINT } from './wire.ts'

export { JsonBuffer } from './json-buffer.ts'

const OPEN = 0x7b
const CLOSE = 0x7d
const OPEN_LIST = 0x5b
const CLOSE_LIST = 0x5d
const COMMA = 0x2c

/** One per level of nesting, and one for the elements of packed fields. */
const cursors: FieldCursor[] = []

/** Appends the JSON form of these chunks, put end to end, to `out`. Throws WireError on broken framing; `out` is then as before. */
export function encodeJson(signal: Signal, chunks: readonly Uint8Array[], out: JsonBuffer): void {
  const begin = out.length
  const list = REQUEST[signal].fields[0]!
  try {
    out.byte(OPEN)
    let first = true
    for (const chunk of chunks) {
      const cursor = cursorAt(0).reset(chunk)
      while (cursor.next()) {
        if (cursor.number !== list.number || cursor.wireType !== LEN) continue
        if (first) {
          out.raw(list.quoted)
          out.byte(OPEN_LIST)
          first = false
        } else out.byte(COMMA)
        resource(list.message!, cursor, out) // The list of a request is one of messages.
      }
    }
    if (!first) out.byte(CLOSE_LIST)
    out.byte(CLOSE)
  } catch (error) {
    out.truncate(begin)
    throw error
  }
}

function resource(schema: MessageSchema, outer: FieldCursor, out: JsonBuffer): void {
  const mark = out.length
  const { bytes, start, end } = outer
  if (message(schema, bytes, start, end, 1, out)) return
  out.truncate(mark)
  const ordered = canonical(schema, outer.value())
  if (!message(schema, ordered, 0, ordered.length, 1, out)) throw new WireError('no canonical form', start)
}

function cursorAt(depth: number): FieldCursor {
  return (cursors[depth] ??= new FieldCursor())
}

/** Writes one message. False when JSON cannot say it in this order. */
function message(
  schema: MessageSchema,
  bytes: Uint8Array,
  start: number,
  end: number,
  depth: number,
  out: JsonBuffer,
): boolean {
  if (depth > MAX_DEPTH) throw new WireError('nested too deeply', start)
  const cursor = cursorAt(depth).reset(bytes, start, end)
  let seen = 0
  let oneof = false
  let first = true
  let open: JsonField | undefined // The repeated field whose list is being written.
  out.byte(OPEN)
  while (cursor.next()) {
    const field = schema.byNumber[cursor.number]
    if (field === undefined || !fits(field, cursor.wireType)) continue
    if (!field.explicit && isDefault(field, cursor)) {
      if (seen & field.bit && !field.repeated) return false // It overrules the value that was written.
      continue
    }
    if (field === open) out.byte(COMMA)
    else {
      if (seen & field.bit || (oneof && field.oneof !== 0)) return false
      seen |= field.bit
      oneof ||= field.oneof !== 0
      if (open !== undefined) out.byte(CLOSE_LIST)
      if (!first) out.byte(COMMA)
      first = false
      out.raw(field.quoted)
      open = field.repeated ? field : undefined
      if (field.repeated) out.byte(OPEN_LIST)
    }
    if (field.packed && cursor.wireType === LEN) packed(field, cursor, out)
    else if (field.message === undefined) scalar(field, bytes, cursor.start, cursor.end, out)
    else if (!message(field.message, bytes, cursor.start, cursor.end, depth + 1, out)) return false
  }
  if (open !== undefined) out.byte(CLOSE_LIST)
  out.byte(CLOSE)
  return true
}

function fits(field: JsonField, wireType: number): boolean {
  return wireType === field.wireType || (field.packed && wireType === LEN)
}

/** True when JSON leaves the field out: the default of a scalar, a packed field without elements. */
function isDefault(field: JsonField, cursor: FieldCursor): boolean {
  if (field.repeated) return field.packed && cursor.wireType === LEN && cursor.start === cursor.end
  if (field.message !== undefined) return false
  const { bytes, start, end } = cursor
  if (cursor.wireType === LEN) return start === end
  // Every byte of a zero is zero, but for the high bits of a varint that is longer than it need be.
  const ignored = cursor.wireType === VARINT ? 128 : 0
  for (let at = start; at < end; at++) if ((bytes[at]! & ~ignored) !== 0) return false
  return true
}

/** The elements of a packed field, which share one list with those before and after. */
function packed(field: JsonField, outer: FieldCursor, out: JsonBuffer): void {
  const { bytes, end } = outer
  let at = outer.start
  while (at < end) {
    const start = at
    if (field.wireType === VARINT) {
      while (at < end && bytes[at]! > 127) at++
      at++
    } else at += field.wireType === FIXED64 ? 8 : 4
    if (at > end || at - start > 10) throw new WireError('broken packed field', start)
    if (start !== outer.start) out.byte(COMMA)
    scalar(field, bytes, start, at, out)
  }
}

function scalar(field: JsonField, bytes: Uint8Array, start: number, end: number, out: JsonBuffer) {
  switch (field.kind) {
    case kinds.STRING:
      return out.string(bytes, start, end)
    case kinds.ID:
      return out.hex(bytes, start, end)
    case kinds.BYTES:
      return out.base64(bytes, start, end)
    case kinds.DOUBLE:
      return out.double(bytes, start)
    case kinds.FIXED_64:
      return out.fixed64(bytes, start, false)
    case kinds.SFIXED_64:
      return out.fixed64(bytes, start, true)
    case kinds.FIXED_32:
      return out.integer(readFixed32(bytes, start))
    default:
      readVarint(bytes, start)
      return varint(field.kind, out)
  }
}

/** What readVarint() found, in two 32-bit halves. */
let high = 0
let low = 0

function readVarint(bytes: Uint8Array, at: number): void {
  low = bytes[at]! & 127
  high = 0
  let shift = 0
  while (bytes[at++]! > 127) {
    const part = bytes[at]! & 127
    shift += 7
    if (shift < 32) low |= part << shift
    if (shift === 28) high = part >>> 4
    else if (shift > 28) high |= part << (shift - 32)
  }
}

function varint(kind: number, out: JsonBuffer) {
  switch (kind) {
    case kinds.BOOL:
      return out.ascii((low | high) !== 0 ? 'true' : 'false')
    case kinds.INT_64:
      return out.integer64(high, low, true)
    case kinds.UINT_64:
      return out.integer64(high, low, false)
    case kinds.UINT_32:
      return out.integer(low >>> 0)
    case kinds.SINT_32:
      return out.integer((low >>> 1) ^ -(low & 1))
    default:
      return out.integer(low)
  }
}
