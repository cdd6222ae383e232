/**
 * The service: what `weir --config` runs until a signal ends it. Main holds configuration, life cycle,
 * admin endpoints and own metrics; the data flows in the shards (workers/pool.ts, shard-service.ts).
 */
import type { RegistryLoader } from '../component/define.ts'
import type { Logger } from '../component/logger.ts'
import { durabilityNotes } from '../config/durability.ts'
import type { LoadedConfig } from '../config/load.ts'
import { formatProblem, toError } from '../errors.ts'
import { allowOptimizing } from '../workers/tiering.ts'
import { Control } from './control.ts'
import { LiveLogger } from './live-logger.ts'
import { createLogger } from './log.ts'
import { Service } from './service.ts'

export interface RunOptions {
  readonly loaded: LoadedConfig
  /** Reads the configuration again. */
  readonly reload: () => Promise<LoadedConfig>
  /** Reload when a file of the configuration changes. */
  readonly watch: boolean
  readonly registry: RegistryLoader
  readonly featureGates: readonly string[]
}

/**
 * Runs until SIGTERM or SIGINT, and resolves to the exit code: 0 after a drain, 2 when it could not start.
 * An error in the main thread that nothing catches ends the process with 2: what is in doubt there is in
 * doubt for all shards.
 */
export async function runService(options: RunOptions): Promise<number> {
  const { loaded, registry } = options
  const logs = loaded.config.service.telemetry.logs
  const log = new LiveLogger(logs)
  const { logger } = log
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
  let control: Control
  try {
    await service.start(loaded)
    control = new Control(service, options, log)
    await control.start(loaded)
    allowOptimizing()
  } catch (error) {
    logger.error('start failed', { error: toError(error) })
    await service.shutdown(1000)
    return 2
  }
  const stopped = untilStopped(service, control, logger)
  // The ready line is a contract: it is written whatever the level, and after it signals are answered.
  createLogger({ ...logs, level: logs.level === 'debug' ? 'debug' : 'info' }).info('weir is ready', {
    listeners: { ...service.listeners(), ...control.listeners() },
    shards: service.shards,
  })
  return await stopped
}

function untilStopped(service: Service, control: Control, logger: Logger): Promise<number> {
  return new Promise((resolve) => {
    let stopping = false
    const stop = (signal: NodeJS.Signals) => {
      if (stopping) {
        logger.warn('second signal: giving up what is left', { signal })
        process.exit(0)
      }
      stopping = true
      control.close()
      const timeoutMs = control.shutdownTimeoutMs
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
    process.on('SIGTERM', stop)
    process.on('SIGINT', stop)
  })
}

function logWarnings(logger: Logger, loaded: LoadedConfig): void {
  for (const problem of loaded.warnings) logger.warn('configuration', { problem: formatProblem(problem) })
  for (const note of durabilityNotes(loaded.config)) logger.info('durability', { note })
}
