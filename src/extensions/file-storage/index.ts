/**
 * `file_storage` extension: keeps what exporters have queued on the disk, so that it survives the process.
 *
 *     extensions:
 *       file_storage: { directory: /var/lib/weir, create_directory: true, fsync: true }
 *     exporters:
 *       otlp_grpc: { endpoint: ..., sending_queue: { storage: file_storage } }
 *     service:
 *       extensions: [file_storage]
 *
 * Each user has a log in a folder of its own (src/storage); the shards share the folder and not the files. One process at a time
 * uses the directory. docs/storage.md tells what is promised.
 */
import fsp from 'node:fs/promises'
import { join } from 'node:path'
import { defineExtension } from '../../component/define.ts'
import { toError } from '../../errors.ts'
import { nodeFiles } from '../../storage/files.ts'
import { type DirectoryLock, lockDirectory } from '../../storage/lock.ts'
import type { DurableLog, LogOptions, Storage } from '../../storage/log.ts'
import { LogFiles } from '../../storage/log-files.ts'
import { openSharedLog } from '../../storage/shared-logs.ts'
import { storageTelemetry } from '../../storage/telemetry.ts'
import { type Config, config } from './config.ts'

/** More shards than this are not counted right, and the lock file then stays behind, which does no harm. */
const MOST_USERS = 1_000_000

export default defineExtension({
  type: 'file_storage',
  stability: 'beta',
  summary: 'Keeps queues on the disk, so that they survive the process.',
  runsIn: 'shard',
  stores: true,
  config,
  telemetry: storageTelemetry,
  create({ config, host, logger, telemetry }) {
    const users = host.budget('users', MOST_USERS)
    const turn = host.budget('last try', 1)
    let lock: DirectoryLock | undefined
    const openLog = (options: LogOptions): Promise<DurableLog> => {
      if (!lock) return Promise.reject(new RangeError('the storage is not started'))
      const folder = join(config.directory, folderName(options.name))
      return openSharedLog(folder, options, () =>
        LogFiles.open({
          files: nodeFiles,
          folder,
          log: options.name,
          shard: host.shard,
          shards: Math.max(1, host.shards),
          fsync: config.fsync,
          segmentBytes: config.segment_size,
          folderMode: config.directory_permissions,
          inFlight: options.inFlight,
          notes: options.notes ?? false,
          limit: config.max_size > 0 ? host.budget(`bytes/${options.name}`, config.max_size) : undefined,
          turn,
          logger,
          telemetry,
          onHealth: (error) => host.reportStatus(error ? 'recoverable_error' : 'ok', error),
        }),
      )
    }
    const extension: Storage & { start(): Promise<void>; shutdown(): Promise<void> } = {
      openLog,
      async start() {
        await prepareDirectory(config)
        lock = await lockDirectory(config.directory, config.timeout)
        users.take(1)
      },
      async shutdown() {
        if (!lock) return
        const held = lock
        lock = undefined
        users.give(1)
        await held.release(users.used() === 0)
      },
    }
    return extension
  },
})

async function prepareDirectory({
  directory,
  create_directory,
  directory_permissions,
}: Config): Promise<void> {
  try {
    if (create_directory) await fsp.mkdir(directory, { recursive: true, mode: directory_permissions })
    const stat = await fsp.stat(directory)
    if (!stat.isDirectory()) throw new Error('it is not a directory')
    await fsp.access(directory, fsp.constants.R_OK | fsp.constants.W_OK | fsp.constants.X_OK)
  } catch (error) {
    const advice = create_directory ? '' : '; create_directory: true makes it when it is missing'
    throw new Error(`directory ${directory} cannot be used: ${toError(error).message}${advice}`, {
      cause: error,
    })
  }
}

/** Characters that are not safe in a file name become `~XX`. */
function folderName(name: string): string {
  return name.replace(/[^A-Za-z0-9_.-]/gu, (character) =>
    [...Buffer.from(character)]
      .map((byte) => `~${byte.toString(16).toUpperCase().padStart(2, '0')}`)
      .join(''),
  )
}
