/**
 * The extensions of one shard and configuration. Those that a reload does not change run on, as components
 * do (keep.ts).
 */
import type { Component } from '../component/define.ts'
import type { ServiceConfig } from '../config/types.ts'
import { toError } from '../errors.ts'
import { createHost, type Environment } from './environment.ts'
import { ConfigParts, type Extensions, ExtensionUses, isSame, type Keepable } from './keep.ts'

interface ExtensionNode extends Keepable {
  readonly component: Component
  from: ExtensionNode | undefined
  owned: boolean
}

const STOP_MS = 5000

export class ShardExtensions implements Extensions {
  readonly #nodes = new Map<string, ExtensionNode>()
  readonly #environment: Environment

  constructor(environment: Environment) {
    this.#environment = environment
  }

  get(id: string): unknown {
    return this.#nodes.get(id)?.component
  }

  /** Ids, and whether the extension was made for this configuration. Until the commit. */
  entries(): { readonly id: string; readonly owned: boolean }[] {
    return [...this.#nodes].map(([id, { owned }]) => ({ id, owned }))
  }

  /** In the order of service.extensions. When it rejects, stop() ends those that were started. */
  async start(config: ServiceConfig, tree: unknown, previous: ShardExtensions | undefined): Promise<void> {
    const parts = new ConfigParts(tree)
    for (const id of config.service.extensions) {
      const component = config.extensions.get(id)
      if (component === undefined || component.definition.runsIn !== 'shard') continue
      const { definition } = component
      const identity = { config: parts.of('extensions', id), source: definition.source }
      const from = previous === undefined ? undefined : previous.#nodes.get(id)
      if (from !== undefined && isSame(from, identity, this)) {
        this.#nodes.set(id, { component: from.component, identity, uses: from.uses, from, owned: false })
        continue
      }
      const uses = new ExtensionUses(this)
      const scope = `extensions/${id}`
      const extension = definition.create({
        id,
        config: component.config,
        telemetry: this.#environment.meter.instruments(definition.telemetry, { extension: id }),
        logger: this.#environment.logger.child({
          'otelcol.component.id': id,
          'otelcol.component.kind': 'extension',
        }),
        host: createHost(this.#environment, scope, scope, uses),
        service: { notReadyReason: () => undefined, startedAtMs: 0, statuses: () => new Map() },
      })
      this.#nodes.set(id, { component: extension, identity, uses, from: undefined, owned: true })
      await extension.start?.().catch((cause: unknown) => {
        throw new Error(`${scope}: ${toError(cause).message}`, { cause })
      })
    }
  }

  commit(): void {
    for (const node of this.#nodes.values()) {
      const { from } = node
      node.from = undefined
      if (from === undefined) continue
      from.owned = false
      node.owned = true
      node.uses.switchTo(this)
    }
  }

  /** Ends those that no other configuration has taken over, last first. */
  async stop(): Promise<void> {
    for (const { component, owned } of [...this.#nodes.values()].reverse()) {
      if (owned) await component.shutdown?.(AbortSignal.timeout(STOP_MS))
    }
  }
}
