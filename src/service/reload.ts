/**
 * Bringing a new configuration in, whoever asks for it: a signal, a changed file (file-watch.ts) or the
 * admin endpoint (admin-server.ts). One at a time; whoever asks while one is under way gets the result of
 * the next, which reads the files again.
 */
import type { Logger } from '../component/logger.ts'
import { counter, gauge, type Instruments } from '../component/telemetry.ts'
import type { LoadedConfig } from '../config/load.ts'
import { ConfigError, formatProblem, toError } from '../errors.ts'
import type { Changes } from './changes.ts'

export const reloadTelemetry = {
  reloads: counter(
    'config_reloads',
    '{reload}',
    'Reloads of the configuration: reloaded, unchanged, refused.',
    ['result'],
  ),
  successful: gauge('config_last_reload_successful', '1', 'Whether the last reload was taken: 1 or 0.'),
  time: gauge('config_last_reload_timestamp', 's', 'When a configuration was last taken, in Unix time.'),
}

export type Trigger = 'signal' | 'files' | 'admin'

export type ReloadResult =
  | { readonly result: 'reloaded'; readonly changes: Changes; readonly warnings: readonly string[] }
  | { readonly result: 'unchanged'; readonly warnings: readonly string[] }
  | { readonly result: 'refused'; readonly problems: readonly string[] }

export interface ReloaderOptions {
  /** Reads the files. */
  readonly load: () => Promise<LoadedConfig>
  /** Brings it in; undefined when it is what runs. */
  readonly apply: (loaded: LoadedConfig) => Promise<Changes | undefined>
  readonly logger: Logger
  readonly telemetry: Instruments<typeof reloadTelemetry>
}

export class Reloader {
  readonly #options: ReloaderOptions
  #running: Promise<ReloadResult> | undefined
  #next: Promise<ReloadResult> | undefined

  constructor(options: ReloaderOptions) {
    this.#options = options
    options.telemetry.time.set(Date.now() / 1000)
    options.telemetry.successful.set(1)
  }

  /** Never rejects. */
  reload(trigger: Trigger): Promise<ReloadResult> {
    if (this.#running === undefined) return this.#start(trigger)
    this.#next ??= this.#running.then(() => {
      this.#next = undefined
      return this.#start(trigger)
    })
    return this.#next
  }

  #start(trigger: Trigger): Promise<ReloadResult> {
    const running = this.#run(trigger).finally(() => {
      this.#running = undefined
    })
    this.#running = running
    return running
  }

  async #run(trigger: Trigger): Promise<ReloadResult> {
    const { load, apply, logger, telemetry } = this.#options
    logger.info('reloading', { trigger })
    const result = await load()
      .then(async (loaded): Promise<ReloadResult> => {
        const warnings = loaded.warnings.map(formatProblem)
        for (const problem of warnings) logger.warn('configuration', { problem })
        const changes = await apply(loaded)
        return changes === undefined
          ? { result: 'unchanged', warnings }
          : { result: 'reloaded', changes, warnings }
      })
      .catch((error: unknown) => this.#refused(error))
    telemetry.reloads.with({ result: result.result }).add(1)
    telemetry.successful.set(result.result === 'refused' ? 0 : 1)
    if (result.result === 'unchanged') logger.info('the configuration is unchanged: everything runs on')
    if (result.result !== 'reloaded') return result
    telemetry.time.set(Date.now() / 1000)
    const { kept, ...changed } = result.changes
    logger.info('reloaded', { kept: kept.length, ...changed })
    return result
  }

  #refused(error: unknown): ReloadResult {
    const { logger } = this.#options
    const problems =
      error instanceof ConfigError ? error.problems.map(formatProblem) : [toError(error).message]
    if (error instanceof ConfigError) {
      for (const problem of problems) logger.error('configuration', { problem })
    }
    logger.error('reload failed, the configuration before it runs on', { error: toError(error) })
    return { result: 'refused', problems }
  }
}
