/**
 * One file of a log. It begins with its own header (magic, length, checksum, MessagePack), then records follow (record.ts).
 *
 * The file name says who owns it: `OWNER-INCARNATION-NUMBER.seg`. The owner is the shard; after a crash or a start with another
 * number of shards the files of owner o belong to shard o modulo their number, which renames them to its own. An incarnation is one
 * opening of the log; its id is random and part of every checksum.
 *
 * The header holds the state of all the log's files at the time it was written (what lives in each), so that releases that
 * were written into older files are never needed again, and a file that is missing is found out.
 */
import { crc32 } from 'node:zlib'
import type { Files, OpenFile } from './files.ts'
import type { StoredRecord } from './log.ts'
import { pack, seedOf, toRanges, unpack } from './record.ts'

const MAGIC = Buffer.from('WEIRLOG1')
const FIXED_BYTES = MAGIC.length + 8
/** A header with the state of very many files; more is damage. */
const MAX_HEADER_BYTES = 64 * 1024 * 1024

type Crashes = readonly [sequence: number, crashes: number, begun?: number]

export interface SegmentState {
  readonly incarnation: string
  readonly number: number
  /** Batches written into it. */
  readonly count: number
  /** Sequences that are not released, as ranges. */
  readonly live: readonly number[]
  /** Of the live ones, [sequence, crashes, 1 = in hand alone] where that is not 0. */
  readonly crashes: readonly Crashes[]
  /** Damaged bytes that were found and counted. */
  readonly damagedBytes: number
}

export interface SegmentHeader {
  readonly log: string
  readonly incarnation: string
  readonly number: number
  /** Incarnations whose state this one has taken over. */
  readonly supersedes: readonly string[]
  readonly segments: readonly SegmentState[]
}

export interface SegmentName {
  readonly owner: number
  readonly incarnation: string
  readonly number: number
}

export function segmentName({ owner, incarnation, number }: SegmentName): string {
  return `${owner}-${incarnation}-${String(number).padStart(6, '0')}.seg`
}

/** Behind the name of a file that was emptied: nothing lived in it. */
export const DEAD = '.dead'

export function parseSegmentName(name: string): SegmentName | undefined {
  const match = /^(\d{1,6})-([0-9a-f]{16})-(\d{6,12})\.seg$/.exec(name)
  if (!match) return undefined
  return { owner: Number(match[1]), incarnation: match[2] ?? '', number: Number(match[3]) }
}

/** `magic`: of a file that is none of the log, and holds the same. */
export function encodeSegmentHeader(header: SegmentHeader, magic = MAGIC): Buffer {
  const segments = header.segments.map((state) => [
    state.incarnation,
    state.number,
    state.count,
    state.live,
    state.crashes,
    state.damagedBytes,
  ])
  const body = pack([header.log, header.incarnation, header.number, header.supersedes, segments])
  const fixed = Buffer.allocUnsafe(FIXED_BYTES)
  fixed.set(magic)
  fixed.writeUInt32LE(body.length, MAGIC.length)
  fixed.writeUInt32LE(crc32(body), MAGIC.length + 4)
  return Buffer.concat([fixed, body])
}

type PackedState = [string, number, number, number[], Crashes[], number]
type PackedHeader = [string, string, number, string[], PackedState[]]

/** Undefined when the file does not begin with an undamaged header. */
export async function readSegmentHeader(
  file: OpenFile,
  magic = MAGIC,
): Promise<{ header: SegmentHeader; byteLength: number } | undefined> {
  const fixed = await file.read(FIXED_BYTES, 0)
  if (fixed.length < FIXED_BYTES || !fixed.subarray(0, magic.length).equals(magic)) return undefined
  const length = fixed.readUInt32LE(MAGIC.length)
  if (length > MAX_HEADER_BYTES) return undefined
  const body = await file.read(length, FIXED_BYTES)
  if (body.length < length || crc32(body) !== fixed.readUInt32LE(MAGIC.length + 4)) return undefined
  const [log, incarnation, number, supersedes, packed] = unpack(body) as PackedHeader // As written above.
  const segments = packed.map(
    ([from, index, count, live, crashes, damagedBytes]): SegmentState => ({
      incarnation: from,
      number: index,
      count,
      live,
      crashes,
      damagedBytes,
    }),
  )
  return {
    header: { log, incarnation, number, supersedes, segments },
    byteLength: FIXED_BYTES + length,
  }
}

