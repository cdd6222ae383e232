/**
 * A thread of the isolation pool (workers/isolate-pool.ts): takes batches for processors of plugins, and imports plugins
 * to see whether they can be.
 */
import { threadId } from 'node:worker_threads'
import { move, transferableSymbol, valueSymbol } from 'piscina'
import type { IsolatedTask } from './component/isolation.ts'
import { runIsolated } from './plugin/isolate-runner.ts'
import { importDefault, importProblem } from './plugin/loader.ts'

/** `state`: [0] becomes 1 when the processor begins with the batch, [1] is the thread. */
export async function run({ task, state }: { task: IsolatedTask; state: Int32Array }): Promise<unknown> {
  Atomics.store(state, 1, threadId)
  const result = await runIsolated(task, () => {
    Atomics.store(state, 0, 1)
    Atomics.notify(state, 0)
  })
  const buffers = result.outputs?.map((bytes) => bytes.buffer) ?? []
  return move({ [transferableSymbol]: buffers as unknown as object, [valueSymbol]: result as object })
}

/** Resolves when this thread is there. */
export function ready(): void {}

/** Imports a plugin; resolves to what went wrong, if anything. */
export async function probe(path: string): Promise<string | undefined> {
  try {
    await importDefault(path)
    await new Promise((resolve) => setImmediate(resolve)) // What it throws right after counts, too.
    return undefined
  } catch (error) {
    return importProblem(error)
  }
}
