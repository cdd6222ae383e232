/**
 * A small file with credentials, read again when it changes. Changes are seen by asking for its state every second, which
 * also works where a file is swapped by a link (mounted secrets). What cannot be read leaves the last content in use.
 */
import { type FileHandle, open, stat } from 'node:fs/promises'
import type { Clock, Timer } from '../component/clock.ts'
import type { Logger } from '../component/logger.ts'
import { toError } from '../errors.ts'

const LOOK_MS = 1000
const LIMIT_BYTES = 1024 * 1024

export interface WatchedFileOptions {
  readonly path: string
  readonly clock: Clock
  readonly logger: Logger
  /** Called at the start and after each change. What it throws is logged, and the file counts as unreadable. */
  readonly onContent: (text: string) => void
  /** The file may come later: start() does not fail without it. */
  readonly mayBeMissing?: boolean
}

export class WatchedFile {
  readonly #options: WatchedFileOptions
  #timer: Timer | undefined
  #state = ''
  #looking = false

  constructor(options: WatchedFileOptions) {
    this.#options = options
  }

  /** Reads it. Rejects when that fails, unless it may be missing. */
  async start(): Promise<void> {
    const { clock, mayBeMissing, path, logger } = this.#options
    this.stop()
    try {
      await this.#read()
    } catch (error) {
      if (!mayBeMissing) throw new Error(`${path}: ${toError(error).message}`, { cause: error })
      logger.warn('file of credentials is not there yet', { file: path, error: toError(error).message })
    }
    this.#timer = clock.every(LOOK_MS, () => void this.look())
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }

  /** Reads it if it has changed. Never rejects. */
  async look(): Promise<void> {
    if (this.#looking) return
    this.#looking = true
    const { path, logger } = this.#options
    const before = this.#state
    try {
      if (await this.#read()) logger.info('credentials were read again', { file: path })
    } catch (error) {
      this.#state = toError(error).message
      if (this.#state !== before)
        logger.error('file of credentials cannot be read; the last ones stay in use', {
          file: path,
          error: this.#state,
        })
    } finally {
      this.#looking = false
    }
  }

  async #read(): Promise<boolean> {
    const { path, onContent } = this.#options
    const found = await stat(path)
    const state = `${found.ino} ${found.size} ${found.mtimeMs}`
    if (state === this.#state) return false
    onContent(await readSmall(path))
    this.#state = state
    return true
  }
}

async function readSmall(path: string): Promise<string> {
  let file: FileHandle | undefined
  try {
    file = await open(path)
    const buffer = Buffer.alloc(LIMIT_BYTES + 1)
    const { bytesRead } = await file.read(buffer, 0, buffer.length, 0)
    if (bytesRead > LIMIT_BYTES) throw new RangeError(`is longer than ${LIMIT_BYTES} bytes`)
    return buffer.toString('utf8', 0, bytesRead)
  } finally {
    await file?.close()
  }
}
