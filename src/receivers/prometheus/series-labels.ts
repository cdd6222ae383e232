/**
 * The labels of one series as a map, from the bytes that name it. Runs once per new series; exposition.ts has
 * checked the form.
 */
import { InvalidError } from '../../errors.ts'
import type { Labels } from './relabel.ts'

export const NAME_LABEL = '__name__'

const QUOTE = 0x22
const BACKSLASH = 0x5c
const OPEN = 0x7b
const CLOSE = 0x7d

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function decodeText(bytes: Uint8Array, start: number, end: number): string {
  try {
    return utf8.decode(bytes.subarray(start, end))
  } catch {
    throw new InvalidError('a name or label that is not UTF-8')
  }
}

/** Undoes `\\`, `\"` and `\n`; another escape stands for itself, as in Prometheus. */
function undoEscapes(text: string): string {
  if (!text.includes('\\')) return text
  return text.replace(/\\([\\"n])/g, (_, escaped: string) => (escaped === 'n' ? '\n' : escaped))
}

/** The text of a HELP line. Quotes are escaped only in OpenMetrics. */
export function readHelp(bytes: Uint8Array, start: number, end: number, openMetrics: boolean): string {
  const text = decodeText(bytes, start, end)
  if (openMetrics) return undoEscapes(text)
  return text.replace(/\\([\\n])/g, (_, escaped: string) => (escaped === 'n' ? '\n' : escaped))
}

/** The name of a metric as a comment has it, quoted or not. */
export function readName(bytes: Uint8Array, start: number, end: number): string {
  if (bytes[start] !== QUOTE) return decodeText(bytes, start, end)
  return undoEscapes(decodeText(bytes, start + 1, end - 1))
}

/**
 * Fills `labels` with the labels of a series or exemplar and, for a series, its name as `__name__`. Empty
 * values are no labels. Returns the name of a label that is there twice, or undefined.
 */
export function readLabels(
  bytes: Uint8Array,
  start: number,
  end: number,
  labels: Labels,
): string | undefined {
  let at = start
  while (at < end && bytes[at] !== OPEN) at++
  let nameEnd = at
  while (nameEnd > start && isBlank(bytes[nameEnd - 1]!)) nameEnd--
  if (nameEnd > start) labels.set(NAME_LABEL, decodeText(bytes, start, nameEnd))
  const seen = new Set<string>()
  let twice: string | undefined
  at++
  while (at < end) {
    while (at < end && (isBlank(bytes[at]!) || bytes[at] === 0x2c)) at++
    if (at >= end || bytes[at] === CLOSE) break
    const quoted = bytes[at] === QUOTE
    const keyEnd = quoted ? closingQuote(bytes, at + 1, end) : endOfName(bytes, at, end)
    const key = quoted ? undoEscapes(decodeText(bytes, at + 1, keyEnd)) : decodeText(bytes, at, keyEnd)
    at = quoted ? keyEnd + 1 : keyEnd
    while (at < end && isBlank(bytes[at]!)) at++
    if (bytes[at] !== 0x3d) {
      labels.set(NAME_LABEL, key)
      continue
    }
    at++
    while (at < end && isBlank(bytes[at]!)) at++
    const valueEnd = closingQuote(bytes, at + 1, end)
    const value = undoEscapes(decodeText(bytes, at + 1, valueEnd))
    at = valueEnd + 1
    if (seen.has(key) || (key === NAME_LABEL && labels.has(NAME_LABEL))) twice ??= key
    seen.add(key)
    if (value !== '') labels.set(key, value)
  }
  return twice
}

function isBlank(byte: number): boolean {
  return byte === 0x20 || byte === 0x09
}

function endOfName(bytes: Uint8Array, at: number, end: number): number {
  while (at < end && bytes[at] !== 0x3d && !isBlank(bytes[at]!)) at++
  return at
}

function closingQuote(bytes: Uint8Array, at: number, end: number): number {
  for (; at < end; at++) {
    if (bytes[at] === BACKSLASH) at++
    else if (bytes[at] === QUOTE) return at
  }
  return end
}
