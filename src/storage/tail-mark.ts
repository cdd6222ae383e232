/**
 * What lives in all files of a log, the newest one included, written beside them. Of the others the header of the newest one tells;
 * so this is to count what is lost with the end of the newest file, or with all of it. Nothing else depends on it.
 *
 * It is written after the files, at most every MARK_MS, and not synced: it may be behind, and never ahead of what was stored.
 */
import { join } from 'node:path'
import type { Files, OpenFile } from './files.ts'
import { encodeSegmentHeader, readSegmentHeader, type Segment, type SegmentHeader } from './segment.ts'

const MAGIC = Buffer.from('WEIRTAIL')
const MARK_MS = 250
/** Where there are very many files, and ranges of what is alive in them, the mark stays behind. */
const MAX_NUMBERS = 8192

/** Which shard's it is; undefined for other files. */
export function parseTailName(name: string): number | undefined {
  const match = /^(\d{1,6})\.tail$/.exec(name)
  return match ? Number(match[1]) : undefined
}

/** Undefined when it is damaged. */
export async function readTailMark(file: OpenFile): Promise<SegmentHeader | undefined> {
  return (await readSegmentHeader(file, MAGIC))?.header
}

export class TailMark {
  readonly #files: Files
  readonly #path: string
  readonly #log: string
  #file: OpenFile | undefined
  #dueMs = 0
  /** What the log's newest file holds has changed since. */
  changed = false

  constructor(files: Files, folder: string, shard: number, log: string) {
    this.#files = files
    this.#path = join(folder, `${shard}.tail`)
    this.#log = log
  }

  /** For how long the next one should wait. */
  get waitMs(): number {
    return Math.max(0, this.#dueMs - performance.now())
  }

  /** Never rejects. */
  async write(newest: Segment, segments: readonly Segment[]): Promise<void> {
    this.changed = false
    this.#dueMs = performance.now() + MARK_MS
    const { incarnation, number } = newest
    const states = segments.map((segment) => segment.state())
    const header = { log: this.#log, incarnation, number, supersedes: [], segments: states }
    const numbers = states.reduce((sum, { live, crashes }) => sum + 8 + live.length + crashes.length, 0)
    if (numbers > MAX_NUMBERS) return
    try {
      this.#file ??= await this.#open()
      await this.#file.write([encodeSegmentHeader(header, MAGIC)], 0)
    } catch {
      await this.close() // The next one tries again.
    }
  }

  async #open(): Promise<OpenFile> {
    return await this.#files
      .open(this.#path, 'write')
      .catch(async () => await this.#files.open(this.#path, 'create'))
  }

  async close(): Promise<void> {
    const file = this.#file
    this.#file = undefined
    await file?.close().catch(() => {})
  }

  async remove(): Promise<void> {
    await this.close()
    await this.#files.remove(this.#path).catch(() => {})
  }
}
