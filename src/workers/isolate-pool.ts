/**
 * The threads of the process that isolated processors run in: one Piscina pool, in the main thread, for all shards. Shards send copies
 * of batches, whose buffers move from thread to thread; main passes them on and touches no byte.
 *
 * It is in main because a pool is one per process and outlives shards, and because main can watch and end threads
 * while a shard is busy. The price is two messages more per batch.
 *
 * A batch that throws, takes too long, takes too much memory or ends its thread is answered with a failure; its thread is
 * replaced where it has to be, and no other batch is touched, since a thread has one at a time.
 */
import { Piscina } from 'piscina'
import type { FailureReason, IsolatedResult, IsolatedTask, IsolationLimits } from '../component/isolation.ts'
import { counter, gauge, type Instruments } from '../component/telemetry.ts'
import { RefusedError, ShutdownError, toError } from '../errors.ts'

/** What may wait for a thread. */
const LIMIT_BATCHES = 256
const LIMIT_BYTES = 64 * 1024 * 1024
/** For a thread to start and to build the processor, before the batch's own time begins. */
const BUILD_LIMIT_MS = 20_000
/** How often the memory of the threads is looked at. resourceLimits counts no buffers. */
const POLL_MS = 100
const MIB = 1024 * 1024

export const isolationTelemetry = {
  waiting: gauge(
    'plugin_pool_queue_size',
    '{batch}',
    'Batches that wait for a thread of the isolation pool.',
  ),
  waitingBytes: gauge(
    'plugin_pool_queue_bytes',
    'By',
    'Bytes of batches that wait for a thread of the isolation pool.',
  ),
  threads: gauge('plugin_pool_threads', '{thread}', 'Threads of the isolation pool.'),
  ended: counter(
    'plugin_pool_ended_threads',
    '{thread}',
    'Threads of the isolation pool that had to be replaced, by reason.',
    ['reason'],
  ),
  refused: counter(
    'plugin_pool_refused_batches',
    '{batch}',
    'Batches refused because too many waited for a thread.',
  ),
}

interface Running {
  readonly state: Int32Array<SharedArrayBuffer>
  end(reason: FailureReason, message: string): void
}

interface Waiting {
  readonly bytes: number
  go(): void
}

export class IsolatePool {
  readonly #instruments: Instruments<typeof isolationTelemetry>
  readonly #running = new Set<Running>()
  readonly #waiting: Waiting[] = []
  #waitingBytes = 0
  #piscina: Piscina | undefined
  #limits: IsolationLimits | undefined
  #polling: NodeJS.Timeout | undefined
  #closed = false

  constructor(instruments: Instruments<typeof isolationTelemetry>) {
    this.#instruments = instruments
  }

  /** Rejects only with what says to come back later. */
  async run(task: IsolatedTask): Promise<IsolatedResult> {
    if (this.#closed) throw new ShutdownError('the isolation pool is closed')
    const pool = this.#ensure(task.limits)
    if (this.#running.size >= (this.#limits?.pool ?? 1)) await this.#wait(task.bytes.length)
    try {
      return await this.#runNow(this.#piscina ?? pool, task)
    } finally {
      this.#next()
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    clearInterval(this.#polling)
    await this.#piscina?.destroy()
  }

  /** Made with the first batch, and anew when somebody asks for more than there is. */
  #ensure(wanted: IsolationLimits): Piscina {
    const had = this.#limits
    if (
      this.#piscina !== undefined &&
      had &&
      wanted.pool <= had.pool &&
      wanted.maxHeapBytes <= had.maxHeapBytes
    ) {
      return this.#piscina
    }
    const pool = Math.max(wanted.pool, had?.pool ?? 0)
    const maxHeapBytes = Math.max(wanted.maxHeapBytes, had?.maxHeapBytes ?? 0)
    this.#limits = { pool, maxHeapBytes, timeoutMs: wanted.timeoutMs }
    void this.#piscina?.close()
    this.#piscina = newPool(pool, Math.ceil(maxHeapBytes / MIB))
    this.#polling ??= setInterval(() => this.#watchMemory(), POLL_MS).unref()
    return this.#piscina
  }

  #wait(bytes: number): Promise<void> {
    if (this.#waiting.length >= LIMIT_BATCHES || this.#waitingBytes + bytes > LIMIT_BYTES) {
      this.#instruments.refused.add(1)
      return Promise.reject(new RefusedError('too many batches wait for the isolation pool'))
    }
    return new Promise((resolve) => {
      this.#waiting.push({ bytes, go: resolve })
      this.#waitingBytes += bytes
      this.#report()
    })
  }

  #next(): void {
    const next = this.#waiting.shift()
    if (next === undefined) return
    this.#waitingBytes -= next.bytes
    this.#report()
    next.go()
  }

  #report(): void {
    this.#instruments.waiting.set(this.#waiting.length)
    this.#instruments.waitingBytes.set(this.#waitingBytes)
    this.#instruments.threads.set(this.#piscina?.threads.length ?? 0)
  }

