/**
 * Where `weir-collector` and `zod` lead to in plugin code: to the copy that is running, wherever the plugin
 * lies and whatever is installed beside it, so that classes and schemas are the same ones. Node's own
 * resolution does the rest.
 *
 * Hooks belong to a thread: each that loads plugins calls installHooks().
 */
import { registerHooks } from 'node:module'

const SUFFIX = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
const OWN: Readonly<Record<string, string>> = {
  'weir-collector': new URL(`../index.${SUFFIX}`, import.meta.url).href,
  'weir-collector/testing': new URL(`../testing.${SUFFIX}`, import.meta.url).href,
}
/**
 * Asks for a package as a file elsewhere would: `weir-plugin:` and a JSON list of the specifier and that
 * file's URL.
 */
const FROM = 'weir-plugin:'

/** Local files that the code of plugins imports, by the file that does, all without their marks. */
const imports = new Map<string, Set<string>>()
/** More are not followed: a change of those goes unnoticed. */
const MOST_FILES = 1000

let installed = false
/**
 * Folders of the packages that are plugins: they get the running zod, their dependencies the zod that they
 * installed.
 */
const packages = new Set<string>()

export function installHooks(): void {
  if (installed) return
  installed = true
  registerHooks({
    resolve(specifier, context, nextResolve) {
      const own = Object.hasOwn(OWN, specifier) ? OWN[specifier] : undefined
      if (own !== undefined) return { url: own, shortCircuit: true }
      if ((specifier === 'zod' || specifier.startsWith('zod/')) && isPlugin(context.parentURL ?? '')) {
        return nextResolve(specifier, { ...context, parentURL: import.meta.url })
      }
      if (specifier.startsWith(FROM)) {
        const [name, parentURL] = JSON.parse(decodeURIComponent(specifier.slice(FROM.length))) as [
          string,
          string,
        ]
        return nextResolve(name, { ...context, parentURL })
      }
      const resolved = nextResolve(specifier, context)
      const local = /^(?:\.{0,2}\/|file:)/.test(specifier) && note(context.parentURL ?? '', resolved.url)
      const mark = local && !context.conditions.includes('require') ? markOf(context.parentURL ?? '') : ''
      return mark === '' ? resolved : { ...resolved, url: plain(resolved.url) + mark }
    },
  })
}

/**
 * The file that `name` leads to for an import in the file `from`, both as URLs; throws when there is none.
 */
export function resolveFrom(name: string, from: string): string {
  installHooks()
  return import.meta.resolve(FROM + encodeURIComponent(JSON.stringify([name, from])))
}

/** The files that a plugin imports and those that these import, as URLs without marks; itself left out. */
export function localImports(url: string): string[] {
  const found = new Set([plain(url)])
  for (const one of found) for (const child of imports.get(one) ?? []) found.add(child)
  found.delete(plain(url))
  return [...found]
}

/**
 * Remembers that the code of a plugin imports a local file; false when it is other code, or a file of a
 * package.
 */
function note(parentURL: string, url: string): boolean {
  const children = imports.get(plain(parentURL))
  if (children === undefined || !url.startsWith('file:') || packageFolder(url) !== packageFolder(parentURL)) {
    return false
  }
  children.add(plain(url))
  if (!imports.has(plain(url)) && imports.size < MOST_FILES) imports.set(plain(url), new Set())
  return true
}

/** The mark of a version that a URL ends with (versions.ts), or ''. */
function markOf(url: string): string {
  return /\?weir=[0-9a-f]{16}$/.exec(url)?.[0] ?? ''
}

function plain(url: string): string {
  return url.replace(/\?weir=[0-9a-f]{16}$/, '')
}

/** To be told of every plugin before it is imported. */
export function addPlugin(url: string): void {
  if (!imports.has(plain(url))) imports.set(plain(url), new Set())
  const folder = packageFolder(url)
  if (folder !== undefined) packages.add(folder)
}

function isPlugin(url: string): boolean {
  const folder = packageFolder(url)
  return folder === undefined || packages.has(folder)
}

/** The innermost package under node_modules that a file belongs to. */
function packageFolder(url: string): string | undefined {
  return /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+\//.exec(url)?.[0]
}
