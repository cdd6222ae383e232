/**
 * The endpoints of Weir's own metrics, one for each reader. A reload closes only those that are not wanted
 * any more.
 */
import { randomUUID } from 'node:crypto'
import type { ServiceConfig } from '../config/types.ts'
import { VERSION } from '../version.ts'
import { type MetricsServer, type MetricsServerOptions, startMetricsServer } from './metrics-server.ts'

type Common = Omit<MetricsServerOptions, 'reader' | 'resource'>

export class MetricsReaders {
  readonly #common: Common
  readonly #instanceId = randomUUID()
  /** By address. */
  #servers: ReadonlyMap<string, MetricsServer> = new Map()

  constructor(common: Common) {
    this.#common = common
  }

  /** Starts what is new; commit() ends what is not wanted any more, abandon() what was started. */
  async prepare(config: ServiceConfig): Promise<{ commit(): Promise<void>; abandon(): Promise<void> }> {
    const resource = this.#resource(config)
    const { metrics } = config.service.telemetry
    const readers = metrics.level === 'none' ? [] : metrics.readers
    const before = this.#servers
    const next = new Map<string, MetricsServer>()
    const made: MetricsServer[] = []
    const updates: (() => void)[] = []
    const abandon = async () => {
      for (const server of made) await server.close()
    }
    for (const reader of readers) {
      const address = `${reader.host}:${reader.port}`
      const options = { ...this.#common, reader, resource }
      let server = before.get(address)
      if (server === undefined) {
        try {
          server = await startMetricsServer(options)
        } catch (error) {
          await abandon()
          throw error
        }
        made.push(server)
      } else {
        const known = server
        updates.push(() => known.use(options))
      }
      next.set(address, server)
    }
    const commit = async () => {
      this.#servers = next
      for (const update of updates) update()
      for (const [address, server] of before) if (!next.has(address)) await server.close()
    }
    return { commit, abandon }
  }

  #resource(config: ServiceConfig): Record<string, string> {
    const resource: Record<string, string> = {}
    const defaults = {
      'service.name': 'weir',
      'service.version': VERSION,
      'service.instance.id': this.#instanceId,
    }
    for (const [key, value] of Object.entries({ ...defaults, ...config.service.telemetry.resource })) {
      if (value !== null) resource[key] = value
    }
    return resource
  }

  async close(): Promise<void> {
    for (const server of this.#servers.values()) await server.close()
  }
}
