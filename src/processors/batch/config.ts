/** Configuration of `batch`: fields, defaults and checks of the Go collector's. */
import { z } from 'zod'
import { duration } from '../../config/fields.ts'

const uint32 = (preset: number) => z.int().min(0).max(0xffffffff).default(preset)

export const config = z
  .strictObject({
    timeout: duration().default(200), // 0: send at once.
    send_batch_size: uint32(8192), // In items; 0: send at once.
    send_batch_max_size: uint32(0), // 0: no limit.
    metadata_keys: z.array(z.string().min(1)).default([]), // One batch per combination of their values.
    metadata_cardinality_limit: uint32(1000), // 0: no limit.
  })
  .superRefine((config, context) => {
    const complain = (path: (string | number)[], message: string) =>
      context.addIssue({ code: 'custom', path, message })
    if (config.timeout < 0) complain(['timeout'], 'must not be negative')
    if (config.send_batch_max_size > 0 && config.send_batch_max_size < config.send_batch_size)
      complain(['send_batch_max_size'], 'must be 0 or at least send_batch_size')
    const seen = new Set<string>()
    for (const [index, key] of config.metadata_keys.entries()) {
      const lower = key.toLowerCase()
      if (seen.has(lower))
        complain(['metadata_keys', index], `"${key}" is there twice (case does not matter)`)
      seen.add(lower)
    }
  })

export type Config = z.infer<typeof config>
