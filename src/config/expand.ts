/**
 * `${env:X}`, `${X}`, `${env:X:-default}`, `${file:path}` and `${yaml:text}` in string values, after merging.
 *
 * - The innermost expression goes first, and what it gives is looked at again.
 * - A value that is one expression takes the YAML type of the content and remembers the text; inside a longer
 * string
 *   the text is inserted, and a map or list there is an error.
 * - An expression with an odd number of `$` before it is literal; at the end `$$` becomes `$`.
 */
import { type ConfigNode, type Entry, MAX_DEPTH, type Path, type Place, type ScalarNode } from './node.ts'
import { MAX_SOURCE_BYTES, parseYaml } from './parse.ts'
import { Report } from './report.ts'
import { type Environment, type Retrieved, retrieve, SourceError } from './sources.ts'

/** Steps for one value, as in the Go collector; what a value brings in shares them. */
const MAX_STEPS = 1000
const MAX_STEPS_IN_ALL = 20_000
/** Bytes that all expansions of one configuration may bring in. */
const MAX_EXPANDED_BYTES = 2 * MAX_SOURCE_BYTES

interface Budget {
  left: number
}

/** One string value on its way, with what limits and locates it. */
interface Task {
  readonly node: ScalarNode
  readonly path: Path
  readonly budget: Budget
  readonly depth: number
}

export class Expander {
  readonly #env: Environment
  readonly #report: Report
  readonly #read = new Map<string, Retrieved>()
  /** Paths of `${file:...}` that were read. */
  readonly files = new Set<string>()
  #stepsLeft = MAX_STEPS_IN_ALL
  #bytesLeft = MAX_EXPANDED_BYTES

  constructor(env: Environment, report: Report) {
    this.#env = env
    this.#report = report
  }

  /** Replaces the values below `entry`, in place. */
  async expand(entry: Entry): Promise<void> {
    entry.value = await this.#node(entry.value, [], undefined, 0)
  }

  /** `shared` is the budget of the expression that brought the node in; undefined for what the user wrote. */
  async #node(node: ConfigNode, path: Path, shared: Budget | undefined, depth: number): Promise<ConfigNode> {
    if (depth > MAX_DEPTH) {
      this.#report.error(node.place, path, `nested deeper than ${MAX_DEPTH} levels after expansion`)
      return broken(node.place)
    }
    if (node.kind === 'list') {
      for (const [index, item] of node.items.entries()) {
        node.items[index] = await this.#node(item, [...path, index], shared, depth + 1)
      }
      return node
    }
    if (node.kind === 'map') {
      for (const [key, entry] of node.entries) {
        entry.value = await this.#node(entry.value, [...path, key], shared, depth + 1)
      }
      return node
    }
    if (typeof node.value !== 'string' || !node.value.includes('$')) return node
    try {
      return await this.#string(node.value, { node, path, budget: shared ?? { left: MAX_STEPS }, depth })
    } catch (error) {
      if (!(error instanceof SourceError)) throw error
      this.#report.error(node.place, path, error.message)
      return broken(node.place)
    }
  }

  async #string(start: string, task: Task): Promise<ConfigNode> {
    let text = start
    let expanded = false
    for (let found = findExpression(text); found; found = findExpression(text)) {
      if (--task.budget.left < 0) throw new SourceError(`more than ${MAX_STEPS} expansions in one value`)
      const source = await this.#retrieve(text.slice(found.start + 2, found.end - 1), task)
      const content = this.#content(source, task)
      if (!content) return broken(task.node.place)
      const whole = found.start === 0 && found.end === text.length
      if (whole && !(content.kind === 'scalar' && typeof content.value === 'string')) {
        const typed = { ...content, text: unescapeDollars(source.text), expanded: true }
        return this.#node(typed, task.path, task.budget, task.depth + 1)
      }
      if (content.kind !== 'scalar') {
        throw new SourceError(`a ${content.kind} (from ${source.file}) cannot stand inside a longer string`)
      }
      text = text.slice(0, found.start) + source.text + text.slice(found.end)
      if (text.length > MAX_SOURCE_BYTES) throw new SourceError('the expanded value is too large')
      expanded = true
    }
    return { ...task.node, value: unescapeDollars(text), expanded: expanded || task.node.expanded }
  }

  async #retrieve(location: string, task: Task): Promise<Retrieved> {
    if (location.includes('$')) throw new SourceError(`"$\{${location}}" has a "$" inside`)
    if (--this.#stepsLeft < 0) throw new SourceError(`more than ${MAX_STEPS_IN_ALL} expansions in all`)
    let source = this.#read.get(location)
    if (!source) {
      source = await retrieve(location, this.#env, true)
      // The line break that ends a file is not part of a password.
      if (source.scheme === 'file') {
        this.files.add(source.file)
        source = { ...source, text: source.text.replace(/\r?\n$/, '') }
      }
      this.#read.set(location, source)
    }
    this.#bytesLeft -= source.text.length
    if (this.#bytesLeft < 0) throw new SourceError('expansions bring in too much text')
    const { place } = task.node
    if (source.unset !== undefined) {
      this.#report.warn(place, task.path, `environment variable "${source.unset}" is not set`)
    } else if (source.scheme === 'env' && source.text.includes('$$')) {
      this.#report.warn(place, task.path, `"$$" in the value of ${source.file} becomes "$"`)
    }
    return source
  }

  /** The content as YAML, or as it stands when it is a string or no YAML; undefined when that is reported. */
  #content(source: Retrieved, task: Task): ConfigNode | undefined {
    const { place } = task.node
    const verbatim: ConfigNode = { kind: 'scalar', place, value: source.text }
    if (source.text.length < 64 && /^[A-Za-z/][\w./-]*$/.test(source.text) && !isWord(source.text))
      return verbatim
    const scratch = new Report()
    const inFile = source.scheme === 'file'
    const entry = parseYaml(source.text, source.file, scratch, inFile ? {} : { place })
    if (entry && (entry.value.kind !== 'scalar' || typeof entry.value.value !== 'string')) {
      return entry.value.kind === 'scalar' ? { ...entry.value, place } : entry.value
    }
    if (entry || !inFile || !/\.(ya?ml|json)$/.test(source.file)) return verbatim
    for (const problem of scratch.problems) this.#report.error(problem, task.path, problem.message)
    return undefined
  }
}

/** The first innermost `${...}` that is not escaped. */
function findExpression(text: string): { start: number; end: number } | undefined {
  let from = 0
  while (true) {
    const close = text.indexOf('}', from)
    if (close < 0) return undefined
    const start = text.lastIndexOf('${', close)
    if (start >= from) {
      let dollars = 0
      while (text[start - 1 - dollars] === '$') dollars++
      if (dollars % 2 === 0) return { start, end: close + 1 }
    }
    from = close + 1
  }
}

function unescapeDollars(text: string): string {
  return text.replaceAll('$$', () => '$')
}

/** Words that YAML reads as something else than a string. */
function isWord(text: string): boolean {
  return /^(true|false|null)$/i.test(text)
}

function broken(place: Place): ScalarNode {
  return { kind: 'scalar', place, value: null, broken: true }
}
