/**
 * google.rpc.Status, the body of a refusal in OTLP: written as protobuf (also for the trailer grpc-status-details-bin) and as
 * JSON, and how gRPC codes and HTTP statuses stand for each other (docs/errors.md).
 */
import { WireWriter } from '../otlp/wire.ts'
import { GRPC } from './grpc.ts'
import {
  ANY,
  DURATION,
  RPC_BAD_REQUEST,
  RPC_FIELD_VIOLATION,
  RPC_RETRY_INFO,
  RPC_STATUS,
} from './wire-fields.ts'

export interface RpcStatus {
  readonly code: number
  readonly message: string
  /** When to come back: a RetryInfo detail. */
  readonly retryAfterMs?: number | undefined
  /** The sender's data is wrong: a BadRequest detail that says so again, for clients that read details only. */
  readonly badRequest?: boolean | undefined
}

const RETRY_INFO = 'type.googleapis.com/google.rpc.RetryInfo'
const BAD_REQUEST = 'type.googleapis.com/google.rpc.BadRequest'

// message Status { int32 code = 1; string message = 2; repeated Any details = 3; }
export function encodeRpcStatus(status: RpcStatus): Uint8Array {
  const writer = new WireWriter(128)
  if (status.code !== 0) writer.uintField(RPC_STATUS.code, status.code)
  if (status.message !== '') writer.string(RPC_STATUS.message, status.message)
  if (status.retryAfterMs !== undefined) {
    // message RetryInfo { Duration retry_delay = 1; }
    writer.begin(RPC_STATUS.details).string(ANY.typeUrl, RETRY_INFO).begin(ANY.value)
    writer.begin(RPC_RETRY_INFO.retryDelay)
    const seconds = Math.floor(status.retryAfterMs / 1000)
    const nanos = Math.floor((status.retryAfterMs - seconds * 1000) * 1e6)
    if (seconds > 0) writer.uintField(DURATION.seconds, seconds)
    if (nanos > 0) writer.uintField(DURATION.nanos, nanos)
    writer.end().end().end()
  }
  if (status.badRequest) {
    // message BadRequest { repeated FieldViolation field_violations = 1; }
    writer.begin(RPC_STATUS.details).string(ANY.typeUrl, BAD_REQUEST).begin(ANY.value)
    writer.begin(RPC_BAD_REQUEST.fieldViolations)
    writer.string(RPC_FIELD_VIOLATION.description, status.message)
    writer.end().end().end()
  }
  return writer.finish()
}

export function rpcStatusJson(status: RpcStatus): string {
  const details: object[] = []
  if (status.retryAfterMs !== undefined)
    details.push({ '@type': RETRY_INFO, retryDelay: `${status.retryAfterMs / 1000}s` })
  if (status.badRequest)
    details.push({ '@type': BAD_REQUEST, fieldViolations: [{ description: status.message }] })
  return JSON.stringify({
    code: status.code,
    message: status.message,
    ...(details.length > 0 ? { details } : {}),
  })
}

/** The HTTP status that an OTLP/HTTP server answers for a gRPC code. */
export function httpFromGrpc(code: number): number {
  switch (code) {
    case GRPC.OK:
      return 200
    case GRPC.CANCELLED:
    case GRPC.DEADLINE_EXCEEDED:
    case GRPC.ABORTED:
    case GRPC.OUT_OF_RANGE:
    case GRPC.UNAVAILABLE:
    case GRPC.DATA_LOSS:
      return 503
    case GRPC.RESOURCE_EXHAUSTED:
      return 429
    case GRPC.INVALID_ARGUMENT:
      return 400
    case GRPC.UNAUTHENTICATED:
      return 401
    case GRPC.PERMISSION_DENIED:
      return 403
    case GRPC.UNIMPLEMENTED:
      return 404
    default:
      return 500
  }
}

/** The gRPC code that an OTLP/HTTP status stands for. */
export function grpcFromHttp(status: number): number {
  switch (status) {
    case 400:
      return GRPC.INVALID_ARGUMENT
    case 401:
      return GRPC.UNAUTHENTICATED
    case 403:
      return GRPC.PERMISSION_DENIED
    case 404:
      return GRPC.UNIMPLEMENTED
    case 429:
      return GRPC.RESOURCE_EXHAUSTED
    case 502:
    case 503:
    case 504:
      return GRPC.UNAVAILABLE
    default:
      return status >= 200 && status < 300 ? GRPC.OK : GRPC.UNKNOWN
  }
}
