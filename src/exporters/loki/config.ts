/**
 * Fields of the `loki` exporter: those of the last version in the Collector, those that were removed from it
 * in 2023 and are still in users' files (tenant_id, tenant, labels, format), and Weir's own (encoding,
 * structured_metadata).
 */
import { z } from 'zod'
import { httpClientFields, httpUrlField } from '../../net/client-fields.ts'
import { queueField, retryField, timeoutField } from '../../sending/fields.ts'

const labelName = z.string().regex(/^([a-zA-Z_][a-zA-Z0-9_]*)?$/, { error: 'not a label name' })
const labelMap = () => z.record(z.string().min(1), labelName.nullish()).nullish()
const flag = () => z.boolean().default(true)

const defaultLabels = z.strictObject({ exporter: flag(), job: flag(), instance: flag(), level: flag() })

const legacyLabels = z
  .strictObject({
    attributes: labelMap(),
    resource: labelMap(),
    record: z
      .partialRecord(z.enum(['traceID', 'spanID', 'severity', 'severityN']), labelName.nullish())
      .nullish(),
  })
  .refine((value) => [value.attributes, value.resource, value.record].some((map) => size(map) > 0), {
    error: 'at least one of attributes, resource and record must name a label',
  })

function size(map: object | null | undefined): number {
  return Object.keys(map ?? {}).length
}

export const config = z
  .strictObject({
    endpoint: httpUrlField().describe('The whole push URL, http://loki:3100/loki/api/v1/push'),
    default_labels_enabled: defaultLabels.nullish(),
    ...httpClientFields(),
    compression: z.enum(['', 'none', 'gzip']).default(''),
    timeout: timeoutField('30s'),
    retry_on_failure: retryField(),
    sending_queue: queueField(),
    tenant_id: z.string().nullish().describe('Sent as X-Scope-OrgID.'),
    tenant: z
      .strictObject({
        source: z.enum(['static', 'context', 'attributes', 'attribute']),
        value: z.string(),
      })
      .nullish(),
    labels: legacyLabels.nullish(),
    format: z.enum(['json', 'logfmt', 'raw', 'body']).nullish(),
    encoding: z.enum(['protobuf', 'json']).default('protobuf'),
    structured_metadata: z
      .union([z.boolean(), z.array(z.string().min(1))])
      .default(false)
      .describe('Attributes sent beside the line: true for all, or a list of names.'),
  })
  .refine((value) => !(value.tenant && value.tenant_id), {
    error: 'tenant_id and tenant exclude each other',
    path: ['tenant_id'],
  })

export type LokiConfig = z.output<typeof config>

/** What the removed fields are to be replaced with, for the fields that the config uses. */
export function legacyWarnings(value: LokiConfig): string[] {
  const warnings = []
  if (value.tenant_id || value.tenant)
    warnings.push(
      'tenant_id and tenant are old forms: set headers X-Scope-OrgID, or the attribute hint loki.tenant',
    )
  if (value.labels)
    warnings.push(
      'labels is an old form: use the attribute hints loki.attribute.labels and loki.resource.labels',
    )
  if (value.format) warnings.push('format is an old form: use the attribute hint loki.format')
  return warnings
}
