/**
 * The one walk at the door: checks a whole request, down to the last attribute, and counts its items.
 *
 * Batches of several senders are merged as bytes, so one broken span would spoil what others sent: nothing
 * undecodable may pass. Refused are broken framing at any depth, known fields of the wrong wire type, ids of
 * a wrong length, groups, and more than MAX_DEPTH messages inside one another. Not checked, as in the Go
 * collector: UTF-8, enum values, keys that occur twice.
 *
 * The common request passes as it is, without a copy. What is legal but would break the invariants of a batch
 * is put in order by normalise.ts: singular fields that occur twice, several members of a oneof, the legacy
 * list of instrumentation libraries (field 1000), and fields of the request beside its resources, which are
 * dropped.
 *
 * The check is driven by tables, one small function for all messages, since that is what the compiler makes
 * fast. Numbers: bench/micro/receive.ts.
 */
import { WireError } from '../errors.ts'
import type { Signal } from './batch.ts'
import { normalise } from './normalise.ts'
import {
  ANY_VALUE_SHAPE,
  ATTRIBUTE,
  ID_SPAN,
  ID_TRACE,
  ITEM,
  KEY_VALUE_SHAPE,
  LEGACY_TAG,
  legacyScopeShape,
  MESSAGE,
  ONCE_SHIFT,
  PACKED_FIXED64,
  PACKED_VARINT,
  PLAIN,
  REFUSED,
  RULES,
  resourceShape,
  TAGS,
  WHAT,
} from './shape-tables.ts'
import { FIXED32, FIXED64, LEN, MAX_DEPTH, VARINT } from './wire.ts'

export interface Received {
  /** One chunk that keeps the invariants of a batch: the bytes of the request themselves where they do. */
  readonly chunk: Uint8Array
  readonly itemCount: number
}

/** Field 1 of a request: a Resource* message. */
const RESOURCES_TAG = 8 + LEN

/** Spans, data points or log records seen in this walk. */
let items = 0
/** Something was seen that is legal but not in order. */
let unordered = false
/** Where reading goes on after readLong(). */
let resume = 0

/** Throws WireError, with the offset, when the request cannot be decoded. The chunk may be `bytes` itself. */
export function receiveRequest(signal: Signal, bytes: Uint8Array): Received {
  const shape = resourceShape(signal)
  walkRequest(bytes, shape)
  if (!unordered) return { chunk: bytes, itemCount: items }
  const chunk = normalise(signal, bytes)
  walkRequest(chunk, shape)
  return { chunk, itemCount: items }
}

/** Counts the items of bytes from elsewhere (a plugin, a file); throws WireError if they are no chunk. */
export function checkChunk(signal: Signal, bytes: Uint8Array): number {
  walkRequest(bytes, resourceShape(signal))
  if (unordered) throw new WireError('a chunk that was not put in order', 0)
  return items
}

function walkRequest(bytes: Uint8Array, shape: number): void {
  items = 0
  unordered = false
  const end = bytes.length
  let at = 0
  while (at < end) {
    const start = at
    const tag = readLong(bytes, at, end)
    if (tag === RESOURCES_TAG) {
      const length = readLong(bytes, resume, end)
      at = resume + length
      if (at > end) fail('a message runs past the request', start)
      walkMessage(bytes, resume, at, shape, 1)
    } else {
      if (tag >>> 3 === 1) refuse(tag, start)
      at = skipUnknown(bytes, at, end)
      unordered = true
    }
  }
}

function walkMessage(bytes: Uint8Array, at: number, end: number, shape: number, depth: number): void {
  if (depth > MAX_DEPTH) fail('messages nested too deeply', at)
  const rules = shape * TAGS
  let seen = 0
  while (at < end) {
    const start = at
    let tag = bytes[at++]!
    if (tag >= 128) {
      tag = readLong(bytes, start, end)
      at = resume
      if (tag >= TAGS) {
        at = walkFarField(bytes, start, end, shape, tag)
        continue
      }
    }
    const rule = RULES[rules + tag]!
    // Repeated and unknown fields have no bit; the members of a oneof share one.
    const once = rule >> ONCE_SHIFT
    if ((seen & once) !== 0) unordered = true
    seen |= once
    switch (tag & 7) {
      case LEN: {
        if (at >= end) fail('a length is cut off', start)
        let length = bytes[at++]!
        if (length >= 128) {
          length = readLong(bytes, at - 1, end)
          at = resume
        }
        const from = at
        at += length
        if (at > end) fail('a field runs past its message', start)
        const what = rule & WHAT
        if (what === ATTRIBUTE) {
          walkKeyValue(bytes, from, at, depth + 1)
          // Attributes come in runs.
          while (at + 2 < end && bytes[at] === tag) {
            const next = at + 2 + bytes[at + 1]!
            if (next > end || bytes[at + 1]! >= 128) break
            walkKeyValue(bytes, at + 2, next, depth + 1)
            at = next
          }
        } else if (what !== PLAIN) walkContent(bytes, from, at, what, depth + 1)
        break
      }
      case VARINT:
        if ((rule & WHAT) === REFUSED) refuse(tag, start)
        if (at < end && bytes[at]! < 128) at++
        else at = skipVarint(bytes, at, end)
        break
      case FIXED64:
        at += 8
        if (at > end) fail('a field runs past its message', start)
        if ((rule & WHAT) === REFUSED) refuse(tag, start)
        break
      case FIXED32:
        at += 4
        if (at > end) fail('a field runs past its message', start)
        if ((rule & WHAT) === REFUSED) refuse(tag, start)
        break
      default:
        refuse(tag, start)
    }
  }
}

