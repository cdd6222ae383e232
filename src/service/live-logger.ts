/**
 * A logger whose settings a reload exchanges under the components that have it, so that a log level
 * restarts nothing.
 */
import { isDeepStrictEqual } from 'node:util'
import type { LogFields, Logger } from '../component/logger.ts'
import type { LogsTelemetry } from '../config/types.ts'
import { createLogger } from './log.ts'

export class LiveLogger {
  readonly logger: Logger
  readonly #fields: LogFields
  readonly #quiet: () => boolean
  #settings: LogsTelemetry
  #base: Logger
  /** Grows with each exchange: children made before it are made again when they are next used. */
  #version = 0

  constructor(settings: LogsTelemetry, fields: LogFields = {}, quiet: () => boolean = () => false) {
    this.#fields = fields
    this.#quiet = quiet
    this.#settings = settings
    this.#base = createLogger(settings, fields, quiet)
    this.logger = this.#child({})
  }

  use(settings: LogsTelemetry): void {
    if (isDeepStrictEqual(settings, this.#settings)) return
    this.#settings = settings
    this.#base = createLogger(settings, this.#fields, this.#quiet)
    this.#version++
  }

  #child(fields: LogFields): Logger {
    let version = -1
    let made: Logger | undefined
    const now = (): Logger => {
      if (made === undefined || version !== this.#version) {
        version = this.#version
        made = this.#base.child(fields)
      }
      return made
    }
    return {
      error: (message, more) => now().error(message, more),
      warn: (message, more) => now().warn(message, more),
      info: (message, more) => now().info(message, more),
      debug: (message, more) => now().debug(message, more),
      get debugEnabled() {
        return now().debugEnabled
      },
      child: (more) => this.#child({ ...fields, ...more }),
    }
  }
}
