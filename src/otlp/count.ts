/**
 * Counts the items of a chunk: spans, log records, or data points (one level below Metric).
 */
import type { Signal } from './batch.ts'
import { ChunkWalker } from './walk.ts'
import { FieldCursor, LEN } from './wire.ts'

const walker = new ChunkWalker()
const metric = new FieldCursor()
const data = new FieldCursor()

/** Throws WireError when the framing is broken. */
export function countItems(signal: Signal, chunk: Uint8Array): number {
  let count = 0
  walker.reset(chunk)
  while (walker.nextResource()) {
    while (walker.nextScope()) {
      while (walker.nextItem()) {
        count += signal === 'metrics' ? countDataPoints(chunk, walker.itemStart, walker.itemEnd) : 1
      }
    }
  }
  return count
}

/**
 * Data points of one Metric: field 1 of its gauge (5), sum (7), histogram (9), exponential (10) or summary
 * (11).
 */
export function countDataPoints(chunk: Uint8Array, start: number, end: number): number {
  let count = 0
  metric.reset(chunk, start, end)
  while (metric.next()) {
    const number = metric.number
    if (metric.wireType !== LEN) continue
    if (number !== 5 && number !== 7 && number !== 9 && number !== 10 && number !== 11) continue
    data.enter(metric)
    while (data.next()) if (data.number === 1 && data.wireType === LEN) count++
  }
  return count
}
