/**
 * YAML text to a tree with places. Hostile text costs little: size, tokens, depth and the number of nodes
 * (aliases counted each time they are used) have limits, and duplicate keys are found without comparing each
 * with all.
 *
 * Scalars resolve as the Go collector's parser does: YAML 1.2 core, plus octal `0777` and `1_000`; merge keys
 * work.
 */
import {
  type Alias,
  Composer,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  type Pair,
  Parser,
  type Scalar,
  type YAMLMap,
} from 'yaml'
import { type ConfigNode, type Entry, emptyMap, MAX_DEPTH, type MapNode, type Place } from './node.ts'
import type { Report } from './report.ts'

/** Limit of one source, in bytes; a Kubernetes ConfigMap holds no more either. */
export const MAX_SOURCE_BYTES = 1024 * 1024
const MAX_TOKENS = 150_000
/** Limit of one source after its aliases are followed. */
const MAX_NODES = 50_000
/** A nesting level takes up to two places on the parser's stack. */
const MAX_STACK = 2 * MAX_DEPTH + 20

/** A limit was passed or the text is broken in a way that ends reading. */
class Stop extends Error {
  readonly offset: number
  constructor(message: string, offset: number) {
    super(message)
    this.offset = offset
  }
}

export interface ParseOptions {
  /** Replaces every place: for text that has no lines of its own that a user could open. */
  readonly place?: Place
  /** Split keys at `::`, as `yaml:` sources do. */
  readonly splitKeys?: boolean
}

/** Parses one source; undefined when it is broken, which is then reported. An empty source is null. */
export function parseYaml(
  text: string,
  file: string,
  report: Report,
  options: ParseOptions = {},
): Entry | undefined {
  const lines = new LineCounter()
  const at = (offset: number): Place => {
    if (options.place) return options.place
    const { line, col } = lines.linePos(Math.min(offset, text.length))
    return { file, line: Math.max(1, line), column: Math.max(1, col) }
  }
  try {
    const document = readDocument(text, lines, (place, message) => report.warn(at(place), [], message))
    // Only the first: after it the reader guesses, and what follows is mostly its echo.
    const error = document?.errors.toSorted((a, b) => a.pos[0] - b.pos[0])[0]
    if (error) {
      report.error(at(error.pos[0]), [], `not valid YAML: ${lowerFirst(error.message)}`)
      return undefined
    }
    const walk = new Walk(at, report, options.splitKeys ?? false)
    const start = options.place ?? { file, line: 1, column: 1 }
    const value = document?.contents ? walk.node(document.contents, 0) : nullAt(start)
    return walk.failed ? undefined : { keyPlace: start, value }
  } catch (error) {
    const known = error instanceof Stop
    // What the library throws for text it did not foresee is a problem of the text, too.
    const message = known
      ? error.message
      : `not valid YAML: ${error instanceof Error ? error.message : error}`
    report.error(at(known ? error.offset : 0), [], message)
    return undefined
  }
}

function readDocument(text: string, lines: LineCounter, warn: (offset: number, message: string) => void) {
  const control = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/.exec(text)
  lines.addNewLine(0)
  for (let i = text.indexOf('\n'); i >= 0; i = text.indexOf('\n', i + 1)) lines.addNewLine(i + 1)
  if (control) {
    const code = control[0].charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')
    throw new Stop(`not valid YAML: control character U+${code}`, control.index)
  }
  const composer = new Composer({ uniqueKeys: false, prettyErrors: false, logLevel: 'silent', merge: false })
  const documents = [...composer.compose(tokens(text), false, text.length)]
  const second = documents[1]
  if (second) warn(second.range[0], 'only the first YAML document of a source is used')
  return documents[0] as Document.Parsed | undefined // The other type is the empty stream, without documents.
}

function* tokens(text: string) {
  const parser = new Parser()
  let count = 0
  for (const lexeme of new Lexer().lex(text)) {
    yield* parser.next(lexeme)
    if (++count > MAX_TOKENS) throw new Stop(`more than ${MAX_TOKENS} tokens`, parser.offset)
    if (parser.stack.length > MAX_STACK) {
      throw new Stop(`nested deeper than ${MAX_DEPTH} levels`, parser.offset)
    }
  }
  yield* parser.end()
}

/** Turns the library's nodes into ours, following aliases. */
class Walk {
  failed = false
  readonly #at: (offset: number) => Place
  readonly #report: Report
  readonly #splitKeys: boolean
  readonly #anchors = new Map<string, unknown>()
  #count = 0

  constructor(at: (offset: number) => Place, report: Report, splitKeys: boolean) {
    this.#at = at
    this.#report = report
    this.#splitKeys = splitKeys
  }

