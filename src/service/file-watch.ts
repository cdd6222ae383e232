/**
 * Tells when the content of files changes (`weir --watch`).
 *
 * What is watched are the folders, since editors and volumes replace files instead of writing to them,
 * behind symbolic links even; and whatever happens there, only another content counts. Events come in
 * bursts: the files are looked at when it has been quiet for a moment.
 */
import { createHash } from 'node:crypto'
import { type FSWatcher, readFileSync, realpathSync, watch } from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { Logger } from '../component/logger.ts'
import { toError } from '../errors.ts'

const QUIET_MS = 200
/** A folder that cannot be watched, since it is away, is tried again. */
const RETRY_MS = 1000
/** More files are not watched; the log says so. */
export const LIMIT_FILES = 1000

export class FileWatch {
  readonly #onChange: () => void
  readonly #logger: Logger
  /** Content of each file when it was last looked at. */
  #files = new Map<string, string>()
  readonly #folders = new Map<string, FSWatcher>()
  #looking: NodeJS.Timeout | undefined
  #retrying: NodeJS.Timeout | undefined

  constructor(onChange: () => void, logger: Logger) {
    this.#onChange = onChange
    this.#logger = logger
  }

  /** From now on these files. Those that were watched before count from when they were last looked at. */
  set(paths: readonly string[]): void {
    const files = new Map<string, string>()
    for (const path of paths.slice(0, LIMIT_FILES)) {
      const file = resolve(path)
      files.set(file, this.#files.get(file) ?? contentOf(file))
    }
    if (paths.length > LIMIT_FILES) {
      this.#logger.warn('too many files to watch: changes of some go unnoticed', { files: paths.length })
    }
    this.#files = files
    this.#arm()
  }

  close(): void {
    clearTimeout(this.#looking)
    clearTimeout(this.#retrying)
    for (const watcher of this.#folders.values()) watcher.close()
    this.#folders.clear()
    this.#files.clear()
  }

  /** Watches the folders of all files, and those that links lead to. */
  #arm(): void {
    clearTimeout(this.#retrying)
    this.#retrying = undefined
    const wanted = new Set<string>()
    for (const file of this.#files.keys()) {
      wanted.add(dirname(file))
      try {
        wanted.add(dirname(realpathSync(file)))
      } catch {
        // It is away; its folder tells when it is back.
      }
    }
    for (const [folder, watcher] of this.#folders) {
      if (wanted.has(folder)) continue
      watcher.close()
      this.#folders.delete(folder)
    }
    for (const folder of wanted) if (!this.#folders.has(folder)) this.#watch(folder)
  }

  #watch(folder: string): void {
    try {
      const watcher = watch(folder, { persistent: false }, () => this.#lookSoon())
      this.#folders.set(folder, watcher)
      watcher.on('error', (error) => this.#lost(folder, error))
    } catch (error) {
      this.#lost(folder, error)
    }
  }

  #lost(folder: string, error: unknown): void {
    this.#folders.get(folder)?.close()
    this.#folders.delete(folder)
    this.#logger.warn('a folder cannot be watched; it is tried again', { folder, error: toError(error) })
    this.#retrying ??= setTimeout(() => {
      this.#arm()
      this.#lookSoon()
    }, RETRY_MS).unref()
  }

  #lookSoon(): void {
    clearTimeout(this.#looking)
    this.#looking = setTimeout(() => this.#look(), QUIET_MS).unref()
  }

  #look(): void {
    this.#rearm()
    let changed = false
    for (const [file, before] of this.#files) {
      const now = contentOf(file)
      if (now === before) continue
      this.#files.set(file, now)
      changed = true
    }
    if (changed) this.#onChange()
  }

  /** A folder that was removed and made again has another watcher to get; links may lead elsewhere. */
  #rearm(): void {
    for (const [folder, watcher] of this.#folders) {
      watcher.close()
      this.#folders.delete(folder)
    }
    this.#arm()
  }
}

/** What tells one content from another; '' when the file is away. */
function contentOf(file: string): string {
  try {
    return createHash('sha256').update(readFileSync(file)).digest('base64')
  } catch {
    return ''
  }
}
