/**
 * What is right and probably not meant: `weir validate` warns of it, each warning with the name of its rule.
 * A comment `# weir: ignore RULE` in the line of a warning or the one above silences it there, at the head
 * of a file everywhere in it.
 */
import type { ConfigProblem } from '../errors.ts'
import type { Path } from './node.ts'
import type { Places } from './places.ts'
import type { PipelineConfig, ServiceConfig } from './types.ts'

/** Rules by name, and what each is about. */
export const LINT_RULES = {
  'limiter-missing': 'a pipeline that receives data has no memory_limiter',
  'limiter-first': 'memory_limiter is not the first processor',
  'batch-before-sampling': 'batch stands before a processor that samples or filters',
  'batch-last': 'batch is not the last processor',
  unused: 'a component is configured and not used',
  'debug-detailed': 'the debug exporter prints every item',
  'can-lose-data': 'what was acknowledged can be lost in a crash',
  exposed: 'a listener can be reached from other machines without TLS',
  deprecated: 'an old name or form is used',
  ignored: 'a field has no effect here',
  'unset-variable': 'an environment variable is not set',
  'dollar-signs': 'two dollar signs in the value of a variable become one',
  'listed-twice': 'a component is listed twice in a pipeline',
  'second-document': 'a source has more than one YAML document',
  'feature-gate': 'a feature gate is given that has no effect',
} as const
export type LintRule = keyof typeof LINT_RULES

export interface Lint {
  readonly rule: LintRule
  readonly path: Path
  readonly message: string
}

/** Looks at a checked configuration. */
export type LintCheck = (config: ServiceConfig) => readonly Lint[]

export interface Warning extends ConfigProblem {
  readonly rule: LintRule | undefined
}

/** `also` are checks that need to know more than a configuration. */
export function lint(config: ServiceConfig, places: Places, also: readonly LintCheck[] = []): Warning[] {
  const found = [checkPipelines, checkUses, checkDebug, ...also].flatMap((run) => run(config))
  return found.map(({ rule, path, message }) => ({
    ...places.at(path),
    path: places.format(path),
    message,
    rule,
  }))
}

const SAMPLES: readonly string[] = ['tail_sampling', 'probabilistic_sampler', 'filter']

function checkPipelines(config: ServiceConfig): Lint[] {
  const found: Lint[] = []
  for (const pipeline of config.service.pipelines) {
    const path = ['service', 'pipelines', pipeline.id]
    const types = pipeline.processors.map((id) => config.processors.get(id)?.definition.type ?? '')
    const limiter = types.indexOf('memory_limiter')
    const receives = pipeline.receivers.some((id) => config.receivers.has(id))
    if (limiter < 0 && receives) {
      const message =
        'no memory_limiter: memory has no bound when senders are faster than backends; put one first'
      found.push({ rule: 'limiter-missing', path, message })
    }
    if (limiter > 0) {
      const message =
        'memory_limiter should be the first processor: what stands before it works on data that is refused'
      found.push({ rule: 'limiter-first', path: [...path, 'processors', limiter], message })
    }
    found.push(...checkBatch(pipeline, types, path))
  }
  return found
}

function checkBatch(pipeline: PipelineConfig, types: readonly string[], path: Path): Lint[] {
  const batch = types.indexOf('batch')
  const behind = batch < 0 ? [] : types.slice(batch + 1)
  if (behind.length === 0) return []
  const at = [...path, 'processors', batch]
  const place = behind.findIndex((type) => SAMPLES.includes(type))
  if (place >= 0) {
    const id = pipeline.processors[batch + 1 + place]
    const why =
      behind[place] === 'tail_sampling'
        ? 'it holds traces itself, and sends them one by one'
        : 'it takes items out'
    const message = `batch stands before ${id}: ${why}, so the batches behind it are small again; put batch behind it`
    return [{ rule: 'batch-before-sampling', path: at, message }]
  }
  const message = `batch should be the last processor: ${pipeline.processors.at(-1)} stands behind it`
  return [{ rule: 'batch-last', path: at, message }]
}

