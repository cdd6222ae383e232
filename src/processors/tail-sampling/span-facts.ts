/**
 * What the store and the common policies need from a span, read in one pass over its encoded bytes.
 *
 * One instance is reused for every span; nothing is allocated. Times stay pairs of 32-bit halves.
 */
import { SPAN, STATUS } from '../../otlp/fields.ts'
import { FIXED32, FIXED64, FieldCursor, LEN, readFixed32 } from '../../otlp/wire.ts'

export class SpanFacts {
  /** The trace id as four little-endian words; zeros when it is absent or not 16 bytes long. */
  id0 = 0
  id1 = 0
  id2 = 0
  id3 = 0
  startLow = 0
  startHigh = 0
  endLow = 0
  endHigh = 0
  statusCode = 0
  flags = 0
  /** The span has no parent: its parent id is absent, empty or all zeros. */
  root = true

  readonly #span = new FieldCursor()
  readonly #status = new FieldCursor()

  /*
   * message Span { bytes trace_id = 1; bytes span_id = 2; string trace_state = 3; bytes parent_span_id = 4;
   *   string name = 5; SpanKind kind = 6; fixed64 start_time_unix_nano = 7; fixed64 end_time_unix_nano = 8;
   *   repeated KeyValue attributes = 9; ... Status status = 15; fixed32 flags = 16; }
   */
  read(bytes: Uint8Array, start: number, end: number): void {
    this.id0 = this.id1 = this.id2 = this.id3 = 0
    this.startLow = this.startHigh = this.endLow = this.endHigh = 0
    this.statusCode = this.flags = 0
    this.root = true
    const span = this.#span.reset(bytes, start, end)
    while (span.next()) {
      const at = span.start
      switch (span.number) {
        case SPAN.traceId:
          if (span.wireType !== LEN || span.end - at !== 16) break
          this.id0 = readFixed32(bytes, at) | 0
          this.id1 = readFixed32(bytes, at + 4) | 0
          this.id2 = readFixed32(bytes, at + 8) | 0
          this.id3 = readFixed32(bytes, at + 12) | 0
          break
        case SPAN.parentSpanId:
          if (span.wireType === LEN) this.root = allZero(bytes, at, span.end)
          break
        case SPAN.startTimeUnixNano:
          if (span.wireType !== FIXED64) break
          this.startLow = readFixed32(bytes, at)
          this.startHigh = readFixed32(bytes, at + 4)
          break
        case SPAN.endTimeUnixNano:
          if (span.wireType !== FIXED64) break
          this.endLow = readFixed32(bytes, at)
          this.endHigh = readFixed32(bytes, at + 4)
          break
        case SPAN.status:
          if (span.wireType === LEN) this.#readStatus(span)
          break
        case SPAN.flags:
          if (span.wireType === FIXED32) this.flags = readFixed32(bytes, at)
          break
      }
    }
  }

  /* message Status { string message = 2; StatusCode code = 3; } */
  #readStatus(span: FieldCursor): void {
    const status = this.#status.enter(span)
    while (status.next()) if (status.number === STATUS.code) this.statusCode = status.uint()
  }
}

function allZero(bytes: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; at++) if (bytes[at] !== 0) return false
  return true
}
