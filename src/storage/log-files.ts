/**
 * One log of one shard: its files, what lives in them, and what may be asked of it. Its users have a client each (shared-logs.ts).
 *
 * Limits: bytes on the disk (`limit`, shared by the shards), bytes that wait to be written (MAX_WAITING_BYTES), parked records
 * (park.ts), open files (record-reader.ts).
 */
import { randomBytes } from 'node:crypto'
import type { Budget } from '../component/host.ts'
import type { Logger } from '../component/logger.ts'
import { RefusedError, ShutdownError, TooLargeError, toError } from '../errors.ts'
import type { Batch } from '../otlp/batch.ts'
import type { Files } from './files.ts'
import { fileBytesOf, type Waiting } from './group.ts'
import type { Note, Verdict } from './log.ts'
import { tellLosses } from './losses.ts'
import { setAside } from './park.ts'
import { CLOSED, DATA, decodeBatch, encodeBatchMetadata, MAX_PAYLOAD_BYTES, NOTE } from './record.ts'
import { type ReadRecord, RecordReader } from './record-reader.ts'
import { type RecoveredFiles, recoverFiles } from './recovery.ts'
import type { Place, Segment } from './segment.ts'
import { markSuspects, Suspects } from './suspects.ts'
import type { StorageInstruments } from './telemetry.ts'
import { isFull, Writer } from './writer.ts'

const MAX_WAITING_BYTES = 64 * 1024 * 1024
const FILES_IN_LIMIT = 4
const LEAST_SEGMENT_BYTES = 64 * 1024
/** A file that is older than this many others, and mostly dead, is compacted. */
const COMPACT_BEHIND = 4
/** Mostly dead: this part of it lives, or less. */
const COMPACT_SHARE = 0.25

export interface LogFilesOptions {
  readonly files: Files
  readonly folder: string
  readonly log: string
  readonly shard: number
  readonly shards: number
  readonly fsync: boolean
  readonly segmentBytes: number
  readonly folderMode: number
  readonly inFlight: number
  readonly notes: boolean
  readonly limit: Budget | undefined
  /** One in the process: of the record that is tried for the last time. */
  readonly turn?: Budget
  /** Of the process; real unless a test says otherwise. */
  readonly uptimeMs?: () => number
  readonly logger: Logger
  readonly telemetry: StorageInstruments
  /** Undefined: it works again. */
  readonly onHealth: (error: Error | undefined) => void
}

export class LogFiles {
  readonly #options: LogFilesOptions
  readonly #writer: Writer
  readonly #labels: { readonly log: string }
  readonly #gauges
  readonly #appended
  readonly #reader = new RecordReader()
  readonly notes: Note[]
  #waitingBytes = 0
  #diskBytes = 0
  #records = 0
  #failing = false
  #compacting = false
  #closed = false
  readonly #suspects: Suspects

  static async open(options: LogFilesOptions): Promise<{ log: LogFiles; recovered: Place[] }> {
    const { files, folder, folderMode, inFlight } = options
    await files.makeFolder(folder, folderMode)
    const found = await recoverFiles(options)
    const log = new LogFiles(options, found)
    const recovered = [...found.places]
    markSuspects(recovered, found.crashed, inFlight)
    await log.#takeOver(found, recovered)
    return { log, recovered }
  }

