/**
 * Looks after the shards from the main thread: after one that gives no sign of life, since something in it
 * never ends, and after memory that is about to run out.
 *
 * Silence is summed up from look to look, each with an upper bound: when the whole process stood still
 * (SIGSTOP, a suspended machine), main looked as little as the shards beat, and nobody is to blame.
 */
import { totalmem } from 'node:os'
import type { Worker } from 'node:worker_threads'
import type { Supervision } from '../config/types.ts'
import type { SharedView } from './shared.ts'

/** Why a shard is ended from outside. */
export type Fault = 'hang' | 'memory'

export const LOOK_MS = 250
/** A shard that is silent for this long gets no work from others, and is asked for its memory. */
const SILENT_MS = 500
/** A thread that starts loads its code before it can give the first sign of life. */
const FIRST_BEAT_MS = 60_000
/** What is left to the system when `max_memory_mib` is not set. */
const MEMORY_SHARE = 0.9

interface Watched {
  readonly worker: Worker
  beats: number
  /** It has given its first sign of life. */
  begun: boolean
  silentMs: number
  heldBytes: number
  asked: boolean
  ended: boolean
}

export class Watch {
  readonly #shared: SharedView
  readonly #mainRow: number
  readonly #end: (shard: number, fault: Fault, about: Readonly<Record<string, number>>) => void
  readonly #shards = new Map<number, Watched>()
  #supervision: Supervision
  #timer: NodeJS.Timeout | undefined
  #lastMs = performance.now()

  /** `end` is told once for a shard; the watch then waits until it is removed. */
  constructor(
    shared: SharedView,
    mainRow: number,
    supervision: Supervision,
    end: (shard: number, fault: Fault, about: Readonly<Record<string, number>>) => void,
  ) {
    this.#shared = shared
    this.#mainRow = mainRow
    this.#supervision = supervision
    this.#end = end
  }

  adopt(supervision: Supervision): void {
    this.#supervision = supervision
  }

  add(shard: number, worker: Worker): void {
    const beats = this.#shared.beats(shard)
    const fresh = { begun: false, silentMs: 0, heldBytes: 0, asked: false, ended: false }
    this.#shards.set(shard, { worker, beats, ...fresh })
    if (this.#timer !== undefined) return
    this.#lastMs = performance.now()
    this.#timer = setInterval(() => {
      const nowMs = performance.now()
      this.look(Math.min(nowMs - this.#lastMs, 2 * LOOK_MS))
      this.#lastMs = nowMs
    }, LOOK_MS).unref()
  }

  remove(shard: number): void {
    this.#shards.delete(shard)
    if (this.#shards.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  /** One look, this long after the one before. */
  look(elapsedMs: number): void {
    const { heartbeatTimeoutMs } = this.#supervision
    for (const [shard, watched] of this.#shards) {
      const beats = this.#shared.beats(shard)
      if (beats !== watched.beats) {
        watched.beats = beats
        watched.begun = true
        watched.silentMs = 0
        watched.heldBytes = this.#shared.heldBytes(shard)
        continue
      }
      watched.silentMs += elapsedMs
      if (watched.silentMs < SILENT_MS) continue
      this.#shared.markBusy(shard)
      this.#ask(watched)
      const timeoutMs = watched.begun ? heartbeatTimeoutMs : Math.max(FIRST_BEAT_MS, heartbeatTimeoutMs)
      if (heartbeatTimeoutMs > 0 && watched.silentMs >= timeoutMs)
        this.#endOnce(shard, watched, 'hang', { silent_ms: Math.round(watched.silentMs) })
    }
    this.#lookAtMemory()
  }

  /** V8 answers for a thread also when it is in a loop; then nothing else would tell how its memory grows. */
  #ask(watched: Watched): void {
    if (watched.asked || watched.ended) return
    watched.asked = true
    watched.worker.getHeapStatistics().then(
      ({ used_heap_size, external_memory }) => {
        watched.asked = false
        watched.heldBytes = Math.max(watched.heldBytes, used_heap_size + external_memory)
      },
      () => {}, // It is gone.
    )
  }

  #lookAtMemory(): void {
    let heldBytes = this.#shared.heldBytes(this.#mainRow)
    let largest = -1
    let largestHeld: Watched | undefined
    for (const [shard, watched] of this.#shards) {
      if (watched.ended) return // Its memory is about to come back.
      heldBytes += watched.heldBytes
      if (largestHeld !== undefined && watched.heldBytes <= largestHeld.heldBytes) continue
      largest = shard
      largestHeld = watched
    }
    const limitBytes = this.#supervision.maxMemoryBytes || availableBytes() * MEMORY_SHARE
    if (largestHeld === undefined || heldBytes <= limitBytes) return
    const about = { held_bytes: heldBytes, of_it_bytes: largestHeld.heldBytes, limit_bytes: limitBytes }
    this.#endOnce(largest, largestHeld, 'memory', about)
  }

  #endOnce(shard: number, watched: Watched, fault: Fault, about: Readonly<Record<string, number>>): void {
    if (watched.ended) return
    watched.ended = true
    this.#end(shard, fault, about)
  }
}

/** Memory of the machine, or of the container when that has less. */
function availableBytes(): number {
  const constrained = process.constrainedMemory()
  return constrained > 0 ? Math.min(constrained, totalmem()) : totalmem()
}
