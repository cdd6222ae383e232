/**
 * What both protocols do with a request once its message is decompressed: check the framing, count the items, hand the batch
 * to the pipeline. And what they count of their own.
 */
import { type AuthData, isServerAuthenticator, type ServerAuthenticator } from '../../component/auth.ts'
import type { Consumer } from '../../component/define.ts'
import type { Host } from '../../component/host.ts'
import type { Logger } from '../../component/logger.ts'
import { type Counter, counter, gauge, type Instruments } from '../../component/telemetry.ts'
import { ConfigError, RefusedError, UnauthenticatedError } from '../../errors.ts'
import type { GrpcStatus, ServerEvent } from '../../net/grpc.ts'
import { InFlightBytes } from '../../net/in-flight.ts'
import { Batch, type RequestContext, type Signal } from '../../otlp/batch.ts'
import { receiveRequest } from '../../otlp/receive.ts'
import { grpcStatusOf, type Refusal, refusalOf } from './status.ts'

export const telemetry = {
  failedRequests: counter(
    'receiver_failed_requests',
    '{request}',
    'Requests that were answered with an error before any pipeline saw their data.',
    ['transport', 'reason'],
  ),
  messageBytes: counter('receiver_message_bytes', 'By', 'Bytes of request messages, decompressed.', [
    'transport',
  ]),
  connections: gauge('receiver_connections', '{connection}', 'Open connections.', ['transport']),
  closedConnections: counter(
    'receiver_closed_connections',
    '{connection}',
    'Connections closed, or not taken, at a limit, for a timeout or for a fault of the peer.',
    ['transport', 'reason'],
  ),
  lostAnswers: counter(
    'receiver_lost_answers',
    '{request}',
    'Answers that did not get out to their client.',
    ['transport', 'reason'],
  ),
  pausedReads: counter('receiver_paused_reads', '{pause}', 'How often reading stopped for want of room.', [
    'transport',
  ]),
  inFlightBytes: gauge(
    'receiver_in_flight_bytes',
    'By',
    'Bytes of requests that are held, from their first byte to the answer; looked at once a second.',
    ['transport'],
  ),
}

export type Next = Readonly<Partial<Record<Signal, Consumer>>>
export type Transport = 'grpc' | 'http'

export interface ServerSettings {
  readonly id: string
  readonly host: Host
  readonly logger: Logger
  readonly telemetry: Instruments<typeof telemetry>
  readonly next: Next
}

export class Intake {
  readonly inFlight: InFlightBytes
  readonly messageBytes: Counter
  readonly #settings: ServerSettings
  readonly #transport: Transport
  /** Counters with their labels, by metric and reason. */
  readonly #bound = new Map<string, Counter>()
  /** The last refusal and its answer: a stage that refuses one request after the other does it with one error. */
  #refused: unknown
  #status: GrpcStatus | undefined

  constructor(settings: ServerSettings, transport: Transport, maxInFlightBytes: number) {
    this.#settings = settings
    this.#transport = transport
    this.inFlight = new InFlightBytes(maxInFlightBytes, settings.host.clock, () =>
      this.count('pausedReads', ''),
    )
    this.messageBytes = settings.telemetry.messageBytes.with({ transport })
  }

  /** Resolves when the pipeline has taken the data. An empty request succeeds without asking it. */
  take(signal: Signal, next: Consumer, message: Uint8Array, context: RequestContext): Promise<void> {
    const { chunk, itemCount } = receiveRequest(signal, message)
    if (itemCount === 0) return DONE
    return next.consume(new Batch(signal, [chunk], itemCount, context))
  }

  /** What the sender is answered. Counts it, unless the pipeline had the data: there the service counts. */
  refuse(error: unknown, seenByPipeline: boolean): Refusal {
    const refused = refusalOf(error)
    if (!seenByPipeline) this.count('failedRequests', refused.reason)
    const { logger } = this.#settings
    if (refused.reason === 'internal') logger.error('request failed', { transport: this.#transport, error })
    else if (logger.debugEnabled)
      logger.debug('request refused', { transport: this.#transport, reason: refused.reason, error })
    return refused
  }

  /** Counts what a server tells of its limits. */
  onEvent(event: ServerEvent, reason: string): void {
    this.count(EVENTS[event], event === 'pause' ? '' : reason)
  }

  /** One more; reasons are few, so each keeps its counter. */
  count(
    metric: 'failedRequests' | 'closedConnections' | 'lostAnswers' | 'pausedReads',
    reason: string,
  ): void {
    const key = `${metric} ${reason}`
    let bound = this.#bound.get(key)
    if (bound === undefined) {
      const transport = this.#transport
      bound = this.#settings.telemetry[metric].with(reason === '' ? { transport } : { transport, reason })
      this.#bound.set(key, bound)
    }
    bound.add(1)
  }

  grpcStatus(error: unknown, seenByPipeline: boolean): GrpcStatus {
    const refused = this.refuse(error, seenByPipeline)
    if (this.#status === undefined || error !== this.#refused) {
      this.#refused = error
      this.#status = grpcStatusOf(refused)
    }
    return this.#status
  }
}

const DONE = Promise.resolve()
const EVENTS = {
  connection: 'closedConnections',
  request: 'failedRequests',
  answer: 'lostAnswers',
  pause: 'pausedReads',
} as const

/** The authenticator that the config names; an error when it is not there. */
export function findAuthenticator(
  settings: ServerSettings,
  transport: Transport,
  id: string | undefined,
): ServerAuthenticator | undefined {
  if (id === undefined) return undefined
  const found = settings.host.extension(id)
  if (isServerAuthenticator(found)) return found
  const message =
    found === undefined
      ? `extension "${id}" is not in service.extensions`
      : `extension "${id}" is no authenticator`
  const path = `protocols.${transport}.auth.authenticator`
  throw new ConfigError([{ file: settings.id, line: 0, column: 0, path, message }])
}

/** Rejects with UnauthenticatedError, or RefusedError, whatever happens: no failure of an authenticator lets anybody in. */
export async function authenticate(
  authenticator: ServerAuthenticator,
  headers: ReadonlyMap<string, readonly string[]>,
): Promise<AuthData> {
  try {
    return await authenticator.authenticate(headers)
  } catch (cause) {
    if (cause instanceof UnauthenticatedError || cause instanceof RefusedError) throw cause
    throw new UnauthenticatedError('authentication failed', { cause })
  }
}