  private constructor(options: LogFilesOptions, found: RecoveredFiles) {
    this.#options = options
    this.#labels = { log: options.log }
    this.notes = [...found.notes]
    this.#suspects = new Suspects(options.turn, options.uptimeMs ?? (() => process.uptime() * 1000))
    const { telemetry } = options
    this.#appended = telemetry.appended.with(this.#labels)
    this.#gauges = {
      disk: telemetry.diskBytes.with(this.#labels),
      records: telemetry.records.with(this.#labels),
      waiting: telemetry.waitingBytes.with(this.#labels),
    }
    const written = telemetry.writtenBytes.with(this.#labels)
    const writes = telemetry.writes.with(this.#labels)
    this.#writer = new Writer(
      {
        files: options.files,
        folder: options.folder,
        log: options.log,
        shard: options.shard,
        incarnation: randomBytes(8).toString('hex'),
        fsync: options.fsync,
        segmentBytes: segmentBytesOf(options),
        notes: options.notes,
        supersedes: found.incarnations,
        onWritten: (bytes) => {
          written.add(bytes)
          writes.add(1)
          this.#healthy()
        },
        onFailed: (error) => this.#failed(error),
        onGrown: (segment, bytes) => this.#grown(segment, bytes),
        onRemoved: (segment) => this.#removed(segment),
        onRotated: () => void this.#compact(),
      },
      found.segments,
      found.lastOrder,
    )
  }

  get diskBytes(): number {
    return this.#diskBytes
  }

  /** The state goes into a new file before the files go that held it. */
  async #takeOver(found: RecoveredFiles, places: readonly Place[]): Promise<void> {
    const { logger, log, files, limit } = this.#options
    for (const segment of found.segments) {
      segment.chargedBytes = segment.end
      limit?.take(segment.end)
      this.#addDiskBytes(segment.end)
    }
    this.#addRecords(places.length)
    tellLosses(found, this.#options)
    if (found.segments.length > 0) {
      await this.#writer.begin().catch((error) => this.#failed(toError(error)))
      logger.info('stored records found', { log, records: places.length, bytes: this.#diskBytes })
    }
    for (const path of found.dead) {
      await files.remove(path).catch((error) => {
        logger.warn('a file of the storage cannot be removed', { path, error: toError(error).message })
      })
    }
  }

  append(batch: Batch, holder: unknown): Promise<Place> {
    const { telemetry, limit } = this.#options
    const waiting = this.#prepare(batch, holder)
    const bytes = fileBytesOf(waiting.record)
    const refuse = (reason: string, error: Error): Promise<Place> => {
      telemetry.refused.with({ ...this.#labels, reason }).add(1)
      return Promise.reject(error)
    }
    if (this.#closed) return refuse('closed', new ShutdownError('the storage is closed'))
    if (bytes > MAX_PAYLOAD_BYTES) return refuse('size', new TooLargeError('batch is too large to be stored'))
    if (this.#waitingBytes + bytes > MAX_WAITING_BYTES)
      return refuse('busy', new RefusedError('the storage is slower than the input'))
    if (limit && !limit.tryTake(bytes)) {
      this.#writer.renew()
      return refuse('full', new RefusedError('storage is full'))
    }
    this.#wait(bytes)
    this.#writer.push(waiting.record)
    return waiting.done.then(
      (place) => {
        this.#wait(-bytes)
        limit?.give(bytes) // The file has grown by it meanwhile.
        this.#addRecords(1)
        this.#appended.add(1)
        return place
      },
      (error: Error) => {
        this.#wait(-bytes)
        limit?.give(bytes)
        return refuse('write', error)
      },
    )
  }

  #prepare(batch: Batch, holder: unknown): { record: Waiting; done: Promise<Place> } {
    const { promise, resolve, reject } = Promise.withResolvers<Place>()
    const record: Waiting = {
      type: DATA,
      metadata: encodeBatchMetadata(batch),
      chunks: batch.chunks,
      byteLength: batch.byteLength,
      items: batch.itemCount,
      order: this.#writer.nextOrder(),
      holder,
      moving: undefined,
      resolve: (place) => place && resolve(place),
      reject,
    }
    return { record, done: promise }
  }

  /** A record that is no batch. */
  #side(type: typeof NOTE | typeof CLOSED, chunks: readonly Uint8Array[]): Promise<void> {
    let byteLength = 0
    for (const chunk of chunks) byteLength += chunk.length
    return new Promise((resolve, reject) => {
      this.#writer.push({
        type,
        metadata: new Uint8Array(0),
        chunks,
        byteLength,
        items: 0,
        order: this.#writer.nextOrder(),
        holder: undefined,
        moving: undefined,
        resolve: () => resolve(),
        reject,
      })
    })
  }

  async note(kind: number, payload: Uint8Array): Promise<void> {
    if (this.#closed) throw new ShutdownError('the storage is closed')
    await this.#side(NOTE, [Uint8Array.of(kind), payload])
  }

  release(place: Place): void {
    if (place.released) return
    place.released = true
    this.#suspects.ended(place)
    this.#addRecords(-1)
    this.#writer.release(place)
  }

  judge(place: Place): Verdict {
    return this.#suspects.judge(place)
  }

  async begin(place: Place): Promise<void> {
    if (place.released || this.#closed) return
    place.begun = true
    await this.#writer.markBegun(place)
  }

  clear(place: Place): void {
    if (place.released || !place.uncleared) return
    this.#suspects.ended(place)
    place.crashes = 0
    place.uncleared = false
    this.#writer.clear(place)
  }

  flush(): Promise<void> {
    return this.#writer.flush()
  }

  /** Places that this holder has, oldest first. */
  heldBy(holder: unknown): Place[] {
    const held: Place[] = []
    for (const segment of this.#writer.segments)
      for (const place of segment.live) if (place.holder === holder) held.push(place)
    return held.sort((a, b) => a.order - b.order)
  }

  async read(place: Place): Promise<Batch> {
    const { header, payload } = await this.#readRecord(place)
    return decodeBatch(payload, header)
  }

  async #readRecord(place: Place): Promise<ReadRecord> {
    try {
      return await this.#reader.read(place)
    } catch (error) {
      if (!place.released) {
        const { telemetry, logger, log } = this.#options
        const { cause } = toError(error)
        telemetry.lost.with({ ...this.#labels, reason: cause ? 'unreadable' : 'corrupt' }).add(1)
        const fields = { log, items: place.items, error: cause ? toError(cause).message : 'wrong checksum' }
        logger.error('a stored record cannot be read back: it is lost', fields)
        this.release(place)
      }
      throw error
    }
  }

  async park(place: Place): Promise<void> {
    await setAside(await this.read(place), place, this.#options)
    this.#options.telemetry.parked.with(this.#labels).add(1)
    this.release(place)
  }

  /** Moves what lives in old and mostly dead files to the end, one file at a time. */
  async #compact(): Promise<void> {
    if (this.#compacting || this.#options.notes) return
    this.#compacting = true
    try {
      for (const segment of this.#writer.segments.slice(0, -COMPACT_BEHIND)) {
        if (segment.live.size === 0 || segment.liveBytes > segment.end * COMPACT_SHARE) continue
        for (const place of [...segment.live]) await this.#copy(place)
      }
    } catch (error) {
      this.#options.logger.warn('compaction stopped', { error: toError(error).message })
    } finally {
      this.#compacting = false
    }
  }

  async #copy(place: Place): Promise<void> {
    if (place.released) return
    const { header, payload } = await this.#readRecord(place)
    const metadata = payload.subarray(0, header.metadataLength)
    const chunk = payload.subarray(header.metadataLength)
    if (isReleased(place)) return
    await new Promise<void>((resolve, reject) => {
      this.#writer.push({
        type: DATA,
        metadata,
        chunks: [chunk],
        byteLength: chunk.length,
        items: header.items,
        order: header.order,
        holder: undefined,
        moving: place,
        resolve: () => resolve(),
        reject,
      })
    })
  }

  /** Writes what is released; leaves no file behind when nothing lives. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#suspects.close()
    await this.#writer.flush().catch(() => {})
    if (this.#records === 0 && !this.#options.notes) await this.#writer.removeAll()
    else {
      await this.#side(CLOSED, []).catch(() => {})
      await this.#writer.close()
    }
    for (const segment of this.#writer.segments) this.#options.limit?.give(segment.chargedBytes)
    this.#addDiskBytes(-this.#diskBytes)
    this.#addRecords(-this.#records)
  }

  #grown(segment: Segment, bytes: number): void {
    segment.chargedBytes += bytes
    this.#options.limit?.take(bytes)
    this.#addDiskBytes(bytes)
  }

  #removed(segment: Segment): void {
    this.#options.limit?.give(segment.chargedBytes)
    this.#addDiskBytes(-segment.chargedBytes)
  }

  #addDiskBytes(bytes: number): void {
    this.#diskBytes += bytes
    this.#gauges.disk.set(this.#diskBytes)
  }

  #addRecords(count: number): void {
    this.#records += count
    this.#gauges.records.set(this.#records)
  }

  #wait(bytes: number): void {
    this.#waitingBytes += bytes
    this.#gauges.waiting.set(this.#waitingBytes)
  }

  #healthy(): void {
    if (!this.#failing) return
    this.#failing = false
    this.#options.logger.info('the storage can be written again', this.#labels)
    this.#options.onHealth(undefined)
  }

  #failed(error: Error): void {
    this.#options.telemetry.writeErrors.with(this.#labels).add(1)
    if (this.#failing) return
    this.#failing = true
    const advice = isFull(error) ? 'make room on its disk, or set max_size' : 'look at its disk'
    const fields = { ...this.#labels, error: error.message, advice }
    this.#options.logger.error('the storage cannot be written: data is refused until it can', fields)
    this.#options.onHealth(error)
  }
}

/** Within a limit there is room for a few files of each shard, so that what is done with can go while others live. */
function segmentBytesOf({ segmentBytes, limit, shards }: LogFilesOptions): number {
  if (limit === undefined) return segmentBytes
  return Math.min(segmentBytes, Math.max(LEAST_SEGMENT_BYTES, limit.limit / shards / FILES_IN_LIMIT))
}

/** Asked again after a wait: it may have changed. */
function isReleased(place: Place): boolean {
  return place.released
}
