/**
 * What tells a running service to read its configuration again: SIGHUP, changed files (`--watch`) and the
 * admin endpoint.
 */
import { systemClock } from '../component/clock.ts'
import type { LoadedConfig } from '../config/load.ts'
import type { ServiceConfig } from '../config/types.ts'
import { answerCapture } from './admin-capture.ts'
import { type AdminCall, type AdminServer, startAdminServer } from './admin-server.ts'
import { Captures, captureTelemetry } from './capture.ts'
import type { Changes } from './changes.ts'
import { FileWatch } from './file-watch.ts'
import type { LiveLogger } from './live-logger.ts'
import { Reloader, reloadTelemetry } from './reload.ts'
import type { Service } from './service.ts'

export interface ControlOptions {
  readonly loaded: LoadedConfig
  /** Reads the configuration again. */
  readonly reload: () => Promise<LoadedConfig>
  /** Reload when a file changes. */
  readonly watch: boolean
}

export class Control {
  readonly #service: Service
  readonly #log: LiveLogger
  readonly #reloader: Reloader
  readonly #files: FileWatch | undefined
  #admin: { readonly endpoint: string; readonly server: AdminServer } | undefined
  readonly #captures: Captures
  /** The one that runs. */
  #config: ServiceConfig

  constructor(service: Service, options: ControlOptions, log: LiveLogger) {
    this.#service = service
    this.#log = log
    this.#config = options.loaded.config
    this.#captures = new Captures({
      gather: (scope, question, timeoutMs) => service.gather(scope, question, timeoutMs),
      clock: systemClock,
      logger: log.logger,
      telemetry: service.meter.instruments(captureTelemetry, {}),
    })
    this.#reloader = new Reloader({
      load: options.reload,
      apply: (loaded) => this.#apply(loaded),
      logger: log.logger,
      telemetry: service.meter.instruments(reloadTelemetry, {}),
    })
    if (options.watch) this.#files = new FileWatch(() => void this.#reloader.reload('files'), log.logger)
    this.#files?.set(options.loaded.files)
  }

  /** Rejects when the admin endpoint cannot listen. */
  async start({ config }: LoadedConfig): Promise<void> {
    this.#admin = await this.#listen(config.service.admin?.endpoint)
    process.on('SIGHUP', this.#onSignal)
  }

  readonly #onSignal = () => void this.#reloader.reload('signal')

  /** Of the configuration that runs. */
  get shutdownTimeoutMs(): number {
    return this.#config.service.shutdownTimeoutMs
  }

  /** For the list of listeners. */
  listeners(): Readonly<Record<string, string>> {
    return this.#admin === undefined ? {} : { 'service/admin': this.#admin.server.address }
  }

  /** Nothing begins from now on. Signals are still taken, and do nothing. */
  close(): void {
    this.#files?.close()
    this.#admin?.server.close()
    process.off('SIGHUP', this.#onSignal)
    process.on('SIGHUP', () => {})
  }

  async #apply(loaded: LoadedConfig): Promise<Changes | undefined> {
    const { service } = loaded.config
    const before = this.#admin
    const admin =
      service.admin?.endpoint === before?.endpoint ? before : await this.#listen(service.admin?.endpoint)
    const changes = await this.#service.reload(loaded).catch((error: unknown) => {
      if (admin !== before) admin?.server.close()
      throw error
    })
    this.#admin = admin
    if (admin !== before) before?.server.close()
    this.#config = loaded.config
    this.#log.use(service.telemetry.logs)
    this.#files?.set(loaded.files)
    return changes
  }

  async #listen(endpoint: string | undefined) {
    if (endpoint === undefined) return undefined
    const calls: Readonly<Record<string, AdminCall>> = {
      '/-/reload': async () => {
        const body = await this.#reloader.reload('admin')
        return { status: body.result === 'refused' ? 400 : 200, body }
      },
      '/-/capture': (query, gone) => answerCapture(this.#captures, this.#config, query, gone),
    }
    return { endpoint, server: await startAdminServer(endpoint, calls) }
  }
}
