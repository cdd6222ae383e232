/**
 * How long a connection lives: handshake and SETTINGS in time, keepalive pings both ways, idle time, age, and the end in two steps
 * (RFC 9113 sections 6.5.3, 6.7 and 6.8; keepalive and its enforcement as gRPC servers do it). Nothing here has a timer of its own:
 * `sweep` is called a few times a second.
 */
import type { GrpcServerOptions } from '../grpc.ts'
import { ConnectionError, ERROR, FRAME, MAX_STREAM_ID } from './frames.ts'
import type { Output } from './output.ts'

/** For the preface and the first SETTINGS frame, and for the acknowledgement of ours. */
const HANDSHAKE_MS = 10_000
/** How long the first GOAWAY waits for its PING to come back. */
const DRAIN_PING_MS = 1000
/** Pings that come too early before the connection ends. */
const MAX_STRIKES = 2
/** Without calls a client may ping this often, unless it is permitted more. */
const IDLE_PING_MS = 2 * 3600_000
/** Ages differ by this much either way, so that clients do not come back all at once. */
const AGE_JITTER = 0.1

const DRAIN = { NONE: 0, ANNOUNCED: 1, FINAL: 2 } as const
const PING_PAYLOAD = Buffer.from('keepaliv')

/** What the lifetime needs of its connection. */
export interface Living {
  readonly output: Output
  readonly lastStreamId: number
  readonly settingsAcked: boolean
  /** Calls on it. */
  readonly callCount: number
  /** Reading has stopped for want of room, so that silence says nothing. */
  readonly stopped: boolean
  fail(error: unknown): void
  end(code: number, reason: string): void
  /** Destroys it for this reason. */
  cut(reason: string): void
  /** It is about to be ended for this reason. */
  tell(reason: string): void
  destroy(): void
}

export class Lifetime {
  readonly #connection: Living
  readonly #keepalive: GrpcServerOptions['keepalive']
  readonly #bornMs: number
  readonly #oldAtMs: number
  #cutAtMs = Number.POSITIVE_INFINITY
  #readMs: number
  #idleSinceMs: number
  #pingSentMs = 0
  #drain: number = DRAIN.NONE
  #drainedMs = 0
  #lastPingMs = Number.NEGATIVE_INFINITY
  #strikes = 0
  /** Something was sent since the last ping of the client, so that its next one is welcome. */
  sentData = false
  /** The client's preface is there and SETTINGS were sent. */
  open = false
  /** The client opens no more streams. */
  finishing = false

  constructor(connection: Living, keepalive: GrpcServerOptions['keepalive'], nowMs: number) {
    this.#connection = connection
    this.#keepalive = keepalive
    this.#bornMs = nowMs
    this.#readMs = nowMs
    this.#idleSinceMs = nowMs
    const age = keepalive.maxConnectionAgeMs
    this.#oldAtMs =
      age > 0 ? nowMs + age * (1 + AGE_JITTER * (2 * Math.random() - 1)) : Number.POSITIVE_INFINITY
  }

  /** No new streams: after the final GOAWAY. */
  get final(): boolean {
    return this.#drain === DRAIN.FINAL
  }

  get draining(): boolean {
    return this.#drain !== DRAIN.NONE
  }

  onRead(nowMs: number): void {
    this.#readMs = nowMs
    this.#pingSentMs = 0
  }

  onLastCallEnded(nowMs: number): void {
    this.#idleSinceMs = nowMs
    if (this.#drain === DRAIN.FINAL || this.finishing) this.#connection.end(ERROR.NO_ERROR, '')
  }

  /** Enforcement: pings that come faster than allowed end the connection. */
  onPing(nowMs: number): void {
    const { minTimeMs, permitWithoutStream } = this.#keepalive
    const last = this.#lastPingMs
    this.#lastPingMs = nowMs
    if (this.sentData) {
      this.sentData = false
      this.#strikes = 0
      return
    }
    const idle = this.#connection.callCount === 0 && !permitWithoutStream
    if (nowMs - last >= (idle ? Math.max(IDLE_PING_MS, minTimeMs) : minTimeMs)) return
    if (++this.#strikes > MAX_STRIKES)
      throw new ConnectionError(ERROR.ENHANCE_YOUR_CALM, 'too_many_pings', 'too_many_pings')
  }

  onPingAck(): void {
    if (this.#drain === DRAIN.ANNOUNCED) this.#finalize()
  }

  /** Ends gently: a GOAWAY that names no stream, and when the peer has seen it the one that does. */
  drain(nowMs: number): void {
    if (!this.open) return void this.#connection.destroy()
    if (this.#drain !== DRAIN.NONE) return
    this.#drain = DRAIN.ANNOUNCED
    this.#drainedMs = nowMs
    const { output } = this.#connection
    output.goAway(MAX_STREAM_ID, ERROR.NO_ERROR, '')
    output.frame(FRAME.PING, 0, PING_PAYLOAD)
  }

  #finalize(): void {
    this.#drain = DRAIN.FINAL
    const connection = this.#connection
    if (connection.callCount === 0) connection.end(ERROR.NO_ERROR, '')
    else connection.output.goAway(connection.lastStreamId, ERROR.NO_ERROR, '')
  }

  sweep(nowMs: number): void {
    const connection = this.#connection
    const keepalive = this.#keepalive
    if (nowMs - this.#bornMs > HANDSHAKE_MS) {
      if (!this.open) return void connection.cut('handshake_timeout')
      if (!connection.settingsAcked)
        return void connection.fail(
          new ConnectionError(ERROR.SETTINGS_TIMEOUT, 'SETTINGS were not acknowledged'),
        )
    }
    if (!this.open) return
    if (nowMs >= this.#cutAtMs) return void connection.cut('max_age_grace')
    if (this.#drain === DRAIN.ANNOUNCED && nowMs - this.#drainedMs > DRAIN_PING_MS) this.#finalize()
    if (this.#drain === DRAIN.NONE) {
      const idleMs = keepalive.maxConnectionIdleMs
      if (idleMs > 0 && connection.callCount === 0 && nowMs - this.#idleSinceMs >= idleMs) {
        connection.tell('idle')
        this.drain(nowMs)
      } else if (nowMs >= this.#oldAtMs) {
        connection.tell('max_age')
        this.drain(nowMs)
        const graceMs = keepalive.maxConnectionAgeGraceMs
        if (graceMs > 0) this.#cutAtMs = nowMs + graceMs
      }
    }
    this.#ping(nowMs)
  }

  /** A silent connection is asked whether it lives, and cut when it does not say so in time. */
  #ping(nowMs: number): void {
    const { timeMs, timeoutMs } = this.#keepalive
    if (this.#connection.stopped) this.#readMs = nowMs
    if (this.#pingSentMs > 0) {
      if (nowMs - this.#pingSentMs >= timeoutMs && !this.#connection.stopped)
        this.#connection.cut('keepalive_timeout')
    } else if (nowMs - this.#readMs >= timeMs) {
      this.#pingSentMs = nowMs
      this.#connection.output.frame(FRAME.PING, 0, PING_PAYLOAD)
    }
  }
}
