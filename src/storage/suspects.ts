/**
 * Which stored records bring the process down. After a crash those that were being worked on are suspects. Whoever reads the log
 * works on them one at a time (workAlone), and the log is told before and after. One that was alone in hand in three runs that
 * crashed, and whose work never ended, is set aside.
 *
 * That a process was killed accuses nobody for long: the work on a record that is innocent takes a moment, and the third try waits
 * until the process has been up for QUIET_MS, so that kills in quick succession never reach it. It is then the only third try in the
 * process (`turn`). Work that goes on for LONG_MS while the process lives is no crash.
 */
import type { Budget } from '../component/host.ts'
import type { DurableLog, StoredRecord, Verdict } from './log.ts'
import type { StateChange } from './record.ts'
import type { Place, Segment, SegmentHeader } from './segment.ts'

const MOST_CRASHES = 3
/** A process that has lived so long is not being killed again and again in quick succession. */
const QUIET_MS = 10_000
const LONG_MS = 10_000

/** Works on a suspect. Resolves when the work has ended, or has gone on for so long that the record is none any more. */
export async function workAlone(
  log: DurableLog,
  record: StoredRecord,
  work: () => Promise<unknown>,
): Promise<void> {
  await log.begin(record)
  const { promise: long, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, LONG_MS).unref()
  await Promise.race([work(), long]).finally(() => {
    clearTimeout(timer)
    log.clear(record)
  })
}

/** Sequences of files, as a STATE record lists them. */
export class SequenceSet {
  readonly keys = new Set<string>()

  add(listed: StateChange['released']): void {
    for (const [incarnation, number, ranges] of listed)
      for (let index = 0; index < ranges.length; index += 2)
        for (let sequence = ranges[index] ?? 0; sequence <= (ranges[index + 1] ?? -1); sequence++)
          this.keys.add(`${incarnation}-${number}-${sequence}`)
  }
}

/** A file as it was found. */
interface Told {
  readonly segment: Segment
  readonly header: SegmentHeader | undefined
  readonly closed: boolean
  readonly begun: SequenceSet
  readonly cleared: SequenceSet
}

/** Counts crashes: what the last run knew (`tops`, its newest files), and what was in hand alone when it crashed. */
export function settleCrashes(all: readonly Told[], tops: readonly Told[]): void {
  const known = new Map<string, number>()
  const cleared = new Set<string>()
  for (const { segment: top, header, closed } of tops) {
    const begun = new Set<string>()
    for (const found of all) {
      if (found.segment.incarnation !== top.incarnation) continue
      for (const key of found.begun.keys) begun.add(key)
      for (const key of found.cleared.keys) cleared.add(key)
    }
    for (const { incarnation, number, crashes } of header?.segments ?? [])
      for (const [sequence, count, inHand] of crashes) {
        const key = `${incarnation}-${number}-${sequence}`
        known.set(key, count)
        if (inHand === 1) begun.add(key)
      }
    if (!closed) for (const key of begun) known.set(key, (known.get(key) ?? 0) + 1)
  }
  for (const { segment } of all)
    for (const place of segment.live) {
      const key = `${segment.id}-${place.sequence}`
      place.uncleared = !cleared.has(key)
      if (place.uncleared) place.crashes = known.get(key) ?? 0
    }
}

/** After a crash: of the records that no work had ended on in that run, the oldest were in hand. */
export function markSuspects(places: readonly Place[], crashed: boolean, inFlight: number): void {
  let left = crashed ? inFlight : 0
  for (const place of places) {
    place.suspect = place.crashes > 0 || (place.uncleared && left > 0)
    if (place.uncleared) left--
    place.uncleared = inFlight > 0 // Nothing has ended in this run yet.
  }
}

export class Suspects {
  readonly #turn: Budget | undefined
  readonly #uptimeMs: () => number
  /** Whose third try it is. */
  #last: Place | undefined

  constructor(turn: Budget | undefined, uptimeMs: () => number) {
    this.#turn = turn
    this.#uptimeMs = uptimeMs
  }

  judge(place: Place): Verdict {
    if (place.crashes >= MOST_CRASHES) return 'park'
    if (place.crashes < MOST_CRASHES - 1 || this.#last === place) return 'try'
    if (this.#last !== undefined || this.#uptimeMs() < QUIET_MS) return 'later'
    if (this.#turn?.tryTake(1) === false) return 'later'
    this.#last = place
    return 'try'
  }

  /** It is done with, or known to be innocent. */
  ended(place: Place): void {
    place.suspect = false
    place.begun = false
    if (this.#last === place) this.close()
  }

  close(): void {
    if (this.#last === undefined) return
    this.#last = undefined
    this.#turn?.give(1)
  }
}
