/**
 * From `--config` and `--set` to a checked configuration: read, merge, expand, check. Everything that is
 * wrong is thrown together as one ConfigError, in the order of the sources and their lines.
 */
import type { Registry, RegistryLoader } from '../component/define.ts'
import type { ConfigProblem } from '../errors.ts'
import { checkTree } from './check.ts'
import { Expander } from './expand.ts'
import { merge } from './merge.ts'
import { type Entry, emptyMap, find, toPlain } from './node.ts'
import { PluginProblems, type ResolvePackage, resolvePlugins, type VersionOf } from './plugins.ts'
import { Report, sortProblems } from './report.ts'
import { type Environment, filePath, readSetting, readSource } from './sources.ts'
import type { ServiceConfig } from './types.ts'

export interface LoadOptions {
  /** `--config`: a path, `file:`, `env:NAME` or `yaml:...`; later ones are merged over earlier ones. */
  readonly sources: readonly string[]
  /** `--set a.b=c`, merged after all sources. */
  readonly sets: readonly string[]
  readonly env: Environment
  /** Asked for only when the sources can be read: hostile text is refused before any component is loaded. */
  readonly registry: Registry | RegistryLoader
  /** For npm packages under `plugins`. */
  readonly resolvePackage?: ResolvePackage
  /** What a reload tells changed plugin files by. Absent: a file is what it was when it was first imported. */
  readonly versionOf?: VersionOf
}

export interface LoadedConfig {
  readonly config: ServiceConfig
  /** Merged and expanded, as plain values that can be sent to a worker thread and checked there again. */
  readonly tree: unknown
  readonly warnings: readonly ConfigProblem[]
  /** Every file that was read for it, but for what plugins import. */
  readonly files: readonly string[]
}

export async function loadConfig(options: LoadOptions): Promise<LoadedConfig> {
  const report = new Report()
  const { root, files, paths } = await readTree(options, report)
  await resolvePlugins(root, report, options.resolvePackage, options.versionOf)
  report.throwIfFailed(files) // Without its plugins the rest would look wrong.
  const known = await knownComponents(options.registry, root, report)
  report.throwIfFailed(files)
  const config = checkTree(root, known, report)
  report.throwIfFailed(files)
  // Made after the check, which has repaired values that came from expressions.
  const warnings = sortProblems(report.warnings, files)
  return { config, tree: toPlain(root.value), warnings, files: paths }
}

/** What is wrong with a plugin is told at its place in the list. */
async function knownComponents(
  registry: LoadOptions['registry'],
  root: Entry,
  report: Report,
): Promise<Registry> {
  if (typeof registry !== 'function') return registry
  try {
    return await registry(toPlain(root.value))
  } catch (error) {
    if (!(error instanceof PluginProblems)) throw error
    for (const { index, message } of error.problems) {
      report.error(find(root, ['plugins', index]).place, ['plugins', index], message)
    }
    return { receivers: [], processors: [], exporters: [], connectors: [], extensions: [], refused: {} }
  }
}

/** The merged and expanded tree without any check of what it says, as print-config shows it. With `plugins`, these are found. */
export async function loadTree(
  options: Omit<LoadOptions, 'registry'>,
  plugins?: ResolvePackage,
): Promise<unknown> {
  const report = new Report()
  const { root, files } = await readTree(options, report)
  if (plugins !== undefined) await resolvePlugins(root, report, plugins)
  report.throwIfFailed(files)
  return toPlain(root.value)
}

async function readTree(
  { sources, sets, env }: Omit<LoadOptions, 'registry'>,
  report: Report,
): Promise<{ root: Entry; files: string[]; paths: string[] }> {
  const read = []
  for (const source of sources) read.push(await readSource(source, env, report))
  for (const set of sets) read.push(readSetting(set, report))
  const files = read.map(({ file }) => file)
  report.throwIfFailed(files) // A source that cannot be read would make the rest look wrong.
  let root: Entry | undefined
  for (const { entry } of read) {
    if (entry) root = root ? merge(root, entry) : entry
  }
  const place = { file: files[0] ?? '', line: 0, column: 0 }
  root ??= { keyPlace: place, value: emptyMap(place) }
  const expander = new Expander(env, report)
  await expander.expand(root)
  const paths = sources.flatMap((source) => filePath(source) ?? [])
  return { root, files, paths: [...paths, ...expander.files] }
}
