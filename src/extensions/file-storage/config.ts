/** Configuration of `file_storage`, under the names and defaults of the Go collector. */
import { z } from 'zod'
import { duration, harmless } from '../../config/fields.ts'

const BY_ITSELF = 'files in which nothing lives are removed by themselves, and mostly dead ones are compacted'

const compaction = z.strictObject({
  on_start: harmless(BY_ITSELF, z.boolean()),
  on_rebound: harmless(BY_ITSELF, z.boolean()),
  directory: harmless('a compaction needs no second directory', z.string()),
  max_transaction_size: harmless('a compaction moves one record at a time', z.int().min(0)),
  rebound_needed_threshold_mib: harmless(BY_ITSELF, z.int().min(0)),
  rebound_trigger_threshold_mib: harmless(BY_ITSELF, z.int().min(0)),
  check_interval: harmless(BY_ITSELF, duration()),
  cleanup_on_start: harmless('a compaction leaves no temporary files', z.boolean()),
})

const DEFAULT_SEGMENT_BYTES = 16 * 1024 * 1024

export const config = z.strictObject({
  directory: z
    .string()
    .min(1, { error: 'must not be empty' })
    .default('/var/lib/otelcol/file_storage')
    .describe('Must exist unless create_directory is set; one process at a time uses it.'),
  create_directory: z.boolean().default(false),
  directory_permissions: z
    .string()
    .regex(/^0?[0-7]{3}$/, { error: 'expected permissions in octal, such as "0750"' })
    .default('0750')
    .transform((text) => Number.parseInt(text, 8))
    .describe('Of directories that are created.'),
  timeout: duration()
    .refine((ms) => ms >= 0, { error: 'must not be negative' })
    .prefault('1s')
    .describe('How long to wait for another process to give up the directory.'),
  fsync: z
    .boolean()
    .default(false)
    .describe('Data counts as stored when it is on the disk, which survives a power cut.'),
  max_size: z
    .int()
    .min(0)
    .default(0)
    .describe('Limit in bytes of the files of one user (an exporter and signal); 0 = the disk.'),
  segment_size: z
    .int()
    .min(64 * 1024, { error: 'must be at least 65536' })
    .max(1024 * 1024 * 1024)
    .default(DEFAULT_SEGMENT_BYTES)
    .describe('Bytes after which a new file is begun.'),
  recreate: harmless(
    'damage costs only the records it hits, and the start never fails because of it',
    z.boolean(),
  ),
  compaction: compaction.nullish(),
})
export type Config = z.output<typeof config>
