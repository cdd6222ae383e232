/**
 * Reads one line of logfmt: `key=value key="quoted value"`. A text in which a word has no equals sign is
 * prose and not logfmt; the Collector's exporter would turn each word of it into an empty field.
 */

/** Undefined when the text is no logfmt, or has more than one line. */
export function parseLogfmt(text: string): [key: string, value: string][] | undefined {
  const pairs: [string, string][] = []
  let at = 0
  while (true) {
    while (at < text.length && text.charCodeAt(at) <= 32 && text[at] !== '\n') at++
    if (at >= text.length) return pairs.length > 0 ? pairs : undefined
    const equals = text.indexOf('=', at)
    const key = equals < 0 ? '' : text.slice(at, equals)
    if (key === '' || /[\x00-\x20"]/.test(key)) return undefined
    at = equals + 1
    if (text[at] === '"') {
      const end = closingQuote(text, at)
      if (end < 0) return undefined
      const value = unquote(text.slice(at, end + 1))
      if (value === undefined) return undefined
      pairs.push([key, value])
      at = end + 1
      if (at < text.length && text.charCodeAt(at) > 32) return undefined
    } else {
      const start = at
      while (at < text.length && text.charCodeAt(at) > 32) at++
      const value = text.slice(start, at)
      if (/[="]/.test(value)) return undefined
      pairs.push([key, value])
    }
  }
}

function closingQuote(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at++) {
    if (text[at] === '\\') at++
    else if (text[at] === '"') return at
  }
  return -1
}

function unquote(quoted: string): string | undefined {
  try {
    const value: unknown = JSON.parse(quoted)
    return typeof value === 'string' ? value : undefined
  } catch {
    return undefined // An escape that is none: the text is taken as it is.
  }
}
