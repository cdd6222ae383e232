/**
 * Numbers as Prometheus writes them. The digits are the shortest that read back as the same double, which is what
 * JavaScript finds too; only the place where the exponent begins differs between the forms.
 */

/** Shortest digits without exponent: `0.005`, `1000000`. The form of `le` in remote write. */
export function formatDecimal(value: number): string {
  if (!Number.isFinite(value)) return formatSpecial(value)
  if (Object.is(value, -0)) return '-0'
  const text = String(value)
  const exponentAt = text.indexOf('e')
  return exponentAt < 0 ? text : shift(text.slice(0, exponentAt), Number(text.slice(exponentAt + 1)))
}

/** The text expositions, as Go's shortest 'g': an exponent from 1e+06 on and below 1e-4. */
export function formatExposition(value: number): string {
  if (!Number.isFinite(value)) return formatSpecial(value)
  const size = Math.abs(value)
  if (size === 0 || (size >= 1e-4 && size < 1e6)) return formatDecimal(value)
  const text = value.toExponential()
  const at = text.indexOf('e')
  const exponent = text.slice(at + 2)
  return exponent.length > 1 ? text : `${text.slice(0, at + 2)}0${exponent}`
}

/** OpenMetrics wants `le`, `quantile` and sample values of whole numbers to look like floats: `1.0`. */
export function formatOpenMetrics(value: number): string {
  const text = formatExposition(value)
  return /[.eIN]/.test(text) ? text : `${text}.0`
}

function formatSpecial(value: number): string {
  return Number.isNaN(value) ? 'NaN' : value > 0 ? '+Inf' : '-Inf'
}

/** Moves the decimal point of `mantissa` by `places`, filling with zeros. */
function shift(mantissa: string, places: number): string {
  const negative = mantissa.startsWith('-')
  const [whole = '', fraction = ''] = mantissa.replace('-', '').split('.')
  const digits = whole + fraction
  const point = whole.length + places
  const text =
    point <= 0
      ? `0.${'0'.repeat(-point)}${digits}`
      : point >= digits.length
        ? digits + '0'.repeat(point - digits.length)
        : `${digits.slice(0, point)}.${digits.slice(point)}`
  return negative ? `-${text}` : text
}
