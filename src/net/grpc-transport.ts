/**
 * What a gRPC client is to the exporters' side: unary calls as bytes. Two implementations keep this interface: `grpc-js-client.ts` on
 * @grpc/grpc-js, and `http2/` on sockets directly. What a status means for the data is not decided here (`grpc-client.ts`).
 */
import type { ConnectionOptions } from 'node:tls'

export interface OutgoingCall {
  /** `/package.Service/Method`. */
  readonly path: string
  /** Put end to end they are the message. They are not written to. */
  readonly message: readonly Uint8Array[]
  /** Keys in lower case. Values of `-bin` keys are sent as base64. */
  readonly headers: Readonly<Record<string, string>>
  /** Told to the server, and kept here too; 0 = none. */
  readonly timeoutMs: number
  /** Ends the call with CANCELLED. */
  readonly attempt: AbortSignal
}

/** The status that a call ended with. `details` is what grpc-status-details-bin held. */
export class GrpcCallError extends Error {
  readonly code: number
  readonly details: Uint8Array | undefined
  constructor(code: number, message: string, details?: Uint8Array, cause?: unknown) {
    super(message, { cause })
    this.name = 'GrpcCallError'
    this.code = code
    this.details = details
  }
}

export interface GrpcTransport {
  /** Begins to connect. */
  connect(): void
  /** Gives the encoded response; rejects with GrpcCallError. */
  call(call: OutgoingCall): Promise<Uint8Array>
  /** The process is stopping: whoever calls now has no second attempt, so no call waits for a backoff to end. */
  drain(): void
  /** No more calls. Those under way end as they would. */
  close(): void
  /** True when nothing refers to the bytes of a message once its call has settled. */
  readonly releases: boolean
}

export type MessageCompression = 'gzip' | 'zstd' | 'snappy'
export type Balancer = 'round_robin' | 'pick_first'

/** Where a client connects to: a host and a port, or a socket of the file system. */
export type GrpcAddress = { readonly host: string; readonly port: number } | { readonly path: string }

export interface GrpcTransportOptions {
  readonly address: GrpcAddress
  /** As @grpc/grpc-js takes it: with a resolver scheme. */
  readonly target: string
  /** `:authority`; empty for what the address says. */
  readonly authority: string
  /** Undefined for plaintext. `servername` is the name to check in place of the host's. */
  readonly tls: ConnectionOptions | undefined
  readonly userAgent: string
  readonly compression: MessageCompression | undefined
  readonly balancer: Balancer
  /** Calls wait for a connection instead of failing when there is none to be had. */
  readonly waitForReady: boolean
  readonly maxResponseBytes: number
  readonly keepalive:
    | { readonly timeMs: number; readonly timeoutMs: number; readonly permitWithoutStream: boolean }
    | undefined
}
