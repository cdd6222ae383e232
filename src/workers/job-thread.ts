/**
 * One thread for work that would hold up a shard: jobs go in one by one, answers come back. It is made with the first job, and
 * again when it has died; jobs that it had then fail.
 */
import { parentPort, Worker } from 'node:worker_threads'
import { RefusedError, toError } from '../errors.ts'
import { Rpc } from './rpc.ts'

const HEAP_MB = 64

export class JobThread {
  readonly #entry: URL
  readonly #limitJobs: number
  #jobs = 0
  #worker: Worker | undefined
  #rpc: Rpc | undefined

  /** `limitJobs`: how many may wait and run at a time; more are refused. */
  constructor(entry: URL, limitJobs: number) {
    this.#entry = entry
    this.#limitJobs = limitJobs
  }

  /** The next job would be refused. */
  get full(): boolean {
    return this.#jobs >= this.#limitJobs
  }

  /** Rejects with RefusedError when too much waits. `T` is what the thread's handler returns. */
  async run<T>(job: unknown): Promise<T> {
    if (this.full) throw new RefusedError('too many jobs wait')
    this.#jobs++
    try {
      return await this.#thread().call<T>('run', job)
    } finally {
      this.#jobs--
    }
  }

  #thread(): Rpc {
    if (this.#rpc) return this.#rpc
    const worker = new Worker(this.#entry, { resourceLimits: { maxOldGenerationSizeMb: HEAP_MB } })
    const rpc = new Rpc(worker, {})
    worker.unref()
    worker.on('error', (error) => void toError(error)) // What waits is told by the exit that follows.
    worker.on('exit', () => {
      rpc.close()
      if (this.#rpc === rpc) this.#rpc = undefined
    })
    this.#worker = worker
    this.#rpc = rpc
    return rpc
  }

  async stop(): Promise<void> {
    this.#rpc?.close()
    this.#rpc = undefined
    await this.#worker?.terminate()
  }
}

/** The thread's own side. */
export function serveJobs(run: (job: never) => unknown): void {
  if (parentPort) new Rpc(parentPort, { run })
}
