/**
 * Which stored requests bring the process down. After a crash those that may have caused it are handed on
 * one at a time, and the log is told before and after; one that began in three runs and never ended is what
 * does it. That a run ended by itself, or was killed, proves nothing.
 *
 * A note: order of the record (8 bytes), 1 = it begins, 0 = it has ended.
 */
import type { Note, StoredRecord } from '../../storage/log.ts'

export const TRY_NOTE = 2
const MOST_TRIES = 3

export function encodeTry({ order }: StoredRecord, begins: boolean): Uint8Array {
  const note = Buffer.alloc(9)
  note.writeDoubleLE(order, 0)
  note[8] = begins ? 1 : 0
  return note
}

export class Tries {
  /** By record: runs in which it began and did not end, in a row. */
  readonly #begun = new Map<number, number>()

  constructor(notes: readonly Note[]) {
    for (const { kind, payload } of notes) {
      if (kind !== TRY_NOTE || payload.length !== 9) continue
      const order = Buffer.from(payload).readDoubleLE(0)
      if (payload[8] === 1) this.#begun.set(order, (this.#begun.get(order) ?? 0) + 1)
      else this.#begun.delete(order)
    }
  }

  tooMany({ order }: StoredRecord): boolean {
    return (this.#begun.get(order) ?? 0) >= MOST_TRIES
  }
}