/**
 * The attribute, as most are: a key and one value, both shorter than 128 bytes. What is not goes the general
 * way.
 * message KeyValue { string key = 1; AnyValue value = 2; }
 */
function walkKeyValue(bytes: Uint8Array, at: number, end: number, depth: number): void {
  if (end - at >= 4 && bytes[at] === 0x0a) {
    const keyLength = bytes[at + 1]!
    const middle = at + 2 + keyLength
    const value = middle + 2
    const valueLength = end - value
    if (keyLength < 128 && valueLength >= 2 && valueLength < 128) {
      if (bytes[middle] === 0x12 && bytes[middle + 1] === valueLength) {
        const tag = bytes[value]!
        const next = bytes[value + 1]!
        if (tag === 0x0a) {
          if (next === valueLength - 2) return
        } else if (tag === 0x18 || tag === 0x10) {
          if (next < 128 ? valueLength === 2 : valueLength === 3 && bytes[value + 2]! < 128) return
        } else if (tag === 0x21 && valueLength === 9) return
        walkMessage(bytes, value, end, ANY_VALUE_SHAPE, depth + 1)
        return
      }
    }
  }
  walkMessage(bytes, at, end, KEY_VALUE_SHAPE, depth)
}

/** LEN fields that are more than a run of bytes. */
function walkContent(bytes: Uint8Array, from: number, end: number, what: number, depth: number): void {
  if (what >= ITEM) items++
  if (what >= MESSAGE) {
    walkMessage(bytes, from, end, what >= ITEM ? what - ITEM : what - MESSAGE, depth)
    return
  }
  const length = end - from
  switch (what) {
    case ID_TRACE:
      if (length !== 16 && length !== 0) fail(`a trace id of ${length} bytes`, from)
      break
    case ID_SPAN:
      if (length !== 8 && length !== 0) fail(`a span id of ${length} bytes`, from)
      break
    case PACKED_FIXED64:
      if (length % 8 !== 0) fail(`packed 64-bit values in ${length} bytes`, from)
      break
    case PACKED_VARINT:
      while (from < end) from = skipVarint(bytes, from, end)
      break
    default:
      fail('a field that holds no bytes has a length', from)
  }
}

/** A field with a number above 31: unknown, or the legacy list of instrumentation libraries. */
function walkFarField(bytes: Uint8Array, start: number, end: number, shape: number, tag: number): number {
  const at = skipUnknown(bytes, start, end)
  const scope = tag === LEGACY_TAG ? legacyScopeShape(shape) : 0
  if (scope === 0) return at
  unordered = true
  readLong(bytes, start, end)
  readLong(bytes, resume, end)
  walkMessage(bytes, resume, at, scope, 2)
  return at
}

/** Skips a field that nothing is known about. Returns the offset after it. */
function skipUnknown(bytes: Uint8Array, start: number, end: number): number {
  const tag = readLong(bytes, start, end)
  let at = resume
  if (tag < 8) fail('field number 0', start)
  switch (tag & 7) {
    case LEN: {
      const length = readLong(bytes, at, end)
      at = resume + length
      break
    }
    case VARINT:
      return skipVarint(bytes, at, end)
    case FIXED64:
      at += 8
      break
    case FIXED32:
      at += 4
      break
    default:
      fail(`wire type ${tag & 7} in field ${tag >>> 3}`, start)
  }
  if (at > end) fail('a field runs past its message', start)
  return at
}

/** A tag or length of up to 32 bits, in up to 5 bytes. Sets `resume`. */
function readLong(bytes: Uint8Array, at: number, end: number): number {
  const start = at
  let value = 0
  for (let shift = 0; shift < 35; shift += 7) {
    if (at >= end) fail('a tag or length is cut off', start)
    const byte = bytes[at++]!
    if (shift === 28 && byte > 15) break
    value |= (byte & 127) << shift
    if (byte < 128) {
      resume = at
      return value >>> 0
    }
  }
  return fail('a tag or length of more than 32 bits', start)
}

function skipVarint(bytes: Uint8Array, at: number, end: number): number {
  const start = at
  for (let count = 1; count <= 10; count++) {
    if (at >= end) fail('a varint is cut off', start)
    const byte = bytes[at++]!
    if (byte >= 128) continue
    if (count === 10 && byte > 1) break
    return at
  }
  return fail('a varint of more than 64 bits', start)
}

function refuse(tag: number, offset: number): never {
  return fail(`wire type ${tag & 7} in field ${tag >>> 3}`, offset)
}

function fail(message: string, offset: number): never {
  throw new WireError(message, offset)
}
