/**
 * The words that component schemas are written with, on top of zod: durations, secrets, and the two
 * kinds of field that do not simply work.
 *
 * Every known field of a component is one of three, and the table in docs/fields.md is generated from it:
 * it works (plain schema), it is harmless to ignore (`harmless`: accepted, one warning that says why), or it is
 * unsafe to ignore (`refused`: an error that names it).
 */
import { z } from 'zod'

/** What a schema says about itself through `.meta()`; read by the loader, the JSON Schema and the field table. */
export interface FieldMeta {
  readonly status?: 'harmless' | 'refused'
  readonly why?: string
  readonly secret?: boolean
  readonly [key: string]: unknown
}

const GO_DURATION =
  /^[-+]?(\d+(\.\d*)?|\.\d+)(ns|us|\u00b5s|\u03bcs|ms|s|m|h)((\d+(\.\d*)?|\.\d+)(ns|us|\u00b5s|\u03bcs|ms|s|m|h))*$/
const UNIT_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  '\u00b5s': 1e-3,
  '\u03bcs': 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
}

/** Parses a Go duration (`1m30s`, `200ms`, `0`) to milliseconds; undefined when it is not one. */
export function parseDuration(text: string): number | undefined {
  if (text === '0' || text === '+0' || text === '-0') return 0
  if (!GO_DURATION.test(text)) return undefined
  let sum = 0
  for (const [, amount, unit] of text.matchAll(/(\d+\.?\d*|\.\d+)(ns|us|\u00b5s|\u03bcs|ms|s|m|h)/g)) {
    sum += Number(amount) * (UNIT_MS[unit ?? ''] ?? Number.NaN)
  }
  return text.startsWith('-') ? -sum : sum
}

/** A Go duration, in milliseconds. A bare integer is nanoseconds, as in the Go collector. */
export function duration() {
  return z
    .union([z.string(), z.int()], { error: 'expected a duration such as 200ms, 5s or 1m30s' })
    .transform((value, context) => {
      const ms = typeof value === 'number' ? value / 1e6 : parseDuration(value.trim())
      if (ms !== undefined && Number.isFinite(ms)) return ms
      context.addIssue({ code: 'custom', message: `"${value}" is not a duration such as 200ms, 5s or 1m30s` })
      return z.NEVER
    })
    .meta({ type: 'string', title: 'duration' })
}

/** A value that never prints: logs, print-config and errors show [redacted]. */
export class Secret {
  readonly #value: string
  constructor(value: string) {
    this.#value = value
  }
  /** The value itself, for the one place that sends it. */
  reveal(): string {
    return this.#value
  }
  toString(): string {
    return '[redacted]'
  }
  toJSON(): string {
    return '[redacted]'
  }
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return '[redacted]'
  }
}

export function secret() {
  return z
    .string()
    .transform((value) => new Secret(value))
    .meta({ secret: true, type: 'string' } satisfies FieldMeta & { type: string })
}

/** A known field without effect here: accepted with one warning. `why` completes "ignored: ...". */
export function harmless(why: string, schema: z.ZodType = z.unknown()) {
  return schema.optional().meta({ status: 'harmless', why } satisfies FieldMeta)
}

/** A known field that would change what happens to data and is not built: its presence is an error. */
export function refused(why: string) {
  return z
    .unknown()
    .optional()
    .refine((value) => value === undefined, { error: `not supported: ${why}` })
    .meta({ status: 'refused', why } satisfies FieldMeta)
}
