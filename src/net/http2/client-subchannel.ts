/**
 * One address that a client connects to, over and over: connect, wait for the server's SETTINGS, and after a failure wait longer each
 * time (grpc doc/connection-backoff.md). A connection that carried no call and did not live long counts as a failure,
 * so that a server that hangs up at once is not called in a circle.
 */
import type { Socket } from 'node:net'
import type { Clock, Timer } from '../../component/clock.ts'
import type { GrpcCallError } from '../grpc-transport.ts'
import type { ClientCall } from './client-call.ts'
import { ClientConnection, type ClientConnectionOptions, type ConnectionOwner } from './client-connection.ts'
import { type DialOptions, dial } from './client-dial.ts'

export const STATE = { IDLE: 0, CONNECTING: 1, READY: 2, BACKOFF: 3, CLOSED: 4 } as const

/** A connection that lived this long was a good one. */
const GOOD_MS = 10_000

export interface Backoff {
  readonly firstMs: number
  readonly longestMs: number
  readonly multiplier: number
  /** Either way. */
  readonly jitter: number
}

export interface SubchannelOptions extends ClientConnectionOptions {
  readonly dial: DialOptions
  readonly connectTimeoutMs: number
  readonly backoff: Backoff
}

/** Told when a subchannel changes. */
export interface SubchannelOwner {
  onReady(subchannel: Subchannel): void
  onRoom(): void
  /** It is idle, or waits: `reason` says why it has no connection. */
  onDown(subchannel: Subchannel, reason: string): void
  repeat(call: ClientCall, error: GrpcCallError): void
}

export class Subchannel implements ConnectionOwner {
  readonly options: SubchannelOptions
  readonly #owner: SubchannelOwner
  readonly #clock: Clock
  state: number = STATE.IDLE
  /** In use, or about to be. */
  connection: ClientConnection | undefined
  /** Connections that only end what they have begun. */
  readonly #old = new Set<ClientConnection>()
  #socket: Socket | undefined
  #timer: Timer | undefined
  #failures = 0
  #calm = 1
  #beganMs = 0

  constructor(options: SubchannelOptions, owner: SubchannelOwner) {
    this.options = options
    this.#owner = owner
    this.#clock = options.clock
  }

  connect(): void {
    if (this.state !== STATE.IDLE && this.state !== STATE.BACKOFF) return
    this.#timer?.cancel()
    this.state = STATE.CONNECTING
    this.#beganMs = this.#clock.monotonicMs()
    let connection: ClientConnection | undefined
    const socket = dial(this.options.dial, {
      opened: (opened) => {
        connection = new ClientConnection(opened, this.#connectionOptions(), this)
        this.connection = connection
      },
      received: (chunk) => connection?.receive(chunk),
      closed: (reason) => {
        if (connection !== undefined) connection.onClose(reason)
        else if (this.#socket === socket) this.#down(reason)
      },
    })
    this.#socket = socket
    const { connectTimeoutMs } = this.options
    this.#timer = this.#clock.after(connectTimeoutMs, () => {
      this.#socket = undefined
      const reason = `no HTTP/2 connection within ${connectTimeoutMs} ms`
      if (connection !== undefined) connection.giveUp(reason)
      else this.#down(reason)
      socket.destroy()
    })
  }

  /** A server that found the pings too many gets half of them (gRPC A8). */
  #connectionOptions(): ClientConnectionOptions {
    const { keepalive } = this.options
    if (keepalive === undefined || this.#calm === 1) return this.options
    return { ...this.options, keepalive: { ...keepalive, timeMs: keepalive.timeMs * this.#calm } }
  }

  /** The address is no longer used, or nobody calls any more. */
  close(): void {
    if (this.state === STATE.CLOSED) return
    const wasConnecting = this.state === STATE.CONNECTING
    this.state = STATE.CLOSED
    this.#timer?.cancel()
    const { connection } = this
    if (connection !== undefined && !wasConnecting) connection.retire('the client was closed')
    else this.#socket?.destroy()
  }

  /** Lets go of a connection that is not wanted, to connect again when asked. */
  abort(): void {
    if (this.state !== STATE.CONNECTING && this.state !== STATE.READY) return
    const wasConnecting = this.state === STATE.CONNECTING
    this.state = STATE.IDLE
    this.#timer?.cancel()
    const { connection } = this
    this.connection = undefined
    if (connection !== undefined && !wasConnecting) {
      this.#old.add(connection)
      connection.retire('another address is used')
    } else {
      const socket = this.#socket
      this.#socket = undefined
      socket?.destroy()
    }
  }

  /** True while there is something that time ends. */
  get watching(): boolean {
    const { connection } = this
    return this.#old.size > 0 || (connection !== undefined && watches(connection))
  }

  sweep(nowMs: number): void {
    this.connection?.sweep(nowMs)
    for (const connection of this.#old) connection.sweep(nowMs)
  }

  onReady(connection: ClientConnection): void {
    if (connection !== this.connection || this.state !== STATE.CONNECTING) return
    this.#timer?.cancel()
    this.state = STATE.READY
    this.#owner.onReady(this)
  }

  onRoom(connection: ClientConnection): void {
    if (connection === this.connection) this.#owner.onRoom()
  }

  onDraining(connection: ClientConnection, reason: string): void {
    if (connection !== this.connection) return
    if (connection.callCount > 0) this.#old.add(connection)
    this.#down(reason)
  }

  onLost(connection: ClientConnection, reason: string): void {
    this.#old.delete(connection)
    if (connection === this.connection) this.#down(reason)
  }

  repeat(call: ClientCall, error: GrpcCallError): void {
    this.#owner.repeat(call, error)
  }

  #down(reason: string): void {
    const { connection } = this
    this.connection = undefined
    this.#timer?.cancel()
    if (reason.endsWith('too_many_pings')) this.#calm *= 2
    if (this.state === STATE.CLOSED) return
    const nowMs = this.#clock.monotonicMs()
    const wasReady = this.state === STATE.READY
    if (wasReady && (nowMs - this.#beganMs >= GOOD_MS || connection?.used === true)) {
      this.#failures = 0
      this.state = STATE.IDLE
    } else {
      const { firstMs, longestMs, multiplier, jitter } = this.options.backoff
      const delayMs = Math.min(longestMs, firstMs * multiplier ** this.#failures++)
      const jitteredMs = delayMs * (1 + jitter * (2 * Math.random() - 1))
      this.state = STATE.BACKOFF
      this.#timer = this.#clock.after(Math.max(0, this.#beganMs + jitteredMs - nowMs), () => {
        this.state = STATE.IDLE
        this.#owner.onDown(this, reason)
      })
    }
    this.#owner.onDown(this, reason)
  }
}

function watches(connection: ClientConnection): boolean {
  return connection.callCount > 0 || connection.keepalive.watching
}
