/**
 * Senders over OTLP/HTTP, each with one request open at a time, that note in the books what was sent and
 * what was acknowledged. Whatever is answered, or not, is counted; a sender that was refused waits and goes
 * on, with the same request when `retry` is set.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Agent, request } from 'undici'
import type { Books } from './books.ts'
import { type Part, requestOf, serialsOf } from './spans.ts'

export interface LoadOptions {
  readonly url: string
  readonly books: Books
  readonly senders: number
  readonly tracesPerRequest?: number
  /** Where the numbers of the traces begin. */
  readonly firstTrace?: number
  /** Two requests for each set of traces, with half of the spans of each, at the same time. */
  readonly halves?: boolean
  /** Between two requests of a sender. */
  readonly pauseMs?: number
  /** Bytes beside what each span has. */
  readonly padding?: number
  /** Refused requests are sent again until they are taken. */
  readonly retry?: boolean
  /** How long a refused sender waits. */
  readonly refusedMs?: number
}

const RETRYABLE = new Set([429, 502, 503, 504])

export class Load {
  readonly #options: LoadOptions
  readonly #agent: Agent
  #running = false
  #gone = false
  #senders: Promise<void>[] = []
  nextTrace: number
  /** Requests by what became of them. */
  readonly requests = { acked: 0, refused: 0, refusedWithoutDelay: 0, permanent: 0, failed: 0 }
  lastAckMs = 0
  longestAnswerMs = 0

  constructor(options: LoadOptions) {
    this.#options = options
    this.nextTrace = options.firstTrace ?? 0
    this.#agent = new Agent({ connections: options.senders * 2, headersTimeout: 20_000, bodyTimeout: 20_000 })
  }

  start(): this {
    this.#running = true
    this.#senders = Array.from({ length: this.#options.senders }, () => this.#sender())
    return this
  }

  /**
   * Begins no request any more; resolves when the last one is answered, or taken when refused ones are sent
   * again.
   */
  async stop(): Promise<void> {
    this.#running = false
    await Promise.all(this.#senders)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#running = false
    this.#gone = true
    await this.#agent.destroy()
    await Promise.all(this.#senders)
  }

  async #sender(): Promise<void> {
    const { halves = false, pauseMs = 0, tracesPerRequest = 25 } = this.#options
    while (this.#running) {
      const first = this.nextTrace
      this.nextTrace += tracesPerRequest
      const parts: Part[] = halves ? ['first', 'second'] : ['whole']
      await Promise.all(parts.map((part) => this.#deliver(first, tracesPerRequest, part)))
      if (pauseMs > 0) await sleep(pauseMs)
    }
  }

  async #deliver(first: number, traces: number, part: Part): Promise<void> {
    const { books, padding, retry = false } = this.#options
    const body = requestOf(first, traces, part, padding)
    for (const serial of serialsOf(first, traces, part)) books.send(serial)
    do {
      const waitMs = await this.#post(body)
      if (waitMs === 0) {
        for (const serial of serialsOf(first, traces, part)) books.acknowledge(serial)
        return
      }
      await sleep(waitMs)
    } while (retry && !this.#gone)
  }

  /** Gives how long to wait before the next; 0 when it was taken. */
  async #post(body: Buffer): Promise<number> {
    const began = performance.now()
    try {
      const answer = await request(`${this.#options.url}/v1/traces`, {
        dispatcher: this.#agent,
        method: 'POST',
        headers: { 'content-type': 'application/x-protobuf' },
        body,
      })
      await answer.body.dump()
      this.longestAnswerMs = Math.max(this.longestAnswerMs, performance.now() - began)
      if (answer.statusCode === 200) {
        this.requests.acked++
        this.lastAckMs = performance.now()
        return 0
      }
      if (!RETRYABLE.has(answer.statusCode)) this.requests.permanent++
      else {
        this.requests.refused++
        if (answer.headers['retry-after'] === undefined) this.requests.refusedWithoutDelay++
      }
      return this.#options.refusedMs ?? 50
    } catch {
      this.requests.failed++
      return 20
    }
  }
}
