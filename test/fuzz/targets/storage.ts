/**
 * The files of a durable log, damaged: the log opens, hands out nothing but what was stored, byte for byte, and takes new records.
 *
 * An input is the whole folder: for each file the length of its name and of its content (2 and 4 bytes), the name, the content.
 */
import { basename, dirname } from 'node:path'
import { silentLogger } from '../../../src/component/logger.ts'
import { WeirError } from '../../../src/errors.ts'
import type { Files, OpenFile } from '../../../src/storage/files.ts'
import { LogFiles } from '../../../src/storage/log-files.ts'
import { storageTelemetry } from '../../../src/storage/telemetry.ts'
import { batchOf } from '../../faults/support/stored-log.ts'
import { TestMeter } from '../../support/meter.ts'
import { namesOf } from '../../support/shell.ts'
import { type Draw, mutateBytes } from '../draw.ts'
import type { Target } from '../target.ts'

const FOLDER = '/log'
const SEGMENT_BYTES = 2048
const RECORDS = 14

type Disk = Map<string, Buffer>

export async function storageTarget(): Promise<Target> {
  const folders: Uint8Array[] = []
  for (let index = 0; index < 6; index++) folders.push(await folder(index))
  return {
    seeds: () => folders,
    next(draw, pool) {
      const disk = unpack(draw.pick(pool))
      const other = unpack(draw.pick(pool))
      for (let count = 1 + draw.below(2); count > 0; count--) damage(draw, disk, other)
      return pack(disk)
    },
    async run(input) {
      const disk = unpack(input)
      const { log, recovered } = await openLog(disk)
      for (const place of recovered) {
        const batch = await log.read(place)
        const [name = ''] = namesOf(batch)
        if (!Buffer.from(batch.bytes()).equals(stored(name).bytes())) throw new Error(`corrupt: ${name}`)
      }
      await log.append(stored('after'), 1)
      await log.close()
      const again = await openLog(disk)
      const kept = again.recovered.length
      await again.log.close()
      if (kept !== recovered.length + 1) throw new Error(`${recovered.length} records and one make ${kept}`)
      return true
    },
  }
}

/** What is stored under a name. */
function stored(name: string) {
  return batchOf(name, (name.charCodeAt(1) * 37) % 300)
}

/** A log as a process leaves it that was killed or, every other time, closed. */
async function folder(index: number): Promise<Uint8Array> {
  const disk: Disk = new Map()
  const { log } = await openLog(disk)
  for (let record = 0; record < RECORDS; record++) {
    const place = await log.append(stored(`r${String.fromCharCode(65 + record)}${index}`), 1)
    if (record % 3 === 0) log.release(place)
    if (record % 5 === 0) await log.flush()
  }
  await log.flush()
  const killed = pack(disk)
  await log.close()
  return index % 2 === 0 ? killed : pack(disk)
}

function damage(draw: Draw, disk: Disk, other: Disk): void {
  const paths = [...disk.keys()]
  if (paths.length === 0) return
  const path = draw.pick(paths)
  const bytes = disk.get(path) ?? Buffer.alloc(0)
  const kind = draw.below(10)
  const [, stranger = Buffer.alloc(0)] = draw.pick([...other, ['', Buffer.alloc(0)] as const])
  if (kind === 0) disk.delete(path)
  else if (kind === 1) disk.set(path, Buffer.from(stranger))
  else if (kind === 2) disk.set(path.replace(/\d{6}(?=\.seg$)/, '900000'), Buffer.from(bytes))
  else if (kind === 3) disk.set(path, bytes.subarray(0, draw.below(bytes.length + 1)))
  else disk.set(path, mutateBytes(draw, bytes, stranger))
}

async function openLog(disk: Disk) {
  return await LogFiles.open({
    ...{ files: filesOf(disk), folder: FOLDER, log: 'queue', shard: 0, shards: 1, fsync: false },
    ...{ segmentBytes: SEGMENT_BYTES, folderMode: 0o750, inFlight: 0, notes: false, limit: undefined },
    logger: silentLogger,
    telemetry: new TestMeter().instruments(storageTelemetry, {}),
    onHealth: (error) => {
      if (error) throw error
    },
  })
}

function pack(disk: Disk): Buffer {
  const parts: Buffer[] = []
  for (const [path, content] of disk) {
    const head = Buffer.alloc(6)
    head.writeUInt16LE(path.length)
    head.writeUInt32LE(content.length, 2)
    parts.push(head, Buffer.from(path), content)
  }
  return Buffer.concat(parts)
}

function unpack(input: Uint8Array): Disk {
  const disk: Disk = new Map()
  const bytes = Buffer.from(input)
  for (let at = 0; at + 6 <= bytes.length; ) {
    const from = at + 6 + bytes.readUInt16LE(at)
    const end = from + bytes.readUInt32LE(at + 2)
    disk.set(bytes.subarray(at + 6, from).toString(), Buffer.from(bytes.subarray(from, end)))
    at = end
  }
  return disk
}

/** A disk that does what it is told, at once. */
function filesOf(disk: Disk): Files {
  const missing = () => new WeirError('ENOENT')
  return {
    async open(path, mode) {
      if (mode === 'create' ? disk.has(path) : !disk.has(path)) throw missing()
      if (mode === 'create') disk.set(path, Buffer.alloc(0))
      return handle(disk, path)
    },
    list: async (of) => [...disk.keys()].filter((path) => dirname(path) === of).map((path) => basename(path)),
    makeFolder: async () => {},
    async rename(from, to) {
      const content = disk.get(from)
      if (!content) throw missing()
      disk.delete(from)
      disk.set(to, content)
    },
    async remove(path) {
      if (!disk.delete(path)) throw missing()
    },
    syncFolder: async () => {},
  }
}

function handle(disk: Disk, path: string): OpenFile {
  const content = () => disk.get(path) ?? Buffer.alloc(0)
  return {
    async write(buffers, position) {
      const data = Buffer.concat(buffers)
      const grown = Buffer.alloc(Math.max(content().length, position + data.length))
      content().copy(grown)
      data.copy(grown, position)
      disk.set(path, grown)
    },
    read: async (length, position) => Buffer.from(content().subarray(position, position + length)),
    size: async () => content().length,
    async truncate(length) {
      disk.set(path, content().subarray(0, length))
    },
    sync: async () => {},
    close: async () => {},
  }
}