  node(node: unknown, depth: number): ConfigNode {
    const offset = offsetOf(node)
    if (depth > MAX_DEPTH) throw new Stop(`nested deeper than ${MAX_DEPTH} levels`, offset)
    if (++this.#count > MAX_NODES) throw new Stop(`more than ${MAX_NODES} values, aliases counted`, offset)
    if (isAlias(node)) return this.node(this.#target(node), depth + 1)
    const place = this.#at(offset)
    if (isScalar(node)) {
      this.#remember(node)
      return { kind: 'scalar', place, value: this.#scalar(node, place) }
    }
    if (isSeq(node)) {
      this.#remember(node)
      return { kind: 'list', place, items: node.items.map((item) => this.node(item, depth + 1)) }
    }
    if (isMap(node)) {
      this.#remember(node)
      return this.#map(node, place, depth)
    }
    return nullAt(place)
  }

  #remember(node: { anchor?: string | undefined }): void {
    if (node.anchor !== undefined) this.#anchors.set(node.anchor, node)
  }

  #target(alias: Alias.Parsed | Alias): unknown {
    const target = this.#anchors.get(alias.source)
    if (target === undefined) throw new Stop(`alias "*${alias.source}" has no anchor`, offsetOf(alias))
    return target
  }

  #map(map: YAMLMap, place: Place, depth: number): MapNode {
    const result = emptyMap(place)
    const merged: ConfigNode[] = []
    for (const pair of map.items) {
      const keyPlace = this.#at(offsetOf(pair.key))
      const key = this.#key(pair, keyPlace)
      if (key === undefined) continue
      const value = pair.value === null ? nullAt(keyPlace) : this.node(pair.value, depth + 1)
      if (key === '<<' && isScalar(pair.key) && pair.key.type === 'PLAIN') merged.push(value)
      else this.#put(result, this.#splitKeys ? key.split('::') : [key], keyPlace, value)
    }
    for (const value of merged) this.#merge(result, value)
    return result
  }

  #put(map: MapNode, keys: readonly string[], keyPlace: Place, value: ConfigNode): void {
    const [key = '', ...rest] = keys
    const known = map.entries.get(key)
    if (key === '__proto__') this.#fail(keyPlace, 'the key "__proto__" is not allowed')
    else if (keys.length > MAX_DEPTH) this.#fail(keyPlace, `nested deeper than ${MAX_DEPTH} levels`)
    else if (known && (rest.length === 0 || known.value.kind !== 'map')) {
      const line = known.keyPlace.line > 0 ? `; first in line ${known.keyPlace.line}` : ''
      this.#fail(keyPlace, `the key "${key}" is there twice${line}`)
    } else if (rest.length === 0) map.entries.set(key, { keyPlace, value })
    else {
      const child = known?.value.kind === 'map' ? known.value : emptyMap(keyPlace)
      if (!known) map.entries.set(key, { keyPlace, value: child })
      this.#put(child, rest, keyPlace, value)
    }
  }

  /** `<<`: what the map has itself wins; of several merged maps, the first. */
  #merge(map: MapNode, value: ConfigNode): void {
    if (value.kind === 'list') {
      for (const item of value.items) this.#merge(map, item)
    } else if (value.kind === 'map') {
      for (const [key, entry] of value.entries) if (!map.entries.has(key)) map.entries.set(key, entry)
    } else {
      this.#fail(value.place, 'a merge key "<<" takes a map or a list of maps')
    }
  }

  #key(pair: Pair, place: Place): string | undefined {
    const key = isAlias(pair.key) ? this.#target(pair.key) : pair.key
    if (isScalar(key)) {
      this.#remember(key)
      return typeof key.value === 'string' ? key.value : (key.source ?? String(key.value))
    }
    this.#fail(place, 'a key has to be a plain word')
    return undefined
  }

  #scalar(node: Scalar, place: Place): string | number | boolean | null {
    const { value } = node
    if (typeof value === 'number' || (typeof value === 'string' && node.type === 'PLAIN' && !node.tag)) {
      return goNumber(node.source ?? '') ?? value
    }
    if (typeof value === 'string' || typeof value === 'boolean' || value === null) return value
    this.#fail(place, `a value of this kind (${node.tag ?? typeof value}) is not supported`)
    return null
  }

  #fail(place: Place, message: string): void {
    this.failed = true
    this.#report.error(place, [], message)
  }
}

/** The forms of numbers that Go's parser takes beyond YAML 1.2. */
function goNumber(source: string): number | undefined {
  if (/^[-+]?0[0-7]+$/.test(source)) return Number.parseInt(source.replace(/^([-+]?)0+(?=\d)/, '$1'), 8)
  if (/^[-+]?0b[01]+$/.test(source)) {
    const size = Number.parseInt(source.replace(/^[-+]?0b/, ''), 2)
    return source.startsWith('-') ? -size : size
  }
  if (/^[-+]?\d[\d_]*_[\d_]*(\.[\d_]*)?$/.test(source)) return Number(source.replaceAll('_', ''))
  return undefined
}

function offsetOf(node: unknown): number {
  // Every node of the library may have one.
  const range = (node as { range?: readonly number[] | null } | null)?.range
  return range?.[0] ?? 0
}

function nullAt(place: Place): ConfigNode {
  return { kind: 'scalar', place, value: null }
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1)
}
