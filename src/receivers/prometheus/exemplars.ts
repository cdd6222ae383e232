/** The exemplars of one scrape, encoded as they are read, in a list for each group. */
import { writeAttribute } from '../../otlp/attributes.ts'
import { EXEMPLAR } from '../../otlp/fields.ts'
import { WireWriter } from '../../otlp/wire.ts'
import type { Exposition } from './exposition.ts'
import type { Group } from './families.ts'
import type { Labels } from './relabel.ts'
import { readLabels } from './series-labels.ts'

const TRACE_ID_BYTES = 16
const SPAN_ID_BYTES = 8

export class Exemplars {
  readonly #writer = new WireWriter()
  readonly #starts: number[] = []
  readonly #ends: number[] = []
  readonly #next: number[] = []
  readonly #labels: Labels = new Map()

  clear(): void {
    this.#writer.truncate(0)
    this.#starts.length = this.#ends.length = this.#next.length = 0
  }

  /** `timeMs`: of the sample, for an exemplar without a time of its own. */
  add(group: Group, input: Exposition, timeMs: number): void {
    const index = this.#starts.length
    this.#starts.push(this.#writer.length)
    this.#encode(input, timeMs)
    this.#ends.push(this.#writer.length)
    this.#next.push(-1)
    if (group.lastExemplar < 0) group.firstExemplar = index
    else this.#next[group.lastExemplar] = index
    group.lastExemplar = index
  }

  /** Writes the exemplars of a group, each as the field `number`. */
  write(writer: WireWriter, number: number, group: Group): void {
    const bytes = this.#writer.view()
    for (let index = group.firstExemplar; index >= 0; index = this.#next[index]!) {
      const [start, end] = [this.#starts[index]!, this.#ends[index]!]
      writer
        .begin(number, end - start)
        .rawRange(bytes, start, end)
        .end()
    }
  }

  // message Exemplar { fixed64 time_unix_nano = 2; double as_double = 3; bytes span_id = 4; bytes trace_id =
  // 5; repeated KeyValue filtered_attributes = 7; ... }
  #encode(input: Exposition, timeMs: number): void {
    const writer = this.#writer
    const labels = this.#labels
    labels.clear()
    readLabels(input.bytes, input.exemplarStart, input.exemplarEnd, labels)
    const seconds = input.exemplarSeconds
    const nanos = Number.isNaN(seconds) ? BigInt(timeMs) * 1_000_000n : nanosOf(seconds)
    writer.fixed64Field(EXEMPLAR.timeUnixNano, nanos).doubleField(EXEMPLAR.asDouble, input.exemplarValue)
    for (const [key, value] of labels) {
      const bytes = key === 'trace_id' ? TRACE_ID_BYTES : key === 'span_id' ? SPAN_ID_BYTES : 0
      if (bytes > 0 && isHex(value, bytes)) {
        const id = Buffer.from(value.padStart(bytes * 2, '0'), 'hex')
        writer.len(key === 'trace_id' ? EXEMPLAR.traceId : EXEMPLAR.spanId, id)
      } else writeAttribute(writer, EXEMPLAR.filteredAttributes, key, value)
    }
  }
}

/** A shorter id is filled with zeros in front. */
function isHex(text: string, bytes: number): boolean {
  return text.length <= bytes * 2 && text.length % 2 === 0 && /^[0-9a-f]+$/i.test(text)
}

/**
 * Seconds with a fraction as 64-bit nanoseconds, to the millisecond as Prometheus has it; 0 for what is no
 * time.
 */
export function nanosOf(seconds: number): bigint {
  if (!(seconds > 0) || seconds > 1e10) return 0n
  return BigInt(Math.round(seconds * 1000)) * 1_000_000n
}
