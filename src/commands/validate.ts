/**
 * The warnings of `weir validate`: what the check of a configuration tells, and what the lint finds, but for
 * what comments silence.
 */
import { readFileSync } from 'node:fs'
import { durabilityNotes } from '../config/durability.ts'
import { formatRule, type LintCheck, lint, unsilenced, type Warning, withRule } from '../config/lint.ts'
import { readPlaces } from '../config/places.ts'
import type { ServiceConfig } from '../config/types.ts'
import { type ConfigProblem, formatProblem } from '../errors.ts'

/** Told as a note: it may be meant so. */
export const NOTE = 'can-lose-data'

const losses: LintCheck = (config) =>
  config.service.pipelines.flatMap(({ id }) => {
    const start = `service.pipelines.${id}: `
    const notes = durabilityNotes(config).filter((note) => note.startsWith(start))
    const path = ['service', 'pipelines', id]
    return notes.map((note) => ({ rule: NOTE, path, message: note.slice(start.length) }) as const)
  })

export async function allWarnings(
  config: ServiceConfig,
  told: readonly ConfigProblem[],
  { config: sources, set }: { readonly config: readonly string[]; readonly set: readonly string[] },
): Promise<Warning[]> {
  const places = await readPlaces(sources, set, process.env)
  const found = lint(config, places, [losses])
  const files = sources.map((source) => source.replace(/^file:/, ''))
  const rank = ({ file }: Warning) => (files.includes(file) ? files.indexOf(file) : -1)
  const all = [...told.map(withRule), ...found]
  return unsilenced(all, textOf).sort((a, b) => rank(a) - rank(b) || a.line - b.line || a.column - b.column)
}

/** The same without the notes, each with its rule in its message: for a log. */
export async function lintWarnings(...about: Parameters<typeof allWarnings>): Promise<ConfigProblem[]> {
  const warnings = (await allWarnings(...about)).filter(({ rule }) => rule !== NOTE)
  return warnings.map((warning) => ({ ...warning, message: `${warning.message}${formatRule(warning)}` }))
}

function textOf(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined // An environment variable, or text of the command line.
  }
}

export function formatWarning(warning: Warning): string {
  return `${warning.rule === NOTE ? 'note' : 'warning'}: ${formatProblem(warning)}${formatRule(warning)}`
}
