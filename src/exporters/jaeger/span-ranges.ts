/** Where the parts of one encoded span lie. One object, pointed at one span after the other. */
import { SPAN } from '../../otlp/fields.ts'
import { FIXED64, FieldCursor, LEN, VARINT } from '../../otlp/wire.ts'

const fields = new FieldCursor()

/** -1 or an empty range: absent. */
export const span = {
  bytes: new Uint8Array(0) as Uint8Array,
  start: 0,
  end: 0,
  traceIdStart: 0,
  traceIdEnd: 0,
  spanIdStart: 0,
  spanIdEnd: 0,
  parentStart: 0,
  parentEnd: 0,
  nameStart: 0,
  nameEnd: 0,
  stateStart: 0,
  stateEnd: 0,
  statusStart: 0,
  statusEnd: 0,
  startTimeAt: -1,
  endTimeAt: -1,
  kind: 0,
  links: 0,
  events: 0,

  read(bytes: Uint8Array, start: number, end: number): void {
    this.bytes = bytes
    this.start = start
    this.end = end
    this.traceIdStart = this.traceIdEnd = this.spanIdStart = this.spanIdEnd = start
    this.parentStart = this.parentEnd = this.nameStart = this.nameEnd = start
    this.stateStart = this.stateEnd = this.statusStart = this.statusEnd = start
    this.startTimeAt = this.endTimeAt = -1
    this.kind = this.links = this.events = 0
    fields.reset(bytes, start, end)
    while (fields.next()) {
      if (fields.wireType === LEN) this.readRange(fields.number, fields.start, fields.end)
      else if (fields.number === SPAN.kind && fields.wireType === VARINT) this.kind = fields.uint()
      else if (fields.wireType !== FIXED64) continue
      else if (fields.number === SPAN.startTimeUnixNano) this.startTimeAt = fields.start
      else if (fields.number === SPAN.endTimeUnixNano) this.endTimeAt = fields.start
    }
  },

  readRange(number: number, start: number, end: number): void {
    switch (number) {
      case SPAN.traceId:
        this.traceIdStart = start
        this.traceIdEnd = end
        break
      case SPAN.spanId:
        this.spanIdStart = start
        this.spanIdEnd = end
        break
      case SPAN.parentSpanId:
        this.parentStart = start
        this.parentEnd = end
        break
      case SPAN.name:
        this.nameStart = start
        this.nameEnd = end
        break
      case SPAN.traceState:
        this.stateStart = start
        this.stateEnd = end
        break
      case SPAN.status:
        this.statusStart = start
        this.statusEnd = end
        break
      case SPAN.links:
        this.links++
        break
      case SPAN.events:
        this.events++
        break
    }
  },
}
