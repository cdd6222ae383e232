/**
 * Memory that all threads of the process share: budgets, rates, the memory ledger and the load of each shard.
 *
 * Main makes it once and hands it to every shard, so it survives the death of a shard; what a dead shard had taken from
 * the budgets is given back by `releaseShard`. Entries are found by the hash of their name, inserted with one
 * compare-and-swap, so shards that build the same graph agree without a message.
 */
import { availableParallelism } from 'node:os'
import v8 from 'node:v8'
import type { Budget, MemoryLedger, RateBudget } from '../component/host.ts'
import { Recovery } from '../component/recovery.ts'
import { sparePayloadBytes } from '../otlp/payload-pool.ts'
import { unmanagedBytes } from '../otlp/unmanaged.ts'
import { collectGarbage } from './garbage.ts'

/** Budgets and rates that one configuration may have. A graph has a few per component. */
const ENTRIES = 4096
/** Counts are kept in 31 bits; larger limits count in units of several. */
const LARGEST_COUNT = 2 ** 30
/** Of each row: heap bytes, external bytes, event-loop utilization, and how often it has published. */
const LEDGER_FIELDS = 4

export interface SharedMemory {
  /** Number of shard rows: shards, plus one for the main thread. */
  readonly rows: number
  readonly keys: SharedArrayBuffer
  readonly counts: SharedArrayBuffer
  readonly rates: SharedArrayBuffer
  readonly ledger: SharedArrayBuffer
}

export function createSharedMemory(shards: number): SharedMemory {
  const rows = shards + 1
  return {
    rows,
    keys: new SharedArrayBuffer(ENTRIES * 4),
    counts: new SharedArrayBuffer(ENTRIES * (rows + 1) * 4),
    rates: new SharedArrayBuffer(ENTRIES * 2 * 8),
    // The last one is what noteResident() found.
    ledger: new SharedArrayBuffer((rows * LEDGER_FIELDS + 1) * 8),
  }
}

/** What one thread does with the shared memory; `row` is its own row (a shard's number, or `shards` for main). */
export class SharedView {
  readonly #memory: SharedMemory
  readonly #row: number
  readonly #keys: Int32Array
  readonly #counts: Int32Array
  readonly #rates: Float64Array
  readonly #ledger: Float64Array
  readonly recovery: Recovery
  #memoryLedger: MemoryLedger | undefined
  #leastRestBytes = Number.POSITIVE_INFINITY
  #mostResidentBytes = 0

  constructor(memory: SharedMemory, row: number) {
    this.#memory = memory
    this.#row = row
    this.#keys = new Int32Array(memory.keys)
    this.#counts = new Int32Array(memory.counts)
    this.#rates = new Float64Array(memory.rates)
    this.#ledger = new Float64Array(memory.ledger)
    const count = (name: string) => this.budget(`recovery/${name}`, LARGEST_COUNT)
    this.recovery = new Recovery(memory.rows - 1, count('looked'), count('left'))
  }

  /** The entry called `name`: claimed by whoever asks first. */
  #entry(name: string): number {
    const key = nameHash(name)
    for (let probe = 0; probe < ENTRIES; probe++) {
      const index = (key + probe) & (ENTRIES - 1)
      const found = Atomics.compareExchange(this.#keys, index, 0, key)
      if (found === 0 || found === key) return index
    }
    throw new RangeError(`more than ${ENTRIES} shared budgets`)
  }

  /** A limit for the whole process. `used` outlives a reload, since what was taken may still be held. */
  budget(name: string, limit: number): Budget {
    const counts = this.#counts
    const total = this.#entry(`budget:${name}`) * (this.#memory.rows + 1)
    const own = total + 1 + this.#row
    const unit = Math.max(1, Math.ceil(limit / LARGEST_COUNT))
    const limitUnits = Math.floor(limit / unit)
    const add = (units: number) => {
      Atomics.add(counts, total, units)
      Atomics.add(counts, own, units)
    }
    return {
      limit,
      used: () => Atomics.load(counts, total) * unit,
      tryTake(count) {
        const units = Math.ceil(count / unit)
        let seen = Atomics.load(counts, total)
        while (seen + units <= limitUnits) {
          const found = Atomics.compareExchange(counts, total, seen, seen + units)
          if (found === seen) {
            Atomics.add(counts, own, units)
            return true
          }
          seen = found
        }
        return false
      },
      take: (count) => add(Math.ceil(count / unit)),
      give: (count) => add(-Math.ceil(count / unit)),
    }
  }

