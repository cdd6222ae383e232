/**
 * The shards as main sees them: it makes them, connects them with each other, drives configurations through them in step,
 * and restarts one that dies, or that it has to end (watch.ts).
 *
 * Longer than other files: everything that changes the list of shards is here.
 */
import v8 from 'node:v8'
import { MessageChannel, Worker } from 'node:worker_threads'
import type { Logger } from '../component/logger.ts'
import type { Supervision } from '../config/types.ts'
import { ShutdownError, toError } from '../errors.ts'
import { type Port, Rpc } from './rpc.ts'
import { type SharedMemory, SharedView } from './shared.ts'
import { type Fault, Watch } from './watch.ts'

/** First wait before a dead shard is started again; it doubles up to `restart_max_interval`. */
const RESTART_FIRST_MS = 250
/** A shard that lived this long starts again without memory of earlier deaths. */
const HEALTHY_MS = 60_000
/**
 * Payload lies outside the heap, and V8 answers 64 MB of it with a collection of the whole heap, unless a small one frees
 * it first. A small young generation makes small collections frequent: 7.1 to 4.2 microseconds of CPU a span through
 * tail sampling over HTTP, 84 to 34 whole collections for 600,000 spans.
 */
const YOUNG_GENERATION_MB = 3
/**
 * A collection of the whole heap comes when heap and payload together have grown by this much since the last one. V8's own choice is
 * some 10 %, which with payload means a collection for every 10 MB that are held more. Half of them, and a tenth of the
 * CPU, while a store of held spans fills.
 */
const HEAP_GROWING_PERCENT = 100
/** What is added to a deadline before main stops waiting for a shard that does not answer. */
const GRACE_MS = 1000
/** A shard that starts again has this long for each of the two steps: what lies on the disk takes time. */
const START_MS = 300_000

/** Why a shard died. */
export type Cause = 'error' | 'exit' | 'heap' | 'start' | Fault

const CAUSES: Readonly<Record<Cause, string>> = {
  error: 'it threw an error that nothing caught',
  exit: 'it ended itself',
  heap: 'its heap was full',
  start: 'it did not start',
  hang: 'it gave no sign of life',
  memory: 'the memory was nearly used up, and it held the most',
}

export interface PoolOptions {
  /** What a shard's thread runs; shard.ts unless an embedder brings components of its own. */
  readonly entry?: URL | undefined
  /** 0: one shard in this very thread. */
  readonly shards: number
  readonly memory: SharedMemory
  readonly supervision: Supervision
  readonly logger: Logger
  /** Starts a shard in this thread, for `shards: 0`; `start` is what a worker would get as its data. */
  readonly runHere: (start: object, port: Port) => void
  /** What a new shard is given beside its number. */
  readonly startData: (shard: number) => object
  /** Calls of a shard: claim, gather, series, status, metricsFull. */
  readonly handlers: (shard: number) => Record<string, (parameters: never) => unknown>
  /** Tells what was lost with it, for the log. */
  readonly onDeath: (shard: number, cause: Cause) => Readonly<Record<string, number>>
  readonly onRestart: () => void
  readonly onBack: () => void
}

interface Shard {
  readonly rpc: Rpc
  readonly worker: Worker | undefined
  readonly startedMs: number
  /** It has a configuration and its receivers listen. */
  ready: boolean
  /** Why main ends it. */
  fault: 'start' | Fault | undefined
}

export class ShardPool {
  readonly #options: PoolOptions
  readonly #count: number
  readonly #shards: (Shard | undefined)[]
  /** Deaths in a row, and why the last one was. */
  readonly #deaths: number[]
  readonly #causes: (Cause | undefined)[]
  readonly #watch: Watch
  #tree: unknown
  #started = false
  #stopping = false
  #changing: Promise<void> = Promise.resolve()
  #restarts = 0
  #supervision: Supervision

  constructor(options: PoolOptions) {
    this.#options = options
    this.#supervision = options.supervision
    this.#count = Math.max(1, options.shards)
    v8.setFlagsFromString(`--heap-growing-percent=${HEAP_GROWING_PERCENT}`)
    this.#shards = new Array(this.#count).fill(undefined)
    this.#deaths = new Array(this.#count).fill(0)
    this.#causes = new Array(this.#count).fill(undefined)
    this.#watch = new Watch(
      new SharedView(options.memory, this.#count),
      this.#count,
      options.supervision,
      (shard, fault, about) => {
        options.logger.error(`shard is ended: ${CAUSES[fault]}`, { shard, ...about })
        void this.#end(this.#shards[shard], fault)
      },
    )
  }

  /** How often a shard has been started again. */
  get restarts(): number {
    return this.#restarts
  }

  /** Which shards do not run, and why; undefined when all do. */
  trouble(): string | undefined {
    const reasons = this.#shards.flatMap((shard, index) => (shard?.ready ? [] : [this.#reason(index)]))
    return reasons.length === 0 ? undefined : reasons.join(', ')
  }

