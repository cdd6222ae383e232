/**
 * Loads plugins and puts their definitions into the registry that configurations are checked against. Main
 * does so first, once another thread has shown that importing a plugin ends (ProbePlugin); every shard does
 * so again for itself.
 *
 * Whatever is wrong with a plugin becomes a PluginProblem with its place in the list, which the
 * configuration's loader turns into a line and column.
 */
import { createRequire } from 'node:module'
import { basename } from 'node:path'
import { z } from 'zod'
import type { AnyDefinition, Registry, RegistryLoader } from '../component/define.ts'
import { type PluginProblem, PluginProblems, pluginsOf } from '../config/plugins.ts'
import { toError } from '../errors.ts'
import { API_VERSION, satisfies } from './api-version.ts'
import { KINDS } from './guard.ts'
import { addPlugin, installHooks } from './resolve.ts'
import { filesOf, locate } from './versions.ts'
import { type PluginNotes, wrap } from './wrap.ts'

const require = createRequire(import.meta.url)
/** How long an import may take. */
export const IMPORT_LIMIT_MS = 10_000
const MOST_PLUGINS = 100
const SECTION_OF = {
  receiver: 'receivers',
  processor: 'processors',
  exporter: 'exporters',
  connector: 'connectors',
  extension: 'extensions',
} as const

/**
 * Imports the plugins at these paths where a hang or an exit hurts nobody; an answer for each: what went
 * wrong, if anything.
 */
export type ProbePlugins = (paths: readonly string[]) => Promise<readonly (string | undefined)[]>

/** The same loader, with the plugins that the tree names. Rejects with PluginProblems. */
export function withPlugins(builtIn: RegistryLoader, probe?: ProbePlugins): RegistryLoader {
  return async (tree) => {
    const registry = await builtIn(tree)
    return addPlugins(registry, pluginsOf(tree), probe)
  }
}

/** `paths` are absolute. */
export async function addPlugins(
  registry: Registry,
  paths: readonly string[],
  probe?: ProbePlugins,
): Promise<Registry> {
  if (paths.length === 0) return registry
  const problems: PluginProblem[] = []
  if (paths.length > MOST_PLUGINS)
    throw new PluginProblems([{ index: MOST_PLUGINS, message: `more than ${MOST_PLUGINS} plugins` }])
  const probed = await probe?.(paths)
  const merged = new Merge(registry)
  for (const [index, path] of paths.entries()) {
    const tell = (message: string) => void problems.push({ index, message })
    const problem = probed?.[index]
    if (problem !== undefined) tell(problem)
    else merged.add(await importPlugin(path, tell), path, tell)
  }
  if (problems.length > 0) throw new PluginProblems(problems)
  return merged.registry()
}

/** The definitions that a plugin exports; none when it cannot be imported, which is told. */
async function importPlugin(path: string, tell: (message: string) => void): Promise<unknown[]> {
  try {
    const exported = await importDefault(path)
    if (exported === undefined) {
      tell(
        `"${basename(locate(path).file)}" has no default export; it has to be what a define function returns, or a list of that`,
      )
      return []
    }
    return Array.isArray(exported) ? exported : [exported]
  } catch (error) {
    tell(importProblem(error))
    return []
  }
}

/** Also what the probing thread runs. */
export async function importDefault(path: string): Promise<unknown> {
  installHooks()
  const { file, url } = locate(path)
  addPlugin(url)
  // The cache of CommonJS modules knows files and no versions.
  if (path !== file) for (const one of filesOf(file)) delete require.cache[one]
  const imported = import(url) as Promise<{ readonly default?: unknown }>
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(hangs())), IMPORT_LIMIT_MS)
  })
  try {
    return (await Promise.race([imported, late])).default
  } finally {
    clearTimeout(timer)
  }
}

export function hangs(): string {
  return `importing it does not end within ${IMPORT_LIMIT_MS / 1000} s`
}

/** What an import failed with, in the user's words. */
export function importProblem(thrown: unknown): string {
  const error = toError(thrown)
  const code = (error as { readonly code?: unknown }).code
  if (code === 'ERR_UNSUPPORTED_NODE_MODULES_TYPE_STRIPPING') {
    return 'a package has to ship JavaScript: Node runs no TypeScript under node_modules'
  }
  if (code === 'ERR_MODULE_NOT_FOUND') return error.message.split('\n')[0] ?? error.message
  // The stack of a syntax error begins with its place.
  const place =
    error instanceof SyntaxError ? /^(?:file:\/\/)?(\S+:\d+)/.exec(error.stack ?? '')?.[1] : undefined
  if (error.message === hangs()) return error.message
  const what = error instanceof SyntaxError ? 'syntax error' : 'importing it throws'
  return `${what}: ${error.message}${place === undefined ? '' : ` (${place})`}`
}

