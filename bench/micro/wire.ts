/**
 * What does it cost to walk encoded spans, and to cut and edit them as bytes? 100 spans of about 420 bytes in one request.
 *
 *     node bench/micro/wire.ts
 *
 * Walking: every field of every span, with one cursor a level; only the items, as counting does. Splicing: the request in ten
 * parts of ten; one attribute added to each span; every second span dropped. protobufjs decodes the same bytes, for the scale.
 */
import { loadProtos } from '../../proto/load.ts'
import { Batch } from '../../src/otlp/batch.ts'
import { countItems } from '../../src/otlp/count.ts'
import { DROP, KEEP, mapItems, WROTE } from '../../src/otlp/edit.ts'
import { SPAN } from '../../src/otlp/fields.ts'
import { splitBatch } from '../../src/otlp/split.ts'
import { FieldCursor, LEN, WireWriter } from '../../src/otlp/wire.ts'
import { compareSides, printMachine } from '../support/micro.ts'
import { tracePayload } from '../support/payload.ts'

const SPANS = 100
const PART = 10
const { bytes } = tracePayload(SPANS)
const type = loadProtos().lookupType('opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest')
const levels = Array.from({ length: 4 }, () => new FieldCursor())

/** ExportTraceServiceRequest.resource_spans = 1, ResourceSpans.scope_spans = 2, ScopeSpans.spans = 2, then the fields of Span. */
const PATH = [1, 2, 2] as const

/** Fields of all spans below `depth`. */
function walk(depth: number): number {
  const cursor = levels[depth]!
  let fields = 0
  while (cursor.next()) {
    if (depth === PATH.length) fields++
    else if (cursor.number === PATH[depth] && cursor.wireType === LEN) {
      levels[depth + 1]!.enter(cursor)
      fields += walk(depth + 1)
    }
  }
  return fields
}

function walkAll(): number {
  levels[0]!.reset(bytes)
  return walk(0)
}

const FIELDS = walkAll()
const added = (() => {
  const writer = new WireWriter()
  writer.begin(SPAN.attributes, 40).string(1, 'environment').begin(2, 12).string(1, 'production').end().end()
  return Buffer.from(writer.finish())
})()

function check(seen: number, wanted: number): number {
  if (seen !== wanted) throw new Error(`saw ${seen}, not ${wanted}`)
  return SPANS
}

const batchOf = () => new Batch('traces', [bytes], SPANS)
const addAttribute = () =>
  mapItems(batchOf(), (items, output) => {
    output.raw(items.bytes.subarray(items.start, items.end)).raw(added)
    return WROTE
  })
const halve = () => {
  let index = 0
  return mapItems(batchOf(), () => (index++ % 2 === 0 ? KEEP : DROP))
}

const decoded = type.toObject(type.decode(addAttribute().bytes()))
const attributes = decoded['resourceSpans'][0].scopeSpans[0].spans[SPANS - 1].attributes
if (attributes.at(-1).key !== 'environment') throw new Error('the attribute is not there')

printMachine()
console.log(`${SPANS} spans, ${bytes.length} bytes, ${FIELDS / SPANS} fields a span`)
await compareSides('span', {
  'walk every field': () => check(walkAll(), FIELDS),
  'count items': () => check(countItems('traces', bytes), SPANS),
  'split in ten': () => check(splitBatch(batchOf(), PART).length, SPANS / PART),
  'add an attribute to each': () => check(addAttribute().itemCount, SPANS),
  'drop every second': () => check(halve().itemCount, SPANS / 2),
  'protobufjs decodes it': () => check(type.decode(bytes) === null ? 0 : SPANS, SPANS),
})
