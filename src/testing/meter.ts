/** Counters, gauges and histograms in plain memory, to be read back by tests. */
import type { Counter, Gauge, Histogram, Instruments, Meter, TelemetryTable } from '../component/telemetry.ts'

type Labels = Readonly<Record<string, string>>

export class TestMeter implements Meter {
  readonly values = new Map<string, number>()

  instruments<T extends TelemetryTable>(table: T, _labels: Labels): Instruments<T> {
    const result: Record<string, Counter | Gauge | Histogram> = {}
    for (const [key, description] of Object.entries(table))
      result[key] = this.#instrument(description.name, {})
    return result as Instruments<T>
  }

  #instrument(name: string, labels: Labels): Counter & Gauge & Histogram {
    const series = seriesName(name, labels)
    const bump = (by: number) => this.values.set(series, (this.values.get(series) ?? 0) + by)
    return {
      add: bump,
      set: (value) => this.values.set(series, value),
      record: (value) => {
        bump(1)
        this.values.set(`${series}_sum`, (this.values.get(`${series}_sum`) ?? 0) + value)
      },
      with: (more) => this.#instrument(name, { ...labels, ...more }),
    }
  }

  /** The value of a series: a counter's total, a gauge's reading, a histogram's count. 0 when never touched. */
  read(name: string, labels: Labels = {}): number {
    return this.values.get(seriesName(name, labels)) ?? 0
  }
}

function seriesName(name: string, labels: Labels): string {
  const pairs = Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1))
  return pairs.length === 0 ? name : `${name}{${pairs.map(([key, value]) => `${key}=${value}`).join(',')}}`
}
