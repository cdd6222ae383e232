/**
 * The persistent side of the sending queue (`sending_queue.storage`): accepted means stored, and a request is released only
 * when it was delivered or dropped and counted. What the exporter cannot take yet waits on the disk; a part of it stays in
 * memory as well, up to a limit, so that it need not be read back.
 *
 * What a crash left goes first, oldest first. Those that were being sent may have caused it: they are sent one at a time, beside nothing
 * that no attempt has ended with, and one with which the process crashes again and again is parked (storage/suspects.ts).
 *
 * With `inOrder` nothing overtakes: a suspect whose last try waits holds up the others, and after a reload the new queue
 * begins when the old one has left.
 */
import type { Timer } from '../component/clock.ts'
import type { QueueSettings } from '../component/define.ts'
import type { Host } from '../component/host.ts'
import type { Logger } from '../component/logger.ts'
import { toError } from '../errors.ts'
import type { Batch } from '../otlp/batch.ts'
import { type DurableLog, isStorage, type LogOptions, type StoredRecord } from '../storage/log.ts'
import { workAlone } from '../storage/suspects.ts'
import { type Admission, Deque } from './queue.ts'

/** Payload kept in memory, waiting and being sent, in all shards together. */
const MEMORY_BYTES = 64 * 1024 * 1024
/** Requests read from the storage beyond those that are being sent. */
const READ_AHEAD = 2
const LATER_MS = 1000

/** A request in the queue; without `batch` it has to be read back. */
interface Stored {
  readonly record: StoredRecord
  readonly size: number
  readonly batch: Batch | undefined
}

export interface StoredQueueOptions {
  readonly host: Host
  readonly logger: Logger
  /** `storage` is the id of the storage extension. */
  readonly queue: QueueSettings
  /** Name of the log: exporter and signal. */
  readonly name: string
  /** Requests that are sent at a time by this shard. */
  readonly consumers: number
  readonly admission: Admission
  /** How many more the exporter can send now; below 0 when some wait for it. */
  readonly free: () => number
  /** Sends it. `done` is told once, and whether it stays on the disk; `attempted` when an attempt has ended. */
  readonly send: (batch: Batch, done: (keep: boolean) => void, attempted: () => void) => void
  /** Dropped without being sent: damaged, or parked. */
  readonly onLost: (items: number) => void
}

export class StoredQueue {
  readonly #options: StoredQueueOptions
  readonly #older = new Deque<Stored>()
  readonly #fresh = new Deque<Stored>()
  /** Suspects whose last try waits. */
  readonly #later: Stored[] = []
  #timer: Timer | undefined
  readonly #memoryLimit: number
  #log: DurableLog | undefined
  #waitingBytes = 0
  #openBytes = 0
  #open = 0
  /** Open, and no attempt with them has ended. */
  #untried = 0
  #alone = false
  #feeding = false
  #stopped = false

  constructor(options: StoredQueueOptions) {
    this.#options = options
    this.#memoryLimit = MEMORY_BYTES / Math.max(1, options.host.shards)
  }

  /** Finds what the last run left. */
  async start(): Promise<void> {
    const { host, queue, name, consumers } = this.#options
    const { storage = '' } = queue
    const extension = host.extension(storage)
    if (!isStorage(extension)) throw new Error(`sending_queue.storage: extension "${storage}" is no storage`)
    const options: LogOptions = {
      name,
      inFlight: consumers,
      onInherit: (records) => this.#take(records),
      onFirst: () => this.feed(),
    }
    this.#log = await extension.openLog(options)
    this.#take(this.#log.takeRecovered())
  }

