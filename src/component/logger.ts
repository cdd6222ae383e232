/**
 * What components log with: a constant message plus fields. Repeats of one message are throttled by the logger
 * itself (service.telemetry.logs.sampling), so no component throttles on its own.
 *
 * error: data lost or a component down. warn: degraded, retrying. info: life cycle. debug: at most per batch.
 */

export type LogFields = Readonly<Record<string, unknown>>

export interface Logger {
  error(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  debug(message: string, fields?: LogFields): void
  /** True when debug lines are written: check before building costly fields. */
  readonly debugEnabled: boolean
  child(fields: LogFields): Logger
}

export const silentLogger: Logger = {
  error() {},
  warn() {},
  info() {},
  debug() {},
  debugEnabled: false,
  child: () => silentLogger,
}
