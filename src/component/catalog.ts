/**
 * The components that there are, by name, each with the way to load it. A module is loaded only when a configuration names its
 * component, or when all are asked for: idle memory and the time to start follow the configuration, not the size of Weir.
 */
import { parseId } from '../config/ids.ts'
import type {
  AnyConnector,
  AnyExporter,
  AnyExtension,
  AnyProcessor,
  AnyReceiver,
  Kind,
  Registry,
  RegistryLoader,
} from './define.ts'

export interface CatalogEntry<D> {
  /** These are the definition's own names; a test compares them. */
  readonly type: string
  readonly deprecatedTypes: readonly string[]
  load(): Promise<{ readonly default: D }>
}

export interface Catalog {
  readonly receivers: readonly CatalogEntry<AnyReceiver>[]
  readonly processors: readonly CatalogEntry<AnyProcessor>[]
  readonly exporters: readonly CatalogEntry<AnyExporter>[]
  readonly connectors: readonly CatalogEntry<AnyConnector>[]
  readonly extensions: readonly CatalogEntry<AnyExtension>[]
  readonly refused: Registry['refused']
}

/** One line of the catalog; `deprecatedTypes` are old names that are still accepted. */
export function entry<D>(
  type: string,
  load: () => Promise<{ readonly default: D }>,
  deprecatedTypes: readonly string[] = [],
): CatalogEntry<D> {
  return { type, deprecatedTypes, load }
}

/** The components that a tree names; without a tree, all. */
export function registryOf(catalog: Catalog): RegistryLoader {
  return async (tree) => {
    const named = (section: Section) => (tree === undefined ? undefined : namedTypes(tree, section))
    const [receivers, processors, exporters, connectors, extensions] = await Promise.all([
      load(catalog.receivers, named('receivers')),
      load(catalog.processors, named('processors')),
      load(catalog.exporters, named('exporters')),
      load(catalog.connectors, named('connectors')),
      load(catalog.extensions, named('extensions')),
    ])
    const names = {
      receiver: catalog.receivers.flatMap(namesOf),
      processor: catalog.processors.flatMap(namesOf),
      exporter: catalog.exporters.flatMap(namesOf),
      connector: catalog.connectors.flatMap(namesOf),
      extension: catalog.extensions.flatMap(namesOf),
    } satisfies Record<Kind, string[]>
    return { receivers, processors, exporters, connectors, extensions, names, refused: catalog.refused }
  }
}

type Section = Exclude<keyof Catalog, 'refused'>

async function load<D>(
  entries: readonly CatalogEntry<D>[],
  named: ReadonlySet<string> | undefined,
): Promise<D[]> {
  const wanted = entries.filter((one) => named === undefined || namesOf(one).some((name) => named.has(name)))
  return Promise.all(wanted.map(async (one) => (await one.load()).default))
}

function namesOf({ type, deprecatedTypes }: CatalogEntry<unknown>): string[] {
  return [type, ...deprecatedTypes]
}

/** What is wrong with the tree is found by the check; here it just names nothing. */
function namedTypes(tree: unknown, section: Section): Set<string> {
  const named = new Set<string>()
  if (typeof tree !== 'object' || tree === null) return named
  const ids = (tree as Readonly<Record<string, unknown>>)[section] // Any object; what it holds is looked at.
  if (typeof ids !== 'object' || ids === null) return named
  for (const id of Object.keys(ids)) {
    const parsed = parseId(id)
    if (typeof parsed !== 'string') named.add(parsed.type)
  }
  return named
}
