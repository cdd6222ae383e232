/**
 * Puts a request in order that is legal protobuf but breaks the invariants of a batch (batch.ts). The result
 * means the same to every decoder:
 *
 * - A singular message that occurs twice is merged: the contents are put end to end, in order. Of any other
 *   singular field, and of the members of a oneof, the last one stays, at its own place.
 * - The legacy list of instrumentation libraries (field 1000 of Resource*) becomes scope_* (field 2) if there
 *   is none of those; else it is dropped, since it repeats them.
 * - Fields of the request beside its resources are dropped: a request has none, and they could not be split
 *   or joined.
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

/** `bytes` have passed the check of receive.ts, so nothing here can fail or nest deeper than MAX_DEPTH. */
export function normalise(signal: Signal, bytes: Uint8Array): Uint8Array {
  const writer = new WireWriter(bytes.length)
  const shape = resourceShape(signal)
  const request = new FieldCursor(bytes)
  while (request.next()) {
    if (request.number !== 1) continue
    const content = moveLegacyScopes(request.value(), shape)
    writer.begin(1, content.length)
    writeMessage(writer, content, 0, content.length, shape, 0)
    writer.end()
  }
  return writer.take()
}

/** One for each level, so that a request of millions of messages costs no object each. */
const levels: FieldCursor[] = []
const probe = new FieldCursor()

/** Writes the content of a message, with every singular field at most once, all the way down. */
function writeMessage(
  writer: WireWriter,
  bytes: Uint8Array,
  start: number,
  end: number,
  shape: number,
  level: number,
): void {
  const last = repeatedFields(bytes, start, end, shape)
  levels[level] ??= new FieldCursor()
  const field = levels[level].reset(bytes, start, end)
  while (field.next()) {
    const rule = ruleOf(field, shape)
    const what = rule & WHAT
    const occurrence = last?.get(rule >> ONCE_SHIFT)
    if (occurrence !== undefined && occurrence.start !== field.fieldStart) continue
    if (what < MESSAGE) {
      writer.rawRange(bytes, field.fieldStart, field.end)
      continue
    }
    const inner = what >= ITEM ? what - ITEM : what - MESSAGE
    if (occurrence !== undefined && occurrence.first !== occurrence.start) {
      const content = mergedContent(bytes, occurrence.first, field.end, field.number)
      writer.begin(field.number, content.length)
      writeMessage(writer, content, 0, content.length, inner, level + 1)
    } else {
      writer.begin(field.number, field.end - field.start)
      writeMessage(writer, bytes, field.start, field.end, inner, level + 1)
    }
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
  /** Where the first of those begins that are of the same member, with no other member of the oneof since. */
  first: number
}

/** By bit, where the singular fields are; undefined when none occurs twice, as in most messages. */
function repeatedFields(
  bytes: Uint8Array,
  start: number,
  end: number,
  shape: number,
): Map<number, Occurrence> | undefined {
  let seen = 0
  let twice = 0
  probe.reset(bytes, start, end)
  while (probe.next()) {
    const bit = ruleOf(probe, shape) >> ONCE_SHIFT
    twice |= seen & bit
    seen |= bit
  }
  if (twice === 0) return undefined
  const last = new Map<number, Occurrence>()
  probe.reset(bytes, start, end)
  while (probe.next()) {
    const bit = ruleOf(probe, shape) >> ONCE_SHIFT
    if ((bit & twice) === 0) continue
    const { number, fieldStart } = probe
    const known = last.get(bit)
    if (known === undefined) last.set(bit, { start: fieldStart, number, first: fieldStart })
    else {
      if (known.number !== number) known.first = fieldStart
      known.number = number
      known.start = fieldStart
    }
  }
  return last
}

/** The contents of all occurrences of a message from `first` on, end to end. */
function mergedContent(bytes: Uint8Array, first: number, end: number, number: number): Uint8Array {
  const writer = new WireWriter(end - first)
  probe.reset(bytes, first, end)
  while (probe.next())
    if (probe.number === number && probe.wireType === LEN) writer.rawRange(bytes, probe.start, probe.end)
  return writer.finish()
}

/**
 * Content of a Resource* message with field 1000 as field 2, or without it. The same bytes if there is none.
 */
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
