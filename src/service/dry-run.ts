/**
 * Builds the graph of a configuration without starting anything, for `weir validate`: finds what only the constructors of components
 * can tell.
 */
import { systemClock } from '../component/clock.ts'
import { silentLogger } from '../component/logger.ts'
import type { ServiceConfig } from '../config/types.ts'
import { ConfigError, toError } from '../errors.ts'
import { createSharedMemory, SharedView } from '../workers/shared.ts'
import type { Environment } from './environment.ts'
import { buildGraph } from './graph-builder.ts'
import { ListenerPool } from './listeners.ts'
import { createMetricTable, SharedMeter } from './metrics.ts'

/** Throws a ConfigError that names the file when a component refuses its settings. */
export function dryRun(config: ServiceConfig, tree: unknown, file: string): void {
  const nothing = () => {}
  const environment: Environment = {
    shard: 0,
    shards: 1,
    clock: systemClock,
    shared: new SharedView(createSharedMemory(1), 0),
    meter: new SharedMeter(createMetricTable(), [], nothing, nothing),
    logger: silentLogger,
    listeners: new ListenerPool(() => Promise.reject(new Error('a dry run does not listen')), false),
    links: [undefined],
    answers: new Map(),
    gather: async () => [],
    report: nothing,
  }
  try {
    buildGraph({ config, tree, environment, extensions: new Map(), previous: undefined })
  } catch (error) {
    if (error instanceof ConfigError) throw error
    throw new ConfigError([{ file, line: 0, column: 0, path: '', message: toError(error).message }])
  }
}
