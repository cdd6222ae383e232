/**
 * The components of a configuration: the built-in ones that it names, and the plugins that it lists. Plugins cost nothing
 * where there are none.
 */
import type { Registry } from './component/define.ts'
import { registry } from './components.ts'
import { pluginsOf } from './config/plugins.ts'

/** For threads whose plugins main has imported already. */
export async function componentsOf(tree?: unknown): Promise<Registry> {
  const builtIn = await registry(tree)
  const paths = pluginsOf(tree)
  if (paths.length === 0) return builtIn
  const { addPlugins } = await import('./plugin/loader.ts')
  return addPlugins(builtIn, paths)
}

/** For main, where a plugin that hangs or exits must not: each is imported in another thread first. */
export async function provenComponentsOf(tree?: unknown): Promise<Registry> {
  return withProvenPlugins(await registry(tree), tree)
}

/** Every built-in component, and the plugins of a tree. */
export async function allComponentsOf(tree: unknown): Promise<Registry> {
  return withProvenPlugins(await registry(), tree)
}

async function withProvenPlugins(builtIn: Registry, tree: unknown): Promise<Registry> {
  const paths = pluginsOf(tree)
  if (paths.length === 0) return builtIn
  const { addPlugins } = await import('./plugin/loader.ts')
  const { probePlugins } = await import('./workers/isolate-pool.ts')
  return addPlugins(builtIn, paths, probePlugins)
}
