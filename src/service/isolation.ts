/** The way of an isolated batch: from the shard, which knows the configuration, to the pool in the main thread, and back. */
import type { IsolatedBatch, IsolatedResult, IsolatedTask } from '../component/isolation.ts'
import type { Meter } from '../component/telemetry.ts'
import { parseId } from '../config/ids.ts'
import type { IsolatePool } from '../workers/isolate-pool.ts'
import { Moved, type Rpc } from '../workers/rpc.ts'

/**
 * For the hosts of one configuration in a shard. The processor's part goes along as it was written: its schema makes values that
 * cannot.
 */
export function isolatedBy(rpc: Rpc, tree: unknown) {
  const configs = new Map<string, string>()
  return (batch: IsolatedBatch): Promise<IsolatedResult> => {
    let config = configs.get(batch.id)
    if (config === undefined) configs.set(batch.id, (config = JSON.stringify(processorTree(tree, batch.id))))
    const task: IsolatedTask = { ...batch, config }
    return rpc.call<IsolatedResult>('isolated', task, [batch.bytes.buffer])
  }
}

/** A processor's part of the plain configuration; ids stand there as written, perhaps with spaces. */
function processorTree(tree: unknown, id: string): unknown {
  const processors = (tree as { processors?: Record<string, unknown> } | undefined)?.processors ?? {} // Checked.
  const key = Object.keys(processors).find((name) => {
    const parsed = parseId(name)
    return typeof parsed !== 'string' && parsed.id === id
  })
  return (key === undefined ? undefined : processors[key]) ?? {}
}

/** Main's side. The pool is loaded and made with the first batch. */
export class Isolation {
  readonly #meter: Meter
  #pool: Promise<IsolatePool> | undefined

  constructor(meter: Meter) {
    this.#meter = meter
  }

  async run(task: IsolatedTask): Promise<Moved> {
    this.#pool ??= this.#make()
    const result = await (await this.#pool).run(task)
    return new Moved(result, result.outputs?.map((bytes) => bytes.buffer) ?? [])
  }

  async close(): Promise<void> {
    await (await this.#pool)?.close()
  }

  async #make(): Promise<IsolatePool> {
    const { IsolatePool, isolationTelemetry } = await import('../workers/isolate-pool.ts')
    return new IsolatePool(this.#meter.instruments(isolationTelemetry, {}))
  }
}
