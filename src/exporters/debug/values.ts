/**
 * How the `debug` exporter shows attribute values, times and numbers. Its input is OTLP/JSON as objects, in which
 * 64-bit integers are strings and what is a default is absent.
 */

// biome-ignore lint/suspicious/noExplicitAny: whatever was decoded; a printer looks at all of it.
export type Json = any

/** One `key: value` an entry of an attribute list. */
export interface Attribute {
  readonly key?: string
  readonly value?: Json
}

/** A value as plain text: strings as they are, lists and maps as JSON. */
export function plainText(value: Json): string {
  if (value?.stringValue !== undefined) return value.stringValue
  if (value?.doubleValue !== undefined) return shortDouble(value.doubleValue)
  if (value?.bytesValue !== undefined) return value.bytesValue
  return value === undefined || Object.keys(value).length === 0 ? '' : jsonText(value)
}

/** A value as JSON text, with integers of any size as they are. */
function jsonText(value: Json): string {
  if (value?.stringValue !== undefined) return JSON.stringify(value.stringValue)
  if (value?.boolValue !== undefined) return String(value.boolValue)
  if (value?.intValue !== undefined) return value.intValue
  if (value?.doubleValue !== undefined) return JSON.stringify(value.doubleValue)
  if (value?.bytesValue !== undefined) return JSON.stringify(value.bytesValue)
  if (value?.arrayValue !== undefined) return `[${(value.arrayValue.values ?? []).map(jsonText).join(',')}]`
  if (value?.kvlistValue === undefined) return 'null'
  const pairs = (value.kvlistValue.values ?? []).map(
    (pair: Attribute) => `${JSON.stringify(pair.key ?? '')}:${jsonText(pair.value)}`,
  )
  return `{${pairs.join(',')}}`
}

/** A value with its type: `Str(v)`, `Int(1)`, `Bool(true)`, `Double(1.5)`. */
export function typedText(value: Json): string {
  const text = plainText(value)
  if (value?.stringValue !== undefined) return `Str(${text})`
  if (value?.boolValue !== undefined) return `Bool(${text})`
  if (value?.intValue !== undefined) return `Int(${text})`
  if (value?.doubleValue !== undefined) return `Double(${text})`
  if (value?.bytesValue !== undefined) return `Bytes(${text})`
  if (value?.arrayValue !== undefined) return `Slice(${text})`
  if (value?.kvlistValue !== undefined) return `Map(${text})`
  return 'Empty()'
}

/** `k=v` for each. */
export function pairs(attributes: readonly Attribute[] | undefined): string[] {
  return (attributes ?? []).map((pair) => `${pair.key ?? ''}=${plainText(pair.value)}`)
}

/** A title and an indented line for each; nothing when there are none. */
export function pushAttributes(
  lines: string[],
  title: string,
  attributes: readonly Attribute[] | undefined,
  indent = '     ',
): void {
  if (!attributes?.length) return
  lines.push(title)
  for (const { key, value } of attributes) lines.push(`${indent}-> ${key ?? ''}: ${typedText(value)}`)
}

/** JSON has the three special doubles as strings. */
function toNumber(value: number | string | undefined): number {
  return Number(value ?? 0)
}

/** As short as it can be; exponents for the very large and small. */
export function shortDouble(value: number | string | undefined): string {
  const number = toNumber(value)
  if (Number.isNaN(number)) return 'NaN'
  if (!Number.isFinite(number)) return number > 0 ? '+Inf' : '-Inf'
  if (Object.is(number, -0)) return '-0'
  if (number === 0 || Math.abs(number) >= 1e-4) return String(number)
  return number.toExponential().replace(/e-(\d)$/, 'e-0$1')
}

/** With six decimals. */
export function fixedDouble(value: number | string | undefined): string {
  const number = toNumber(value)
  return Number.isFinite(number) ? number.toFixed(6) : shortDouble(number)
}

/** Nanoseconds since 1970 as `2020-02-11 20:26:12.000000321 +0000 UTC`. */
export function timeText(nanoseconds: string | undefined): string {
  const value = BigInt(nanoseconds ?? '0')
  const seconds = new Date(Number(value / 1_000_000_000n) * 1000).toISOString().slice(0, 19).replace('T', ' ')
  const fraction = String(value % 1_000_000_000n)
    .padStart(9, '0')
    .replace(/0+$/, '')
  return `${seconds}${fraction === '' ? '' : `.${fraction}`} +0000 UTC`
}
