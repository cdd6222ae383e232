/**
 * What a gRPC unary server is to the receivers: sockets go in, calls come out as bytes. Two implementations keep this interface:
 * `grpc-js-server.ts` on @grpc/grpc-js, and `http2/` on sockets directly. Protobuf is none of its business.
 */
import type { Socket } from 'node:net'
import type { Clock } from '../component/clock.ts'

/** gRPC status codes (grpc/grpc doc/statuscodes.md). */
export const GRPC = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const

/** The status that ends a call. `details` is an encoded google.rpc.Status for the trailer grpc-status-details-bin. */
export interface GrpcStatus {
  readonly code: number
  readonly message: string
  readonly details?: Uint8Array | undefined
}

/** What is known of a call when its headers have arrived. */
export interface CallHead {
  /** `/package.Service/Method`. */
  readonly path: string
  /** Keys in lower case; values of `-bin` keys stay base64. Pseudo-headers are not in it, but `:authority` as `host`. */
  readonly metadata: ReadonlyMap<string, readonly string[]>
  /** Address of the peer, `host:port`. */
  readonly peer: string
}

export interface UnaryCall extends CallHead {
  /** The message, decompressed. It belongs to the handler. */
  readonly message: Uint8Array
  /** When the caller stops waiting, from grpc-timeout, on the monotonic clock in ms. */
  readonly deadlineMs: number | undefined
}

/** Answers with the encoded response message. What it rejects with goes through `toStatus`. */
export type UnaryHandler = (call: UnaryCall) => Promise<Uint8Array>

/**
 * What a server tells of its limits, each with a reason for a metric:
 *
 *     connection  one was closed, or not taken, for a fault of the peer or at a limit
 *     request     the server itself answered it with an error or reset it: neither `admit` nor a handler did
 *     answer      one did not get out
 *     pause       reading stopped for want of room
 */
export type ServerEvent = 'connection' | 'request' | 'answer' | 'pause'

export interface GrpcServerOptions {
  /** By path. A path that is not here is UNIMPLEMENTED. */
  readonly handlers: ReadonlyMap<string, UnaryHandler>
  /**
   * Asked when the headers are there and before the message is read (authentication, memory). A promise only when an
   * authenticator needs one. `head.metadata` is the same Map that the handler's call gets later.
   */
  admit?(head: CallHead): GrpcStatus | undefined | Promise<GrpcStatus | undefined>
  /** Turns what a handler threw into a status. Must not leak internals. */
  toStatus(error: unknown): GrpcStatus
  /** Limit of one message, before and after decompression. Over it: RESOURCE_EXHAUSTED, without reading on. */
  readonly maxMessageBytes: number
  /** Streams at a time on one connection; 0 = no limit of the user's, the implementation's own bound holds. */
  readonly maxConcurrentStreams: number
  /** Bytes of messages that the server holds at a time, from first byte to answer; only `http2/` knows them. */
  readonly maxInFlightBytes?: number
  readonly keepalive: {
    readonly maxConnectionIdleMs: number // 0 = for ever.
    readonly maxConnectionAgeMs: number // 0 = for ever.
    readonly maxConnectionAgeGraceMs: number // 0 = for ever.
    readonly timeMs: number
    readonly timeoutMs: number
    readonly minTimeMs: number // Faster pings from the client end the connection: too_many_pings.
    readonly permitWithoutStream: boolean
  }
  /**
   * True when nothing refers to the message of a call on this path once its handler has settled: its memory is then used
   * again. Only `http2/` asks.
   */
  releases?(path: string): boolean
  /** Told about each message that came in: bytes on the wire (-1 when unknown) and decompressed. */
  onMessage?(wireBytes: number, messageBytes: number): void
  /** Only `http2/` tells. */
  onEvent?(event: ServerEvent, reason: string): void
  /** The system's, unless a test has one of its own; only `http2/` asks. */
  readonly clock?: Clock
}

export interface GrpcServer {
  /** Takes over a connected socket: plain TCP, or a TLSSocket whose handshake chose `h2`. */
  accept(socket: Socket): void
  /** GOAWAY on all connections; resolves when the calls in flight are answered, or at the deadline, then closes all. */
  shutdown(deadline: AbortSignal): Promise<void>
  readonly connectionCount: number
  /** Bytes of messages that are held. */
  readonly inFlightBytes?: number
  /** Closes some connections without calls, those that never had one first. False when there are none. */
  makeRoom?(): boolean
}
