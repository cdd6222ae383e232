/** Series of several samples: rare, so their fields are taken apart, sorted by time and written anew. */
import { RW1_EXEMPLAR, RW1_HISTOGRAM, RW1_SAMPLE, RW1_TIME_SERIES } from '../../net/wire-fields.ts'
import { FieldCursor } from '../../otlp/wire.ts'
import type { WireWriter } from '../../otlp/wire-writer.ts'

/** Samples, exemplars and native histograms of one series. */
export class SeriesFields {
  samples: TimedField[] = []
  histograms: TimedField[] = []
  exemplars: TimedField[] = []

  read(bytes: Uint8Array, start: number, end: number): void {
    const cursor = outer.reset(bytes, start, end)
    while (cursor.next()) {
      const range = (field: number): TimedField => ({
        bytes,
        start: cursor.fieldStart,
        end: cursor.end,
        timeMs: timeOf(cursor, field),
      })
      if (cursor.number === RW1_TIME_SERIES.samples) this.samples.push(range(RW1_SAMPLE.timestamp))
      else if (cursor.number === RW1_TIME_SERIES.exemplars) this.exemplars.push(range(RW1_EXEMPLAR.timestamp))
      else if (cursor.number === RW1_TIME_SERIES.histograms)
        this.histograms.push(range(RW1_HISTOGRAM.timestamp))
    }
  }

  sort(): void {
    this.samples = lastOfEachTime(this.samples)
    this.histograms = lastOfEachTime(this.histograms)
    this.exemplars.sort((left, right) => left.timeMs - right.timeMs)
  }
}

/** A field with its tag, as a range: in a batch of many exports there are many of them. */
export interface TimedField {
  readonly bytes: Uint8Array
  readonly start: number
  readonly end: number
  readonly timeMs: number
}

const outer = new FieldCursor()
const inner = new FieldCursor()

function timeOf(message: FieldCursor, field: number): number {
  inner.enter(message)
  let timeMs = 0
  while (inner.next()) if (inner.number === field) timeMs = inner.uint()
  return timeMs
}

/** Prometheus takes one sample a time and series: the last one that came stands. */
function lastOfEachTime(fields: TimedField[]): TimedField[] {
  const byTime = new Map<number, TimedField>()
  for (const field of fields) byTime.set(field.timeMs, field)
  return [...byTime.values()].sort((left, right) => left.timeMs - right.timeMs)
}

/** Writes a series of several samples. Floats and native histograms never share a TimeSeries. */
export function writeSeries(
  writer: WireWriter,
  labels: Uint8Array,
  start: number,
  end: number,
  fields: SeriesFields,
): void {
  for (const list of [fields.samples, fields.histograms]) {
    if (list.length === 0) continue
    writer.begin(1, end - start + list.length * 24)
    writer.rawRange(labels, start, end)
    for (const field of list) writer.rawRange(field.bytes, field.start, field.end)
    if (list === fields.samples || fields.samples.length === 0)
      for (const exemplar of fields.exemplars) writer.rawRange(exemplar.bytes, exemplar.start, exemplar.end)
    writer.end()
  }
}
