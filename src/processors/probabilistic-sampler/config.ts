/** Configuration of `probabilistic_sampler`: fields, defaults and checks of the Go collector's. */
import { z } from 'zod'
import { HEX_DIGITS } from './threshold.ts'

/** 2^-56, the least probability that a threshold can say. */
const LEAST_RATIO = 2 ** -56

export const config = z
  .strictObject({
    sampling_percentage: z.number().default(0), // 32-bit float; 0 drops everything, above 100 counts as 100.
    mode: z.enum(['hash_seed', 'proportional', 'equalizing']).default('hash_seed'),
    hash_seed: z.int().min(0).max(0xffffffff).default(0), // The same on all collectors of a tier.
    fail_closed: z.boolean().default(true), // What cannot be judged is dropped.
    sampling_precision: z.int().min(1).max(HEX_DIGITS).default(4), // Hex digits of the threshold.
    attribute_source: z.enum(['traceID', 'record']).default('traceID'), // Logs only, as the two below.
    from_attribute: z.string().default(''),
    sampling_priority: z.string().default(''), // The attribute that holds a percentage for its record.
  })
  .superRefine((config, context) => {
    const percentage = Math.fround(config.sampling_percentage)
    const complain = (message: string) =>
      context.addIssue({ code: 'custom', path: ['sampling_percentage'], message })
    if (!Number.isFinite(percentage)) complain('must be a finite number')
    else if (percentage < 0) complain('must not be negative')
    else if (percentage > 0 && percentage / 100 < LEAST_RATIO) complain('is too small to be told from 0')
  })

export type Config = z.infer<typeof config>
