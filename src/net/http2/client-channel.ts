/**
 * GrpcTransport on sockets directly: HTTP/2 (RFC 9113), HPACK (RFC 7541) and gRPC unary calls without node:http2.
 *
 *     client-channel.ts     names to addresses, which connection a call goes to, calls that wait
 *     client-subchannel.ts  one address: connect, backoff        client-dial.ts    sockets, TLS
 *     client-connection.ts  streams       client-sender.ts  flow control of messages      client-keepalive.ts  pings
 *     client-call.ts        one call      client-heads.ts   request headers               response-head.ts, client-answer.ts
 *
 * A name is resolved anew whenever a connection is made anew. Calls wait while a connection may still come, MAX_WAITING of them;
 * when there is none to be had they fail, unless they wait for it. Deadlines and keepalive are looked at by one timer, which
 * runs while there is something to look at, so they are up to SWEEP_MS late. Over 300 lines since calls that wait and addresses that
 * come and go wait for each other.
 */
import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { type Clock, systemClock, type Timer } from '../../component/clock.ts'
import { compress } from '../compression.ts'
import { GRPC } from '../grpc.ts'
import {
  GrpcCallError,
  type GrpcTransport,
  type GrpcTransportOptions,
  type OutgoingCall,
} from '../grpc-transport.ts'
import { type CallHolder, ClientCall } from './client-call.ts'
import type { Place } from './client-dial.ts'
import {
  type Backoff,
  STATE,
  Subchannel,
  type SubchannelOptions,
  type SubchannelOwner,
} from './client-subchannel.ts'

const SWEEP_MS = 100
/** Calls that wait for a connection, or for room on one. */
const MAX_WAITING = 4096
/** Addresses of one name that are used. */
const MAX_ADDRESSES = 64
const CONNECT_TIMEOUT_MS = 20_000
/** pick_first: how long one address is waited for before the next is tried beside it (RFC 8305 section 5). */
const STAGGER_MS = 250
/** A server that did not look at a call may be asked this often (gRPC A6, transparent retries). */
const MAX_REPEATS = 2
const BACKOFF: Backoff = { firstMs: 1000, longestMs: 120_000, multiplier: 1.6, jitter: 0.2 }

/** What only tests change. */
export interface ChannelTuning {
  readonly clock?: Clock
  readonly connectTimeoutMs?: number
  readonly backoff?: Partial<Backoff>
  readonly resolve?: (host: string) => Promise<readonly string[]>
}

export function createHttp2GrpcTransport(
  options: GrpcTransportOptions,
  tuning: ChannelTuning = {},
): GrpcTransport {
  return new Channel(options, tuning)
}

class Channel implements GrpcTransport, SubchannelOwner, CallHolder {
  readonly releases = true
  readonly #options: GrpcTransportOptions
  readonly #clock: Clock
  readonly #resolve: (host: string) => Promise<readonly string[]>
  readonly #template: Omit<SubchannelOptions, 'dial'>
  #subchannels: Subchannel[] = []
  /** Of addresses that the name no longer has: they end what they have begun. */
  readonly #leaving = new Set<Subchannel>()
  #resolveAtMs = 0
  #next = 0
  readonly #waiting = new Set<ClientCall>()
  #resolving = false
  #lastReason = 'not connected yet'
  #timer: Timer | undefined
  #stagger: Timer | undefined
  #draining = false
  #closed = false

