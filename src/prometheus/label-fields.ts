/** Fields that both Prometheus exporters have: external labels, and which resource attributes become labels. */
import { z } from 'zod'

/** A map whose keys and values say something. */
export function externalLabelsField() {
  return z
    .record(
      z.string().min(1, { error: 'a label needs a name' }),
      z.string().min(1, { error: 'an empty value is the same as no label: leave it out' }),
    )
    .nullish()
    .transform((labels) => labels ?? {})
}

const patterns = z.array(z.string().min(1)).default([])

/** Attribute keys with `*` for any run of characters. */
export function constantLabelsField() {
  return z
    .strictObject({ included: patterns, excluded: patterns })
    .nullish()
    .describe('Resource attributes that become labels of every series; * stands for any characters.')
}

interface ResourceLabelFields {
  readonly resource_to_telemetry_conversion?:
    | { readonly enabled: boolean; readonly exclude_service_attributes?: boolean }
    | null
    | undefined
  readonly resource_constant_labels?:
    | { readonly included: readonly string[]; readonly excluded: readonly string[] }
    | null
    | undefined
}

const SERVICE_ATTRIBUTES = ['service.name', 'service.namespace', 'service.instance.id']

/** Undefined when no resource attribute becomes a label. */
export function resourceLabelsOf(config: ResourceLabelFields): ((key: string) => boolean) | undefined {
  const constant = config.resource_constant_labels
  if (constant) {
    const included = matcher(constant.included)
    const excluded = matcher(constant.excluded)
    return (key) => included(key) && !excluded(key)
  }
  const conversion = config.resource_to_telemetry_conversion
  if (!conversion?.enabled) return undefined
  if (!conversion.exclude_service_attributes) return () => true
  return (key) => !SERVICE_ATTRIBUTES.includes(key)
}

/** True for keys that one of the patterns matches. A pattern is cut at its stars and compared piece by piece. */
function matcher(list: readonly string[]): (key: string) => boolean {
  const compiled = list.map((pattern) => pattern.split('*'))
  return (key) => compiled.some((pieces) => matches(key, pieces))
}

function matches(key: string, pieces: readonly string[]): boolean {
  const first = pieces[0] ?? ''
  if (pieces.length === 1) return key === first
  const last = pieces.at(-1) ?? ''
  if (!key.startsWith(first) || key.length < first.length + last.length || !key.endsWith(last)) return false
  let at = first.length
  for (const piece of pieces.slice(1, -1)) {
    const found = key.indexOf(piece, at)
    if (found < 0) return false
    at = found + piece.length
  }
  return at <= key.length - last.length
}
