/**
 * Deliveries (otlp/delivery.ts) over a link: the peer has taken a batch long before it is done with it. Its
 * credit and its memory are free again by then; here is what is still to be told. Both directions of one
 * link, until it is cut.
 *
 * A journal is known to the peer by a number. What is told of journals and of ends goes in messages, in
 * order: a decision is noted before the end of what it decided on.
 */
import { RetryableError, toError } from '../errors.ts'
import {
  type Decisions,
  Delivery,
  type DeliveryOrigin,
  type Journal,
  NO_DECISIONS,
} from '../otlp/delivery.ts'
import { type PackedError, packError, unpackError } from './packed-error.ts'

interface NoteMessage extends Decisions {
  readonly id: number
  readonly journal: number
}

/** Part of a message of the link. */
export interface DeliveryMessage {
  notes?: NoteMessage[]
  noted?: number[]
  ended?: { id: number; error: PackedError | undefined }[]
}

/** What the peer is told of a delivery beside the number of its journal. */
export interface PackedDelivery extends DeliveryOrigin {
  readonly journal: number
}

/** Room for the number of a journal, in one number with an age. */
const JOURNALS = 2 ** 16

let links = 0

export class LinkDeliveries {
  readonly #outgoing: () => DeliveryMessage
  readonly #name = `link ${++links}`
  /**
   * Of this shard, by the number that the peer knows them by; as many as there are receivers with a log,
   * here and beyond.
   */
  #journals: Journal[] = []
  readonly #numbers = new Map<string, number>()
  /** Of the peer, by its numbers. */
  #peerJournals: Journal[] = []
  /** Held by the peer, by the number of the parcel. As many as the receivers let be unfinished. */
  readonly #given = new Map<number, Delivery>()
  readonly #noting = new Map<number, () => void>()
  #nextNote = 1
  #cuts = 0

  /** `outgoing` gives the message that goes next, and sees to it that it goes. */
  constructor(outgoing: () => DeliveryMessage) {
    this.#outgoing = outgoing
  }

  /** Batches that the peer has and is not done with. */
  get given(): number {
    return this.#given.size
  }

  /** The number that the peer knows the journal by. */
  journalNumber(journal: Journal): number {
    let number = this.#numbers.get(journal.name)
    if (number === undefined) {
      number = this.#journals.length
      this.#numbers.set(journal.name, number)
    }
    this.#journals[number] = journal
    return number
  }

  /** A parcel with this delivery is on its way. */
  give(id: number, delivery: Delivery): void {
    delivery.hold()
    this.#given.set(id, delivery)
  }

  /** The delivery of a parcel that has come, held once. */
  take(id: number, { journal, ...origin }: PackedDelivery): Delivery {
    const cuts = this.#cuts
    return new Delivery(this.#peerJournal(journal), origin, (error) => {
      if (cuts !== this.#cuts) return
      const packed = error === undefined ? undefined : packError(toError(error))
      ;(this.#outgoing().ended ??= []).push({ id, error: packed })
    })
  }

  #peerJournal(number: number): Journal {
    const cuts = this.#cuts
    return (this.#peerJournals[number] ??= {
      name: `${this.#name} ${number}`,
      note: ({ stage, entries }) => {
        if (cuts !== this.#cuts) return Promise.resolve() // The peer reads its log anew, and decides anew.
        const id = this.#nextNote
        this.#nextNote = (id + 1) & 0x7fffffff
        ;(this.#outgoing().notes ??= []).push({ id, journal: number, stage, entries })
        return new Promise((resolve) => void this.#noting.set(id, resolve))
      },
    })
  }

  receive({ notes, noted, ended }: DeliveryMessage): void {
    for (const note of notes ?? []) void this.#note(note)
    for (const id of noted ?? []) {
      this.#noting.get(id)?.()
      this.#noting.delete(id)
    }
    for (const { id, error } of ended ?? []) {
      const delivery = this.#given.get(id)
      this.#given.delete(id)
      delivery?.settle(error && unpackError(error))
    }
  }

  async #note({ id, journal, stage, entries }: NoteMessage): Promise<void> {
    const cuts = this.#cuts
    await this.#journals[journal]?.note({ stage, entries })
    if (cuts === this.#cuts) (this.#outgoing().noted ??= []).push(id)
  }

  /** The peer is gone: what it held is to be sent again from the log. */
  cut(): void {
    this.#cuts++
    const given = [...this.#given.values()]
    const noting = [...this.#noting.values()]
    this.#given.clear()
    this.#noting.clear()
    this.#journals = []
    this.#numbers.clear()
    this.#peerJournals = []
    for (const resolve of noting) resolve()
    for (const delivery of given)
      delivery.settle(new RetryableError('the shard that had this data is gone', { retryAfterMs: 1000 }))
  }

  /** A context without its delivery, and what the peer is told of that. */
  pack(delivery: Delivery | undefined): PackedDelivery | undefined {
    if (delivery === undefined) return undefined
    const { journal, decided, recoveredAge } = delivery
    return { journal: this.journalNumber(journal), decided, recoveredAge }
  }

  /**
   * One number when that is all there is to tell, of the journal and the age; -1 when there is no delivery;
   * undefined when there is more.
   */
  plain(delivery: Delivery | undefined): number | undefined {
    if (delivery === undefined) return -1
    if (delivery.decided.length > 0) return undefined
    const { recoveredAge = -1 } = delivery
    return this.journalNumber(delivery.journal) + (recoveredAge + 1) * JOURNALS
  }

  /** The counterpart of plain(). */
  takePlain(id: number, plain: number): Delivery {
    const age = Math.floor(plain / JOURNALS) - 1
    const recoveredAge = age < 0 ? undefined : age
    return this.take(id, { journal: plain % JOURNALS, decided: NO_DECISIONS, recoveredAge })
  }
}