  #reason(index: number): string {
    const fault = this.#shards[index]?.fault
    if (fault !== undefined) return `shard ${index} is being ended: ${CAUSES[fault]}`
    const cause = this.#causes[index]
    if (cause === undefined) return `shard ${index} is restarting`
    const deaths = this.#deaths[index] ?? 0
    const often = deaths > 1 ? ` (${deaths} times in a row)` : ''
    return `shard ${index} is restarting: ${CAUSES[cause]}${often}`
  }

  async start(tree: unknown): Promise<void> {
    this.#tree = tree
    for (let shard = 0; shard < this.#count; shard++) this.#spawn(shard)
    try {
      await this.#toAll('prepare', tree)
      await this.#toAll('commit', undefined)
    } catch (error) {
      const died = this.#causes.findIndex((cause) => cause !== undefined)
      if (died < 0) throw error
      throw new Error(`shard ${died} died while it started: ${CAUSES[this.#causes[died] ?? 'start']}`)
    }
    for (const shard of this.#live()) shard.ready = true
    this.#started = true
  }

  /** From now on; the heap limit holds for shards that start later. */
  supervise(supervision: Supervision): void {
    this.#supervision = supervision
    this.#watch.adopt(supervision)
  }

  /**
   * Brings a new configuration in; rejects, with the old one running on, when it does not start everywhere.
   * `alongside` is what main has to start for it. Resolves to what the first shard says of it, while what it
   * replaces is still drained.
   */
  reload<T>(tree: unknown, timeoutMs: number, alongside: () => Promise<void>): Promise<T | undefined> {
    const change = this.#changing.then(async () => {
      if (this.#stopping) throw new ShutdownError('shutting down')
      const [told] = await this.#step<T>('prepare', tree)
      await this.#step('listen', undefined)
      await alongside().catch(async (error: unknown) => {
        await this.#toAll('abandon', undefined)
        throw error
      })
      this.#tree = tree
      // Nothing can fail in it but a shard that dies, which starts again with the new tree.
      await Promise.allSettled(this.#live().map((shard) => shard.rpc.call('commit', undefined)))
      return told
    })
    this.#changing = change.then(() => this.#shutdownLevels('old', timeoutMs)).catch(() => {})
    return change
  }

  /** One step of a reload on all shards. If it fails on one, none of them goes further. */
  async #step<T>(method: string, parameters: unknown): Promise<T[]> {
    const results = await Promise.allSettled(
      this.#live().map((shard) => shard.rpc.call<T>(method, parameters)),
    )
    const failure = results.find((result) => result.status === 'rejected')
    if (failure === undefined)
      return results.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
    await Promise.allSettled(this.#live().map((shard) => shard.rpc.call('abandon', undefined)))
    throw failure.reason
  }

  /** Drains and ends all shards; what is left at the deadline is given up. */
  async shutdown(timeoutMs: number): Promise<void> {
    this.#stopping = true
    const deadlineMs = performance.now() + timeoutMs
    // What a reload has replaced drains into what runs now.
    await withTimeout(this.#changing, timeoutMs).catch(() => {})
    await this.#shutdownLevels('current', Math.max(1, deadlineMs - performance.now()))
    for (const [index, shard] of this.#shards.entries()) {
      if (shard === undefined) continue
      this.#shards[index] = undefined // Its end is no death.
      this.#watch.remove(index)
      shard.rpc.close()
      await shard.worker?.terminate()
    }
  }

  /** Asks a component on every shard; shards that do not answer in time are left out. */
  async gather(scope: string, question: string, timeoutMs: number): Promise<Uint8Array[]> {
    const answers = this.#live().map((shard) =>
      withTimeout(shard.rpc.call<Uint8Array | undefined>('ask', { scope, question }), timeoutMs),
    )
    const settled = await Promise.allSettled(answers)
    return settled.flatMap((result) =>
      result.status === 'fulfilled' && result.value !== undefined ? [result.value] : [],
    )
  }

  #live(): Shard[] {
    return this.#shards.filter((shard) => shard !== undefined)
  }

  async #toAll(method: string, parameters: unknown): Promise<void> {
    await Promise.all(this.#live().map((shard) => shard.rpc.call(method, parameters)))
  }

  /** Level by level over all shards: what one shard flushes may belong to a stage of another. */
  async #shutdownLevels(which: 'current' | 'old', timeoutMs: number): Promise<void> {
    const deadlineMs = performance.now() + timeoutMs
    const counts = await Promise.allSettled(
      this.#live().map((shard) => withTimeout(shard.rpc.call<number>('levels', which), timeoutMs)),
    )
    const levels = Math.max(0, ...counts.map((count) => (count.status === 'fulfilled' ? count.value : 0)))
    for (let level = 0; level < levels; level++) {
      const leftMs = Math.max(1, deadlineMs - performance.now())
      const calls = this.#live().map((shard) =>
        withTimeout(shard.rpc.call('shutdownLevel', { which, level, timeoutMs: leftMs }), leftMs + GRACE_MS),
      )
      for (const result of await Promise.allSettled(calls)) {
        if (result.status === 'fulfilled') continue
        this.#options.logger.error('a shard did not drain in time', {
          stage: level,
          error: toError(result.reason),
        })
      }
    }
  }

  #spawn(index: number): void {
    const { startData, handlers, runHere, shards } = this.#options
    if (shards === 0) {
      const channel = new MessageChannel()
      runHere(startData(index), channel.port2)
      const rpc = new Rpc(channel.port1, handlers(index))
      this.#shards[index] = {
        ...{ rpc, worker: undefined, startedMs: performance.now() },
        ...{ ready: false, fault: undefined },
      }
      return
    }
    const suffix = import.meta.url.endsWith('.ts') ? 'mjs' : 'js'
    const worker = new Worker(this.#options.entry ?? new URL(`../shard.${suffix}`, import.meta.url), {
      workerData: startData(index),
      name: `shard ${index}`,
      resourceLimits: {
        maxYoungGenerationSizeMb: YOUNG_GENERATION_MB,
        ...(this.#supervision.maxHeapMib > 0 && { maxOldGenerationSizeMb: this.#supervision.maxHeapMib }),
      },
    })
    const rpc = new Rpc(worker, handlers(index))
    const shard: Shard = { rpc, worker, startedMs: performance.now(), ready: false, fault: undefined }
    this.#shards[index] = shard
    this.#watch.add(index, worker)
    let cause: unknown
    worker.on('error', (error) => {
      cause = error
    })
    worker.on('exit', (code) => this.#died(index, shard, code, cause))
    this.#connect(index)
  }

  /** A channel between this shard and every other that lives. */
  #connect(index: number): void {
    const shard = this.#shards[index]
    for (const [other, peer] of this.#shards.entries()) {
      if (other === index || peer === undefined || shard === undefined) continue
      const channel = new MessageChannel()
      shard.rpc.tell('peer', { shard: other, port: channel.port1 }, [channel.port1])
      peer.rpc.tell('peer', { shard: index, port: channel.port2 }, [channel.port2])
    }
  }

  /** Its connections close with the thread; `exit` follows, of a call of native code when that returns. */
  async #end(shard: Shard | undefined, fault: 'start' | Fault): Promise<void> {
    if (shard === undefined) return
    shard.ready = false
    shard.fault ??= fault
    await shard.worker?.terminate()
  }

  #died(index: number, shard: Shard, code: number, thrown: unknown): void {
    shard.rpc.close()
    if (this.#shards[index] !== shard) return
    this.#shards[index] = undefined
    this.#watch.remove(index)
    const cause = shard.fault ?? causeOf(thrown)
    this.#causes[index] = cause
    new SharedView(this.#options.memory, this.#count).releaseShard(index)
    const lost = this.#options.onDeath(index, cause)
    for (const peer of this.#live()) peer.rpc.tell('peerGone', index)
    if (performance.now() - shard.startedMs > HEALTHY_MS) this.#deaths[index] = 0
    const deaths = (this.#deaths[index] = (this.#deaths[index] ?? 0) + 1)
    const again = this.#started && !this.#stopping
    const waitMs = Math.min(this.#supervision.restartMaxIntervalMs, RESTART_FIRST_MS * 2 ** (deaths - 1))
    const error = thrown === undefined ? undefined : toError(thrown)
    this.#options.logger.error(again ? 'shard died, starting it again' : 'shard died', {
      shard: index,
      cause: CAUSES[cause],
      code,
      ...(again && { wait_ms: waitMs, deaths_in_a_row: deaths }),
      ...(Object.keys(lost).length > 0 && { lost_items: lost }),
      error,
      stack: error?.stack,
    })
    if (again) setTimeout(() => this.#restart(index), waitMs)
  }

  #restart(index: number): void {
    this.#changing = this.#changing.then(async () => {
      if (this.#stopping || this.#shards[index] !== undefined) return
      this.#restarts++
      this.#options.onRestart()
      this.#spawn(index)
      const shard = this.#live().find((candidate) => candidate === this.#shards[index])
      if (shard === undefined) return
      try {
        await withTimeout(shard.rpc.call('prepare', this.#tree), START_MS)
        await withTimeout(shard.rpc.call('commit', undefined), START_MS)
        shard.ready = true
        this.#options.onBack()
        this.#options.logger.info('shard is back', { shard: index })
      } catch (error) {
        if (this.#shards[index] !== shard) return // It died, which has been said.
        this.#options.logger.error('shard did not start', { shard: index, error: toError(error) })
        await this.#end(shard, 'start')
      }
    })
  }
}

function causeOf(thrown: unknown): Cause {
  if (thrown === undefined) return 'exit'
  const full = thrown instanceof Error && 'code' in thrown && thrown.code === 'ERR_WORKER_OUT_OF_MEMORY'
  return full ? 'heap' : 'error'
}

function withTimeout<T>(promise: Promise<T>, timeoutMs: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no answer in ${Math.round(timeoutMs)} ms`)), timeoutMs)
    promise.then(
      (value) => {
        clearTimeout(timer)
        resolve(value)
      },
      (error: unknown) => {
        clearTimeout(timer)
        reject(error)
      },
    )
  })
}
