/**
 * Verbosity `normal`: one line for each resource, scope and item.
 */
import type { Signal } from '../../otlp/batch.ts'
import { type Attribute, fixedDouble, type Json, pairs, plainText, shortDouble } from './values.ts'

const NAMES = {
  traces: {
    resource: 'ResourceTraces',
    scope: 'ScopeTraces',
    resources: 'resourceSpans',
    scopes: 'scopeSpans',
  },
  metrics: {
    resource: 'ResourceMetrics',
    scope: 'ScopeMetrics',
    resources: 'resourceMetrics',
    scopes: 'scopeMetrics',
  },
  logs: { resource: 'ResourceLog', scope: 'ScopeLog', resources: 'resourceLogs', scopes: 'scopeLogs' },
} as const

export function normalText(signal: Signal, request: Json): string {
  const names = NAMES[signal]
  const lines: string[] = []
  for (const [index, resources] of (request[names.resources] ?? []).entries()) {
    lines.push(
      join(
        `${names.resource} #${index}`,
        schema(resources.schemaUrl),
        ...pairs(resources.resource?.attributes),
      ),
    )
    for (const [place, scopes] of (resources[names.scopes] ?? []).entries()) {
      const { scope } = scopes
      const version = scope?.version ? `@${scope.version}` : ''
      const name = `${scope?.name ?? ''}${version}`
      lines.push(
        join(`${names.scope} #${place}`, name, schema(scopes.schemaUrl), ...pairs(scope?.attributes)),
      )
      for (const span of scopes.spans ?? [])
        lines.push(
          [span.name ?? '', span.traceId ?? '', span.spanId ?? '', ...pairs(span.attributes)].join(' '),
        )
      for (const record of scopes.logRecords ?? [])
        lines.push([plainText(record.body), ...pairs(record.attributes)].join(' '))
      for (const metric of scopes.metrics ?? []) pushMetric(lines, metric)
    }
  }
  return lines.join('\n')
}

function join(...parts: string[]): string {
  return parts.filter((part) => part !== '').join(' ')
}

function schema(url: string | undefined): string {
  return url ? `[${url}]` : ''
}

function pushMetric(lines: string[], metric: Json): void {
  const push = (attributes: readonly Attribute[] | undefined, parts: string[]) =>
    lines.push(`${metric.name ?? ''}{${pairs(attributes).join(',')}} ${parts.join(' ')}`)
  for (const point of (metric.gauge ?? metric.sum)?.dataPoints ?? [])
    push(point.attributes, [point.asInt ?? (point.asDouble === undefined ? '' : shortDouble(point.asDouble))])
  for (const point of metric.histogram?.dataPoints ?? [])
    push(point.attributes, [...summary(point), ...buckets(point)])
  for (const point of metric.exponentialHistogram?.dataPoints ?? [])
    push(point.attributes, [...summary(point), ...exponentialBuckets(point)])
  for (const point of metric.summary?.dataPoints ?? [])
    push(point.attributes, [
      `count=${point.count ?? 0}`,
      `sum=${fixedDouble(point.sum)}`,
      ...(point.quantileValues ?? []).map(
        (entry: Json) => `q${shortDouble(entry.quantile)}=${shortDouble(entry.value)}`,
      ),
    ])
}

function summary(point: Json): string[] {
  const parts = [`count=${point.count ?? 0}`]
  for (const key of ['sum', 'min', 'max'])
    if (point[key] !== undefined) parts.push(`${key}=${shortDouble(point[key])}`)
  return parts
}

function buckets(point: Json): string[] {
  const bounds = point.explicitBounds ?? []
  return (point.bucketCounts ?? []).map((count: string, index: number) =>
    index < bounds.length ? `le${shortDouble(bounds[index])}=${count}` : count,
  )
}

function exponentialBuckets(point: Json): string[] {
  const base = 2 ** (2 ** -(point.scale ?? 0))
  const parts: string[] = []
  for (const side of [point.negative, point.positive])
    for (const [index, count] of (side?.bucketCounts ?? []).entries())
      parts.push(`le${shortDouble(base ** ((side.offset ?? 0) + index))}=${count}`)
  if (point.zeroCount !== undefined)
    parts.push(`zero_count${shortDouble(point.zeroThreshold)}=${point.zeroCount}`)
  return parts
}
