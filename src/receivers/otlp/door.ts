/**
 * The way into a server: its listener, TLS in front of it, and its connections counted. The server itself is HTTP or gRPC. A
 * connection that is not to be taken is closed before its handshake, and counted.
 */
import type { Socket } from 'node:net'
import type { Timer } from '../../component/clock.ts'
import type { Listener } from '../../component/host.ts'
import type { Gauge } from '../../component/telemetry.ts'
import { createServerTls, type ServerTls } from '../../net/tls-server.ts'
import type { GrpcConfig, HttpConfig } from './config.ts'
import type { Intake, ServerSettings, Transport } from './intake.ts'

interface Server {
  accept(socket: Socket): void
  shutdown(deadline: AbortSignal): Promise<void>
}

export interface DoorOptions {
  readonly transport: Transport
  readonly config: GrpcConfig | HttpConfig
  readonly server: Server
  readonly intake: Intake
  /** The protocol by ALPN. */
  readonly alpn: string
  /** Whether there is room for one more connection, with so many handshakes under way. */
  readonly hasRoom: (handshakes: number) => boolean
  readonly inFlightBytes: () => number
}

/** Bytes in flight change too often to write each change down. */
const GAUGE_MS = 1000

export class Door {
  readonly #settings: ServerSettings
  readonly #options: DoorOptions
  readonly #connections: Gauge
  #tls: ServerTls | undefined
  #listener: Listener | undefined
  #gauge: Timer | undefined

  constructor(settings: ServerSettings, options: DoorOptions) {
    this.#settings = settings
    this.#options = options
    this.#connections = settings.telemetry.connections.with({ transport: options.transport })
  }

  async open(): Promise<void> {
    const { host, id, logger, telemetry } = this.#settings
    const { transport, config, intake, hasRoom, inFlightBytes } = this.#options
    const { endpoint, transport: network, tls } = config
    if (tls) this.#tls = this.#createTls(tls)
    const name = `receivers/${id}/protocols/${transport}`
    this.#listener = await host.listen({ name, endpoint, transport: network }, (socket) => {
      if (!hasRoom(this.#tls?.pending ?? 0)) {
        intake.count('closedConnections', 'max_connections')
        socket.destroy()
      } else if (this.#tls) this.#tls.accept(socket)
      else this.#serve(socket)
    })
    const gauge = telemetry.inFlightBytes.with({ transport })
    this.#gauge = host.clock.every(GAUGE_MS, () => gauge.set(inFlightBytes()))
    logger.info('listening', { transport, address: this.#listener.address })
  }

  async close(deadline: AbortSignal): Promise<void> {
    // A listener may wait for its connections, so it is closed first and awaited last.
    const closed = this.#listener?.close()
    this.#listener = undefined
    this.#gauge?.cancel()
    this.#tls?.close()
    await this.#options.server.shutdown(deadline)
    await closed
  }

  #createTls(tls: NonNullable<DoorOptions['config']['tls']>): ServerTls {
    const { host, logger } = this.#settings
    const { transport, alpn, intake } = this.#options
    return createServerTls(tls, {
      alpn: [alpn],
      alpnRequired: transport === 'grpc',
      nowMs: () => host.clock.monotonicMs(),
      onSecure: (socket) => this.#serve(socket),
      onProblem: (message, error) => logger.warn(message, { transport, error: error.message }),
      onRefused: (reason) => intake.count('closedConnections', reason),
    })
  }

  #serve(socket: Socket): void {
    this.#connections.add(1)
    socket.on('close', () => this.#connections.add(-1))
    this.#options.server.accept(socket)
  }
}
