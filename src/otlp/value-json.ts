/**
 * Attribute values as compact JSON, byte for byte as Go's encoding/json writes them, since the labels and
 * tags that backends hold were made by it: keys sorted by bytes, HTML characters escaped, bytes as base64.
 */
import type { JsValue } from './any-value.ts'

export function doubleText(value: number): string {
  if (Number.isFinite(value)) return Object.is(value, -0) ? '-0' : String(value)
  const name = Number.isNaN(value) ? 'NaN' : value > 0 ? '+Inf' : '-Inf'
  return `json: unsupported value: ${name}`
}

/**
 * Compact JSON as Go's encoder writes it; undefined when it holds a NaN or an infinity, which JSON has not.
 */
export function valueJson(value: JsValue): string | undefined {
  switch (typeof value) {
    case 'string':
      return jsonString(value)
    case 'boolean':
      return String(value)
    case 'bigint':
      return value.toString()
    case 'number':
      return Number.isFinite(value) ? doubleText(value) : undefined
  }
  if (value === null) return 'null'
  if (value instanceof Uint8Array) return `"${base64(value, 0, value.length)}"`
  const parts: string[] = []
  if (isArray(value)) {
    for (const entry of value) {
      const text = valueJson(entry)
      if (text === undefined) return undefined
      parts.push(text)
    }
    return `[${parts.join(',')}]`
  }
  for (const key of Object.keys(value).sort(byBytes)) {
    const text = valueJson(value[key] ?? null)
    if (text === undefined) return undefined
    parts.push(`${jsonString(key)}:${text}`)
  }
  return `{${parts.join(',')}}`
}

/** Array.isArray does not narrow a readonly array. */
export function isArray(
  value: readonly JsValue[] | { readonly [key: string]: JsValue },
): value is readonly JsValue[] {
  return Array.isArray(value)
}

/** The order of the UTF-8 bytes, which differs from the order of UTF-16 units above U+FFFF. */
function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}

const HTML = /[<>&\u2028\u2029]/g

function jsonString(text: string): string {
  return JSON.stringify(text).replace(
    HTML,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

export function base64(bytes: Uint8Array, start: number, end: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('base64')
}
