/**
 * The durable log as its users see it: the persistent sending queue (src/sending) and the receivers' write-ahead log. The
 * `file_storage` extension makes one; segment.ts says how it lies on the disk.
 *
 * The contract:
 * - append() resolves when the batch is in the file (with `fsync: true`: on the disk). Until it resolves the caller has
 *   not been answered, so what it rejects may be sent again: RefusedError, or another retryable error.
 * - A record that was appended comes back after a crash until release() has been written. Releases are written with the next
 *   group, or by themselves when nothing else is; so a crash right after a release may bring the record back once more.
 * - What cannot be read back (damage) is skipped and counted; nothing whose checksum fails is ever handed out.
 * - A log belongs to one shard at a time. A log opened again in the same thread (reload) shares the files with the one before,
 *   and inherits what that one has not released when it closes.
 *
 *     const storage = host.extension(id)
 *     if (!isStorage(storage)) throw ...
 *     const log = await storage.openLog({ name: 'receiver_otlp_traces', inFlight: 0 })
 *     for await (const { record, batch } of log.recover()) { await next.consume(batch); log.release(record) }
 *     const record = await log.append(batch)
 *     ...
 *     log.release(record)
 */
import { WeirError } from '../errors.ts'
import type { Batch } from '../otlp/batch.ts'

/** The handle of one appended batch: a place in the files. Owned by the log; it holds no payload. */
export interface StoredRecord {
  /** Tells it from the others of the log, in every run; the microsecond it came in, or some later. */
  readonly order: number
  /** Spans, data points or log records. */
  readonly items: number
  /** Payload bytes, without what the log adds. */
  readonly byteLength: number
  /** How many runs in a row ended in a crash while this record was in hand alone. */
  readonly crashes: number
  /** It may have caused the last crash: to be worked on alone (suspects.ts), as judge() says. */
  readonly suspect: boolean
}

/** `later`: ask again in a second; what is behind it may go meanwhile. */
export type Verdict = 'try' | 'later' | 'park'

/** What was stored is damaged. It is gone: nobody can send it again. */
export class CorruptRecordError extends WeirError {
  static override code = 'CORRUPT_RECORD'
}

export interface Recovered {
  readonly record: StoredRecord
  /** With the signal, the item count and the context that survives: metadata, client address, transport. */
  readonly batch: Batch
}

export interface Note {
  /** 0 to 255, the user's own. */
  readonly kind: number
  readonly payload: Uint8Array
}

export interface DurableLog {
  append(batch: Batch): Promise<StoredRecord>
  /** The record is done with: delivered, or dropped and counted. Cheap: no promise, written in groups. Twice is once. */
  release(record: StoredRecord): void
  /** What to do with a suspect now. */
  judge(record: StoredRecord): Verdict
  /** The record is in hand alone from now on. Resolves when that is written, or cannot be: then a crash is not counted. */
  begin(record: StoredRecord): Promise<void>
  /** Work on the record has come to an end, whatever it was, and the process lives: no crash before counts. */
  clear(record: StoredRecord): void
  /** Rejects with CorruptRecordError when the disk does not give back what was written; it is then released and counted as lost. */
  read(record: StoredRecord): Promise<Batch>
  /** What was not released when the log was opened, oldest first. The list is handed out once; recover() hands out the same. */
  takeRecovered(): StoredRecord[]
  /** takeRecovered() one by one with what is in them; reads one record ahead; leaves out, and counts, what cannot be read. */
  recover(): AsyncGenerator<Recovered, void, void>
  /** A small side record. It lives at least as long as every record that was not released when it was written. */
  note(kind: number, payload: Uint8Array): Promise<void>
  /** The notes found when the log was opened, in the order of writing. The list is handed out once. */
  takeNotes(): Note[]
  /** Moves the record to a file of its own in `parked/`, counted, out of the way of the others. */
  park(record: StoredRecord): Promise<void>
  /** Resolves when every release so far is written; rejects when the storage cannot be written. */
  flush(): Promise<void>
  /** Writes the releases; what is not released stays for the next one who opens this log. */
  close(): Promise<void>
  /** Bytes that the log's files occupy, those of this shard. */
  readonly diskBytes: number
  /** Nobody in this thread who opened it before has it open still (reload). */
  readonly isFirst: boolean
}

export interface LogOptions {
  /** Names the folder of the log, the same on all shards: `exporter_otlp_grpc/backend_traces`. */
  readonly name: string
  /**
   * How many of the oldest records are being worked on at a time: after a crash so many are suspects, of those that
   * clear() was not called for. 0 = none.
   */
  readonly inFlight: number
  /** It has notes: then segments go in the order of their age, and none is compacted. */
  readonly notes?: boolean
  /** isFirst has become true, and what was to be inherited is. */
  readonly onFirst?: () => void
  /** After a reload: what the predecessor in this thread had not released when it closed, oldest first. */
  readonly onInherit?: (records: StoredRecord[]) => void
}

/** What a storage extension is to other components, found by `host.extension(id)`. */
export interface Storage {
  openLog(options: LogOptions): Promise<DurableLog>
}

export function isStorage(value: unknown): value is Storage {
  return (
    typeof value === 'object' && value !== null && 'openLog' in value && typeof value.openLog === 'function'
  )
}
