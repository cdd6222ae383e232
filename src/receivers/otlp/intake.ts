/**
 * What both protocols do with a request once its message is decompressed: check the framing, count the items, hand the batch
 * to the pipeline. And what they count of their own.
 */
import { type AuthData, isServerAuthenticator, type ServerAuthenticator } from '../../component/auth.ts'
import type { Consumer } from '../../component/define.ts'
import type { Host } from '../../component/host.ts'
import type { Logger } from '../../component/logger.ts'
import { type Counter, counter, gauge, type Instruments } from '../../component/telemetry.ts'
import { ConfigError, UnauthenticatedError } from '../../errors.ts'
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
  readonly #failed = new Map<string, Counter>()

  constructor(settings: ServerSettings, transport: Transport, maxInFlightBytes: number) {
    this.#settings = settings
    this.#transport = transport
    this.inFlight = new InFlightBytes(maxInFlightBytes, settings.host.clock)
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
    if (!seenByPipeline) {
      let failed = this.#failed.get(refused.reason)
      if (failed === undefined) {
        failed = this.#settings.telemetry.failedRequests.with({
          transport: this.#transport,
          reason: refused.reason,
        })
        this.#failed.set(refused.reason, failed)
      }
      failed.add(1)
    }
    const { logger } = this.#settings
    if (refused.reason === 'internal') logger.error('request failed', { transport: this.#transport, error })
    else if (logger.debugEnabled)
      logger.debug('request refused', { transport: this.#transport, reason: refused.reason, error })
    return refused
  }

  grpcStatus(error: unknown, seenByPipeline: boolean) {
    return grpcStatusOf(this.refuse(error, seenByPipeline))
  }
}

const DONE = Promise.resolve()

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

/** Rejects with UnauthenticatedError and nothing else, so that no failure of an authenticator lets anybody in. */
export async function authenticate(
  authenticator: ServerAuthenticator,
  headers: ReadonlyMap<string, readonly string[]>,
): Promise<AuthData> {
  try {
    return await authenticator.authenticate(headers)
  } catch (cause) {
    if (cause instanceof UnauthenticatedError) throw cause
    throw new UnauthenticatedError('authentication failed', { cause })
  }
}