  /** A token bucket for the whole process: a short critical section under a lock in shared memory. */
  rateBudget(name: string, perSecond: number, burst: number): RateBudget {
    const counts = this.#counts
    const rates = this.#rates
    const entry = this.#entry(`rate:${name}`)
    const lock = entry * (this.#memory.rows + 1)
    const tokens = entry * 2
    const lastMs = tokens + 1
    return {
      tryTake: (count) => {
        acquire(counts, lock)
        const nowMs = monotonicMs()
        const full = rates[lastMs] === 0
        const elapsedMs = full ? 0 : Math.max(0, nowMs - (rates[lastMs] ?? nowMs))
        const held = full ? burst : Math.min(burst, (rates[tokens] ?? 0) + (elapsedMs / 1000) * perSecond)
        const taken = held >= count
        rates[tokens] = taken ? held - count : held
        rates[lastMs] = nowMs
        Atomics.store(counts, lock, 0)
        return taken
      },
    }
  }

  /** Gives back what a dead shard had taken. Called by main. */
  releaseShard(row: number): void {
    const stride = this.#memory.rows + 1
    for (let entry = 0; entry < ENTRIES; entry++) {
      if (this.#keys[entry] === 0) continue
      const held = Atomics.exchange(this.#counts, entry * stride + 1 + row, 0)
      if (held !== 0) Atomics.sub(this.#counts, entry * stride, held)
    }
    this.#ledger.fill(0, row * LEDGER_FIELDS, (row + 1) * LEDGER_FIELDS)
  }

  /** Measures this thread's memory and publishes it, with its event-loop utilization from 0 to 1. */
  publish(utilization: number): void {
    const statistics = v8.getHeapStatistics()
    const at = this.#row * LEDGER_FIELDS
    this.#ledger[at] = statistics.used_heap_size
    this.#ledger[at + 1] = statistics.external_memory + unmanagedBytes() - sparePayloadBytes()
    this.#ledger[at + 2] = utilization
    this.#ledger[at + 3] = (this.#ledger[at + 3] ?? 0) + 1
  }

  /**
   * Called by main, with the resident memory of the process: what it has more than the ledger is the rest.
   * That is so while the process grows. Later resident memory also holds what was freed and will be used
   * again, so the rest stays what it was at the highest point; and since a burst may have come and gone
   * between two looks, it counts as twice the least ever seen at most.
   */
  noteResident(residentBytes: number): void {
    const restBytes = Math.max(0, residentBytes - this.memoryLedger().usedBytes())
    this.#leastRestBytes = Math.min(this.#leastRestBytes, restBytes)
    const last = this.#ledger.length - 1
    const counted = residentBytes > this.#mostResidentBytes ? restBytes : (this.#ledger[last] ?? 0)
    this.#mostResidentBytes = Math.max(this.#mostResidentBytes, residentBytes)
    this.#ledger[last] = Math.min(counted, 2 * this.#leastRestBytes)
  }

  /** How often a shard has published: while it does not change, the shard does not get to it. */
  beats(row: number): number {
    return this.#ledger[row * LEDGER_FIELDS + 3] ?? 0
  }

  /** Heap and external memory that a thread published last. */
  heldBytes(row: number): number {
    const at = row * LEDGER_FIELDS
    return (this.#ledger[at] ?? 0) + (this.#ledger[at + 1] ?? 0)
  }

  /** Of a shard that is silent: nobody hands it work. It says otherwise as soon as it publishes again. */
  markBusy(row: number): void {
    this.#ledger[row * LEDGER_FIELDS + 2] = 1
  }

  /** Event-loop utilization that a shard published last. */
  utilization(row: number): number {
    return this.#ledger[row * LEDGER_FIELDS + 2] ?? 0
  }

  heapBytes(row: number): number {
    return this.#ledger[row * LEDGER_FIELDS] ?? 0
  }

  /** One and the same object for all components of the thread. */
  memoryLedger(): MemoryLedger {
    this.#memoryLedger ??= this.#makeMemoryLedger()
    return this.#memoryLedger
  }

  #makeMemoryLedger(): MemoryLedger {
    const usedBytes = () => {
      let sum = 0
      for (let row = 0; row < this.#memory.rows; row++) sum += this.heldBytes(row)
      return sum
    }
    return {
      usedBytes,
      refresh: () => {
        this.publish(this.utilization(this.#row))
        return usedBytes()
      },
      restBytes: () => this.#ledger[this.#ledger.length - 1] ?? 0,
      collectGarbage: () => collectGarbage(),
    }
  }
}

/** The lock is held for a few instructions; a thread that died inside it must not stop the others for good. */
function acquire(words: Int32Array, index: number): void {
  for (let spin = 0; Atomics.compareExchange(words, index, 0, 1) !== 0; spin++) {
    if (spin > 100_000) return
  }
}

function monotonicMs(): number {
  const [seconds, nanos] = process.hrtime()
  return seconds * 1000 + nanos / 1e6
}

/** FNV-1a, 32 bits, never 0. With a few hundred names a collision is a one in tens of millions event. */
function nameHash(name: string): number {
  let hash = 0x811c9dc5
  for (let index = 0; index < name.length; index++) {
    hash = Math.imul(hash ^ name.charCodeAt(index), 0x01000193)
  }
  return hash | 0 || 1
}

/** Shards when the configuration does not say: one per core that this process may use. */
export function defaultShards(): number {
  return availableParallelism()
}
