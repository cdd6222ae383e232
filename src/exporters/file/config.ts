/**
 * Config of the `file` exporter: fields, defaults, and the combinations that cannot work.
 */
import { z } from 'zod'
import { duration, harmless, refused } from '../../config/fields.ts'

const rotation = z.strictObject({
  max_megabytes: z.int().min(0).default(100), // 0 = the default, as in the Go collector.
  max_days: z.int().min(0).default(0), // 0 = for ever.
  max_backups: z.int().min(0).default(100), // 0 = all.
  localtime: z.boolean().default(false),
})

const groupBy = z.strictObject({
  enabled: z.boolean().default(false),
  resource_attribute: z.string().min(1).default('fileexporter.path_segment'),
  max_open_files: z.int().min(1).max(10_000).default(100),
})

export const config = z
  .strictObject({
    path: z.string().min(1),
    format: z.enum(['json', 'proto']).default('json'),
    encoding: refused('encoding extensions are not built; format has json and proto'),
    append: z.boolean().default(false),
    compression: z.enum(['none', 'zstd', '']).default('none'),
    rotation: rotation.nullish(),
    flush_interval: harmless(
      'every batch is handed to the operating system before it is acknowledged, so there is nothing to flush',
      duration().refine((ms) => ms >= 0, { error: 'must not be negative' }),
    ),
    group_by: groupBy.prefault({}),
    create_directory: z.boolean().default(false),
    directory_permissions: z
      .string()
      .regex(/^0?[0-7]{3}$/, { error: 'expected octal permissions such as 0755' })
      .default('0755'),
  })
  .check(({ value, issues }) => {
    const refuse = (field: 'append' | 'path', message: string) =>
      issues.push({ code: 'custom', message, path: [field], input: value[field] })
    if (value.append && value.rotation) refuse('append', 'cannot be combined with rotation')
    if (value.append && value.compression === 'zstd') refuse('append', 'cannot be combined with compression')
    if (!value.group_by.enabled) return
    if (value.path.split('*').length !== 2)
      refuse('path', 'must contain exactly one * when group_by is enabled')
    else if (value.path.startsWith('*')) refuse('path', 'must not start with * when group_by is enabled')
  })

export type Config = z.output<typeof config>

export interface Rotation {
  readonly maxBytes: number
  readonly maxDays: number
  readonly maxBackups: number
  readonly localTime: boolean
}

export function rotationOf(value: Config): Rotation | undefined {
  if (!value.rotation) return undefined
  return {
    maxBytes: (value.rotation.max_megabytes || 100) * 1024 * 1024,
    maxDays: value.rotation.max_days,
    maxBackups: value.rotation.max_backups,
    localTime: value.rotation.localtime,
  }
}
