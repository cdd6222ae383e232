/**
 * The section `plugins`: a list of paths, relative to the file they are written in, and of npm packages, found as an import in that
 * file would find them. Checking the configuration makes them absolute, so that every shard loads the same files.
 */
import { existsSync, statSync } from 'node:fs'
import { dirname, isAbsolute, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { WeirError } from '../errors.ts'
import { type Entry, find } from './node.ts'
import type { Report } from './report.ts'

const FILE = /\.[cm]?[jt]s$/
const PACKAGE = /^(?:@[a-z0-9~-][a-z0-9._~-]*\/)?[a-z0-9~-][a-z0-9._~-]*(?:\/[A-Za-z0-9._~-]+)*$/

export interface PluginProblem {
  /** Place in the list of plugins. */
  readonly index: number
  readonly message: string
}

/** Plugins could not be loaded; the configuration's loader adds the places. */
export class PluginProblems extends WeirError {
  static override code = 'PLUGINS'
  readonly problems: readonly PluginProblem[]
  constructor(problems: readonly PluginProblem[]) {
    super(problems.map(({ message }) => message).join('\n'))
    this.problems = problems
  }
}

/** The file that a package name leads to from an import in `from`, both as URLs; throws when there is none. */
export type ResolvePackage = (name: string, from: string) => Promise<string>

/** The same path while the content of the plugin is what it was, else with a mark of its version (plugin/versions.ts). */
export type VersionOf = (path: string) => Promise<string>

/** The absolute paths in a tree that was checked, with the marks of their versions. */
export function pluginsOf(tree: unknown): string[] {
  const list = (tree as { readonly plugins?: unknown } | undefined)?.plugins // Any value; what it holds is looked at.
  return Array.isArray(list) ? list.filter((path) => typeof path === 'string') : []
}

/** Puts absolute paths in the place of what was written; what leads nowhere is reported. */
export async function resolvePlugins(
  root: Entry,
  report: Report,
  resolvePackage: ResolvePackage | undefined,
  versionOf: VersionOf = async (path) => path,
): Promise<void> {
  const { node, keyPlace, broken } = find(root, ['plugins'])
  if (node === undefined || broken || (node.kind === 'scalar' && node.value === null)) return
  if (node.kind !== 'list') {
    report.error(keyPlace, ['plugins'], 'expected a list of paths and packages: plugins: [./redact.ts]')
    return
  }
  for (const [index, item] of node.items.entries()) {
    if (item.kind === 'scalar' && item.broken) continue
    const path = ['plugins', index]
    if (item.kind !== 'scalar' || typeof item.value !== 'string' || item.value.trim() === '') {
      report.error(item.place, path, 'expected a path such as ./redact.ts, or the name of a package')
      continue
    }
    const found = await locate(item.value.trim(), item.place.file, resolvePackage)
    if ('problem' in found) report.error(item.place, path, found.problem)
    else node.items[index] = { kind: 'scalar', place: item.place, value: await versionOf(found.path) }
  }
}

async function locate(
  text: string,
  writtenIn: string,
  resolvePackage: ResolvePackage | undefined,
): Promise<{ readonly path: string } | { readonly problem: string }> {
  if (/^(?!file:)[a-z][a-z0-9+.-]+:/i.test(text))
    return { problem: `"${text}": plugins are paths or packages, not URLs` }
  const folder = existsSync(writtenIn) ? dirname(resolve(writtenIn)) : process.cwd()
  if (text.startsWith('file:') || text.startsWith('.') || isAbsolute(text) || FILE.test(text)) {
    return file(text, text.startsWith('file:') ? fileURLToPath(text) : resolve(folder, text))
  }
  if (!PACKAGE.test(text)) return { problem: `"${text}" is neither a path nor the name of a package` }
  if (resolvePackage === undefined) return { problem: `"${text}": packages are not resolved here` }
  try {
    return file(
      text,
      fileURLToPath(await resolvePackage(text, pathToFileURL(resolve(folder, 'collector.yaml')).href)),
    )
  } catch {
    return {
      problem: `there is no package "${text}" that an import in ${folder} would find; a path begins with ./`,
    }
  }
}

function file(text: string, path: string): { readonly path: string } | { readonly problem: string } {
  if (!existsSync(path)) return { problem: `"${text}": there is no such file` }
  if (!statSync(path).isFile()) return { problem: `"${text}" is not a file` }
  if (!FILE.test(path)) return { problem: `"${text}": a plugin is a .ts, .js or .mjs file` }
  return { path }
}
