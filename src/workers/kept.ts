/**
 * Data whose senders were answered long ago, on its way to a shard that is down: nobody would send it again, so it waits here until
 * that shard is back, in order, for a time and up to a size. Whoever sent it holds the bytes, and counts them as volatile, until
 * then; what waits for too long fails as if nothing had waited. So does what two shards had in hand when they died: it may be
 * what kills them.
 */

import { RetryableError } from '../errors.ts'
import type { RequestContext } from '../otlp/batch.ts'

/** Payload that may wait for one peer. */
export const KEPT_BYTES = 32 * 1024 * 1024
const KEPT_BATCHES = 10_000
/** Longer than the first starts anew of a shard take, and short beside what a shard that dies again and again would hold up. */
const KEPT_MS = 5000
const TRY_MS = 50

const MOST_DEATHS = 2

/** The peer is down, or not ready yet. */
export class PeerDownError extends RetryableError {
  /** It was in the peer's hands when that died. */
  readonly hadIt: boolean
  constructor(message: string, hadIt = false) {
    super(message, { retryAfterMs: 1000 })
    this.hadIt = hadIt
  }
}

interface Entry {
  readonly bytes: number
  readonly untilMs: number
  readonly send: () => Promise<unknown>
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
  deaths: number
}

/** Nobody waits for it, and no log has it. */
export function isAnswered({ transport, deadlineMs, delivery }: RequestContext): boolean {
  return transport === undefined && deadlineMs === undefined && delivery === undefined
}

export class Kept {
  readonly #entries: Entry[] = []
  readonly #keptMs: number
  #bytes = 0

  constructor(keptMs = KEPT_MS) {
    this.#keptMs = keptMs
  }

  get bytes(): number {
    return this.#bytes
  }

  /** As `send`, which is called again while the peer is down. Nothing overtakes what waits already. */
  async send(bytes: number, send: () => Promise<unknown>): Promise<void> {
    if (this.#entries.length > 0)
      return await this.#keep(bytes, send, new PeerDownError('a shard is restarting'))
    try {
      await send()
    } catch (error) {
      if (!(error instanceof PeerDownError)) throw error
      await this.#keep(bytes, send, error)
    }
  }

  #keep(bytes: number, send: () => Promise<unknown>, error: PeerDownError): Promise<void> {
    if (this.#bytes + bytes > KEPT_BYTES || this.#entries.length >= KEPT_BATCHES) return Promise.reject(error)
    return new Promise((resolve, reject) => {
      const untilMs = performance.now() + this.#keptMs
      this.#bytes += bytes
      this.#entries.push({ bytes, untilMs, send, resolve, reject, deaths: error.hadIt ? 1 : 0 })
      if (this.#entries.length === 1) void this.#drain()
    })
  }

  async #drain(): Promise<void> {
    for (let entry = this.#entries[0]; entry !== undefined; entry = this.#entries[0]) {
      try {
        await entry.send()
        entry.resolve()
      } catch (error) {
        if (error instanceof PeerDownError && error.hadIt) entry.deaths++
        if (error instanceof PeerDownError && isWorthATry(entry)) {
          await new Promise<void>((resolve) => setTimeout(resolve, TRY_MS))
          continue
        }
        entry.reject(error)
      }
      this.#entries.shift()
      this.#bytes -= entry.bytes
    }
  }
}

function isWorthATry({ untilMs, deaths }: Entry): boolean {
  return deaths < MOST_DEATHS && performance.now() < untilMs
}
