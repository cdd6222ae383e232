/** Series of several samples: rare, so their fields are taken apart, sorted by time and written anew. */
import { RW1_HISTOGRAM, RW1_SAMPLE, RW1_TIME_SERIES } from '../../net/wire-fields.ts'
import { FieldCursor } from '../../otlp/wire.ts'
import type { WireWriter } from '../../otlp/wire-writer.ts'

/** Samples, exemplars and native histograms of one series. */
export class SeriesFields {
  samples: TimedField[] = []
  histograms: TimedField[] = []
  exemplars: TimedField[] = []

  read(bytes: Uint8Array, start: number, end: number): void {
    const cursor = new FieldCursor(bytes, start, end)
    while (cursor.next()) {
      const raw = cursor.raw()
      const value = cursor.value()
      switch (cursor.number) {
        case RW1_TIME_SERIES.samples:
          this.samples.push({ raw, value, timeMs: timeOf(value, RW1_SAMPLE.timestamp) })
          break
        case RW1_TIME_SERIES.histograms:
          this.histograms.push({ raw, value, timeMs: timeOf(value, RW1_HISTOGRAM.timestamp) })
          break
        case RW1_TIME_SERIES.exemplars:
          this.exemplars.push({ raw, value, timeMs: timeOf(value, 3) })
          break
      }
    }
  }

  sort(): void {
    this.samples = lastOfEachTime(this.samples)
    this.histograms = lastOfEachTime(this.histograms)
    this.exemplars.sort((left, right) => left.timeMs - right.timeMs)
  }
}

export interface TimedField {
  /** The field with its tag. */
  readonly raw: Uint8Array
  /** Its content. */
  readonly value: Uint8Array
  readonly timeMs: number
}

function timeOf(message: Uint8Array, field: number): number {
  const cursor = new FieldCursor(message)
  let timeMs = 0
  while (cursor.next()) if (cursor.number === field) timeMs = cursor.uint()
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
    for (const field of list) writer.raw(field.raw)
    if (list === fields.samples || fields.samples.length === 0)
      for (const exemplar of fields.exemplars) writer.raw(exemplar.raw)
    writer.end()
  }
}