  #take(records: readonly StoredRecord[]): void {
    const { admission, queue } = this.#options
    const { sizer } = queue
    for (const record of records) {
      const size = sizer === 'requests' ? 1 : sizer === 'items' ? record.items : record.byteLength
      admission.force(size)
      this.#older.push({ record, size, batch: undefined })
    }
    this.feed()
  }

  /** Resolves when it is stored. The place in the queue has been taken, and is given back when this rejects. */
  async append(batch: Batch, size: number): Promise<void> {
    if (!this.#log) throw new RangeError('not started')
    let record: StoredRecord
    try {
      record = await this.#log.append(batch)
    } catch (error) {
      this.#options.admission.leave(size)
      throw error
    }
    if (this.#stopped) return this.#options.admission.leave(size) // It is for whoever opens the log next.
    const fits = this.#waitingBytes + batch.byteLength <= this.#memoryLimit
    if (fits) this.#waitingBytes += batch.byteLength
    this.#fresh.push({ record, size, batch: fits ? batch : undefined })
    this.feed()
  }

  /** Hands on what the exporter can take now. */
  feed(): void {
    if (this.#feeding || this.#stopped) return
    void this.#feedAll()
  }

  /** Up to its first wait it runs at once, and it ends in the turn in which it finds nothing to do. */
  async #feedAll(): Promise<void> {
    this.#feeding = true
    try {
      while (!this.#stopped && this.#hasRoom()) {
        const next = this.#older.shift() ?? this.#fresh.shift()
        if (!next) return
        const verdict = next.record.suspect ? this.#log?.judge(next.record) : 'try'
        if (verdict === 'later') this.#postpone(next)
        else if (verdict === 'park') await this.#park(next)
        else if (next.batch) this.#hand(next, next.batch)
        else await this.#readBack(next)
      }
    } finally {
      this.#feeding = false
    }
  }

  #hasRoom(): boolean {
    const free = this.#options.free()
    if (this.#alone || (this.#options.queue.inOrder && this.#isHeldUp())) return false
    if (this.#older.peek()?.record.suspect) return this.#untried === 0 && free > 0
    return free > -READ_AHEAD && (this.#open === 0 || this.#openBytes < this.#memoryLimit)
  }

  #isHeldUp(): boolean {
    return this.#timer !== undefined || this.#log?.isFirst !== true
  }

  #postpone(stored: Stored): void {
    if (this.#options.queue.inOrder) this.#older.unshift(stored)
    else this.#later.push(stored)
    this.#timer ??= this.#options.host.clock.after(LATER_MS, () => {
      this.#timer = undefined
      for (const waiting of this.#later.splice(0)) this.#older.push(waiting)
      this.feed()
    })
  }

  async #readBack(stored: Stored): Promise<void> {
    const { record, size } = stored
    try {
      const batch = await this.#log?.read(record)
      if (batch && !this.#stopped) return this.#hand(stored, batch)
      this.#options.admission.leave(size)
    } catch {
      this.#options.admission.leave(size) // The log has told what happened to it, and counted it.
      this.#options.onLost(record.items)
    }
  }

  #hand(stored: Stored, batch: Batch): void {
    const { record } = stored
    if (stored.batch) this.#waitingBytes -= batch.byteLength
    this.#open++
    this.#untried++
    this.#openBytes += record.byteLength
    if (!record.suspect || !this.#log) {
      this.#send(stored, batch, () => {})
      return
    }
    this.#alone = true
    const work = () => new Promise<void>((resolve) => this.#send(stored, batch, resolve))
    void workAlone(this.#log, record, work).then(() => {
      this.#alone = false
      this.feed()
    })
  }

  /** `ended` is told when an attempt has ended, or there will be none. */
  #send({ record, size }: Stored, batch: Batch, ended: () => void): void {
    let tried = false
    const attempted = () => {
      if (tried) return
      tried = true
      this.#untried--
      this.#log?.clear(record)
      ended()
    }
    const done = (keep: boolean) => {
      if (!keep) this.#log?.release(record)
      attempted()
      this.#open--
      this.#openBytes -= record.byteLength
      this.#options.admission.leave(size)
      this.feed()
    }
    if (this.#stopped) done(true)
    else this.#options.send(batch, done, attempted)
  }

  async #park({ record, size }: Stored): Promise<void> {
    try {
      await this.#log?.park(record)
    } catch (error) {
      const fields = { error: toError(error).message, items: record.items }
      this.#options.logger.error('a record that may have caused crashes cannot be set aside', fields)
    }
    this.#options.onLost(record.items)
    this.#options.admission.leave(size)
  }

  /** Nothing more is handed on: what waits stays on the disk. */
  stop(): void {
    if (this.#stopped) return
    this.#stopped = true
    this.#timer?.cancel()
    for (const { size } of this.#later.splice(0)) this.#options.admission.leave(size)
    for (const list of [this.#older, this.#fresh])
      for (let next = list.shift(); next; next = list.shift()) this.#options.admission.leave(next.size)
  }

  async close(): Promise<void> {
    this.stop()
    await this.#log?.close()
  }
}
