/** The extensions of the main thread. A reload leaves those alone whose configuration it does not change. */
import { isDeepStrictEqual } from 'node:util'
import type { Component, ServiceView } from '../component/define.ts'
import type { LoadedConfig } from '../config/load.ts'
import type { ServiceConfig } from '../config/types.ts'
import { toError } from '../errors.ts'
import { createHost, type Environment } from './environment.ts'
import { ConfigParts, type Identity } from './keep.ts'

/** Something new that is started, beside what it will replace. */
export interface Switch {
  /** Names of what it leaves, makes anew, and so on: see Changes. */
  readonly kept: readonly string[]
  readonly restarted: readonly string[]
  readonly added: readonly string[]
  readonly removed: readonly string[]
  /** Ends what was replaced. */
  commit(): Promise<void>
  /** Ends what is new. */
  abandon(): Promise<void>
}

interface Started {
  readonly component: Component
  readonly identity: Identity
}

const STOP_MS = 5000

export class MainExtensions {
  readonly #environment: Environment
  readonly #view: ServiceView
  #running: ReadonlyMap<string, Started> = new Map()

  constructor(environment: Environment, view: ServiceView) {
    this.#environment = environment
    this.#view = view
  }

  async prepare({ config, tree }: LoadedConfig): Promise<Switch> {
    const parts = new ConfigParts(tree)
    const before = this.#running
    const next = new Map<string, Started>()
    const made = new Map<string, Started>()
    for (const id of config.service.extensions) {
      const definition = config.extensions.get(id)?.definition
      if (definition?.runsIn !== 'main') continue
      const identity = { config: parts.of('extensions', id), source: definition.source }
      const known = before.get(id)
      if (known !== undefined && isDeepStrictEqual(known.identity, identity)) {
        next.set(id, known)
        continue
      }
      const started = { component: this.#create(config, id), identity }
      made.set(id, started)
      next.set(id, started)
      await started.component.start?.().catch(async (error: unknown) => {
        await stop(made)
        throw new Error(`extensions/${id}: ${toError(error).message}`, { cause: error })
      })
    }
    const names = (ids: Iterable<string>) => [...ids].map((id) => `extensions/${id}`)
    const over = new Map([...before].filter(([id, one]) => next.get(id) !== one))
    return {
      kept: names(next.keys().filter((id) => !made.has(id))),
      restarted: names(made.keys().filter((id) => before.has(id))),
      added: names(made.keys().filter((id) => !before.has(id))),
      removed: names(over.keys().filter((id) => !next.has(id))),
      commit: async () => {
        this.#running = next
        await stop(over)
      },
      abandon: () => stop(made),
    }
  }

  async shutdown(): Promise<void> {
    await stop(this.#running)
  }

  #create(config: ServiceConfig, id: string): Component {
    const configured = config.extensions.get(id)
    if (configured === undefined) throw new RangeError(`"${id}" is not configured`)
    const scope = `extensions/${id}`
    const { meter, logger } = this.#environment
    return configured.definition.create({
      id,
      config: configured.config,
      telemetry: meter.instruments(configured.definition.telemetry, { extension: id }),
      logger: logger.child({ 'otelcol.component.id': id, 'otelcol.component.kind': 'extension' }),
      host: createHost(this.#environment, scope, scope, new Map()),
      service: this.#view,
    })
  }
}

/** Last first. */
async function stop(extensions: ReadonlyMap<string, Started>): Promise<void> {
  for (const { component } of [...extensions.values()].reverse()) {
    await component.shutdown?.(AbortSignal.timeout(STOP_MS))
  }
}
