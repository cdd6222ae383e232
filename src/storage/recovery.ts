/**
 * What a log finds in its folder when it is opened: every file of this shard, also of other runs and of shards that are no more.
 *
 * Damage costs the records it hits. They are counted by their sequences: a batch is lost when its sequence was written, is not
 * released as far as any file tells, and cannot be read. Nothing here refuses to start because of what lies in the folder.
 *
 * Longer than other files: reading the files and joining what they say share their state.
 */
import { join } from 'node:path'
import type { Logger } from '../component/logger.ts'
import { toError } from '../errors.ts'
import type { Files, OpenFile } from './files.ts'
import type { Note } from './log.ts'
import { CLOSED, DATA, NOTE, STATE, type StateChange, unpack } from './record.ts'
import { type Finding, scan } from './scan.ts'
import {
  DEAD,
  Place,
  parseSegmentName,
  readSegmentHeader,
  Segment,
  type SegmentHeader,
  type SegmentName,
  type SegmentState,
  segmentName,
} from './segment.ts'
import { markDead, markRanges, withoutCopies } from './settled.ts'
import { parseSpareName } from './spare.ts'
import { SequenceSet, settleCrashes } from './suspects.ts'
import { parseTailName, readTailMark } from './tail-mark.ts'

export interface Losses {
  corruptBytes: number
  /** At the very end of what the last run wrote: a crash while writing. */
  tornBytes: number
  lostCorrupt: number
  /** Cut off at the very end; perhaps nobody was told that they were stored. */
  lostTorn: number
  lostMissing: number
  missingFiles: number
}

export interface RecoveredFiles {
  /** With something alive in them, oldest first. */
  readonly segments: readonly Segment[]
  /** Paths of files in which nothing is needed. */
  readonly dead: readonly string[]
  readonly places: readonly Place[]
  readonly notes: readonly Note[]
  readonly incarnations: readonly string[]
  /** The run before did not close the log. */
  readonly crashed: boolean
  readonly lastOrder: number
  readonly losses: Losses
}

export interface RecoveryOptions {
  readonly files: Files
  readonly folder: string
  readonly log: string
  readonly shard: number
  readonly shards: number
  readonly logger: Logger
}

/** A file while it is being read. */
interface Found {
  readonly segment: Segment
  readonly header: SegmentHeader | undefined
  readonly start: number
  readonly places: Map<number, Place>
  readonly torn: Set<number>
  /** One more than the largest sequence that is known to have been written. */
  expected: number
  closed: boolean
  /** What was written into it about records in any file. */
  readonly begun: SequenceSet
  readonly cleared: SequenceSet
  tailBytes: number
  firstOrder: number
}

export async function recoverFiles(options: RecoveryOptions): Promise<RecoveredFiles> {
  return await new Recovery(options).run()
}

