/**
 * Spans over time, a row for each series, in at most BUCKETS buckets: when time passes the last, two become
 * one.
 */
const BUCKETS = 240

export class Timeline {
  readonly #rows: readonly Float64Array[]
  #startMs = Number.NaN
  bucketMs = 1000

  constructor(series: number) {
    this.#rows = Array.from({ length: series }, () => new Float64Array(BUCKETS))
  }

  add(series: number, atMs: number, spans: number): void {
    if (Number.isNaN(this.#startMs)) this.#startMs = atMs
    const offsetMs = Math.max(0, atMs - this.#startMs)
    while (offsetMs >= this.bucketMs * BUCKETS) this.#halve()
    this.#rows[series]![Math.floor(offsetMs / this.bucketMs)]! += spans
  }

  #halve(): void {
    this.bucketMs *= 2
    for (const row of this.#rows) {
      for (let index = 0; index < BUCKETS / 2; index++) row[index] = row[index * 2]! + row[index * 2 + 1]!
      row.fill(0, BUCKETS / 2)
    }
  }

  /** Spans by bucket, without the empty ones at the end. */
  series(): number[][] {
    let length = 0
    for (const row of this.#rows)
      for (let index = 0; index < BUCKETS; index++) if (row[index] !== 0) length = Math.max(length, index + 1)
    return this.#rows.map((row) => [...row.subarray(0, length)])
  }
}
