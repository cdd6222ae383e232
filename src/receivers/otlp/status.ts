/**
 * What a sender is answered for each class of errors.ts, over gRPC and over HTTP. The table is in docs/errors.md, and a test
 * compares the two. Texts say what the sender can act on; what happened behind the receiver stays in the log.
 */
import {
  DownstreamError,
  InvalidError,
  RefusedError,
  RetryableError,
  ShutdownError,
  TooLargeError,
  UnauthenticatedError,
  UnimplementedError,
  UnsupportedMediaError,
} from '../../errors.ts'
import { GRPC, type GrpcStatus } from '../../net/grpc.ts'
import { encodeRpcStatus, httpFromGrpc, type RpcStatus } from '../../net/rpc-status.ts'

/** `reason` is the label of the refusal in the receiver's own metrics. */
export interface Refusal extends RpcStatus {
  readonly http: number
  readonly reason: string
}

export function refusalOf(error: unknown): Refusal {
  if (error instanceof InvalidError)
    return refusal(GRPC.INVALID_ARGUMENT, 400, 'invalid', error.message, undefined, true)
  if (error instanceof TooLargeError) return refusal(GRPC.RESOURCE_EXHAUSTED, 413, 'too_large', error.message)
  if (error instanceof UnauthenticatedError)
    return refusal(GRPC.UNAUTHENTICATED, 401, 'unauthenticated', error.message)
  if (error instanceof UnimplementedError)
    return refusal(GRPC.UNIMPLEMENTED, 404, 'unimplemented', error.message)
  if (error instanceof UnsupportedMediaError)
    return refusal(GRPC.INVALID_ARGUMENT, 415, 'unsupported_media', error.message)
  if (error instanceof RefusedError)
    return refusal(GRPC.UNAVAILABLE, 503, 'refused', error.message, error.retryAfterMs)
  if (error instanceof ShutdownError)
    return refusal(GRPC.UNAVAILABLE, 503, 'shutdown', 'the collector is stopping', error.retryAfterMs)
  if (error instanceof RetryableError) {
    // PartialError is of this class, and says by itself when nothing of it is worth another try.
    if (!error.retryable) return refusal(GRPC.INTERNAL, 500, 'downstream', 'the data was refused further on')
    return refusal(GRPC.UNAVAILABLE, 503, 'retryable', 'the data cannot be taken now', error.retryAfterMs)
  }
  if (error instanceof DownstreamError) {
    const code = error.grpcStatus ?? GRPC.INTERNAL
    return refusal(code, httpFromGrpc(code), 'downstream', 'the data was refused further on')
  }
  return refusal(GRPC.INTERNAL, 500, 'internal', 'internal error')
}

function refusal(
  code: number,
  http: number,
  reason: string,
  message: string,
  retryAfterMs?: number,
  badRequest = false,
): Refusal {
  return { code, http, reason, message, retryAfterMs, badRequest }
}

/** With details when there is more to say than code and message. */
export function grpcStatusOf(refused: Refusal): GrpcStatus {
  const { code, message } = refused
  if (refused.retryAfterMs === undefined && !refused.badRequest) return { code, message }
  return { code, message, details: encodeRpcStatus(refused) }
}

/** `Retry-After` in whole seconds, never sooner than asked for; undefined when there is nothing to say. */
export function retryAfterHeader(refused: Refusal): string | undefined {
  if (refused.retryAfterMs === undefined || (refused.http !== 429 && refused.http !== 503)) return undefined
  return String(Math.max(1, Math.ceil(refused.retryAfterMs / 1000)))
}
