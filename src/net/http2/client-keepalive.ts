/**
 * Whether the other end of a client's connection is still there: keepalive pings as gRPC clients send them (grpc doc/keepalive.md),
 * and, without any configured, one ping when a call was given up on a connection that had been silent since it began, so that
 * a half-open connection does not live until the kernel notices.
 */
import { FRAME } from './frames.ts'
import type { Output } from './output.ts'

export interface KeepaliveOptions {
  /** Silence after which a ping is sent; 0 = never. */
  readonly timeMs: number
  /** 0 = 20 s. */
  readonly timeoutMs: number
  readonly permitWithoutStream: boolean
}

const DEFAULT_TIMEOUT_MS = 20_000
/** Servers end a connection that pings more often than they allow: every five minutes, twice leniently. */
const PROBE_PERIOD_MS = 60_000
const PAYLOAD = Buffer.from('areyouin')

/** What keepalive needs of its connection. */
export interface Kept {
  readonly output: Output
  readonly callCount: number
  giveUp(reason: string): void
}

export class Keepalive {
  readonly #connection: Kept
  readonly #timeMs: number
  readonly #timeoutMs: number
  readonly #permitWithoutStream: boolean
  #readMs: number
  #pingedMs = -1
  #probedMs = Number.NEGATIVE_INFINITY

  constructor(connection: Kept, options: KeepaliveOptions | undefined, nowMs: number) {
    this.#connection = connection
    this.#timeMs = options?.timeMs || Number.POSITIVE_INFINITY
    this.#timeoutMs = options?.timeoutMs || DEFAULT_TIMEOUT_MS
    this.#permitWithoutStream = options?.permitWithoutStream === true
    this.#readMs = nowMs
  }

  /** There is something to wait for though no call is under way. */
  get watching(): boolean {
    return this.#pingedMs >= 0 || (this.#permitWithoutStream && this.#timeMs !== Number.POSITIVE_INFINITY)
  }

  onRead(nowMs: number): void {
    this.#readMs = nowMs
    this.#pingedMs = -1
  }

  /** A call that began at `sentMs` was given up. */
  onGivenUp(sentMs: number, nowMs: number): void {
    if (this.#readMs > sentMs || this.#pingedMs >= 0 || nowMs - this.#probedMs < PROBE_PERIOD_MS) return
    this.#probedMs = nowMs
    this.#ping(nowMs)
  }

  sweep(nowMs: number): void {
    if (this.#pingedMs >= 0) {
      if (nowMs - this.#pingedMs >= this.#timeoutMs)
        this.#connection.giveUp('a keepalive ping was not answered in time')
    } else if (
      nowMs - this.#readMs >= this.#timeMs &&
      (this.#permitWithoutStream || this.#connection.callCount > 0)
    )
      this.#ping(nowMs)
  }

  #ping(nowMs: number): void {
    this.#pingedMs = nowMs
    this.#connection.output.frame(FRAME.PING, 0, PAYLOAD)
  }
}
