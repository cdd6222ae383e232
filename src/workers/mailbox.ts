/**
 * Notes from one thread to another through shared memory: a ring of fixed records, one writer, one reader.
 *
 * Posting a message costs some 15 microseconds and leaves garbage on both sides; a record costs less than
 * one. The reader is woken by a message only when it has said that it sleeps.
 */

/**
 * Words of the head: how many records were written and read so far (modulo 2^32), and whether the reader
 * sleeps.
 */
const WRITTEN = 0
const READ = 1
const ASLEEP = 2
const HEAD_WORDS = 16

/** Words of a record: kind, id, four numbers, and a time of two words. */
const RECORD_WORDS = 8
const CAPACITY = 2048
export const MAILBOX_BYTES = (HEAD_WORDS + CAPACITY * RECORD_WORDS) * 4

/** What a record was put with. */
export type TakeRecord = (
  kind: number,
  id: number,
  a: number,
  b: number,
  c: number,
  d: number,
  time: number,
) => void

export class Mailbox {
  readonly #words: Int32Array
  /** The last two words of each record, as one number. */
  readonly #times: Float64Array
  /** The writer's or the reader's own count: each has an instance over the same memory. */
  #count = 0

  /** The first MAILBOX_BYTES of the memory, all zero at first. */
  constructor(memory: SharedArrayBuffer) {
    this.#words = new Int32Array(memory, 0, MAILBOX_BYTES / 4)
    this.#times = new Float64Array(memory, 0, MAILBOX_BYTES / 8)
  }

  /** Writer: false when the ring is full. The first word is the writer's to define, as are all others. */
  put(kind: number, id: number, a = 0, b = 0, c = 0, d = 0, time = 0): boolean {
    const words = this.#words
    if (((this.#count - Atomics.load(words, READ)) | 0) >= CAPACITY) return false
    const at = HEAD_WORDS + (this.#count & (CAPACITY - 1)) * RECORD_WORDS
    words[at] = kind
    words[at + 1] = id
    words[at + 2] = a
    words[at + 3] = b
    words[at + 4] = c
    words[at + 5] = d
    this.#times[(at + 6) >> 1] = time
    this.#count = (this.#count + 1) | 0
    Atomics.store(words, WRITTEN, this.#count)
    return true
  }

  /** Writer: true when the reader sleeps and has to be woken, which is the caller's from now on. */
  claimWaking(): boolean {
    return Atomics.load(this.#words, ASLEEP) === 1 && Atomics.exchange(this.#words, ASLEEP, 0) === 1
  }

  /** Reader: calls `take` for up to `most` records with the words they were put with; returns their number. */
  drain(take: TakeRecord, most: number): number {
    let taken = 0
    while (taken < most && this.#next(take)) taken++
    return taken
  }

  /** Reader: as drain(), but only as long as the next record is of this kind. */
  drainKind(kind: number, take: TakeRecord): void {
    const words = this.#words
    while (words[HEAD_WORDS + (this.#count & (CAPACITY - 1)) * RECORD_WORDS] === kind) {
      if (!this.#next(take)) return
    }
  }

  #next(take: TakeRecord): boolean {
    const words = this.#words
    if (this.#count === Atomics.load(words, WRITTEN)) return false
    const at = HEAD_WORDS + (this.#count & (CAPACITY - 1)) * RECORD_WORDS
    const kind = words[at]!
    const id = words[at + 1]!
    const a = words[at + 2]!
    const b = words[at + 3]!
    const c = words[at + 4]!
    const d = words[at + 5]!
    const time = this.#times[(at + 6) >> 1]!
    this.#count = (this.#count + 1) | 0
    Atomics.store(words, READ, this.#count)
    take(kind, id, a, b, c, d, time)
    return true
  }

  /**
   * Reader: from now on it wants to be woken. False when something has come meanwhile: it must not sleep yet.
   */
  sleep(): boolean {
    Atomics.store(this.#words, ASLEEP, 1)
    if (this.#count === Atomics.load(this.#words, WRITTEN)) return true
    // Whoever takes the mark back, writer or reader, sees to the record.
    return Atomics.exchange(this.#words, ASLEEP, 0) === 0
  }
}
