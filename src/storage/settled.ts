/** Which of the batches that were found are needed: by sequence, a byte for each that is done with; and of two copies one. */
import type { Place, SegmentState } from './segment.ts'

/** Marks what the state does not list as alive. */
export function markDead(done: Uint8Array, { count, live }: SegmentState): void {
  let from = 0
  for (let index = 0; index < live.length; index += 2) {
    done.fill(1, from, live[index])
    from = (live[index + 1] ?? 0) + 1
  }
  done.fill(1, Math.min(from, count), count)
}

export function markRanges(done: Uint8Array, ranges: readonly number[]): void {
  for (let index = 0; index < ranges.length; index += 2)
    done.fill(1, ranges[index], (ranges[index + 1] ?? -1) + 1)
}

/** In order of age. A crash in a compaction leaves a record twice: one of them goes. */
export function withoutCopies(places: Place[]): Place[] {
  places.sort((a, b) => a.order - b.order)
  return places.filter((place, index) => {
    for (let before = index - 1; places[before]?.order === place.order; before--) {
      if (places[before]?.checksum !== place.checksum || places[before]?.length !== place.length) continue
      place.segment.remove(place)
      return false
    }
    return true
  })
}
