/**
 * The shapes of shapes.ts as flat tables, indexed by message and by the tag as it stands on the wire: so
 * number and wire type are checked by one look. Built once at load.
 */
import type { Signal } from './batch.ts'
import { SHAPES } from './shapes.ts'
import { FIXED32, FIXED64, LEN, VARINT } from './wire.ts'

/** Tags below this have rules: field numbers up to 31. */
export const TAGS = 256

/** A field of no interest, known or unknown. */
export const PLAIN = 0
/** A wire type that the field cannot have, a group, or field number 0. */
export const REFUSED = 1
export const ID_TRACE = 2
export const ID_SPAN = 3
export const PACKED_FIXED64 = 4
export const PACKED_VARINT = 5
/** A message: MESSAGE plus its index. */
export const MESSAGE = 16
/** A message that is an item: ITEM plus its index. */
export const ITEM = 128

const NAMES = Object.keys(SHAPES)

export function shapeIndex(name: string): number {
  return NAMES.indexOf(name)
}

export const ANY_VALUE_SHAPE = shapeIndex('AnyValue')
export const KEY_VALUE_SHAPE = shapeIndex('KeyValue')

const RESOURCES: Record<Signal, string> = {
  traces: 'ResourceSpans',
  metrics: 'ResourceMetrics',
  logs: 'ResourceLogs',
}

export function resourceShape(signal: Signal): number {
  return shapeIndex(RESOURCES[signal])
}

/**
 * Field 1000, the list of instrumentation libraries that scope_* (field 2) replaced. Both look the same on
 * the wire.
 */
export const LEGACY_TAG = 1000 * 8 + LEN

/** The scope message of a Resource* message; 0, which is AnyValue, for all others. */
export function legacyScopeShape(shape: number): number {
  const name = NAMES[shape] ?? ''
  return name.startsWith('Resource') && name !== 'Resource'
    ? shapeIndex(name.replace('Resource', 'Scope'))
    : 0
}

/** An attribute: the message that there is most of. */
export const ATTRIBUTE = MESSAGE + KEY_VALUE_SHAPE

/**
 * What to do with a tag: RULES[shape * TAGS + tag]. The low byte (WHAT) is one of the above; from ONCE_SHIFT
 * on stands the bit of a field that may occur once, 0 for repeated and unknown ones. Members of a oneof share
 * a bit.
 */
export const RULES = new Int32Array(NAMES.length * TAGS)
export const WHAT = 255
export const ONCE_SHIFT = 8

NAMES.forEach((name, shape) => {
  for (let tag = 0; tag < TAGS; tag++) {
    const wireType = tag & 7
    const legal = wireType === VARINT || wireType === FIXED64 || wireType === LEN || wireType === FIXED32
    RULES[shape * TAGS + tag] = tag >= 8 && legal ? PLAIN : REFUSED
  }
  for (const [number, text] of Object.entries(SHAPES[name] ?? {})) addField(shape, Number(number), text)
})

function addField(shape: number, number: number, text: string): void {
  const [, kind = '', mark = ''] = /^(\w+)(.*)$/.exec(text) ?? []
  const repeated = mark === '*' || mark === '+'
  for (let wireType = 0; wireType < 8; wireType++) {
    const what = fieldRule(kind, repeated, mark === '+', wireType)
    const once = what === REFUSED || repeated ? 0 : 1 << (mark === '' ? number : Number(mark.slice(1)))
    RULES[shape * TAGS + number * 8 + wireType] = what | (once << ONCE_SHIFT)
  }
}

function fieldRule(kind: string, repeated: boolean, item: boolean, wireType: number): number {
  switch (kind) {
    case 'varint':
      return wireType === VARINT ? PLAIN : repeated && wireType === LEN ? PACKED_VARINT : REFUSED
    case 'fixed64':
      return wireType === FIXED64 ? PLAIN : repeated && wireType === LEN ? PACKED_FIXED64 : REFUSED
    case 'fixed32':
      return wireType === FIXED32 ? PLAIN : REFUSED
  }
  if (wireType !== LEN) return REFUSED
  if (kind === 'bytes') return PLAIN
  if (kind === 'traceId') return ID_TRACE
  if (kind === 'spanId') return ID_SPAN
  const index = shapeIndex(kind)
  if (index < 0) throw new RangeError(`shapes.ts names ${kind}, which it does not have`)
  return (item ? ITEM : MESSAGE) + index
}
