/**
 * A list of texts or patterns, of which one has to match. Strict filters compare bytes; patterns are RE2,
 * unanchored, and decode the text, with its verdict kept in a bounded cache when the config asks for one.
 */
import { LRUCache } from 'lru-cache'
import type { RE2JS } from 're2js'
import { compileRe2 } from '../../config/re2.ts'
import { rangeEquals, readString } from '../../otlp/wire.ts'
import type { MatchProperties } from './config.ts'

/** Verdicts kept when the config sets no number. */
const CACHE_ENTRIES = 10_000

const utf8 = new TextEncoder()

export class TextFilter {
  readonly #texts: readonly Uint8Array[]
  readonly #patterns: readonly RE2JS[]
  readonly #cache: LRUCache<string, boolean> | undefined

  constructor(list: readonly string[], match: Pick<MatchProperties, 'match_type' | 'regexp'>) {
    const strict = match.match_type === 'strict'
    this.#texts = strict ? list.map((text) => utf8.encode(text)) : []
    this.#patterns = strict ? [] : list.map((pattern) => compileRe2(pattern))
    if (!strict && match.regexp.cacheenabled)
      this.#cache = new LRUCache({ max: match.regexp.cachemaxnumentries || CACHE_ENTRIES })
  }

  /** Undefined for an empty list, which does not restrict anything. */
  static from(list: readonly string[], match: MatchProperties): TextFilter | undefined {
    return list.length === 0 ? undefined : new TextFilter(list, match)
  }

  /** The text in this range of UTF-8. */
  matchesRange(bytes: Uint8Array, start: number, end: number): boolean {
    if (this.#patterns.length > 0) return this.#matchesPattern(readString(bytes, start, end))
    for (const text of this.#texts) if (rangeEquals(bytes, start, end, text)) return true
    return false
  }

  matches(text: string): boolean {
    if (this.#patterns.length > 0) return this.#matchesPattern(text)
    const bytes = utf8.encode(text)
    return this.matchesRange(bytes, 0, bytes.length)
  }

  #matchesPattern(text: string): boolean {
    const known = this.#cache?.get(text)
    if (known !== undefined) return known
    const verdict = this.#patterns.some((pattern) => pattern.test(text))
    this.#cache?.set(text, verdict)
    return verdict
  }
}