  constructor(options: GrpcTransportOptions, tuning: ChannelTuning) {
    this.#options = options
    this.#clock = tuning.clock ?? systemClock
    this.#resolve = tuning.resolve ?? resolveName
    const { address, authority, tls, userAgent, compression } = options
    this.#template = {
      clock: this.#clock,
      connectTimeoutMs: tuning.connectTimeoutMs ?? CONNECT_TIMEOUT_MS,
      backoff: { ...BACKOFF, ...tuning.backoff },
      maxResponseBytes: options.maxResponseBytes,
      keepalive: options.keepalive,
      identity: {
        scheme: tls === undefined ? 'http' : 'https',
        authority:
          authority === ''
            ? 'path' in address
              ? 'localhost'
              : hostPort(address.host, address.port)
            : authority,
        userAgent,
        encoding: compression,
      },
    }
  }

  connect(): void {
    this.#refresh()
  }

  async call(request: OutgoingCall): Promise<Uint8Array> {
    const { timeoutMs, message, attempt } = request
    const deadlineMs = timeoutMs > 0 ? this.#clock.monotonicMs() + timeoutMs : Number.POSITIVE_INFINITY
    const { compression } = this.#options
    // Among gRPC peers "snappy" is the framed format.
    const packed =
      compression === undefined
        ? message
        : await compress(compression === 'snappy' ? 'x-snappy-framed' : compression, undefined, message)
    if (attempt.aborted) throw new GrpcCallError(GRPC.CANCELLED, 'the attempt was given up')
    if (this.#closed) throw new GrpcCallError(GRPC.UNAVAILABLE, 'the client was closed')
    const call = new ClientCall(request, packed, compression !== undefined, deadlineMs)
    this.#dispatch(call)
    return call.answer
  }

  drain(): void {
    this.#draining = true
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#stagger?.cancel()
    this.#failWaiting(true, 'the client was closed')
    for (const subchannel of this.#subchannels) subchannel.close()
  }

  // --- Calls.

  #dispatch(call: ClientCall): void {
    const connection = this.#pick()
    if (connection !== undefined) {
      connection.open(call)
      this.#watch()
      return
    }
    this.#wake()
    if (!this.#options.waitForReady && !this.#mayComeUp) {
      call.reject(new GrpcCallError(GRPC.UNAVAILABLE, this.#lastReason))
      return
    }
    if (this.#waiting.size >= MAX_WAITING) {
      call.reject(new GrpcCallError(GRPC.UNAVAILABLE, `${MAX_WAITING} calls wait already`))
      return
    }
    call.waited = true
    call.holder = this
    this.#waiting.add(call)
    this.#watch()
  }

  /** The next connection in turn that has room. */
  #pick() {
    const count = this.#subchannels.length
    for (let step = 0; step < count; step++) {
      const index = (this.#next + step) % count
      const connection = this.#subchannels[index]!.connection
      if (connection === undefined || connection.room <= 0) continue
      this.#next = index + 1
      return connection
    }
    return undefined
  }

  get #mayComeUp(): boolean {
    if (this.#resolving) return true
    return this.#subchannels.some(({ state }) => state === STATE.CONNECTING || state === STATE.READY)
  }

  /** A call that cannot wait makes a backoff end when the process is stopping. */
  #wake(): void {
    if (this.#subchannels.length === 0) {
      if (this.#draining || this.#clock.monotonicMs() >= this.#resolveAtMs) this.#refresh()
      return
    }
    if (!this.#draining || this.#mayComeUp) return
    for (const subchannel of this.#subchannels) subchannel.connect()
  }

  /** Of a call that waits here. */
  cancel(call: ClientCall, error: GrpcCallError): void {
    if (this.#waiting.delete(call)) call.reject(error)
  }

  repeat(call: ClientCall, error: GrpcCallError): void {
    if (this.#closed || ++call.repeats >= MAX_REPEATS) return void call.reject(error)
    call.waited = true
    this.#dispatch(call)
  }

  #failWaiting(all: boolean, reason: string): void {
    for (const call of this.#waiting) {
      if (!all && this.#options.waitForReady) continue
      this.#waiting.delete(call)
      call.reject(new GrpcCallError(GRPC.UNAVAILABLE, reason))
    }
  }

  // --- Connections.

  onReady(subchannel: Subchannel): void {
    if (this.#options.balancer === 'pick_first') {
      this.#stagger?.cancel()
      for (const other of this.#subchannels) if (other !== subchannel) other.abort()
    }
    this.#watch()
    this.onRoom()
  }

  onRoom(): void {
    for (const call of this.#waiting) {
      const connection = this.#pick()
      if (connection === undefined) return
      this.#waiting.delete(call)
      connection.open(call)
    }
  }

  onDown(_subchannel: Subchannel, reason: string): void {
    this.#lastReason = reason
    if (this.#closed) return
    if (this.#subchannels.some(({ state }) => state === STATE.IDLE)) this.#refresh()
    if (!this.#mayComeUp) this.#failWaiting(false, reason)
  }

  /** Resolves the name, follows its addresses, and connects what is idle. */
  #refresh(): void {
    if (this.#closed || this.#resolving) return
    const { address } = this.#options
    if ('path' in address) return void this.#follow([{ path: address.path }])
    if (isIP(address.host) !== 0) return void this.#follow([address])
    this.#resolving = true
    this.#resolve(address.host).then(
      (hosts) => {
        this.#resolving = false
        this.#follow(hosts.slice(0, MAX_ADDRESSES).map((host) => ({ host, port: address.port })))
      },
      (error: Error) => {
        this.#resolving = false
        this.#unresolved(`name resolution failed: ${error.message}`)
      },
    )
  }

  /** The addresses that were good last time are tried again. */
  #unresolved(reason: string): void {
    if (this.#closed) return
    if (this.#subchannels.length > 0) return void this.#connectIdle()
    this.#lastReason = reason
    this.#resolveAtMs = this.#clock.monotonicMs() + this.#template.backoff.firstMs
    this.#failWaiting(false, reason)
    if (this.#waiting.size > 0)
      this.#clock.after(this.#template.backoff.firstMs, () => {
        if (this.#subchannels.length === 0) this.#refresh()
      })
  }

  #follow(places: readonly Place[]): void {
    if (this.#closed) return
    const kept = new Map(this.#subchannels.map((one) => [placeKey(one.options.dial.place), one]))
    const next = new Map<string, Subchannel>()
    for (const place of places) {
      const key = placeKey(place)
      if (!next.has(key)) next.set(key, kept.get(key) ?? this.#subchannel(place))
    }
    this.#subchannels = [...next.values()]
    for (const [key, subchannel] of kept) {
      if (next.has(key)) continue
      this.#leaving.add(subchannel)
      subchannel.close()
    }
    this.#connectIdle()
    if (this.#subchannels.length === 0) this.#lastReason = 'the name has no address'
    if (!this.#mayComeUp) this.#failWaiting(false, this.#lastReason)
  }

  #subchannel(place: Place): Subchannel {
    const { address, tls } = this.#options
    const serverName = tls?.servername ?? ('path' in address ? 'localhost' : address.host)
    return new Subchannel({ ...this.#template, dial: { place, serverName, tls } }, this)
  }

  #connectIdle(): void {
    const idle = this.#subchannels.filter(({ state }) => state === STATE.IDLE)
    if (this.#options.balancer === 'round_robin') {
      for (const subchannel of idle) subchannel.connect()
      return
    }
    if (this.#subchannels.some(({ state }) => state === STATE.READY)) return
    idle[0]?.connect()
    if (idle.length < 2) return
    this.#stagger?.cancel()
    this.#stagger = this.#clock.after(STAGGER_MS, () => this.#connectIdle())
  }

  // --- Time.

  #watch(): void {
    this.#timer ??= this.#clock.after(SWEEP_MS, () => this.#sweep())
  }

  #sweep(): void {
    this.#timer = undefined
    const nowMs = this.#clock.monotonicMs()
    for (const call of this.#waiting)
      if (nowMs >= call.deadlineMs)
        this.cancel(call, new GrpcCallError(GRPC.DEADLINE_EXCEEDED, 'no connection before the deadline'))
    for (const subchannel of this.#subchannels) subchannel.sweep(nowMs)
    for (const subchannel of this.#leaving) {
      subchannel.sweep(nowMs)
      if (!subchannel.watching) this.#leaving.delete(subchannel)
    }
    if (
      this.#leaving.size > 0 ||
      this.#waiting.size > 0 ||
      this.#subchannels.some(({ watching }) => watching)
    )
      this.#watch()
  }
}

async function resolveName(host: string): Promise<readonly string[]> {
  const found = await lookup(host, { all: true, order: 'verbatim' })
  return found.map(({ address }) => address)
}

function placeKey(place: Place): string {
  return 'path' in place ? place.path : hostPort(place.host, place.port)
}

function hostPort(host: string, port: number): string {
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`
}
