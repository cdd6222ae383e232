/**
 * Exemplars of a data point: trace_id and span_id in hex, then the filtered attributes where all labels together
 * have at most 128 characters. They are rare next to points, so reading them may allocate.
 */
import { EXEMPLAR } from '../otlp/fields.ts'
import { FIXED64, FieldCursor, LEN } from '../otlp/wire.ts'
import { readMs, readSigned } from './points.ts'
import { readAttribute } from './values.ts'

/** The limit of OpenMetrics, in characters, over names and values. */
const MAX_EXEMPLAR_CHARACTERS = 128
/** More exemplars than this on one point are left out: a histogram has one a bucket. */
const MAX_EXEMPLARS = 256

export interface ExemplarRecord {
  readonly value: number
  readonly timeMs: number
  /** Own labels: trace_id, span_id. */
  readonly ids: ReadonlyMap<string, string>
  /** Filtered attributes; empty when all together are too long. */
  readonly attributes: ReadonlyMap<string, string>
}

function characters(labels: ReadonlyMap<string, string>): number {
  let count = 0
  for (const [name, value] of labels) count += [...name].length + [...value].length
  return count
}

/** The exemplars in `field` of a point. */
export function readExemplars(
  bytes: Uint8Array,
  start: number,
  end: number,
  field: number,
): ExemplarRecord[] {
  const found: ExemplarRecord[] = []
  const point = new FieldCursor(bytes, start, end)
  while (point.next()) {
    if (point.number === field && point.wireType === LEN && found.length < MAX_EXEMPLARS)
      found.push(readExemplar(bytes, point.start, point.end))
  }
  return found
}

function readExemplar(bytes: Uint8Array, start: number, end: number): ExemplarRecord {
  const cursor = new FieldCursor(bytes, start, end)
  let value = 0
  let timeMs = 0
  let traceId = ''
  let spanId = ''
  const attributes = new Map<string, string>()
  while (cursor.next()) {
    if (cursor.wireType === FIXED64) {
      if (cursor.number === EXEMPLAR.timeUnixNano) timeMs = readMs(bytes, cursor.start)
      else if (cursor.number === EXEMPLAR.asDouble) value = cursor.double()
      else if (cursor.number === EXEMPLAR.asInt) value = readSigned(bytes, cursor.start)
    } else if (cursor.wireType === LEN) {
      if (cursor.number === EXEMPLAR.traceId) traceId = hexId(cursor.value(), 16)
      else if (cursor.number === EXEMPLAR.spanId) spanId = hexId(cursor.value(), 8)
      else if (cursor.number === EXEMPLAR.filteredAttributes) {
        const pair = readAttribute(bytes, cursor.start, cursor.end)
        if (pair.key !== '' && pair.value !== '') attributes.set(pair.key, pair.value)
      }
    }
  }
  const ids = new Map<string, string>()
  if (traceId !== '') ids.set('trace_id', traceId)
  if (spanId !== '') ids.set('span_id', spanId)
  const fits = characters(ids) + characters(attributes) <= MAX_EXEMPLAR_CHARACTERS
  return { value, timeMs, ids, attributes: fits ? attributes : new Map() }
}

/** Lower-case hex; empty for an id that is absent, all zero or of the wrong length. */
function hexId(id: Uint8Array, length: number): string {
  if (id.length !== length || id.every((byte) => byte === 0)) return ''
  return Buffer.from(id).toString('hex')
}
