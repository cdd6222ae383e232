/**
 * Collects what is wrong and what deserves a warning, each with its place, so that all of it is told
 * together.
 */
import { ConfigError, type ConfigProblem } from '../errors.ts'
import { formatPath, type Path, type Place } from './node.ts'

/** More problems than this help nobody; the rest is counted. */
const MAX_PROBLEMS = 200

export class Report {
  readonly problems: ConfigProblem[] = []
  readonly warnings: ConfigProblem[] = []
  #seen = new Set<string>()
  #left = 0

  error(place: Place, path: Path, message: string): void {
    this.#add(this.problems, place, path, message)
  }

  warn(place: Place, path: Path, message: string): void {
    this.#add(this.warnings, place, path, message)
  }

  get failed(): boolean {
    return this.problems.length > 0
  }

  #add(list: ConfigProblem[], place: Place, path: Path, message: string): void {
    const problem = { ...place, path: formatPath(path), message: onOneLine(message) }
    const { file, line, column } = place
    const identity = [list === this.problems, file, line, column, problem.path, message].join('\0')
    if (this.#seen.has(identity)) return
    if (list.length >= MAX_PROBLEMS) {
      this.#left++
      return
    }
    this.#seen.add(identity)
    list.push(problem)
  }

  /** Throws when there are problems; `files` gives the order of the sources. */
  throwIfFailed(files: readonly string[]): void {
    if (!this.failed) return
    const sorted = sortProblems(this.problems, files)
    if (this.#left > 0) {
      const file = sorted.at(-1)?.file ?? ''
      sorted.push({ file, line: 0, column: 0, path: '', message: `and ${this.#left} more` })
    }
    throw new ConfigError(sorted)
  }
}

export function sortProblems(list: readonly ConfigProblem[], files: readonly string[]): ConfigProblem[] {
  const order = new Map(files.map((file, index) => [file, index]))
  const rank = (problem: ConfigProblem) => order.get(problem.file) ?? files.length
  return [...list].sort(
    (a, b) =>
      rank(a) - rank(b) ||
      (a.file < b.file ? -1 : a.file > b.file ? 1 : 0) ||
      a.line - b.line ||
      a.column - b.column,
  )
}

/** A problem is one line, whatever keys and values it quotes. */
function onOneLine(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f\u0085\u2028\u2029]+/g, ' ')
}
