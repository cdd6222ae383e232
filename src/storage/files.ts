/**
 * The file system as the storage uses it, small enough for a test to stand in for it (one that fails, tears writes, or forgets
 * what was not synced).
 */
import fs from 'node:fs'
import fsp from 'node:fs/promises'

export interface OpenFile {
  /** Writes all of it at `position`, or rejects; what then lies there is unknown. */
  write(buffers: readonly Uint8Array[], position: number): Promise<void>
  /** Shorter than asked for only at the end of the file. The bytes may lie in `into`, which is at least as long. */
  read(length: number, position: number, into?: Buffer): Promise<Buffer>
  size(): Promise<number>
  truncate(length: number): Promise<void>
  /** Resolves when the data is on the disk. */
  sync(): Promise<void>
  close(): Promise<void>
}

export interface Files {
  /** `create` makes a new file and fails when there is one; `write` opens one that is there. */
  open(path: string, mode: 'create' | 'read' | 'write'): Promise<OpenFile>
  /** Names of the files of a folder, in no order; folders are left out. */
  list(folder: string): Promise<string[]>
  makeFolder(path: string, mode: number): Promise<void>
  rename(from: string, to: string): Promise<void>
  remove(path: string): Promise<void>
  /** Makes creations, renames and removals in the folder durable. */
  syncFolder(path: string): Promise<void>
}

const FLAGS = { create: 'wx+', read: 'r', write: 'r+' } as const
/** Only the user that runs Weir reads what is stored. */
const FILE_MODE = 0o600

class NodeFile implements OpenFile {
  readonly #fd: number
  constructor(fd: number) {
    this.#fd = fd
  }

  write(buffers: readonly Uint8Array[], position: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const step = (rest: readonly Uint8Array[], at: number) => {
        fs.writev(this.#fd, rest, at, (error, written) => {
          if (error) return reject(error)
          const left = behind(rest, written)
          if (left.length === 0) return resolve()
          if (written === 0) return reject(new Error('the file takes no more bytes'))
          step(left, at + written)
        })
      }
      step(buffers, position)
    })
  }

  read(length: number, position: number, into?: Buffer): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const buffer = into ?? Buffer.allocUnsafeSlow(length)
      const step = (have: number) => {
        fs.read(this.#fd, buffer, have, length - have, position + have, (error, count) => {
          if (error) return reject(error)
          if (count === 0 || have + count === length) return resolve(buffer.subarray(0, have + count))
          step(have + count)
        })
      }
      step(0)
    })
  }

  size(): Promise<number> {
    return call<fs.Stats>((done) => fs.fstat(this.#fd, done)).then((stats) => stats.size)
  }
  truncate(length: number): Promise<void> {
    return call<void>((done) => fs.ftruncate(this.#fd, length, (error) => done(error)))
  }
  sync(): Promise<void> {
    return call<void>((done) => fs.fdatasync(this.#fd, (error) => done(error)))
  }
  close(): Promise<void> {
    return call<void>((done) => fs.close(this.#fd, (error) => done(error)))
  }
}

function call<T>(run: (done: (error: Error | null, value?: T) => void) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    run((error, value) => (error ? reject(error) : resolve(value as T))) // No error: the value is there.
  })
}

/** What is left of the list after its first `count` bytes. */
function behind(buffers: readonly Uint8Array[], count: number): readonly Uint8Array[] {
  for (const [index, buffer] of buffers.entries()) {
    if (count < buffer.length) return [buffer.subarray(count), ...buffers.slice(index + 1)]
    count -= buffer.length
  }
  return []
}

export const nodeFiles: Files = {
  async open(path, mode) {
    return new NodeFile(await call<number>((done) => fs.open(path, FLAGS[mode], FILE_MODE, done)))
  },
  async list(folder) {
    const entries = await fsp.readdir(folder, { withFileTypes: true })
    return entries.filter((entry) => entry.isFile()).map((entry) => entry.name)
  },
  async makeFolder(path, mode) {
    await fsp.mkdir(path, { recursive: true, mode })
  },
  rename: (from, to) => fsp.rename(from, to),
  remove: (path) => fsp.unlink(path),
  async syncFolder(path) {
    const folder = await fsp.open(path, 'r')
    try {
      await folder.sync()
    } finally {
      await folder.close()
    }
  },
}
