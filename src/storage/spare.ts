/**
 * Room in reserve: a small file beside those of a log. When the disk is full a new file of the log can begin in it, and the old one,
 * in which nothing lives any more, can go. Without it a log that has filled a disk with the file it writes could never begin another.
 *
 * It is written over, synced, and only then renamed to what it is to be: whatever happens before, it is a spare.
 */
import { join } from 'node:path'
import type { Files, OpenFile } from './files.ts'

/** Room for the header of a file in most cases. */
const SPARE_BYTES = 16 * 1024
const RETRY_MS = 1000
const SUFFIX = '.spare'

/** Which shard's it is; undefined for other files. */
export function parseSpareName(name: string): number | undefined {
  const match = /^(\d{1,6})\.spare$/.exec(name)
  return match ? Number(match[1]) : undefined
}

export class Spare {
  readonly #files: Files
  readonly #path: string
  readonly #byteLength: number
  #there = false
  #notBeforeMs = 0

  constructor(files: Files, folder: string, shard: number, segmentBytes: number) {
    this.#files = files
    this.#path = join(folder, `${shard}${SUFFIX}`)
    this.#byteLength = Math.min(SPARE_BYTES, segmentBytes)
  }

  /** One that another run left may be all the room there is. */
  async find(): Promise<void> {
    const file = await this.#files.open(this.#path, 'write').catch(() => undefined)
    if (file === undefined) return
    this.#there = await file.size().then(
      (size) => size >= this.#byteLength,
      () => false,
    )
    await file.close().catch(() => {})
  }

  /** Makes one if there is none. A disk that has no room for it is asked again later. */
  async provide(): Promise<void> {
    if (this.#there || performance.now() < this.#notBeforeMs) return
    this.#notBeforeMs = performance.now() + RETRY_MS
    const file = await this.#open().catch(() => undefined)
    if (file === undefined) return
    try {
      await file.write([new Uint8Array(this.#byteLength)], 0)
      this.#there = true
    } catch {
      await this.#files.remove(this.#path).catch(() => {})
    } finally {
      await file.close().catch(() => {})
    }
  }

  /** One that another run left is as good as a new one. */
  async #open(): Promise<OpenFile> {
    return await this.#files
      .open(this.#path, 'create')
      .catch(async () => await this.#files.open(this.#path, 'write'))
  }

  /** It becomes the file `path`, which holds these bytes. Undefined when there is none. */
  async become(path: string, bytes: Uint8Array): Promise<OpenFile | undefined> {
    if (!this.#there) return undefined
    this.#there = false
    const file = await this.#files.open(this.#path, 'write')
    try {
      await file.write([bytes], 0)
      await file.truncate(bytes.length)
      await file.sync()
      await this.#files.rename(this.#path, path)
    } catch (error) {
      await file.close().catch(() => {})
      throw error
    }
    return file
  }

  async remove(): Promise<void> {
    if (!this.#there) return
    this.#there = false
    await this.#files.remove(this.#path).catch(() => {})
  }
}
