/**
 * Errors on their way between threads: structured cloning keeps neither class nor fields, so what the receiver of
 * the error acts on travels as plain values.
 */
import {
  DownstreamError,
  InvalidError,
  isRetryable,
  RefusedError,
  RetryableError,
  ShutdownError,
  TooLargeError,
} from '../errors.ts'
import { PeerDownError } from './kept.ts'

export interface PackedError {
  readonly kind: 'not_ready' | 'refused' | 'shutdown' | 'retryable' | 'invalid' | 'too_large' | 'downstream'
  readonly message: string
  readonly retryAfterMs?: number | undefined
  readonly grpcStatus?: number | undefined
}

export function packError(error: Error): PackedError {
  const message = error.message
  if (error instanceof RefusedError) return { kind: 'refused', message, retryAfterMs: error.retryAfterMs }
  if (error instanceof ShutdownError) return { kind: 'shutdown', message, retryAfterMs: error.retryAfterMs }
  if (error instanceof RetryableError) return { kind: 'retryable', message, retryAfterMs: error.retryAfterMs }
  if (isRetryable(error)) return { kind: 'retryable', message }
  if (error instanceof InvalidError) return { kind: 'invalid', message }
  if (error instanceof TooLargeError) return { kind: 'too_large', message }
  const grpcStatus = error instanceof DownstreamError ? error.grpcStatus : undefined
  return { kind: 'downstream', message, grpcStatus }
}

export function unpackError(packed: PackedError): Error {
  const { message, retryAfterMs } = packed
  switch (packed.kind) {
    case 'not_ready':
      return new PeerDownError(message)
    case 'refused':
      return new RefusedError(message, retryAfterMs)
    case 'shutdown':
      return new ShutdownError(message, { retryAfterMs })
    case 'retryable':
      return new RetryableError(message, { retryAfterMs })
    case 'invalid':
      return new InvalidError(message)
    case 'too_large':
      return new TooLargeError(message)
    case 'downstream':
      return new DownstreamError(message, { grpcStatus: packed.grpcStatus })
  }
}
