/**
 * What is counted span by span, as plain numbers that go to the metrics once a tick, and the gauges.
 *
 * Gauges are moved by the difference to the last report, since several pipelines may share their series.
 */
import type { Counter, Gauge } from '../../component/telemetry.ts'
import type { DecisionCache } from './decision-cache.ts'
import type { TailTelemetry } from './telemetry.ts'
import type { TraceStore } from './trace-store.ts'

class Reading {
  readonly #gauge: Gauge
  #last = 0

  constructor(gauge: Gauge) {
    this.#gauge = gauge
  }

  set(value: number): void {
    if (value !== this.#last) this.#gauge.add(value - this.#last)
    this.#last = value
  }
}

export class Readings {
  newTraces = 0
  droppedTooEarly = 0
  sampledOut = 0
  releasedSampled = 0
  releasedOther = 0
  readonly #telemetry: TailTelemetry
  readonly #releasedSampled: Counter
  readonly #releasedOther: Counter
  readonly #traces: Reading
  readonly #spans: Reading
  readonly #live: Reading
  readonly #slabs: Reading
  readonly #index: Reading
  readonly #volatile: Reading

  constructor(telemetry: TailTelemetry) {
    this.#telemetry = telemetry
    this.#releasedSampled = telemetry.earlyReleases.with({ sampled: 'true' })
    this.#releasedOther = telemetry.earlyReleases.with({ sampled: 'false' })
    this.#traces = new Reading(telemetry.tracesHeld)
    this.#spans = new Reading(telemetry.spansHeld)
    this.#live = new Reading(telemetry.liveBytes)
    this.#slabs = new Reading(telemetry.slabBytes)
    this.#index = new Reading(telemetry.indexBytes)
    this.#volatile = new Reading(telemetry.volatile.with({ otel_signal: 'traces' }))
  }

  holdVolatile(spans: number): void {
    this.#volatile.set(spans)
  }

  report(store: TraceStore, ...caches: readonly (DecisionCache | undefined)[]): void {
    const { newTraces, droppedTooEarly, sampledOut, releasedSampled, releasedOther } = this
    if (newTraces > 0) this.#telemetry.newTraces.add(newTraces)
    if (droppedTooEarly > 0) this.#telemetry.droppedTooEarly.add(droppedTooEarly)
    if (sampledOut > 0) this.#telemetry.sampledOutSpans.add(sampledOut)
    if (releasedSampled > 0) this.#releasedSampled.add(releasedSampled)
    if (releasedOther > 0) this.#releasedOther.add(releasedOther)
    this.newTraces = this.droppedTooEarly = this.sampledOut = this.releasedSampled = this.releasedOther = 0
    this.#traces.set(store.traces.count)
    this.#spans.set(store.spans.count)
    this.#live.set(store.liveBytes)
    this.#slabs.set(store.spans.slabs.heldBytes)
    let index = store.indexBytes
    for (const cache of caches) index += cache?.heldBytes ?? 0
    this.#index.set(index)
  }
}
