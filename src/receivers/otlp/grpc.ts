/** OTLP/gRPC: the Export method of each signal that some pipeline takes. Other methods are UNIMPLEMENTED. */
import type { AuthData } from '../../component/auth.ts'
import type { Consumer } from '../../component/define.ts'
import { PartialSuccess, RefusedError, UnauthenticatedError } from '../../errors.ts'
import type { CallHead, GrpcServer, GrpcServerOptions, GrpcStatus, UnaryCall } from '../../net/grpc.ts'
import { createHttp2GrpcServer } from '../../net/http2/grpc-server.ts'
import { keepaliveSettings, messageLimitBytes } from '../../net/server-fields.ts'
import { NO_METADATA, type RequestContext, type Signal } from '../../otlp/batch.ts'
import type { GrpcConfig } from './config.ts'
import { Door } from './door.ts'
import { authenticate, findAuthenticator, Intake, type ServerSettings } from './intake.ts'
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
  #door: Door | undefined

  constructor(config: GrpcConfig, settings: ServerSettings) {
    this.#config = config
    this.#settings = settings
    this.#intake = new Intake(settings, 'grpc', config.max_in_flight_bytes)
  }

  async start(): Promise<void> {
    const config = this.#config
    if (config.implementation === 'grpc-js' && config.keepalive?.enforcement_policy)
      this.#settings.logger.warn('keepalive.enforcement_policy has no effect with implementation grpc-js')
    const server = await createServer(config.implementation, this.#options())
    this.#door = new Door(this.#settings, {
      transport: 'grpc',
      config,
      server,
      intake: this.#intake,
      alpn: 'h2',
      hasRoom: (handshakes) =>
        server.connectionCount + handshakes < config.max_connections || server.makeRoom?.() === true,
      inFlightBytes: () => server.inFlightBytes ?? this.#intake.inFlight.usedBytes,
    })
    await this.#door.open()
  }

  async shutdown(deadline: AbortSignal): Promise<void> {
    const door = this.#door
    this.#door = undefined
    await door?.close(deadline)
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
