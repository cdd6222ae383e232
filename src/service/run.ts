/**
 * The service: what `weir --config` runs until a signal ends it. Main holds configuration, life cycle, admin endpoints and
 * own metrics; the data flows in the shards (workers/pool.ts, shard-service.ts).
 */
import type { RegistryLoader } from '../component/define.ts'
import type { Logger } from '../component/logger.ts'
import type { LoadedConfig } from '../config/load.ts'
import { ConfigError, formatProblem, toError } from '../errors.ts'
import { allowOptimizing } from '../workers/tiering.ts'
import { createLogger } from './log.ts'
import { Service } from './service.ts'

export interface RunOptions {
  readonly loaded: LoadedConfig
  /** Reads the configuration again, for SIGHUP. */
  readonly reload: () => Promise<LoadedConfig>
  readonly registry: RegistryLoader
  readonly featureGates: readonly string[]
}

/**
 * Runs until SIGTERM or SIGINT, and resolves to the exit code: 0 after a drain, 2 when it could not start. An error in
 * the main thread that nothing catches ends the process with 2: what is in doubt there is in doubt for all shards.
 */
export async function runService(options: RunOptions): Promise<number> {
  const { loaded, registry } = options
  const logs = loaded.config.service.telemetry.logs
  const logger = createLogger(logs)
  logWarnings(logger, loaded)
  process.prependListener('uncaughtException', (error) => {
    logger.error('weir crashed: an error in the main thread that nothing caught', {
      error,
      stack: error.stack,
    })
    process.exit(2)
  })
  process.on('unhandledRejection', (error) => {
    logger.error('unhandled rejection in the main thread', {
      error: toError(error),
      stack: toError(error).stack,
    })
  })
  const service = new Service(registry, logger)
  try {
    await service.start(loaded)
    allowOptimizing()
  } catch (error) {
    logger.error('start failed', { error: toError(error) })
    await service.shutdown(1000)
    return 2
  }
  const stopped = untilStopped(service, options, logger)
  // The ready line is a contract: it is written whatever the level, and after it signals are answered.
  createLogger({ ...logs, level: logs.level === 'debug' ? 'debug' : 'info' }).info('weir is ready', {
    listeners: service.listeners(),
    shards: service.shards,
  })
  return await stopped
}

function untilStopped(service: Service, options: RunOptions, logger: Logger): Promise<number> {
  let timeoutMs = options.loaded.config.service.shutdownTimeoutMs
  return new Promise((resolve) => {
    let stopping = false
    const stop = (signal: NodeJS.Signals) => {
      if (stopping) {
        logger.warn('second signal: giving up what is left', { signal })
        process.exit(0)
      }
      stopping = true
      logger.info('draining', { signal, timeout_ms: timeoutMs })
      service.shutdown(timeoutMs).then(
        () => {
          logger.info('weir has stopped')
          resolve(0)
        },
        (error: unknown) => {
          logger.error('shutdown failed', { error: toError(error) })
          resolve(2)
        },
      )
    }
    const reload = async () => {
      if (stopping) return
      logger.info('reloading')
      try {
        const loaded = await options.reload()
        logWarnings(logger, loaded)
        await service.reload(loaded)
        timeoutMs = loaded.config.service.shutdownTimeoutMs
        logger.info('reloaded')
      } catch (error) {
        logReloadError(logger, error)
      }
    }
    process.on('SIGTERM', stop)
    process.on('SIGINT', stop)
    process.on('SIGHUP', () => void reload())
  })
}

function logWarnings(logger: Logger, loaded: LoadedConfig): void {
  for (const problem of loaded.warnings) logger.warn('configuration', { problem: formatProblem(problem) })
}

function logReloadError(logger: Logger, error: unknown): void {
  if (error instanceof ConfigError) {
    for (const problem of error.problems) {
      logger.error('configuration', { problem: formatProblem(problem) })
    }
  }
  logger.error('reload failed, the configuration before it runs on', { error: toError(error) })
}
