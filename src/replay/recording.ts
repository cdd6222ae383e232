/**
 * A recording: the messages of its files in the order in which they came in.
 *
 * Files that an exporter has rotated follow each other; different recordings are merged by time. When a
 * message came in is what its capture says. Without that it is taken from the data: spans are mostly sent
 * soon after they end, so it is the last end in the message, smoothed over its neighbours (a sender with a
 * wrong clock must not move the time), and never earlier than that of the message before.
 */
import { readdir, stat } from 'node:fs/promises'
import path from 'node:path'
import { ConfigError } from '../errors.ts'
import { TIMES_SUFFIX } from '../otlp/capture-format.ts'
import { type ReadCounts, type Recorded, readRecording } from './recording-file.ts'
import { LastEnd, type Services, SpanWalk } from './span-walk.ts'

/** Files of one recording in order of time. */
export interface RecordedFiles {
  readonly name: string
  readonly files: readonly string[]
}

export interface Arrival {
  readonly chunk: Uint8Array
  readonly spans: number
  readonly arrivedMs: number
}

/** Recordings that are merged. */
const MOST_RECORDINGS = 256
/** Neighbours on each side of a message that its time is smoothed over. */
const NEIGHBOURS = 4

/**
 * The files that the arguments name, directories one level deep. Throws ConfigError when one is not there.
 */
export async function findRecordings(
  inputs: readonly string[],
): Promise<{ recordings: RecordedFiles[]; bytes: number }> {
  const groups = new Map<string, { time: string; file: string }[]>()
  let bytes = 0
  for (const input of inputs) {
    for (const file of await filesOf(input)) {
      const { key, time } = rotationOf(file)
      const group = groups.get(key) ?? []
      groups.set(key, group)
      if (group.some((other) => other.file === file)) continue
      group.push({ time, file })
      bytes += (await stat(file)).size
    }
  }
  if (groups.size === 0) throw inputError(inputs.join(', '), 'there are no files')
  if (groups.size > MOST_RECORDINGS)
    throw inputError(inputs.join(', '), `more than ${MOST_RECORDINGS} recordings`)
  const recordings = [...groups].map(([name, files]) => ({
    name,
    files: files.sort((a, b) => (a.time < b.time ? -1 : 1)).map(({ file }) => file),
  }))
  return { recordings, bytes }
}

async function filesOf(input: string): Promise<string[]> {
  const found = await stat(input).catch(() => undefined)
  if (found === undefined) throw inputError(input, 'no such file or directory')
  if (!found.isDirectory()) return [path.resolve(input)]
  const entries = await readdir(input, { withFileTypes: true })
  return entries
    .filter((entry) => entry.isFile() && !entry.name.startsWith('.') && !entry.name.endsWith(TIMES_SUFFIX))
    .map((entry) => path.resolve(input, entry.name))
    .sort()
}

function inputError(file: string, message: string): ConfigError {
  return new ConfigError([{ file, line: 0, column: 0, path: '', message }])
}

/**
 * Backups are called `data-2022-09-14T05-02-14.173.json`; the file that is being written has no time and is
 * the last.
 */
function rotationOf(file: string): { key: string; time: string } {
  const { dir, base } = path.parse(file)
  const name = base.replace(/\.(gz|zst)$/, '')
  const backup = /^(.*)-(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3})(\.[^.]*)?$/.exec(name)
  if (backup === null) return { key: path.join(dir, name), time: '~' }
  return { key: path.join(dir, `${backup[1]}${backup[3] ?? ''}`), time: backup[2] ?? '' }
}

/** How many messages had a time, and how many got one from the data. */
export class TimeCounts {
  recorded = 0
  estimated = 0
}

/**
 * The messages of one recording with their times. `ignoreRecorded`: times are taken from the data in any
 * case.
 */
export class RecordingReader {
  readonly #files: readonly string[]
  readonly #counts: ReadCounts
  readonly #times: TimeCounts
  readonly #ignoreRecorded: boolean
  readonly #walk: SpanWalk
  readonly #lastEnd = new LastEnd()
  readonly #source: AsyncGenerator<Recorded[]>
  #block: readonly Recorded[] = []
  #next = 0
  #ended = false
  /** Messages around the one that is up, and what the data says of their times. */
  readonly #window: { message: Recorded; endMs: number }[] = []
  #up = 0
  #lastMs = 0

  constructor(
    files: readonly string[],
    counts: ReadCounts,
    times: TimeCounts,
    services: Services,
    ignoreRecorded: boolean,
  ) {
    this.#files = files
    this.#counts = counts
    this.#times = times
    this.#ignoreRecorded = ignoreRecorded
    this.#walk = new SpanWalk(services)
    this.#source = this.#read()
  }

  async *#read(): AsyncGenerator<Recorded[]> {
    for (const file of this.#files) yield* readRecording(file, this.#counts)
  }

  async next(): Promise<Arrival | undefined> {
    while (!this.#ended && this.#window.length - this.#up <= NEIGHBOURS) {
      if (this.#next < this.#block.length) this.#push(this.#block[this.#next++]!)
      else await this.#readBlock()
    }
    const entry = this.#window[this.#up]
    if (entry === undefined) return undefined
    const { message } = entry
    const recorded = this.#ignoreRecorded ? undefined : message.arrivedMs
    if (recorded === undefined) this.#times.estimated++
    else this.#times.recorded++
    const arrivedMs = Math.max(this.#lastMs, recorded ?? this.#estimate())
    this.#lastMs = arrivedMs
    if (this.#up < NEIGHBOURS) this.#up++
    else this.#window.shift()
    return { chunk: message.chunk, spans: message.spans, arrivedMs }
  }

  async #readBlock(): Promise<void> {
    const { done, value } = await this.#source.next()
    this.#ended = done === true
    this.#block = value ?? []
    this.#next = 0
  }

  #push(message: Recorded): void {
    const known = message.arrivedMs !== undefined && !this.#ignoreRecorded
    this.#window.push({ message, endMs: known ? 0 : this.#lastEnd.of(this.#walk, message.chunk) })
  }

  /** The median over the window, of those that say something. */
  #estimate(): number {
    const ends: number[] = []
    for (const { endMs } of this.#window) if (endMs > 0) ends.push(endMs)
    ends.sort((a, b) => a - b)
    return ends[ends.length >> 1] ?? 0
  }
}

/** The messages of several recordings, in order of time. */
export class Recordings {
  readonly #readers: readonly RecordingReader[]
  readonly #heads: (Arrival | undefined)[] = []
  #begun = false

  constructor(readers: readonly RecordingReader[]) {
    this.#readers = readers
  }

  async next(): Promise<Arrival | undefined> {
    const only = this.#readers[0]
    if (this.#readers.length === 1 && only !== undefined) return only.next()
    if (!this.#begun)
      for (const [index, reader] of this.#readers.entries()) this.#heads[index] = await reader.next()
    this.#begun = true
    let first = -1
    for (const [index, head] of this.#heads.entries())
      if (head !== undefined && (first < 0 || head.arrivedMs < this.#heads[first]!.arrivedMs)) first = index
    const head = this.#heads[first]
    if (head !== undefined) this.#heads[first] = await this.#readers[first]!.next()
    return head
  }
}
