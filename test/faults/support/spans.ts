/**
 * Requests whose spans carry serial numbers as ids. They are cut from a template by patching it, and found
 * again by a walk over the bytes, so that load and sink in one process keep up with the collector.
 */
import { encode } from '../../support/otlp.ts'

export const SPANS_PER_TRACE = 4

/**
 * The policy of the tail sampling cases keeps three traces of four. Every span tells, so that the outcome is
 * known however late the second half of a trace comes on a busy machine.
 */
export const isKept = (trace: number): boolean => trace % 4 !== 3

/** The first or second half of the spans of each trace, or all of them. */
export type Part = 'first' | 'second' | 'whole'

const PARTS: Readonly<Record<Part, readonly number[]>> = {
  first: [0, 1],
  second: [2, 3],
  whole: [0, 1, 2, 3],
}

interface Template {
  readonly bytes: Buffer
  /** Where ids and the value of `keep` stand, for each span. */
  readonly traceIds: readonly number[]
  readonly spanIds: readonly number[]
  readonly keeps: readonly number[]
}

const templates = new Map<string, Template>()

function templateOf(traces: number, part: Part, padding: number): Template {
  const key = `${traces} ${part} ${padding}`
  const known = templates.get(key)
  if (known) return known
  const spans = Array.from({ length: traces }, () => PARTS[part])
    .flat()
    .map(() => ({
      traceId: Buffer.from('TRACE-ID-MARKER!'),
      spanId: Buffer.from('SPAN-ID!'),
      name: 'GET /api/v1/items',
      startTimeUnixNano: '1700000000000000000',
      endTimeUnixNano: '1700000000001000000',
      attributes: [
        { key: 'keep', value: { stringValue: 'KEEP?' } },
        { key: 'padding', value: { stringValue: 'x'.repeat(padding) } },
      ],
    }))
  const resource = { attributes: [{ key: 'service.name', value: { stringValue: 'load' } }] }
  const bytes = Buffer.from(encode('traces', { resourceSpans: [{ resource, scopeSpans: [{ spans }] }] }))
  const template = {
    bytes,
    traceIds: places(bytes, 'TRACE-ID-MARKER!'),
    spanIds: places(bytes, 'SPAN-ID!'),
    keeps: places(bytes, 'KEEP?'),
  }
  templates.set(key, template)
  return template
}

function places(bytes: Buffer, marker: string): number[] {
  const found: number[] = []
  for (let at = bytes.indexOf(marker); at >= 0; at = bytes.indexOf(marker, at + 1)) found.push(at)
  return found
}

/** A request with a part of the traces from `firstTrace` on. */
export function requestOf(firstTrace: number, traces: number, part: Part, padding = 100): Buffer {
  const template = templateOf(traces, part, padding)
  const bytes = Buffer.from(template.bytes)
  const indexes = PARTS[part]
  for (let slot = 0; slot < template.spanIds.length; slot++) {
    const trace = firstTrace + Math.floor(slot / indexes.length)
    const index = indexes[slot % indexes.length] ?? 0
    const traceAt = template.traceIds[slot] ?? 0
    bytes.writeUInt32BE(Math.imul(trace, 0x9e3779b1) >>> 0, traceAt)
    bytes.writeUInt32BE(trace, traceAt + 4)
    bytes.writeUInt32BE(0x5eed5eed, traceAt + 8)
    bytes.writeUInt32BE(Math.imul(trace ^ 0x55555555, 0x85ebca6b) >>> 0, traceAt + 12)
    const spanAt = template.spanIds[slot] ?? 0
    bytes.writeUInt32BE(0x5eed5eed, spanAt)
    bytes.writeUInt32BE(trace * SPANS_PER_TRACE + index, spanAt + 4)
    bytes.write(isKept(trace) ? 'yes!!' : 'never', template.keeps[slot] ?? 0, 'latin1')
  }
  return bytes
}

/** The serial numbers of the spans in such a request. */
export function* serialsOf(
  firstTrace: number,
  traces: number,
  part: Part,
): Generator<number, undefined, undefined> {
  for (let trace = firstTrace; trace < firstTrace + traces; trace++)
    for (const index of PARTS[part]) yield trace * SPANS_PER_TRACE + index
}

/** ExportTraceServiceRequest 1 ResourceSpans, 2 ScopeSpans, 2 Span, 2 span_id. */
const WAY = [1, 2, 2, 2]

/** Calls back with the serial number of every span in an encoded request. */
export function eachSerial(bytes: Uint8Array, visit: (serial: number) => void): void {
  walk(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), 0, bytes.length, 0, visit)
}

function walk(
  bytes: Buffer,
  from: number,
  end: number,
  depth: number,
  visit: (serial: number) => void,
): void {
  let at = from
  const varint = () => {
    let value = 0
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++] ?? 0
      value += (byte & 127) * scale
      if (byte < 128) return value
    }
  }
  while (at < end) {
    const tag = varint()
    const type = tag & 7
    if (type === 0) varint()
    else if (type === 1) at += 8
    else if (type === 5) at += 4
    else if (type === 2) {
      const length = varint()
      if (tag >> 3 === WAY[depth]) {
        if (depth < WAY.length - 1) walk(bytes, at, at + length, depth + 1, visit)
        else {
          if (length !== 8 || bytes.readUInt32BE(at) !== 0x5eed5eed) throw new RangeError('a foreign span')
          visit(bytes.readUInt32BE(at + 4))
        }
      }
      at += length
    } else throw new RangeError(`wire type ${type}`)
  }
}
