/** Values and items as a test file would write them, on one line. */
import type { Item } from './output.ts'

const PLAIN = /^(?:[A-Za-z_/*<][\w ./:*<>()@=+-]*|\d+(?:\.\d+)?m?s)$/
const LONGEST = 160

export function words(value: unknown): string {
  if (value === undefined) return 'nothing'
  const text = flow(value)
  return text.length > LONGEST ? `${text.slice(0, LONGEST - 3)}...` : text
}

function flow(value: unknown): string {
  if (typeof value === 'string') return needsQuotes(value) ? JSON.stringify(value) : value
  if (Array.isArray(value)) return `[${value.map(flow).join(', ')}]`
  if (typeof value !== 'object' || value === null) return String(value)
  const pairs = Object.entries(value).filter(([, one]) => one !== undefined)
  return `{${pairs.map(([key, one]) => `${needsQuotes(key) ? JSON.stringify(key) : key}: ${flow(one)}`).join(', ')}}`
}

function needsQuotes(text: string): boolean {
  return !PLAIN.test(text) || text !== text.trim() || /: |^(true|false|null|yes|no)$/i.test(text)
}

/** The times of spans are written with their unit. */
export function duration(ms: number): string {
  if (Math.abs(ms) >= 1000 && ms % 100 === 0) return `${ms / 1000}s`
  return `${ms}ms`
}

export function fieldWords(path: string, value: unknown): string {
  const isTime = path === 'duration' || path === 'start' || path.endsWith('.at')
  return isTime && typeof value === 'number' ? duration(value) : words(value)
}

/** What tells items apart: their own words first; defaults, ids and what is empty are left out. */
export function itemWords(item: Item): string {
  const { service, resource, status, kind, attributes, span, start, ...rest } = item
  const shown: Record<string, unknown> = {}
  if (service !== undefined) shown['service'] = service
  for (const [key, value] of Object.entries(rest)) {
    if (value === undefined || (key === 'duration' && value === 0)) continue
    shown[key] = key === 'duration' && typeof value === 'number' ? duration(value) : value
  }
  const code = typeof status === 'string' ? status : (status as { code?: string } | undefined)?.code
  if (code !== undefined && code !== 'unset') shown['status'] = code
  if (kind !== undefined && kind !== 'internal' && kind !== 'unspecified') shown['kind'] = kind
  if (isFilled(attributes)) shown['attributes'] = attributes
  if (isFilled(resource)) {
    const { 'service.name': name, ...others } = resource
    if (Object.keys(others).length > 0) shown['resource'] = others
    if (name !== undefined && service === undefined) shown['service'] = name
  }
  return words(shown)
}

function isFilled(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && Object.keys(value).length > 0
}
