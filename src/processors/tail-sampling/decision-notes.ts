/**
 * Decisions that must outlive a crash, for spans whose requests lie in durable logs. When the spans of a
 * trace came with several requests, one of them may be done with, and gone from its log, while another
 * waits for other traces: read back after a crash, it would be decided on without the first. So the
 * decision is noted in the log of each, before any of them may be released.
 *
 * An entry is the trace id and the decision: 17 bytes. Entries are collected for a run of decisions.
 */
import { DECISION_BYTES, type Decisions, type Journal } from '../../otlp/delivery.ts'
import { DecisionCache } from './decision-cache.ts'
import type { Requests } from './requests.ts'
import type { SpanFacts } from './span-facts.ts'
import { SAMPLED } from './trace-table.ts'

type Words = Int32Array<ArrayBufferLike>

const LEAST_ENTRIES = 64
/** Decisions of earlier runs that are remembered, kept and not kept ones each. */
const REMEMBERED = 65_536

interface Collected {
  bytes: Buffer
  length: number
}

export class DecisionNotes {
  readonly #stage: string
  readonly #requests: Requests
  readonly #journals = new Map<Journal, Collected>()
  /** Held until the notes are written. */
  #held: number[] = []
  readonly #kept = new DecisionCache(REMEMBERED)
  readonly #other = new DecisionCache(REMEMBERED)
  /** The request being read brought decisions of an earlier run. */
  #consulting = false

  constructor(stage: string, requests: Requests) {
    this.#stage = stage
    this.#requests = requests
  }

  /** Notes a decision in the logs of these requests; the id is the four words from `at`. */
  add(words: Words, at: number, result: number, requests: readonly number[]): void {
    for (const request of requests) this.#addTo(request, words, at, result)
  }

  #addTo(request: number, words: Words, at: number, result: number): void {
    const journal = this.#requests.delivery(request)?.journal
    if (journal === undefined) return
    this.#requests.hold(request)
    this.#held.push(request)
    let collected = this.#journals.get(journal)
    if (collected === undefined) {
      collected = { bytes: Buffer.allocUnsafe(LEAST_ENTRIES * DECISION_BYTES), length: 0 }
      this.#journals.set(journal, collected)
    }
    const { length } = collected
    // The same trace once, though several of its requests lie in this log.
    if (length > 0 && isId(collected.bytes, length - DECISION_BYTES, words, at)) return
    if (length + DECISION_BYTES > collected.bytes.length)
      collected.bytes = Buffer.concat([collected.bytes], collected.bytes.length * 2)
    for (let word = 0; word < 4; word++) collected.bytes.writeInt32LE(words[at + word]!, length + word * 4)
    collected.bytes[length + 16] = result
    collected.length += DECISION_BYTES
  }

  /** Hands the entries to the logs; the requests are let go of when they are written. */
  flush(): void {
    if (this.#held.length === 0) return
    const held = this.#held
    this.#held = []
    const written = [...this.#journals].map(([journal, { bytes, length }]) =>
      journal.note({ stage: this.#stage, entries: bytes.subarray(0, length) }),
    )
    this.#journals.clear()
    void Promise.allSettled(written).then(() => {
      for (const request of held) this.#requests.release(request)
    })
  }

  /** A request is going to be read, with what was decided on traces in it before. */
  begin(decided: readonly Decisions[]): void {
    this.#consulting = false
    for (const { stage, entries } of decided) {
      if (stage !== this.#stage) continue
      this.#consulting = true
      const view = new DataView(entries.buffer, entries.byteOffset, entries.byteLength)
      for (let at = 0; at + DECISION_BYTES <= entries.length; at += DECISION_BYTES) {
        const cache = entries[at + 16] === SAMPLED ? this.#kept : this.#other
        cache.put(view.getInt32(at + 8, true), view.getInt32(at + 12, true))
      }
    }
  }

  /** What an earlier run decided on the trace of this span: 1 kept, -1 not kept, 0 nothing that is known. */
  decided(facts: SpanFacts): number {
    if (!this.#consulting) return 0
    if (this.#kept.has(facts.id2, facts.id3)) return 1
    return this.#other.has(facts.id2, facts.id3) ? -1 : 0
  }
}

function isId(bytes: Buffer, offset: number, words: Words, at: number): boolean {
  for (let word = 0; word < 4; word++)
    if (bytes.readInt32LE(offset + word * 4) !== words[at + word]) return false
  return true
}
