/**
 * Verbosity `detailed`, for one metric: its descriptor and every field of its data points.
 */
import { fixedDouble, type Json, pushAttributes, timeText } from './values.ts'

const TEMPORALITIES = ['Unspecified', 'Delta', 'Cumulative']

const KINDS = [
  { key: 'gauge', type: 'Gauge', points: 'NumberDataPoints' },
  { key: 'sum', type: 'Sum', points: 'NumberDataPoints' },
  { key: 'histogram', type: 'Histogram', points: 'HistogramDataPoints' },
  { key: 'exponentialHistogram', type: 'ExponentialHistogram', points: 'ExponentialHistogramDataPoints' },
  { key: 'summary', type: 'Summary', points: 'SummaryDataPoints' },
] as const

export function metricLines(metric: Json, index: number): string[] {
  const kind = KINDS.find(({ key }) => metric[key] !== undefined)
  const lines = [
    `Metric #${index}`,
    'Descriptor:',
    `     -> Name: ${metric.name ?? ''}`,
    `     -> Description: ${metric.description ?? ''}`,
    `     -> Unit: ${metric.unit ?? ''}`,
    `     -> DataType: ${kind?.type ?? 'Empty'}`,
  ]
  if (kind === undefined) return lines
  const data = metric[kind.key]
  if (kind.key === 'sum') lines.push(`     -> IsMonotonic: ${data.isMonotonic ?? false}`)
  if (kind.key !== 'gauge' && kind.key !== 'summary') {
    const temporality = data.aggregationTemporality ?? 0
    lines.push(`     -> AggregationTemporality: ${TEMPORALITIES[temporality] ?? temporality}`)
  }
  pushAttributes(lines, 'Metadata:', metric.metadata)
  for (const [place, point] of (data.dataPoints ?? []).entries()) {
    lines.push(`${kind.points} #${place}`)
    pushAttributes(lines, 'Data point attributes:', point.attributes)
    lines.push(
      `StartTimestamp: ${timeText(point.startTimeUnixNano)}`,
      `Timestamp: ${timeText(point.timeUnixNano)}`,
    )
    pushValues(lines, kind.key, point)
    pushExemplars(lines, point.exemplars)
  }
  return lines
}

function pushValues(lines: string[], kind: string, point: Json): void {
  if (kind === 'gauge' || kind === 'sum') {
    if (point.asInt !== undefined) lines.push(`Value: ${point.asInt}`)
    else if (point.asDouble !== undefined) lines.push(`Value: ${fixedDouble(point.asDouble)}`)
    return
  }
  lines.push(`Count: ${point.count ?? 0}`)
  if (point.sum !== undefined || kind === 'summary') lines.push(`Sum: ${fixedDouble(point.sum)}`)
  if (point.min !== undefined) lines.push(`Min: ${fixedDouble(point.min)}`)
  if (point.max !== undefined) lines.push(`Max: ${fixedDouble(point.max)}`)
  for (const [index, bound] of (point.explicitBounds ?? []).entries())
    lines.push(`ExplicitBounds #${index}: ${fixedDouble(bound)}`)
  for (const [index, count] of (point.bucketCounts ?? []).entries())
    lines.push(`Buckets #${index}, Count: ${count}`)
  if (kind === 'exponentialHistogram') pushExponentialBuckets(lines, point)
  for (const [index, entry] of (point.quantileValues ?? []).entries())
    lines.push(
      `QuantileValue #${index}: Quantile ${fixedDouble(entry.quantile)}, Value ${fixedDouble(entry.value)}`,
    )
}

/** From the lowest value to the highest. */
function pushExponentialBuckets(lines: string[], point: Json): void {
  const base = 2 ** (2 ** -(point.scale ?? 0))
  const bound = (side: Json, index: number) => base ** ((side.offset ?? 0) + index)
  const negative = point.negative?.bucketCounts ?? []
  for (let index = negative.length - 1; index >= 0; index--) {
    const low = fixedDouble(-bound(point.negative, index + 1))
    const high = fixedDouble(-bound(point.negative, index))
    lines.push(`Bucket [${low}, ${high}), Count: ${negative[index]}`)
  }
  if (point.zeroCount !== undefined) {
    const threshold = point.zeroThreshold ? fixedDouble(point.zeroThreshold) : '0'
    lines.push(
      `Bucket [${threshold === '0' ? '' : '-'}${threshold}, ${threshold}], Count: ${point.zeroCount}`,
    )
  }
  for (const [index, count] of (point.positive?.bucketCounts ?? []).entries()) {
    const low = fixedDouble(bound(point.positive, index))
    const high = fixedDouble(bound(point.positive, index + 1))
    lines.push(`Bucket (${low}, ${high}], Count: ${count}`)
  }
}

function pushExemplars(lines: string[], exemplars: readonly Json[] | undefined): void {
  if (!exemplars?.length) return
  lines.push('Exemplars:')
  for (const [index, exemplar] of exemplars.entries()) {
    lines.push(
      `Exemplar #${index}`,
      `     -> Trace ID: ${exemplar.traceId ?? ''}`,
      `     -> Span ID: ${exemplar.spanId ?? ''}`,
      `     -> Timestamp: ${timeText(exemplar.timeUnixNano)}`,
    )
    if (exemplar.asInt !== undefined) lines.push(`     -> Value: ${exemplar.asInt}`)
    else if (exemplar.asDouble !== undefined) lines.push(`     -> Value: ${fixedDouble(exemplar.asDouble)}`)
    pushAttributes(lines, '     -> FilteredAttributes:', exemplar.filteredAttributes, '          ')
  }
}
