/**
 * Puts a request in order that is legal protobuf but breaks the invariants of a batch (batch.ts). The result means the
 * same to every decoder:
 *
 * - A singular message that occurs twice is merged: the contents are put end to end, in order. Of any other
 *   singular field, and of the members of a oneof, the last one stays, at its own place.
 * - The legacy list of instrumentation libraries (field 1000 of Resource*) becomes scope_* (field 2) if there is none
 *   of those; else it is dropped, since it repeats them.
 * - Fields of the request beside its resources are dropped: a request has none, and they could not be split or joined.
 * - Everything else, unknown fields included, stays as it is and where it is.
 *
 * A rare path: it runs only when receive.ts has checked the request and found something of the kind.
 */
import type { Signal } from './batch.ts'
import {
  ITEM,
  LEGACY_TAG,
  legacyScopeShape,
  MESSAGE,
  ONCE_SHIFT,
  PLAIN,
  RULES,
  resourceShape,
  TAGS,
  WHAT,
} from './shape-tables.ts'
import { FieldCursor, LEN, WireWriter } from './wire.ts'

/** `bytes` have passed the check of receive.ts, so nothing here can fail or nest too deeply. */
export function normalise(signal: Signal, bytes: Uint8Array): Uint8Array {
  const writer = new WireWriter(bytes.length)
  const shape = resourceShape(signal)
  const request = new FieldCursor(bytes)
  while (request.next()) {
    if (request.number !== 1) continue
    writer.begin(1, request.end - request.start)
    writeMessage(writer, moveLegacyScopes(request.value(), shape), shape)
    writer.end()
  }
  return writer.take()
}

/** The content of a message, with every singular field at most once, all the way down. */
function writeMessage(writer: WireWriter, bytes: Uint8Array, shape: number): void {
  const last = lastOccurrences(bytes, shape)
  const field = new FieldCursor(bytes)
  while (field.next()) {
    const rule = ruleOf(field, shape)
    const what = rule & WHAT
    const bit = rule >> ONCE_SHIFT
    if (bit !== 0 && last.get(bit)?.start !== field.fieldStart) continue
    if (what < MESSAGE) {
      writer.raw(field.raw())
      continue
    }
    const content = bit === 0 ? field.value() : merged(last.get(bit), field)
    writer.begin(field.number, content.length)
    writeMessage(writer, content, what >= ITEM ? what - ITEM : what - MESSAGE)
    writer.end()
  }
}

/** Fields with a number above 31 are plain. */
function ruleOf(field: FieldCursor, shape: number): number {
  const tag = field.number * 8 + field.wireType
  return tag < TAGS ? (RULES[shape * TAGS + tag] ?? PLAIN) : PLAIN
}

interface Occurrence {
  /** Where the last occurrence begins. */
  start: number
  number: number
  /** Contents of the occurrences of the same member since another member was seen, this one included. */
  contents: Uint8Array[]
}

function lastOccurrences(bytes: Uint8Array, shape: number): Map<number, Occurrence> {
  const last = new Map<number, Occurrence>()
  const field = new FieldCursor(bytes)
  while (field.next()) {
    const bit = ruleOf(field, shape) >> ONCE_SHIFT
    if (bit === 0) continue
    const before = last.get(bit)
    const contents = before?.number === field.number ? before.contents : []
    contents.push(field.value())
    last.set(bit, { start: field.fieldStart, number: field.number, contents })
  }
  return last
}

function merged(occurrence: Occurrence | undefined, field: FieldCursor): Uint8Array {
  return occurrence === undefined || occurrence.contents.length === 1
    ? field.value()
    : Buffer.concat(occurrence.contents)
}

/** Content of a Resource* message with field 1000 as field 2, or without it. The same bytes if there is none. */
function moveLegacyScopes(bytes: Uint8Array, shape: number): Uint8Array {
  const field = new FieldCursor(bytes)
  let legacy = false
  let modern = false
  while (field.next()) {
    legacy ||= isLegacy(field, shape)
    modern ||= field.number === 2
  }
  if (!legacy) return bytes
  const writer = new WireWriter(bytes.length)
  field.reset(bytes)
  while (field.next()) {
    if (!isLegacy(field, shape)) writer.raw(field.raw())
    else if (!modern) writer.len(2, field.value())
  }
  return writer.finish()
}

function isLegacy(field: FieldCursor, shape: number): boolean {
  return (
    field.number * 8 + field.wireType === LEGACY_TAG && field.wireType === LEN && legacyScopeShape(shape) > 0
  )
}