function checkUses(config: ServiceConfig): Lint[] {
  const { pipelines, extensions } = config.service
  const used = {
    receivers: new Set(pipelines.flatMap(({ receivers }) => receivers)),
    processors: new Set(pipelines.flatMap(({ processors }) => processors)),
    exporters: new Set(pipelines.flatMap(({ exporters }) => exporters)),
    connectors: new Set(pipelines.flatMap(({ receivers, exporters }) => [...receivers, ...exporters])),
    extensions: new Set(extensions),
  }
  const found: Lint[] = []
  for (const [section, ids] of Object.entries(used) as [keyof typeof used, Set<string>][]) {
    for (const id of config[section].keys()) {
      if (ids.has(id)) continue
      const where = section === 'extensions' ? 'service.extensions does not name it' : 'no pipeline names it'
      found.push({ rule: 'unused', path: [section, id], message: `it is not used: ${where}` })
    }
  }
  return found
}

function checkDebug(config: ServiceConfig): Lint[] {
  const used = new Set(config.service.pipelines.flatMap(({ exporters }) => exporters))
  const found: Lint[] = []
  for (const { id, definition, config: settings } of config.exporters.values()) {
    if (definition.type !== 'debug' || !used.has(id)) continue
    const { verbosity, loglevel } = settings as { verbosity?: string; loglevel?: string } // As its schema says.
    if (verbosity === undefined ? loglevel !== 'debug' : verbosity !== 'detailed') continue
    const message =
      'it prints every item, which costs more than all else and shows what may be personal; not for production'
    found.push({ rule: 'debug-detailed', path: ['exporters', id], message })
  }
  return found
}

/** The rules of the warnings that the check of a configuration gives. */
const TOLD: readonly (readonly [RegExp, LintRule])[] = [
  [/can be reached from other machines/, 'exposed'],
  [/deprecated/, 'deprecated'],
  [/^ignored: /, 'ignored'],
  [/^environment variable .* is not set$/, 'unset-variable'],
  [/^"\$\$" in the value of .* becomes/, 'dollar-signs'],
  [/is listed twice; once is enough$/, 'listed-twice'],
  [/^only the first YAML document/, 'second-document'],
]

export function withRule(problem: ConfigProblem): Warning {
  if (problem.file === '--feature-gates') return { ...problem, rule: 'feature-gate' }
  return { ...problem, rule: TOLD.find(([words]) => words.test(problem.message))?.[1] }
}

const IGNORE = /#\s*weir:\s*ignore\s+([a-z][a-z-]*(?:\s*,\s*[a-z][a-z-]*)*)/

/** Without those that a comment silences. `textOf` gives a file as it is on the disk. */
export function unsilenced(
  warnings: readonly Warning[],
  textOf: (file: string) => string | undefined,
): Warning[] {
  const files = new Map<string, readonly string[]>()
  const linesOf = (file: string) => {
    let lines = files.get(file)
    if (lines === undefined) files.set(file, (lines = textOf(file)?.split('\n') ?? []))
    return lines
  }
  return warnings.filter(({ rule, file, line }) => {
    if (rule === undefined) return true
    const lines = linesOf(file)
    const comments = [lines[line - 1], onlyComment(lines[line - 2]), ...headOf(lines)]
    return !comments.some((text) => namesIn(text).includes(rule))
  })
}

function namesIn(line: string | undefined): string[] {
  return (
    IGNORE.exec(line ?? '')?.[1]
      ?.split(',')
      .map((name) => name.trim()) ?? []
  )
}

function onlyComment(line: string | undefined): string | undefined {
  return line?.trimStart().startsWith('#') ? line : undefined
}

/** The comments before the first key. */
function headOf(lines: readonly string[]): readonly string[] {
  const end = lines.findIndex((line) => line.trim() !== '' && !line.trimStart().startsWith('#'))
  return end < 0 ? [] : lines.slice(0, end)
}

export function formatRule({ rule }: Warning): string {
  return rule === undefined ? '' : ` [${rule}]`
}
