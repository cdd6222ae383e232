/**
 * Own metrics of a component, declared beside it as a table:
 *
 *     const telemetry = {
 *       dropped: counter('processor_x_dropped', '{span}', 'Spans over the limit.', ['reason']),
 *     }
 *     ...
 *     telemetry.dropped.add(1)                       // without labels
 *     const tooLarge = telemetry.dropped.with({ reason: 'size' }) // bind once, outside the hot path
 *     tooLarge.add(1)
 *
 * Names are written without the prefix `otelcol_`, which is added on output, and every series gets the label of the
 * component (`receiver`, `processor`, `exporter`, `connector` or `extension` = its id). Adding is one write to
 * shared memory (service/metrics.ts), so counters survive the death of a shard.
 */

export interface Counter {
  add(count: number): void
  with(labels: Readonly<Record<string, string>>): Counter
}

export interface Gauge {
  set(value: number): void
  add(delta: number): void
  with(labels: Readonly<Record<string, string>>): Gauge
}

export interface Histogram {
  record(value: number): void
  with(labels: Readonly<Record<string, string>>): Histogram
}

interface Description {
  readonly name: string
  readonly unit: string
  readonly help: string
  readonly labels: readonly string[]
}
/** How the gauge readings of the shards become one: their sum, or the largest (a limit or capacity shared by all). */
export type GaugeMerge = 'sum' | 'max'
export interface CounterDescription extends Description {
  readonly kind: 'counter'
}
export interface GaugeDescription extends Description {
  readonly kind: 'gauge'
  readonly merge: GaugeMerge
}
export interface HistogramDescription extends Description {
  readonly kind: 'histogram'
  readonly buckets: readonly number[]
}
export type MetricDescription = CounterDescription | GaugeDescription | HistogramDescription

export function counter(
  name: string,
  unit: string,
  help: string,
  labels: readonly string[] = [],
): CounterDescription {
  return { kind: 'counter', name, unit, help, labels }
}

export function gauge(
  name: string,
  unit: string,
  help: string,
  labels: readonly string[] = [],
  merge: GaugeMerge = 'sum',
): GaugeDescription {
  return { kind: 'gauge', name, unit, help, labels, merge }
}

export function histogram(
  name: string,
  unit: string,
  help: string,
  buckets: readonly number[],
  labels: readonly string[] = [],
): HistogramDescription {
  return { kind: 'histogram', name, unit, help, buckets, labels }
}

/**
 * Kept by whoever has answered a sender and holds the items in memory only: up when they are taken, down when
 * somebody else has them or they are counted as dropped. What it shows when a shard dies is lost, and counted as
 * that (service/casualties.ts).
 */
export const volatileItems = gauge(
  'volatile_items',
  '{item}',
  'Items of answered requests that are only in memory.',
  ['otel_signal'],
)

export type TelemetryTable = Readonly<Record<string, MetricDescription>>

/** The table of descriptions as live instruments. */
export type Instruments<T> = {
  readonly [K in keyof T]: T[K] extends CounterDescription
    ? Counter
    : T[K] extends GaugeDescription
      ? Gauge
      : T[K] extends HistogramDescription
        ? Histogram
        : never
}

/** Makes the live instruments of one component; `labels` are on every series. */
export interface Meter {
  instruments<T extends TelemetryTable>(table: T, labels: Readonly<Record<string, string>>): Instruments<T>
}
