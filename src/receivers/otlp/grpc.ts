/** OTLP/gRPC: the Export method of each signal that some pipeline takes. Other methods are UNIMPLEMENTED. */
import type { Socket } from 'node:net'
import type { AuthData } from '../../component/auth.ts'
import type { Timer } from '../../component/clock.ts'
import type { Consumer } from '../../component/define.ts'
import type { Listener } from '../../component/host.ts'
import { PartialSuccess, RefusedError, UnauthenticatedError } from '../../errors.ts'
import type { CallHead, GrpcServer, GrpcServerOptions, GrpcStatus, UnaryCall } from '../../net/grpc.ts'
import { createHttp2GrpcServer } from '../../net/http2/grpc-server.ts'
import { keepaliveSettings, messageLimitBytes } from '../../net/server-fields.ts'
import { createServerTls, type ServerTls } from '../../net/tls-server.ts'
import { NO_METADATA, type RequestContext, type Signal } from '../../otlp/batch.ts'
import type { GrpcConfig } from './config.ts'
import { authenticate, findAuthenticator, Intake, type ServerSettings, watchInFlight } from './intake.ts'
import { encodePartial, OK_PROTOBUF } from './response.ts'

const METHODS: Readonly<Record<Signal, string>> = {
  traces: '/opentelemetry.proto.collector.trace.v1.TraceService/Export',
  metrics: '/opentelemetry.proto.collector.metrics.v1.MetricsService/Export',
  logs: '/opentelemetry.proto.collector.logs.v1.LogsService/Export',
}

/** The one place that chooses the HTTP/2 layer. grpc-js, 8 MB of a thread, is loaded only when it is asked for. */
async function createServer(
  implementation: GrpcConfig['implementation'],
  options: GrpcServerOptions,
): Promise<GrpcServer> {
  if (implementation !== 'grpc-js') return createHttp2GrpcServer(options)
  const { createGrpcJsServer } = await import('../../net/grpc-js-server.ts')
  return createGrpcJsServer(options)
}

export class OtlpGrpc {
  readonly #config: GrpcConfig
  readonly #settings: ServerSettings
  readonly #intake: Intake
  #server: GrpcServer | undefined
  #tls: ServerTls | undefined
  #listener: Listener | undefined
  #gauge: Timer | undefined

  constructor(config: GrpcConfig, settings: ServerSettings) {
    this.#config = config
    this.#settings = settings
    this.#intake = new Intake(settings, 'grpc', config.max_in_flight_bytes)
  }