  async #runNow(pool: Piscina, task: IsolatedTask): Promise<IsolatedResult> {
    const state = new Int32Array(new SharedArrayBuffer(8))
    const abort = new AbortController()
    let failure: { reason: FailureReason; message: string } | undefined
    const running: Running = {
      state,
      end(reason, message) {
        failure ??= { reason, message }
        abort.abort()
      },
    }
    let timer = setTimeout(
      () => running.end('timeout', `it was not built within ${BUILD_LIMIT_MS} ms`),
      BUILD_LIMIT_MS,
    )
    const begun = Atomics.waitAsync(state, 0, 0, BUILD_LIMIT_MS)
    void Promise.resolve(begun.value).then((answer) => {
      if (answer === 'timed-out' || !this.#running.has(running)) return
      clearTimeout(timer)
      const { timeoutMs } = task.limits
      timer = setTimeout(() => running.end('timeout', `it took longer than ${timeoutMs} ms`), timeoutMs)
    })
    this.#running.add(running)
    try {
      const transferList = [task.bytes.buffer]
      return (await pool.run(
        { task, state },
        { name: 'run', signal: abort.signal, transferList },
      )) as IsolatedResult
    } catch (error) {
      if (this.#closed) throw new ShutdownError('the isolation pool is closed')
      const ended = failure ?? failureOf(error)
      this.#instruments.ended.with({ reason: ended.reason }).add(1)
      return { failure: ended, metrics: [], logs: [] }
    } finally {
      clearTimeout(timer)
      this.#running.delete(running)
      Atomics.notify(state, 0)
      this.#report()
    }
  }

  async #watchMemory(): Promise<void> {
    const limit = this.#limits?.maxHeapBytes ?? Number.POSITIVE_INFINITY
    for (const worker of this.#piscina?.threads ?? []) {
      const id = worker.threadId
      const statistics = await worker.getHeapStatistics().catch(() => undefined) // The thread has just ended.
      if (statistics === undefined) continue
      const used = statistics.used_heap_size + statistics.external_memory
      if (used <= limit) continue
      const running = [...this.#running].find((one) => Atomics.load(one.state, 1) === id)
      if (running !== undefined) {
        running.end(
          'memory',
          `its thread holds ${Math.ceil(used / MIB)} MiB of ${Math.floor(limit / MIB)} MiB`,
        )
      } else {
        this.#instruments.ended.with({ reason: 'memory' }).add(1)
        await worker.terminate() // Nothing runs there: it leaked, and a new thread takes its place.
      }
    }
  }
}

function newPool(threads: number, heapMib: number): Piscina {
  const pool = new Piscina({
    filename: entry(),
    name: 'ready',
    minThreads: 0,
    maxThreads: threads,
    idleTimeout: Number.POSITIVE_INFINITY,
    maxQueue: threads + 1, // Waiting is done here, where it is counted.
    concurrentTasksPerWorker: 1,
    atomics: 'disabled', // A thread goes on while it waits, and answers questions about its memory.
    resourceLimits: { maxOldGenerationSizeMb: heapMib, maxYoungGenerationSizeMb: 16 },
    recordTiming: false,
  })
  pool.on('error', () => {}) // A thread that died without a batch: its place is taken by a new one.
  return pool
}

function entry(): string {
  const file = import.meta.url.endsWith('.ts') ? '../isolate.mjs' : '../isolate.js'
  return new URL(file, import.meta.url).href
}

function failureOf(thrown: unknown): { reason: FailureReason; message: string } {
  const { message } = toError(thrown)
  const { code } = toError(thrown) as { readonly code?: unknown }
  if (code === 'ERR_WORKER_OUT_OF_MEMORY')
    return { reason: 'memory', message: 'its thread ran out of memory' }
  if (message.startsWith('worker exited')) return { reason: 'exit', message: 'it ended its thread' }
  return { reason: 'error', message }
}

/** Plugins that could be imported once: a reload need not try again. */
const proven = new Set<string>()

/** Imports each plugin in a thread of its own, one after the other, and tells what went wrong. */
export async function probePlugins(paths: readonly string[]): Promise<readonly (string | undefined)[]> {
  const problems: (string | undefined)[] = []
  const pool = newPool(1, 256)
  try {
    for (const path of paths) problems.push(proven.has(path) ? undefined : await probe(pool, path))
  } finally {
    void pool.destroy()
  }
  for (const [index, path] of paths.entries()) if (problems[index] === undefined) proven.add(path)
  return problems
}

async function probe(pool: Piscina, path: string): Promise<string | undefined> {
  await pool.run(undefined, { name: 'ready' })
  try {
    return (await pool.run(path, { name: 'probe', signal: AbortSignal.timeout(PROBE_LIMIT_MS) })) as
      | string
      | undefined
  } catch (error) {
    if (toError(error).name === 'AbortError')
      return `importing it does not end within ${PROBE_LIMIT_MS / 1000} s`
    const { reason, message } = failureOf(error)
    return reason === 'exit' ? 'importing it ends the process' : `importing it fails: ${message}`
  }
}

const PROBE_LIMIT_MS = 10_500 // A little more than importDefault() takes to find out itself.
