/**
 * What became of each span, by serial number: sent, acknowledged, and how often delivered. Bounded: a few
 * bytes for each of `limit` spans.
 *
 * The invariant that cases check: what was acknowledged is delivered, still held, sampled out by policy, or
 * counted as dropped.
 */
import { isKept, SPANS_PER_TRACE } from './spans.ts'

const SENT = 1
const ACKED = 2
const REFUSED = 4
const PARKED = 8

export class Books {
  readonly limit: number
  readonly #state: Uint8Array
  readonly #delivered: Uint8Array
  /** After how many crashes each was delivered last. */
  readonly #life: Uint16Array
  #crashes = 0
  sent = 0
  acked = 0
  delivered = 0
  /** Delivered again, and those of them for which no crash is the reason. */
  duplicates = 0
  duplicatesWithoutCrash = 0
  strangers = 0
  /** The backend refused them for good. */
  refused = 0

  constructor(limit = 4_000_000) {
    this.limit = limit
    this.#state = new Uint8Array(limit)
    this.#delivered = new Uint8Array(limit)
    this.#life = new Uint16Array(limit)
  }

  send(serial: number): void {
    if (serial >= this.limit) throw new RangeError('more spans than the books have lines for')
    this.#state[serial] = (this.#state[serial] ?? 0) | SENT
    this.sent++
  }

  acknowledge(serial: number): void {
    this.#state[serial] = (this.#state[serial] ?? 0) | ACKED
    this.acked++
  }

  crash(): void {
    this.#crashes++
  }

  deliver = (serial: number): void => {
    if (((this.#state[serial] ?? 0) & SENT) === 0) {
      this.strangers++
      return
    }
    const before = this.#delivered[serial] ?? 0
    this.#delivered[serial] = Math.min(255, before + 1)
    if (before === 0) this.delivered++
    else {
      this.duplicates++
      if (this.#life[serial] === this.#crashes) this.duplicatesWithoutCrash++
    }
    this.#life[serial] = this.#crashes
  }

  /** A backend does so: whoever was to deliver the span has to count it as failed. */
  refuse = (serial: number): void => {
    this.#state[serial] = (this.#state[serial] ?? 0) | REFUSED
    this.refused++
  }

  /** It lies in a file beside the log. */
  park = (serial: number): void => {
    this.#state[serial] = (this.#state[serial] ?? 0) | PARKED
  }

  isParked = (serial: number): boolean => ((this.#state[serial] ?? 0) & PARKED) !== 0
  isAcked = (serial: number): boolean => ((this.#state[serial] ?? 0) & ACKED) !== 0
  isDelivered = (serial: number): boolean => (this.#delivered[serial] ?? 0) > 0

  /** Acknowledged, and neither delivered nor refused for good by the backend, whatever a policy says. */
  missing(): number {
    let missing = 0
    for (let serial = 0; serial < this.limit; serial++)
      if (((this.#state[serial] ?? 0) & (ACKED | REFUSED)) === ACKED && !this.isDelivered(serial)) missing++
    return missing
  }

  /**
   * By the policy of the tail sampling cases. Torn: of a trace some acknowledged spans arrived, others did
   * not.
   */
  sampled() {
    const counts = { kept: 0, lost: 0, discarded: 0, wrong: 0, torn: 0, parked: 0 }
    for (let first = 0; first + SPANS_PER_TRACE <= this.limit; first += SPANS_PER_TRACE) {
      const kept = isKept(first / SPANS_PER_TRACE)
      let acked = 0
      let arrived = 0
      let parked = 0
      for (let serial = first; serial < first + SPANS_PER_TRACE; serial++) {
        const delivered = this.isDelivered(serial)
        if (delivered && !kept) counts.wrong++
        if (!this.isAcked(serial)) continue
        acked++
        if (delivered) arrived++
        else if (kept && this.isParked(serial)) parked++
      }
      if (kept) counts.kept += acked
      else counts.discarded += acked
      if (kept) counts.lost += acked - arrived - parked
      counts.parked += parked
      if (arrived > 0 && arrived + parked < acked) counts.torn++
    }
    return counts
  }
}