/** Collects definitions, and refuses names that are taken. */
class Merge {
  readonly #registry: Registry
  readonly #added: { readonly definition: AnyDefinition; readonly file: string }[] = []

  constructor(registry: Registry) {
    this.#registry = registry
  }

  add(exported: readonly unknown[], path: string, tell: (message: string) => void): void {
    const file = basename(locate(path).file)
    for (const candidate of exported) {
      const problem = this.#problemOf(candidate)
      if (problem !== undefined) tell(`"${file}": ${problem}`)
      else this.#added.push({ definition: wrap(candidate as AnyDefinition, path, file), file }) // Looked at above.
    }
  }

  #problemOf(candidate: unknown): string | undefined {
    if (typeof candidate !== 'object' || candidate === null || !('kind' in candidate)) {
      return 'the default export is not what a define function returns'
    }
    const definition = candidate as AnyDefinition & PluginNotes // Each part is looked at below.
    const { kind, type, apiVersion } = definition
    if (!KINDS.includes(kind)) return `the kind "${String(kind)}" is none of ${KINDS.join(', ')}`
    const what = `${kind} "${String(type)}"`
    if (typeof type !== 'string' || !/^[a-zA-Z][0-9a-zA-Z_]{0,62}$/.test(type))
      return `${what}: not a name for a type`
    if (apiVersion !== undefined) {
      const fits = satisfies(API_VERSION, String(apiVersion))
      if (fits === undefined) return `${what}: apiVersion "${apiVersion}" is not a range such as ^1`
      if (!fits) return `${what} is for the plugin API ${apiVersion}, and this is ${API_VERSION}`
    }
    if (typeof definition.create !== 'function') return `${what} has no create()`
    if (!(definition.config instanceof z.ZodType)) return `${what}: config has to be a zod schema`
    if (definition.config instanceof z.ZodObject && 'isolate' in definition.config.shape) {
      return `${what}: the field "isolate" is Weir's own`
    }
    for (const metric of Object.values(definition.telemetry ?? {})) {
      const name = String((metric as { readonly name?: unknown } | undefined)?.name)
      if (!/^[a-z][a-z0-9_]*$/.test(name) || !name.startsWith(`${kind}_`)) {
        return `${what}: the metric "${name}" has to begin with "${kind}_", in lower snake case`
      }
    }
    return this.#clashOf(kind, [type, ...(definition.deprecatedTypes ?? [])])
  }

  #clashOf(kind: AnyDefinition['kind'], names: readonly string[]): string | undefined {
    const registry = this.#registry
    const loaded: readonly AnyDefinition[] = registry[SECTION_OF[kind]]
    const builtIn =
      registry.names?.[kind] ?? loaded.flatMap((one) => [one.type, ...(one.deprecatedTypes ?? [])])
    const clash = names.find((name) => builtIn.includes(name))
    if (clash !== undefined) return `there is a built-in ${kind} "${clash}" already`
    for (const { definition, file } of this.#added) {
      const taken = [definition.type, ...(definition.deprecatedTypes ?? [])]
      const twice = definition.kind === kind ? names.find((name) => taken.includes(name)) : undefined
      if (twice !== undefined) return `"${file}" has a ${kind} "${twice}" already`
    }
    return undefined
  }

  registry(): Registry {
    const of = <K extends AnyDefinition['kind']>(kind: K) =>
      this.#added.flatMap(({ definition }) =>
        definition.kind === kind ? [definition as Extract<AnyDefinition, { kind: K }>] : [],
      )
    const registry = this.#registry
    const names = { ...registry.names }
    for (const kind of KINDS) {
      if (names[kind] !== undefined) names[kind] = [...names[kind], ...of(kind).map(({ type }) => type)]
    }
    return {
      receivers: [...registry.receivers, ...of('receiver')],
      processors: [...registry.processors, ...of('processor')],
      exporters: [...registry.exporters, ...of('exporter')],
      connectors: [...registry.connectors, ...of('connector')],
      extensions: [...registry.extensions, ...of('extension')],
      refused: registry.refused,
      names,
    }
  }
}
