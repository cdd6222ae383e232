/**
 * Targets from files, JSON or YAML, as `file_sd_configs` has them. The files are read again at the interval
 * and when their folder says that something changed. A file that cannot be read or is wrong keeps the targets
 * it had.
 */
import { type FSWatcher, watch } from 'node:fs'
import { readdir, readFile, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { parse } from 'yaml'
import { z } from 'zod'
import type { Clock, Timer } from '../../component/clock.ts'
import type { Logger } from '../../component/logger.ts'
import { toError } from '../../errors.ts'
import { setLabel } from './relabel.ts'
import { type FileDiscoveryConfig, type TargetGroup, targetGroup } from './scrape-config.ts'
import type { Found } from './targets.ts'

const MAX_FILE_BYTES = 32 * 1024 * 1024
const MAX_FILES = 10_000
/** A file is mostly written in several steps, each of which says that something changed. */
const SETTLE_MS = 100

const groups = z.array(targetGroup).max(100_000)

/** The addresses of a group, with its labels. */
export function foundIn(group: TargetGroup, more: Readonly<Record<string, string>> = {}): Found[] {
  return group.targets.map((address) => {
    const labels: Found = new Map()
    for (const [name, value] of Object.entries({ ...group.labels, ...more, __address__: address }))
      setLabel(labels, name, value)
    return labels
  })
}

export class FileDiscovery {
  readonly #config: FileDiscoveryConfig
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #changed: () => void
  #byFile = new Map<string, readonly Found[]>()
  readonly #failing = new Map<string, string>()
  #watchers: FSWatcher[] = []
  #timer: Timer | undefined
  #soon: Timer | undefined
  #reading: Promise<void> | undefined
  #again = false
  #stopped = false

  constructor(config: FileDiscoveryConfig, clock: Clock, logger: Logger, changed: () => void) {
    this.#config = config
    this.#clock = clock
    this.#logger = logger
    this.#changed = changed
  }

  get found(): Found[] {
    return [...this.#byFile.values()].flat()
  }

  async start(): Promise<void> {
    for (const folder of new Set(this.#config.files.map((pattern) => dirname(pattern)))) this.#watch(folder)
    this.#timer = this.#clock.every(this.#config.refresh_interval, () => void this.refresh())
    await this.refresh()
  }

  stop(): void {
    this.#stopped = true
    this.#timer?.cancel()
    this.#soon?.cancel()
    for (const watcher of this.#watchers) watcher.close()
    this.#watchers = []
  }

  #watch(folder: string): void {
    try {
      const watcher = watch(folder, { persistent: false }, () => {
        if (this.#stopped || this.#soon) return
        this.#soon = this.#clock.after(SETTLE_MS, () => {
          this.#soon = undefined
          void this.refresh()
        })
      })
      watcher.on('error', () => watcher.close()) // The interval is still there.
      this.#watchers.push(watcher)
    } catch (error) {
      this.#logger.debug('folder cannot be watched', { folder, error: toError(error).message })
    }
  }

  /** Reads all files. A call while one is running makes it run once more. */
  async refresh(): Promise<void> {
    if (this.#reading) {
      this.#again = true
      return this.#reading
    }
    this.#reading = this.#readAll()
    try {
      await this.#reading
    } finally {
      this.#reading = undefined
    }
    if (this.#again && !this.#stopped) {
      this.#again = false
      await this.refresh()
    }
  }

  async #readAll(): Promise<void> {
    const byFile = new Map<string, readonly Found[]>()
    for (const pattern of this.#config.files) {
      for (const path of await this.#expand(pattern)) {
        if (byFile.has(path) || byFile.size >= MAX_FILES) continue
        const found = (await this.#read(path)) ?? this.#byFile.get(path)
        if (found) byFile.set(path, found)
      }
    }
    if (this.#stopped) return
    this.#byFile = byFile
    for (const path of this.#failing.keys()) if (!byFile.has(path)) this.#failing.delete(path)
    this.#changed()
  }

  async #expand(pattern: string): Promise<string[]> {
    const last = basename(pattern)
    const star = last.indexOf('*')
    if (star < 0) return [pattern]
    const parts = last.split('*')
    const [head = ''] = parts
    const tail = parts.at(-1) ?? ''
    const folder = dirname(pattern)
    try {
      const names = await readdir(folder)
      return names
        .filter(
          (name) => name.length >= head.length + tail.length && name.startsWith(head) && name.endsWith(tail),
        )
        .sort()
        .map((name) => join(folder, name))
    } catch (error) {
      this.#fail(folder, error)
      return [...this.#byFile.keys()].filter((path) => dirname(path) === join(folder))
    }
  }

  /** Undefined when the file is wrong. */
  async #read(path: string): Promise<Found[] | undefined> {
    try {
      const { size } = await stat(path)
      if (size > MAX_FILE_BYTES) throw new Error(`larger than ${MAX_FILE_BYTES} bytes`)
      const text = await readFile(path, 'utf8')
      const data: unknown = /json$/i.test(path) ? JSON.parse(text) : parse(text)
      const parsed = groups.safeParse(data ?? [])
      if (!parsed.success) {
        const issue = parsed.error.issues[0]
        throw new Error(`${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'is wrong'}`)
      }
      this.#failing.delete(path)
      return parsed.data.flatMap((group) => foundIn(group, { __meta_filepath: path }))
    } catch (error) {
      this.#fail(path, error)
      return undefined
    }
  }

  #fail(path: string, error: unknown): void {
    const { message } = toError(error)
    if (this.#failing.get(path) === message) return
    this.#failing.set(path, message)
    this.#logger.warn('file of targets cannot be used', { path, error: message })
  }
}
