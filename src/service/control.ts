/**
 * What tells a running service to read its configuration again: SIGHUP, changed files (`--watch`) and the
 * admin endpoint.
 */
import type { LoadedConfig } from '../config/load.ts'
import { type AdminServer, startAdminServer } from './admin-server.ts'
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
  #shutdownTimeoutMs: number

  constructor(service: Service, options: ControlOptions, log: LiveLogger) {
    this.#service = service
    this.#log = log
    this.#shutdownTimeoutMs = options.loaded.config.service.shutdownTimeoutMs
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
    return this.#shutdownTimeoutMs
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
    this.#shutdownTimeoutMs = service.shutdownTimeoutMs
    this.#log.use(service.telemetry.logs)
    this.#files?.set(loaded.files)
    return changes
  }

  async #listen(endpoint: string | undefined) {
    if (endpoint === undefined) return undefined
    return { endpoint, server: await startAdminServer(endpoint, () => this.#reloader.reload('admin')) }
  }
}
