/**
 * Config of the `debug` exporter, and of `logging`, as it was called before.
 */
import { z } from 'zod'
import type { SendingSettings } from '../../component/define.ts'
import { refused } from '../../config/fields.ts'
import { queueField } from '../../sending/fields.ts'

export type Verbosity = 'basic' | 'normal' | 'detailed'

/** What `loglevel` of the `logging` exporter meant. */
const LOG_LEVELS: Readonly<Record<string, Verbosity>> = {
  debug: 'detailed',
  info: 'normal',
  warn: 'basic',
  warning: 'basic',
  error: 'basic',
  dpanic: 'basic',
  panic: 'basic',
  fatal: 'basic',
}

export const config = z.strictObject({
  verbosity: z
    .string()
    .toLowerCase()
    .pipe(z.enum(['basic', 'normal', 'detailed']))
    .optional(),
  loglevel: z
    .string()
    .toLowerCase()
    .refine((level) => Object.hasOwn(LOG_LEVELS, level), { error: 'expected debug, info, warn or error' })
    .optional()
    .describe('Of the former logging exporter; verbosity has its meaning now.'),
  sampling_initial: z.int().min(0).default(2), // Batches in each second that are printed in any case.
  sampling_thereafter: z.int().min(0).default(1), // Then every n-th; 1 = all, 0 = none.
  use_internal_logger: z.boolean().default(true),
  output_paths: z.array(z.string().min(1)).min(1).max(16).optional(),
  output: refused('choosing what is printed is not built; everything would be printed'),
  sending_queue: queueField({ enabledByDefault: false, numConsumers: 1 }),
})

export type Config = z.output<typeof config>

/** `verbosity` wins over `loglevel`. */
export function verbosityOf(value: Config): Verbosity {
  return value.verbosity ?? (value.loglevel === undefined ? 'basic' : (LOG_LEVELS[value.loglevel] ?? 'basic'))
}

/** Printing has no time limit and is not tried again. */
export function sendingOf(value: Config): SendingSettings {
  return {
    timeoutMs: 0,
    retry: {
      enabled: false,
      initialIntervalMs: 5000,
      randomizationFactor: 0.5,
      multiplier: 1.5,
      maxIntervalMs: 30_000,
      maxElapsedTimeMs: 300_000,
    },
    queue: value.sending_queue,
    local: true,
  }
}