/** The handle of a record. A compaction moves it to another place. */
export class Place implements StoredRecord {
  segment: Segment
  sequence: number
  offset: number
  /** Bytes of the payload. */
  readonly length: number
  readonly items: number
  readonly byteLength: number
  /** Ascending with the age, over all files of the log. */
  readonly order: number
  /** Of the payload; known for recovered records. */
  checksum = 0
  crashes = 0
  suspect = false
  /** In hand alone. */
  begun = false
  /** Recovered, and no work on it has come to an end in this run. */
  uncleared = false
  released = false
  /** Who has it: the client that appended it or was handed it. */
  holder: unknown

  constructor(
    segment: Segment,
    at: { sequence: number; offset: number; order: number },
    sizes: { length: number; items: number; byteLength: number },
  ) {
    this.segment = segment
    this.sequence = at.sequence
    this.offset = at.offset
    this.order = at.order
    this.length = sizes.length
    this.items = sizes.items
    this.byteLength = sizes.byteLength
  }
}

export class Segment {
  readonly incarnation: string
  readonly number: number
  readonly seed: number
  path: string
  /** Bytes of the file that count; behind them is nothing, or what failed to be written. */
  end = 0
  /** Bytes taken of the size limit for it. */
  chargedBytes = 0
  count = 0
  liveBytes = 0
  damagedBytes = 0
  hasNotes = false
  /** Its header is the newest state of the other files: it goes only after a newer one is there. */
  holdsState = false
  readonly live = new Set<Place>()
  #files: Files
  #reader: Promise<OpenFile> | undefined
  #reading = 0
  #closing = false
  #state: SegmentState | undefined

  constructor(files: Files, path: string, incarnation: string, number: number) {
    this.#files = files
    this.path = path
    this.incarnation = incarnation
    this.number = number
    this.seed = seedOf(incarnation)
  }

  get id(): string {
    return `${this.incarnation}-${this.number}`
  }

  add(place: Place): void {
    this.live.add(place)
    this.liveBytes += place.length
    this.#state = undefined
  }

  remove(place: Place): void {
    if (!this.live.delete(place)) return
    this.liveBytes -= place.length
    this.#state = undefined
  }

  /** Something about a record in it has changed. */
  touch(): void {
    this.#state = undefined
  }

  /** Made anew only when something changed since it was asked for last. */
  state(): SegmentState {
    if (this.#state?.count === this.count) return this.#state
    const crashes: Crashes[] = []
    const sequences: number[] = []
    for (const place of this.live) {
      sequences.push(place.sequence)
      const { crashes: before, begun } = place
      if (before > 0 || begun) crashes.push([place.sequence, before, begun ? 1 : 0])
    }
    this.#state = {
      incarnation: this.incarnation,
      number: this.number,
      count: this.count,
      live: toRanges(sequences),
      crashes,
      damagedBytes: this.damagedBytes,
    }
    return this.#state
  }

  /** Reads of it that are under way. */
  get reading(): number {
    return this.#reading
  }

  async read(length: number, offset: number): Promise<Buffer> {
    this.#reading++
    try {
      this.#reader ??= this.#files.open(this.path, 'read').catch((error: unknown) => {
        this.#reader = undefined
        throw error
      })
      return await (await this.#reader).read(length, offset)
    } finally {
      if (--this.#reading === 0 && this.#closing) await this.closeReader()
    }
  }

  /** Frees the space of a dead file. Its name stays, marked, so that nobody takes it for a file that was lost. False: not now. */
  async empty(): Promise<boolean> {
    try {
      await this.closeReader()
      if (!this.path.endsWith(DEAD)) {
        await this.#files.rename(this.path, `${this.path}${DEAD}`)
        this.path += DEAD
      }
      const file = await this.#files.open(this.path, 'write')
      await file.truncate(0).finally(() => file.close())
      return true
    } catch {
      return false
    }
  }

  /** Closes the file that reads opened, once none is under way. */
  async closeReader(): Promise<void> {
    this.#closing = this.#reading > 0
    if (this.#closing) return
    const reader = this.#reader
    this.#reader = undefined
    if (reader) await (await reader).close()
  }
}
