/**
 * Durations and sizes as Prometheus writes them, which are not those of Go: `1d`, `1w`, `1m30s`; `10MB` is 10
 * * 1024 * 1024.
 */
import { z } from 'zod'

const DURATION =
  /^(?:(\d{1,9})y)?(?:(\d{1,9})w)?(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?(?:(\d{1,9})ms)?$/
const DAY_MS = 86_400_000
const UNITS_MS = [365 * DAY_MS, 7 * DAY_MS, DAY_MS, 3_600_000, 60_000, 1000, 1]

/** Milliseconds; undefined when it is no duration. Units come from large to small, each once and whole. */
export function parsePrometheusDuration(text: string): number | undefined {
  if (text === '0') return 0
  const match = text === '' ? null : DURATION.exec(text)
  if (!match) return undefined
  return UNITS_MS.reduce((sum, unit, index) => sum + Number(match[index + 1] ?? 0) * unit, 0)
}

/** As Prometheus prints it in `__scrape_interval__`. */
export function formatPrometheusDuration(ms: number): string {
  if (ms === 0) return '0s'
  let text = ''
  let rest = ms
  for (const [index, name] of ['y', 'w', 'd', 'h', 'm', 's', 'ms'].entries()) {
    const unit = UNITS_MS[index] ?? 1
    // Years, weeks and days only when they say it all, so that 90m stays 1h30m and 36h stays 36h.
    if (index < 3 && rest % unit !== 0) continue
    const count = Math.floor(rest / unit)
    if (count > 0) text += `${count}${name}`
    rest -= count * unit
  }
  return text
}

/** A Prometheus duration, in milliseconds. */
export function prometheusDuration() {
  return z
    .string({ error: 'expected a duration such as 30s, 1m30s or 1d' })
    .transform((text, context) => {
      const ms = parsePrometheusDuration(text.trim())
      if (ms !== undefined) return ms
      context.addIssue({ code: 'custom', message: `"${text}" is not a duration such as 30s, 1m30s or 1d` })
      return z.NEVER
    })
    .meta({ type: 'string', title: 'duration (Prometheus)' })
}

const SIZE = /^(\d{1,15}(?:\.\d{1,6})?) ?(B|[KMGTPE]i?B)$/
const POWERS = 'BKMGTPE'

/** Bytes; undefined when it is no size. Units are powers of 1024, with or without the `i`. */
export function parseByteSize(text: string): number | undefined {
  if (text === '0' || text === '') return 0
  const match = SIZE.exec(text)
  if (!match) return undefined
  return Math.floor(Number(match[1]) * 1024 ** POWERS.indexOf((match[2] ?? 'B').charAt(0)))
}

/** A size in bytes; 0 = no limit. */
export function byteSize() {
  return z
    .union([z.string(), z.literal(0)], { error: 'expected a size such as 10MB' })
    .transform((given, context) => {
      const bytes = given === 0 ? 0 : parseByteSize(given.trim())
      if (bytes !== undefined) return bytes
      context.addIssue({ code: 'custom', message: `"${given}" is not a size such as 512KB or 10MB` })
      return z.NEVER
    })
    .meta({ type: 'string', title: 'size' })
}