  async start(): Promise<void> {
    const config = this.#config
    const { host, id, logger, telemetry } = this.#settings
    if (config.implementation === 'grpc-js' && config.keepalive?.enforcement_policy)
      logger.warn('keepalive.enforcement_policy has no effect with implementation grpc-js')
    const server = await createServer(config.implementation, this.#options())
    this.#server = server
    const connections = telemetry.connections.with({ transport: 'grpc' })
    const serve = (socket: Socket): void => {
      connections.add(1)
      socket.on('close', () => connections.add(-1))
      server.accept(socket)
    }
    if (config.tls)
      this.#tls = createServerTls(config.tls, {
        alpn: ['h2'],
        alpnRequired: true,
        nowMs: () => host.clock.monotonicMs(),
        onSecure: serve,
        onProblem: (message, error) => logger.warn(message, { transport: 'grpc', error: error.message }),
        onRefused: (reason) => this.#intake.count('closedConnections', reason),
      })
    const tls = this.#tls
    const { endpoint, transport } = config
    this.#listener = await host.listen(
      { name: `receivers/${id}/protocols/grpc`, endpoint, transport },
      (socket) => {
        const full = server.connectionCount + (tls?.pending ?? 0) >= config.max_connections
        if (full && !server.makeRoom?.()) {
          this.#intake.count('closedConnections', 'max_connections')
          socket.destroy()
        } else if (tls) tls.accept(socket)
        else serve(socket)
      },
    )
    this.#gauge = watchInFlight(
      this.#settings,
      'grpc',
      () => server.inFlightBytes ?? this.#intake.inFlight.usedBytes,
    )
    logger.info('listening', { transport: 'grpc', address: this.#listener.address })
  }

  async shutdown(deadline: AbortSignal): Promise<void> {
    // A listener may wait for its connections, so it is closed first and awaited last.
    const closed = this.#listener?.close()
    this.#listener = undefined
    this.#gauge?.cancel()
    this.#tls?.close()
    const server = this.#server
    this.#server = undefined
    await server?.shutdown(deadline)
    await closed
  }

  #options(): GrpcServerOptions {
    const config = this.#config
    const intake = this.#intake
    const handlers = new Map<string, (call: UnaryCall) => Promise<Uint8Array>>()
    const routes = new Map<string, Consumer>()
    const authenticator = findAuthenticator(this.#settings, 'grpc', config.auth?.authenticator)
    const authOf = new WeakMap<ReadonlyMap<string, readonly string[]>, AuthData>()
    for (const signal of ['traces', 'metrics', 'logs'] as const) {
      const next = this.#settings.next[signal]
      if (next === undefined) continue
      const path = METHODS[signal]
      routes.set(path, next)
      handlers.set(path, (call) => this.#export(signal, next, call, authenticator && authOf))
    }
    const refusal = (head: CallHead): GrpcStatus | undefined => {
      const refused = routes.get(head.path)?.refusal?.()
      if (refused !== undefined) return intake.grpcStatus(refused, false)
      if (intake.inFlight.full) return intake.grpcStatus(new RefusedError('too many bytes in flight'), false)
      return undefined
    }
    const admit = authenticator
      ? (head: CallHead) =>
          authenticate(authenticator, head.metadata).then(
            (auth) => {
              authOf.set(head.metadata, auth)
              return refusal(head)
            },
            (error: unknown) => intake.grpcStatus(error, false),
          )
      : refusal
    return {
      handlers,
      admit,
      releases: (path) => routes.get(path)?.releases === true,
      toStatus: (error) => (error instanceof Answered ? error.status : intake.grpcStatus(error, false)),
      maxMessageBytes: messageLimitBytes(config.max_recv_msg_size_mib),
      maxConcurrentStreams: config.max_concurrent_streams,
      maxInFlightBytes: config.max_in_flight_bytes,
      keepalive: keepaliveSettings(config.keepalive),
      onEvent: (event, reason) => intake.onEvent(event, reason),
      clock: this.#settings.host.clock,
    }
  }

  /** One call. `authOf` holds what the authenticator said, by the metadata of the call; undefined without one. */
  async #export(
    signal: Signal,
    next: Consumer,
    call: UnaryCall,
    authOf: WeakMap<ReadonlyMap<string, readonly string[]>, AuthData> | undefined,
  ): Promise<Uint8Array> {
    const intake = this.#intake
    const { message } = call
    intake.inFlight.take(message.length)
    intake.messageBytes.add(message.length)
    let seenByPipeline = false
    try {
      const auth = authOf?.get(call.metadata)
      if (authOf && auth === undefined) throw new UnauthenticatedError('not authenticated')
      const context: RequestContext = {
        metadata: this.#config.include_metadata ? call.metadata : NO_METADATA,
        clientAddress: call.peer,
        transport: 'grpc',
        auth,
        deadlineMs: call.deadlineMs,
      }
      const taken = intake.take(signal, next, message, context)
      seenByPipeline = true
      await taken
      return OK_PROTOBUF
    } catch (error) {
      if (error instanceof PartialSuccess) return encodePartial(error)
      throw new Answered(intake.grpcStatus(error, seenByPipeline))
    } finally {
      intake.inFlight.give(message.length)
    }
  }
}

/** A status that is decided and counted, on its way through the rejected promise of a handler. */
class Answered {
  readonly status: GrpcStatus
  constructor(status: GrpcStatus) {
    this.status = status
  }
}
