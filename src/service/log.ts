/**
 * Weir's own log: pino behind the Logger of components. JSON lines (or console lines) on stderr unless configured otherwise.
 *
 * Every thread writes for itself, synchronously, whole lines. A message that repeats is written `initial` times per tick,
 * then once per `thereafter`, with the number left out (service.telemetry.logs.sampling).
 */
import pino from 'pino'
import type { LogFields, Logger } from '../component/logger.ts'
import type { LogsTelemetry } from '../config/types.ts'

type Level = LogsTelemetry['level']

/** Distinct messages that are counted per tick; beyond it they are written unthrottled. */
const MAX_COUNTED_MESSAGES = 1000

/** Of a text in a field, such as what a backend said. Messages are constants, or what `debug` shows. */
const MAX_FIELD_CHARACTERS = 16_384

/** While `quiet` says so, only errors are written. */
export function createLogger(
  settings: LogsTelemetry,
  fields: LogFields = {},
  quiet: () => boolean = () => false,
): Logger {
  const destinations = settings.outputPaths.map((path) => openDestination(path))
  const write = (line: string) => {
    const text = settings.encoding === 'console' ? consoleLine(line) : line
    for (const destination of destinations) destination.write(text)
  }
  const base = pino(
    {
      level: settings.level,
      base: { ...settings.initialFields, ...fields },
      messageKey: 'msg',
      timestamp: () => `,"ts":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { error: serializeError },
    },
    { write },
  )
  return wrap(base, createThrottle(settings.sampling), quiet)
}

function openDestination(path: string): { write(text: string): void } {
  if (path === 'stderr') return pino.destination({ fd: 2, sync: true })
  if (path === 'stdout') return pino.destination({ fd: 1, sync: true })
  return pino.destination({ dest: path, sync: true, mkdir: true, append: true })
}

/** Says how many lines of a message were left out since the last one, or undefined to leave this one out too. */
type Throttle = (level: Level, message: string) => number | undefined

function createThrottle(sampling: LogsTelemetry['sampling']): Throttle {
  if (!sampling.enabled) return () => 0
  let counts = new Map<string, { seen: number; skipped: number }>()
  let tickEndsMs = 0
  return (level, message) => {
    const nowMs = performance.now()
    if (nowMs >= tickEndsMs) {
      tickEndsMs = nowMs + sampling.tickMs
      const before = counts
      counts = new Map()
      for (const [key, entry] of before) {
        if (entry.skipped > 0) counts.set(key, { seen: 0, skipped: entry.skipped })
      }
    }
    const key = `${level} ${message}`
    let entry = counts.get(key)
    if (entry === undefined) {
      if (counts.size >= MAX_COUNTED_MESSAGES) return 0
      entry = { seen: 0, skipped: 0 }
      counts.set(key, entry)
    }
    entry.seen++
    const extra = entry.seen - sampling.initial
    const written = extra <= 0 || (sampling.thereafter > 0 && extra % sampling.thereafter === 0)
    if (!written) {
      entry.skipped++
      return undefined
    }
    const skipped = entry.skipped
    entry.skipped = 0
    return skipped
  }
}

function wrap(base: pino.Logger, throttle: Throttle, quiet: () => boolean): Logger {
  const log = (level: Level, message: string, fields: LogFields | undefined) => {
    if (!base.isLevelEnabled(level) || (level !== 'error' && quiet())) return
    const skipped = throttle(level, message)
    if (skipped === undefined) return
    const shown = clipped(fields ?? {})
    base[level](skipped > 0 ? { ...shown, left_out: skipped } : shown, message)
  }
  return {
    error: (message, fields) => log('error', message, fields),
    warn: (message, fields) => log('warn', message, fields),
    info: (message, fields) => log('info', message, fields),
    debug: (message, fields) => log('debug', message, fields),
    debugEnabled: base.isLevelEnabled('debug'),
    child: (more) => wrap(base.child(more), throttle, quiet),
  }
}

function clipped(fields: LogFields): LogFields {
  let result: Record<string, unknown> | undefined
  for (const [key, value] of Object.entries(fields)) {
    if (typeof value !== 'string' || value.length <= MAX_FIELD_CHARACTERS) continue
    result ??= { ...fields }
    result[key] = clip(value)
  }
  return result ?? fields
}

function clip(text: string): string {
  if (text.length <= MAX_FIELD_CHARACTERS) return text
  return `${text.slice(0, MAX_FIELD_CHARACTERS)}... (${text.length} characters)`
}

/** The message and the chain of causes on one line; the stack only where it is a fault of ours. */
function serializeError(error: unknown): unknown {
  if (!(error instanceof Error)) return error
  const parts = [error.message]
  let cause = error.cause
  for (let depth = 0; cause instanceof Error && depth < 5; depth++) {
    if (!parts.includes(cause.message)) parts.push(cause.message)
    cause = cause.cause
  }
  const text = clip(parts.join(': '))
  const ours = error instanceof TypeError || error instanceof RangeError || error instanceof ReferenceError
  return ours ? { message: text, stack: error.stack } : text
}

/** `time <tab> level <tab> message <tab> {fields}`, the layout of the Go collector's console encoder. */
function consoleLine(json: string): string {
  const { ts, level, msg, ...fields } = JSON.parse(json) as Record<string, unknown>
  const rest = Object.keys(fields).length === 0 ? '' : `\t${JSON.stringify(fields)}`
  return `${String(ts)}\t${String(level)}\t${String(msg)}${rest}\n`
}
