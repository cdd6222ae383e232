/** What all connections of one server share. */
import { type Clock, systemClock } from '../../component/clock.ts'
import { GRPC, type GrpcServerOptions, type GrpcStatus, type ServerEvent } from '../grpc.ts'
import { Budget } from './budget.ts'
import { DEFAULT_WINDOW } from './settings.ts'

/** Streams at a time on one connection when the user sets no limit. */
const MAX_STREAMS = 4096
const MAX_STREAM_WINDOW = 4 * 1024 * 1024
const DEFAULT_IN_FLIGHT_BYTES = 256 * 1024 * 1024
const MIN_CONNECTION_BYTES = 64 * 1024 * 1024
/** How long a message may take from the headers of its call to its last byte. */
const MESSAGE_MS = 300_000

export class ServerContext {
  readonly options: GrpcServerOptions
  readonly clock: Clock
  readonly maxStreams: number
  readonly streamWindow: number
  readonly messageMs: number
  readonly budget: Budget
  stopping = false

  constructor(options: GrpcServerOptions, messageMs = MESSAGE_MS) {
    this.options = options
    this.clock = options.clock ?? systemClock
    this.messageMs = messageMs
    this.maxStreams = options.maxConcurrentStreams || MAX_STREAMS
    // A window of a whole message, so that the usual call needs no WINDOW_UPDATE.
    this.streamWindow = Math.min(Math.max(options.maxMessageBytes + 1024, DEFAULT_WINDOW), MAX_STREAM_WINDOW)
    this.budget = new Budget(
      options.maxInFlightBytes ?? DEFAULT_IN_FLIGHT_BYTES,
      Math.max(MIN_CONNECTION_BYTES, 2 * options.maxMessageBytes),
    )
  }

  statusOf(error: unknown): GrpcStatus {
    try {
      return this.options.toStatus(error)
    } catch {
      return { code: GRPC.INTERNAL, message: 'internal error' }
    }
  }

  tell(event: ServerEvent, reason: string): void {
    this.options.onEvent?.(event, reason)
  }

  /** For errors that no call can be told of: whoever turns errors into statuses also logs them. */
  report(error: unknown): void {
    this.statusOf(error)
  }
}
