/** Own metrics of the storage, per extension and log. */
import { counter, gauge, type Instruments } from '../component/telemetry.ts'

const LOG = ['log']

export const storageTelemetry = {
  appended: counter('storage_appended_records', '{record}', 'Batches that were stored.', LOG),
  writtenBytes: counter('storage_written_bytes', 'By', 'Bytes written to the files of the storage.', LOG),
  writes: counter('storage_writes', '{write}', 'Writes, each of which stores everything that waits.', LOG),
  refused: counter('storage_refused_records', '{record}', 'Batches that were not stored.', [
    ...LOG,
    'reason',
  ]),
  writeErrors: counter('storage_write_errors', '{error}', 'Writes that failed.', LOG),
  recovered: counter('storage_recovered_records', '{record}', 'Batches found at the start.', LOG),
  lost: counter('storage_lost_records', '{record}', 'Stored batches that cannot be read back.', [
    ...LOG,
    'reason',
  ]),
  corruptBytes: counter('storage_corrupt_bytes', 'By', 'Damaged bytes found in files of the storage.', [
    ...LOG,
    'reason',
  ]),
  parked: counter('storage_parked_records', '{record}', 'Batches set aside after repeated crashes.', LOG),
  records: gauge('storage_records', '{record}', 'Batches in the storage that are not done with.', LOG),
  diskBytes: gauge('storage_disk_bytes', 'By', 'Size of the files of the storage.', LOG),
  waitingBytes: gauge('storage_waiting_bytes', 'By', 'Bytes that wait to be written.', LOG),
} as const

export type StorageInstruments = Instruments<typeof storageTelemetry>
