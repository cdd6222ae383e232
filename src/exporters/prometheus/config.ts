/** The configuration of the `prometheus` exporter, under the names and defaults of the Go collector. */
import { z } from 'zod'
import { duration } from '../../config/fields.ts'
import { httpServerFields } from '../../net/server-fields.ts'
import type { BaseOptions } from '../../prometheus/label-base.ts'
import { constantLabelsField, resourceLabelsOf } from '../../prometheus/label-fields.ts'
import { chooseStrategy, STRATEGIES } from '../../prometheus/naming.ts'
import { queueField } from '../../sending/fields.ts'

const DEFAULT_SERIES = 1_000_000

export const config = z
  .strictObject({
    ...httpServerFields(''),
    endpoint: z
      .string({ error: 'required: where to listen, for example 0.0.0.0:8889' })
      .refine((text) => text.trim() !== '', { error: 'must not be blank' }),
    namespace: z.string().default(''),
    const_labels: z
      .record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, { error: 'not a label name' }), z.string())
      .nullish(),
    send_timestamps: z.boolean().default(false),
    metric_expiration: duration()
      .refine((ms) => ms > 0, { error: 'must be greater than 0' })
      .prefault('5m'),
    resource_to_telemetry_conversion: z
      .strictObject({
        enabled: z.boolean().default(false),
        exclude_service_attributes: z.boolean().default(false),
      })
      .nullish(),
    resource_constant_labels: constantLabelsField(),
    enable_open_metrics: z.boolean().default(false),
    add_metric_suffixes: z.boolean().default(true),
    translation_strategy: z.enum(['', ...STRATEGIES]).default(''),
    without_scope_info: z.boolean().default(false),
    sending_queue: queueField({ enabledByDefault: false }),
    max_series: z
      .int()
      .min(1)
      .default(DEFAULT_SERIES)
      .describe('Series held by the whole process; new ones over it are dropped and counted.'),
  })
  .superRefine((value, context) => {
    if (!value.resource_to_telemetry_conversion?.enabled || !value.resource_constant_labels) return
    const message = 'replaces resource_to_telemetry_conversion: give only one of them'
    context.addIssue({ code: 'custom', path: ['resource_constant_labels'], message })
  })
export type Config = z.output<typeof config>

export function baseOptions(config: Config): BaseOptions {
  return {
    strategy: chooseStrategy(config.translation_strategy, config.add_metric_suffixes),
    external: new Map(Object.entries(config.const_labels ?? {})),
    scope: config.without_scope_info ? 'none' : 'all',
    resourceLabels: resourceLabelsOf(config),
    labelStyle: 'keep',
    targetInfo: 'always',
  }
}
