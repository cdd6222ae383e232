/**
 * Every error class of Weir, sorted by what the sender of the data should do about it.
 *
 * Each class declares a `static code`, which the base copies to the instance, so that code and class cannot
 * drift apart. `receivers/otlp/status.ts` maps these classes to gRPC codes and HTTP statuses (docs/errors.md).
 */

export class WeirError extends Error {
  static code = 'WEIR'
  readonly code: string
  /** Sending the same data again may work later. */
  get retryable(): boolean {
    return false
  }
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = new.target.name
    this.code = new.target.code
  }
}

/** One problem in a configuration, with its place. `line` and `column` count from 1; 0 when there is no place. */
export interface ConfigProblem {
  readonly file: string
  readonly line: number
  readonly column: number
  readonly path: string
  readonly message: string
}

/** The configuration is wrong: all problems together, before anything starts. Exit code 1. */
export class ConfigError extends WeirError {
  static override code = 'CONFIG'
  readonly problems: readonly ConfigProblem[]
  constructor(problems: readonly ConfigProblem[]) {
    super(problems.map(formatProblem).join('\n'))
    this.problems = problems
  }
}

/** `file:line:column: path: message`, the form that editors and terminals make clickable. */
export function formatProblem(problem: ConfigProblem): string {
  const place = problem.line > 0 ? `${problem.file}:${problem.line}:${problem.column}` : problem.file
  return problem.path === ''
    ? `${place}: ${problem.message}`
    : `${place}: ${problem.path}: ${problem.message}`
}

/** The sender's data is wrong and will be wrong again. INVALID_ARGUMENT, 400. */
export class InvalidError extends WeirError {
  static override code = 'INVALID'
}

/** The sender's bytes do not follow the wire format; `offset` is where reading stopped. */
export class WireError extends InvalidError {
  static override code = 'WIRE'
  readonly offset: number
  constructor(message: string, offset: number) {
    super(`${message} at byte ${offset}`)
    this.offset = offset
  }
}

/** Over a size limit, on the wire or decompressed. RESOURCE_EXHAUSTED without RetryInfo, 413. */
export class TooLargeError extends WeirError {
  static override code = 'TOO_LARGE'
}

export class UnauthenticatedError extends WeirError {
  static override code = 'UNAUTHENTICATED'
}

export class UnimplementedError extends WeirError {
  static override code = 'UNIMPLEMENTED'
}

export class UnsupportedMediaError extends WeirError {
  static override code = 'UNSUPPORTED_MEDIA'
}

/** May work later. UNAVAILABLE with RetryInfo, 503 with Retry-After when `retryAfterMs` is known. */
export class RetryableError extends WeirError {
  static override code = 'RETRYABLE'
  readonly retryAfterMs: number | undefined
  override get retryable(): boolean {
    return true
  }
  constructor(message: string, options?: { cause?: unknown; retryAfterMs?: number | undefined }) {
    super(message, options)
    this.retryAfterMs = options?.retryAfterMs
  }
}

/** Retryable, and nothing was taken: memory limit or full queue. Always says when to come back. */
export class RefusedError extends RetryableError {
  static override code = 'REFUSED'
  constructor(message: string, retryAfterMs = 1000) {
    super(message, { retryAfterMs })
  }
}

/**
 * A backend refused for good; never the sender's fault. Answers with the backend's own gRPC status if it
 * has one, else INTERNAL, 500.
 */
export class DownstreamError extends WeirError {
  static override code = 'DOWNSTREAM'
  readonly grpcStatus: number | undefined
  constructor(message: string, options?: { cause?: unknown; grpcStatus?: number | undefined }) {
    super(message, options)
    this.grpcStatus = options?.grpcStatus
  }
}

/**
 * The data was taken but for some items, which are wrong for good. The sender is answered success with the number of rejected
 * items, and must not send again.
 */
export class PartialSuccess extends WeirError {
  static override code = 'PARTIAL_SUCCESS'
  readonly rejectedItems: number
  constructor(message: string, rejectedItems: number) {
    super(message)
    this.rejectedItems = rejectedItems
  }
}

/** The component or the process is stopping; what was not taken is to be sent elsewhere or later. */
export class ShutdownError extends RetryableError {
  static override code = 'SHUTDOWN'
}

/** True when sending the same data again may work. What is not ours counts as permanent: it would fail again. */
export function isRetryable(error: unknown): boolean {
  return error instanceof WeirError && error.retryable
}

export function toError(value: unknown): Error {
  return value instanceof Error ? value : new Error(String(value))
}
