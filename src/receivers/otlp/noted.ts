/**
 * What stages had decided before a crash, as noted in the log, for the requests that are read back from it.
 * Of a request only those decisions go along that concern traces in it, so it may be handed to any shard.
 *
 * A note: length of the stage's name (1 byte), the name, entries of 17 bytes (otlp/delivery.ts).
 */
import type { Batch } from '../../otlp/batch.ts'
import { DECISION_BYTES, type Decisions, NO_DECISIONS } from '../../otlp/delivery.ts'
import { SPAN } from '../../otlp/fields.ts'
import { ItemWalker } from '../../otlp/item-walker.ts'
import { FieldCursor, LEN } from '../../otlp/wire.ts'
import type { Note } from '../../storage/log.ts'

export const DECISIONS_NOTE = 1
const ID_BYTES = 16
/** More are not remembered; the oldest go first. */
const MOST_DECISIONS = 250_000

export function encodeNote({ stage, entries }: Decisions): Uint8Array {
  const name = Buffer.from(stage)
  if (name.length > 255) throw new RangeError('the name of a stage is too long')
  return Buffer.concat([Uint8Array.of(name.length), name, entries])
}

export class NotedDecisions {
  /** By stage and trace id. */
  readonly #stages = new Map<string, Map<string, number>>()
  #count = 0
  readonly #walker = new ItemWalker()
  readonly #span = new FieldCursor()

  constructor(notes: readonly Note[]) {
    // The newest first: of the oldest there may be too many.
    for (const { kind, payload } of notes.toReversed()) {
      if (this.#count >= MOST_DECISIONS) return
      if (kind === DECISIONS_NOTE) this.#read(Buffer.from(payload))
    }
  }

  get count(): number {
    return this.#count
  }

  #read(payload: Buffer): void {
    const start = 1 + (payload[0] ?? 0)
    const stage = payload.toString('utf8', 1, start)
    let decisions = this.#stages.get(stage)
    if (decisions === undefined) {
      decisions = new Map()
      this.#stages.set(stage, decisions)
    }
    for (let at = start; at + DECISION_BYTES <= payload.length; at += DECISION_BYTES) {
      const id = payload.toString('latin1', at, at + ID_BYTES)
      if (decisions.has(id)) continue
      this.#count++
      decisions.set(id, payload[at + ID_BYTES] ?? 0)
    }
  }

  /** The decisions on traces in the batch. */
  of(batch: Batch): readonly Decisions[] {
    if (this.#count === 0 || batch.signal !== 'traces') return NO_DECISIONS
    const ids = this.#idsIn(batch)
    const found: Decisions[] = []
    for (const [stage, decisions] of this.#stages) {
      const entries: Uint8Array[] = []
      for (const id of ids) {
        const decision = decisions.get(id)
        if (decision !== undefined) entries.push(Buffer.from(id, 'latin1'), Uint8Array.of(decision))
      }
      if (entries.length > 0) found.push({ stage, entries: Buffer.concat(entries) })
    }
    return found
  }

  #idsIn(batch: Batch): Set<string> {
    const ids = new Set<string>()
    for (const chunk of batch.chunks) {
      const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length)
      const walker = this.#walker.reset('traces', bytes)
      while (walker.next()) {
        const span = this.#span.reset(bytes, walker.start, walker.end)
        while (span.next())
          if (span.number === SPAN.traceId && span.wireType === LEN && span.end - span.start === ID_BYTES) {
            ids.add(bytes.toString('latin1', span.start, span.end))
            break
          }
      }
    }
    return ids
  }
}