class Recovery {
  readonly #options: RecoveryOptions
  readonly #found = new Map<string, Found>()
  /** By file: ranges of released sequences, end to end. */
  readonly #released = new Map<string, number[]>()
  readonly #removed = new Set<string>()
  readonly #emptied: string[] = []
  /** What marks say of all files (tail-mark.ts), by incarnation, and where they are. */
  readonly #marks = new Map<string, SegmentHeader>()
  readonly #markPaths: string[] = []
  readonly #notes: { order: number; note: Note }[] = []
  readonly #losses: Losses = {
    corruptBytes: 0,
    tornBytes: 0,
    lostCorrupt: 0,
    lostTorn: 0,
    lostMissing: 0,
    missingFiles: 0,
  }
  #lastOrder = 0

  constructor(options: RecoveryOptions) {
    this.#options = options
  }

  async run(): Promise<RecoveredFiles> {
    for (const { name, parsed } of await this.#names()) {
      try {
        await this.#read(name, parsed)
      } catch (error) {
        this.#options.logger.error('a file of the storage cannot be read; it is left alone', {
          file: name,
          error: toError(error).message,
        })
      }
    }
    return this.#settle()
  }

  /** The files of this shard; those whose name is right come first, so that of two copies the right one counts. */
  async #names(): Promise<{ name: string; parsed: SegmentName }[]> {
    const { files, folder, shard, shards, logger } = this.#options
    const mine: { name: string; parsed: SegmentName }[] = []
    const foreign: string[] = []
    for (const name of await files.list(folder)) {
      const parsed = parseSegmentName(name.endsWith(DEAD) ? name.slice(0, -DEAD.length) : name)
      if (parsed && parsed.owner % shards === shard) mine.push({ name, parsed })
      const spareOf = parseSpareName(name)
      // One of a shard that is no more; its own each shard makes use of.
      if (spareOf !== undefined && spareOf >= shards && spareOf % shards === shard)
        await files.remove(join(folder, name)).catch(() => {})
      const tailOf = parseTailName(name)
      if (tailOf !== undefined && tailOf % shards === shard) await this.#readMark(join(folder, name))
      const known = parsed !== undefined || spareOf !== undefined || tailOf !== undefined
      if (!known && !name.endsWith('.duplicate')) foreign.push(name)
    }
    if (foreign.length > 0 && shard === 0) {
      logger.warn('files in the storage that are not its own are left alone', {
        folder,
        files: foreign.slice(0, 10),
      })
    }
    return mine.sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  async #readMark(path: string): Promise<void> {
    const { files, log } = this.#options
    this.#markPaths.push(path)
    const file = await files.open(path, 'read').catch(() => undefined)
    const mark = file && (await readTailMark(file).catch(() => undefined))
    await file?.close().catch(() => {})
    if (mark?.log === log) this.#marks.set(mark.incarnation, mark)
  }

  async #read(name: string, parsed: SegmentName): Promise<void> {
    const { files, folder, log, logger } = this.#options
    if (name.endsWith(DEAD)) {
      const { incarnation, number } = parsed
      this.#emptied.push(join(folder, name))
      this.#removed.add(`${incarnation}-${number}`)
      return
    }
    const file = await files.open(join(folder, name), 'read')
    try {
      const head = await readSegmentHeader(file)
      if (head && head.header.log !== log) {
        logger.warn('a file of another log is left alone', { file: name, log: head.header.log })
        return
      }
      const { incarnation, number } = head?.header ?? parsed
      if (this.#found.has(`${incarnation}-${number}`)) {
        await files.rename(join(folder, name), join(folder, `${name}.duplicate`))
        logger.warn('a second copy of a file of the storage is set aside', { file: name })
        return
      }
      const segment = new Segment(
        files,
        await this.#own(name, { ...parsed, incarnation, number }),
        incarnation,
        number,
      )
      segment.end = await file.size()
      const found: Found = {
        segment,
        header: head?.header,
        start: head?.byteLength ?? 0,
        places: new Map(),
        torn: new Set(),
        expected: 0,
        closed: false,
        begun: new SequenceSet(),
        cleared: new SequenceSet(),
        tailBytes: 0,
        firstOrder: Number.POSITIVE_INFINITY,
      }
      this.#found.set(segment.id, found)
      await this.#scan(found, file)
    } finally {
      await file.close()
    }
  }

  /** Renames a file of another owner, so that all files of this log's state stay together whatever the number of shards. */
  async #own(name: string, parsed: SegmentName): Promise<string> {
    const { files, folder, shard, logger } = this.#options
    if (parsed.owner === shard) return join(folder, name)
    const path = join(folder, segmentName({ ...parsed, owner: shard }))
    try {
      await files.rename(join(folder, name), path)
      return path
    } catch (error) {
      logger.warn('a file of the storage keeps its name', { file: name, error: toError(error).message })
      return join(folder, name)
    }
  }

  async #scan(found: Found, file: OpenFile): Promise<void> {
    await scan(file, found.segment.seed, found.start, (finding) => {
      if (finding.kind === 'record') this.#record(found, finding)
      else if (finding.kind === 'lost') {
        found.expected = Math.max(found.expected, finding.header.sequence + 1)
        if (finding.torn) found.torn.add(finding.header.sequence)
      } else if (finding.tail) found.tailBytes = finding.bytes
      else found.segment.damagedBytes += finding.bytes
    })
  }

  #record(found: Found, { header, offset, payload }: Finding & { kind: 'record' }): void {
    this.#lastOrder = Math.max(this.#lastOrder, header.order)
    found.firstOrder = Math.min(found.firstOrder, header.order)
    found.closed = header.type === CLOSED
    if (header.type === DATA) {
      const { sequence, order, length, metadataLength, items } = header
      const place = new Place(
        found.segment,
        { sequence, offset, order },
        { length, items, byteLength: length - metadataLength },
      )
      place.checksum = header.checksum
      if (!found.places.has(sequence)) found.places.set(sequence, place)
      found.expected = Math.max(found.expected, sequence + 1)
      return
    }
    found.expected = Math.max(found.expected, header.sequence)
    if (header.type === STATE)
      this.#change(found, unpack(payload) as StateChange) // As the writer wrote it.
    else if (header.type === NOTE) {
      found.segment.hasNotes = true
      this.#notes.push({
        order: header.order,
        note: { kind: payload[0] ?? 0, payload: Uint8Array.prototype.slice.call(payload, 1) },
      })
    }
  }

  #change(found: Found, { released, removed, begun = [], cleared = [] }: StateChange): void {
    found.begun.add(begun)
    found.cleared.add(cleared)
    for (const [incarnation, number] of removed) this.#removed.add(`${incarnation}-${number}`)
    for (const [incarnation, number, ranges] of released) {
      const id = `${incarnation}-${number}`
      const known = this.#released.get(id)
      if (known) known.push(...ranges)
      else this.#released.set(id, [...ranges])
    }
  }

  #settle(): RecoveredFiles {
    const all = [...this.#found.values()]
    const tops = this.#tops()
    this.#dropStaleMarks()
    const marks = [...this.#marks.values()]
    for (const { segment } of tops) segment.holdsState = true
    const states = new Map<string, SegmentState[]>()
    // The state in a mark is the newest, then that in a top; older ones count where a top is damaged.
    const headers = (among: readonly Found[]) => among.flatMap(({ header }) => header ?? [])
    for (const among of [marks, headers(tops), headers(all)]) {
      const listed = new Set(states.keys())
      for (const { incarnation, number, segments: others } of among)
        for (const state of others) {
          // Of its own file a mark tells apart: more may have been written into that.
          if (state.incarnation === incarnation && state.number === number) continue
          const id = `${state.incarnation}-${state.number}`
          if (listed.has(id)) continue
          const known = states.get(id)
          if (known) known.push(state)
          else states.set(id, [state])
        }
    }
    const segments: Found[] = []
    const dead = [...this.#emptied, ...this.#markPaths]
    for (const found of all) {
      const { segment } = found
      if (!this.#removed.has(segment.id)) this.#settleSegment(found, tops, states.get(segment.id) ?? [])
      if (segment.live.size > 0 || (segment.hasNotes && !this.#removed.has(segment.id))) segments.push(found)
      else dead.push(segment.path)
    }
    settleCrashes(all, tops)
    this.#countMissing(tops)
    segments.sort((a, b) => a.firstOrder - b.firstOrder)
    const places = withoutCopies(segments.flatMap(({ segment }) => [...segment.live]))
    return {
      segments: segments.map(({ segment }) => segment),
      dead,
      places,
      notes: this.#notes.sort((a, b) => a.order - b.order).map(({ note }) => note),
      incarnations: [...new Set(all.map(({ segment }) => segment.incarnation))],
      crashed: tops.some((top) => !top.closed),
      lastOrder: this.#lastOrder,
      losses: this.#losses,
    }
  }

  /** A mark that was made before the newest file: that one's header knows more. */
  #dropStaleMarks(): void {
    for (const { incarnation, number } of this.#marks.values())
      for (const { segment, header } of this.#found.values()) {
        const newer = segment.incarnation === incarnation && segment.number > number
        if (newer || header?.supersedes.includes(incarnation)) this.#marks.delete(incarnation)
      }
  }

  /** What the mark says of this file, when it was the newest. */
  #markOf({ incarnation, number }: Segment): SegmentState | undefined {
    const mark = this.#marks.get(incarnation)
    if (mark?.number !== number) return undefined
    return mark.segments.find((state) => state.incarnation === incarnation && state.number === number)
  }

  /** The newest file of each incarnation that no other has taken over: its state is the latest. */
  #tops(): Found[] {
    const superseded = new Set([...this.#found.values()].flatMap(({ header }) => header?.supersedes ?? []))
    const tops = new Map<string, Found>()
    for (const found of this.#found.values()) {
      const { incarnation, number } = found.segment
      if (superseded.has(incarnation)) continue
      if (number >= (tops.get(incarnation)?.segment.number ?? -1)) tops.set(incarnation, found)
    }
    return [...tops.values()]
  }

  #settleSegment(found: Found, tops: readonly Found[], states: readonly SegmentState[]): void {
    const { segment } = found
    // Once another file's header lists it nothing was added to it: what stands behind was refused, and the sender told so.
    const sealed = states[0]?.count
    const mark = this.#markOf(segment)
    const expected = sealed ?? Math.max(found.expected, mark?.count ?? 0)
    const done = new Uint8Array(expected)
    for (const state of states) markDead(done, state)
    if (mark !== undefined && sealed === undefined) markDead(done, mark)
    markRanges(done, this.#released.get(segment.id) ?? [])
    for (let sequence = 0; sequence < expected; sequence++) {
      if (done[sequence]) continue
      const place = found.places.get(sequence)
      if (place) segment.add(place)
      else if (found.torn.has(sequence) && sealed === undefined) this.#losses.lostTorn++
      else this.#losses.lostCorrupt++
    }
    segment.count = expected
    segment.damagedBytes += found.tailBytes
    const known = Math.max(0, ...states.map((state) => state.damagedBytes))
    const unknown = Math.max(0, segment.damagedBytes - known)
    const torn = tops.includes(found) && !found.closed ? Math.min(unknown, found.tailBytes) : 0
    this.#losses.tornBytes += torn
    this.#losses.corruptBytes += unknown - torn
  }

  #countMissing(tops: readonly Found[]): void {
    const gone = new Map<string, SegmentState>()
    const known = tops.map(({ header, segment }) => this.#marks.get(segment.incarnation) ?? header)
    for (const header of new Set([...known, ...this.#marks.values()]))
      for (const state of header?.segments ?? []) {
        const id = `${state.incarnation}-${state.number}`
        if (!this.#found.has(id) && !this.#removed.has(id)) gone.set(id, state)
      }
    for (const [id, state] of gone) {
      const done = new Uint8Array(state.count)
      markDead(done, state)
      markRanges(done, this.#released.get(id) ?? [])
      let lost = 0
      for (const flag of done) if (!flag) lost++
      this.#losses.lostMissing += lost
      if (lost > 0) this.#losses.missingFiles++
    }
  }
}
