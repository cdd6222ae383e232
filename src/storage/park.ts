/** Sets a record aside that brings the process down: a file in `parked/` beside the log, with the OTLP request as it came. */
import { join } from 'node:path'
import type { Logger } from '../component/logger.ts'
import type { Batch } from '../otlp/batch.ts'
import type { Files } from './files.ts'
import type { Place } from './segment.ts'

const MAX_PARKED = 1000

interface ParkOptions {
  readonly files: Files
  readonly folder: string
  readonly log: string
  readonly fsync: boolean
  readonly folderMode: number
  readonly logger: Logger
}

export async function setAside(batch: Batch, place: Place, options: ParkOptions): Promise<void> {
  const { files, folder, folderMode, fsync, logger, log } = options
  const fields = { log, items: batch.itemCount, crashes: place.crashes }
  const parked = join(folder, 'parked')
  await files.makeFolder(parked, folderMode)
  if ((await files.list(parked)).length >= MAX_PARKED) {
    logger.error('too many records were set aside: this one is dropped', fields)
    return
  }
  const path = join(parked, `${batch.signal}-${place.segment.id}-${place.sequence}.pb`)
  await files.remove(path).catch(() => {}) // A crash came between parking and releasing.
  const file = await files.open(path, 'create')
  try {
    await file.write(batch.chunks, 0)
    if (fsync) await file.sync()
  } finally {
    await file.close()
  }
  if (fsync) await files.syncFolder(parked)
  logger.error('a record is set aside: the process crashed with it again and again', { ...fields, path })
}
