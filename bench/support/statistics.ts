/** Median and spread, as the tables show them. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  if (sorted.length % 2 === 1) return sorted[middle] ?? Number.NaN
  return ((sorted[middle - 1] ?? Number.NaN) + (sorted[middle] ?? Number.NaN)) / 2
}

/** `1.23 (1.10-1.40)`, or `1.23` alone. */
export function spread(values: readonly number[], digits: number): string {
  if (values.length === 0) return '-'
  const middle = median(values).toFixed(digits)
  if (values.length === 1) return middle
  return `${middle} (${Math.min(...values).toFixed(digits)}-${Math.max(...values).toFixed(digits)})`
}
