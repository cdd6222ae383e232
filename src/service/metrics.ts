/**
 * Own metrics in shared memory. Each thread adds to its own table of numbers, which main owns and reads: adding costs one
 * memory write, reading disturbs no shard, and counters survive the death of the thread that counted.
 *
 * A series takes one slot (counter, gauge) or buckets + 2 slots (histogram: one per bucket, one for +Inf, one for the sum).
 * The thread tells main the name and labels of a slot when it first uses it.
 */
import type {
  Counter,
  Gauge,
  Histogram,
  Instruments,
  Meter,
  MetricDescription,
  TelemetryTable,
} from '../component/telemetry.ts'

/** Numbers per thread: some thousand series. What does not fit is left out, with one log line. */
export const SLOTS_PER_THREAD = 16_384

export type Labels = Readonly<Record<string, string>>

export interface SeriesRecord {
  readonly slot: number
  readonly description: MetricDescription
  readonly labels: Labels
}

export function createMetricTable(): SharedArrayBuffer {
  return new SharedArrayBuffer(SLOTS_PER_THREAD * 8)
}

export class SharedMeter implements Meter {
  readonly #values: Float64Array
  readonly #known = new Map<string, number>()
  readonly #announce: (record: SeriesRecord) => void
  readonly #overflow: () => void
  #next = 0

  /** `known` are the series of the thread's predecessor in this row: it goes on counting where that one died. */
  constructor(
    table: SharedArrayBuffer,
    known: readonly SeriesRecord[],
    announce: (record: SeriesRecord) => void,
    overflow: () => void,
  ) {
    this.#values = new Float64Array(table)
    this.#announce = announce
    this.#overflow = overflow
    for (const record of known) {
      this.#known.set(seriesKey(record.description, record.labels), record.slot)
      this.#next = Math.max(this.#next, record.slot + slotCount(record.description))
    }
  }

  instruments<T extends TelemetryTable>(table: T, labels: Labels): Instruments<T> {
    const made: Record<string, Counter | Gauge | Histogram> = {}
    for (const [key, description] of Object.entries(table)) made[key] = this.#instrument(description, labels)
    return made as Instruments<T> // Each entry was made from its description just above.
  }

  #instrument(description: MetricDescription, labels: Labels): Counter & Gauge & Histogram {
    const values = this.#values
    let slot = -1
    // A series without a value does not exist for readers: it takes its slot at the first write.
    const place = () => (slot >= 0 ? slot : (slot = this.#slot(description, labels)))
    const buckets = description.kind === 'histogram' ? description.buckets : []
    const children = new Map<string, Counter & Gauge & Histogram>()
    return {
      add: (count) => {
        values[place()]! += count
      },
      set: (value) => {
        values[place()] = value
      },
      record: (value) => {
        const first = place()
        let bucket = 0
        while (bucket < buckets.length && value > buckets[bucket]!) bucket++
        values[first + bucket]! += 1
        values[first + buckets.length + 1]! += value
      },
      with: (more) => {
        const key = JSON.stringify(more)
        let child = children.get(key)
        if (child === undefined) {
          child = this.#instrument(description, { ...labels, ...more })
          if (children.size < 1000) children.set(key, child)
        }
        return child
      },
    }
  }

  #slot(description: MetricDescription, labels: Labels): number {
    const key = seriesKey(description, labels)
    const known = this.#known.get(key)
    if (known !== undefined) return known
    const count = slotCount(description)
    if (this.#next + count > SLOTS_PER_THREAD - SPARE) {
      this.#overflow()
      return SLOTS_PER_THREAD - SPARE // Nobody reads these.
    }
    const slot = this.#next
    this.#next += count
    this.#known.set(key, slot)
    this.#announce({ slot, description, labels })
    return slot
  }
}

/** Slots at the end that take the writes of series that found no place. */
const SPARE = 64

function slotCount(description: MetricDescription): number {
  return description.kind === 'histogram' ? description.buckets.length + 2 : 1
}

function seriesKey(description: MetricDescription, labels: Labels): string {
  return `${description.name} ${JSON.stringify(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)))}`
}

/** One thread's table as main sees it. */
export interface MetricSource {
  readonly table: SharedArrayBuffer
  readonly series: readonly SeriesRecord[]
}

interface JsonValue {
  value: number
  labels: Record<string, string>
  metricName?: string
}
/** A metric in the shape that prom-client's AggregatorRegistry joins. */
export interface JsonMetric {
  name: string
  help: string
  type: 'counter' | 'gauge' | 'histogram'
  values: JsonValue[]
  aggregator: 'sum' | 'max'
}

/** The series of one thread in prom-client's JSON form. `rename` gives the exported name. */
export function readMetrics(
  source: MetricSource,
  rename: (description: MetricDescription) => string,
): JsonMetric[] {
  const values = new Float64Array(source.table)
  const families = new Map<string, JsonMetric>()
  for (const { slot, description, labels } of source.series) {
    const name = rename(description)
    let family = families.get(name)
    if (family === undefined) {
      const aggregator = description.kind === 'gauge' ? description.merge : 'sum'
      family = { name, help: description.help, type: description.kind, values: [], aggregator }
      families.set(name, family)
    }
    if (description.kind === 'histogram') pushHistogram(family, values, slot, description.buckets, labels)
    else family.values.push({ value: values[slot] ?? 0, labels: { ...labels } })
  }
  return [...families.values()]
}

function pushHistogram(
  family: JsonMetric,
  values: Float64Array,
  slot: number,
  buckets: readonly number[],
  labels: Labels,
): void {
  let count = 0
  for (const [index, bound] of [...buckets, '+Inf'].entries()) {
    count += values[slot + index] ?? 0
    const le = String(bound)
    family.values.push({ value: count, labels: { ...labels, le }, metricName: `${family.name}_bucket` })
  }
  const sum = values[slot + buckets.length + 1] ?? 0
  family.values.push({ value: sum, labels: { ...labels }, metricName: `${family.name}_sum` })
  family.values.push({ value: count, labels: { ...labels }, metricName: `${family.name}_count` })
}
