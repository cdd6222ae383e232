/**
 * The second promise of a batch, when its request lies in a durable log (`storage` of a receiver): that it
 * is done with.
 *
 * consume() resolves when the next stage has taken the batch, perhaps into memory; its bytes are then no
 * longer needed. A stage that takes responsibility so calls hold() before consume() resolves, and settle()
 * when it is done: delivered, stored by somebody else, sampled out, or dropped and counted. So neither
 * memory nor the credit of a link waits for a decision. When nobody holds it any more, the delivery ends:
 * without an error the request is released; with a retryable one it stays in the log and is tried again
 * from there.
 *
 * A stage that merely passes on, edits or refuses has nothing to do: the receiver holds the delivery until
 * consume() has settled.
 */
import { isRetryable } from '../errors.ts'

/** The log in which a request lies, as stages see it. */
export interface Journal {
  /** Tells it from others in this thread. */
  readonly name: string
  /**
   * Keeps what a stage has decided, so that after a crash the rest of what it concerns is treated alike.
   * Resolves when it is written; never rejects.
   */
  note(decisions: Decisions): Promise<void>
}

/** An entry of Decisions: a trace id, and one byte of the stage's own. */
export const DECISION_BYTES = 17

/** What one stage has decided on traces. */
export interface Decisions {
  /** Name of the stage, the same on all shards and in every run. */
  readonly stage: string
  readonly entries: Uint8Array
}

export const NO_DECISIONS: readonly Decisions[] = []

/** Where a request of a log comes from. */
export interface DeliveryOrigin {
  readonly decided: readonly Decisions[]
  readonly recoveredAge: number | undefined
}

/** Of a request that came just now. */
export const NEW: DeliveryOrigin = { decided: NO_DECISIONS, recoveredAge: undefined }

export class Delivery {
  readonly journal: Journal
  /** Of a request that comes from the log: what was decided before on what is in it. */
  readonly decided: readonly Decisions[]
  /**
   * Of a request that a crash left: for how many seconds collectors have lived since it came. Of any other:
   * undefined.
   */
  readonly recoveredAge: number | undefined
  readonly #end: (error: unknown) => void
  #holds = 1
  #error: unknown

  /** Held once, by its maker. `end` is called once. */
  constructor(journal: Journal, { decided, recoveredAge }: DeliveryOrigin, end: (error: unknown) => void) {
    this.journal = journal
    this.decided = decided
    this.recoveredAge = recoveredAge
    this.#end = end
  }

  hold(): void {
    this.#holds++
  }

  /** One who held it is done. With an error: the data is neither delivered nor counted as dropped. */
  settle(error?: unknown): void {
    this.#error = worse(this.#error, error)
    if (--this.#holds === 0) this.#end(this.#error)
  }
}

/** When one part may be sent again and another not, sending all again loses nothing. */
export function worse(known: unknown, error: unknown): unknown {
  return error !== undefined && (known === undefined || isRetryable(error)) ? error : known
}

/** One delivery for a batch that was joined from several requests. Each of them is held until it ends. */
export function joinDeliveries(deliveries: readonly Delivery[]): Delivery {
  for (const delivery of deliveries) delivery.hold()
  const decided = deliveries.flatMap((delivery) => delivery.decided)
  const ages = deliveries.flatMap(({ recoveredAge }) => recoveredAge ?? [])
  const recoveredAge = ages.length > 0 ? Math.min(...ages) : undefined
  return new Delivery(joinJournals(deliveries), { decided, recoveredAge }, (error) => {
    for (const delivery of deliveries) delivery.settle(error)
  })
}

function joinJournals(deliveries: readonly Delivery[]): Journal {
  const journals = new Map<string, Journal>()
  for (const { journal } of deliveries) journals.set(journal.name, journal)
  const [first] = journals.values()
  if (first === undefined) throw new RangeError('no deliveries')
  if (journals.size === 1) return first
  return {
    name: [...journals.keys()].sort().join('+'),
    note: async (decisions) => {
      await Promise.all([...journals.values()].map((journal) => journal.note(decisions)))
    },
  }
}
