/**
 * Writes a log's files: one group at a time, everything that waits in it. A file that is full is followed by a new one, whose header
 * says what lives in all the others; files in which nothing lives are removed.
 *
 * When a write or a sync fails, its group is refused retryably and the file is cut back to what is known to be right; if that fails
 * too, or the disk could not sync, the file ends there and the next write begins a new one. So it recovers with the disk.
 *
 * When there is no room, and nothing lives in the file that is written to, a new one is begun, in the room of a spare (spare.ts) if
 * need be, so that the old one can go.
 */
import { join } from 'node:path'
import { RefusedError, toError } from '../errors.ts'
import type { Files, OpenFile } from './files.ts'
import { Changes, type EncodedGroup, encodeGroup, fileBytesOf, takeGroup, type Waiting } from './group.ts'
import { NOTE } from './record.ts'
import { encodeSegmentHeader, type Place, Segment, segmentName } from './segment.ts'
import { Spare } from './spare.ts'
import { TailMark } from './tail-mark.ts'

/** Releases wait this long for a group to go with. */
const RELEASE_DELAY_MS = 10
const RETRY_MS = 1000

export interface WriterOptions {
  readonly files: Files
  readonly folder: string
  readonly log: string
  readonly shard: number
  readonly incarnation: string
  readonly fsync: boolean
  readonly segmentBytes: number
  /** It has notes: files are removed in the order of their age. */
  readonly notes: boolean
  readonly supersedes: readonly string[]
  readonly onWritten: (bytes: number) => void
  readonly onFailed: (error: Error) => void
  /** A file came to be (its header's bytes) or grew. */
  readonly onGrown: (segment: Segment, bytes: number) => void
  readonly onRemoved: (segment: Segment) => void
  readonly onRotated: () => void
}

export class Writer {
  /** All files of the log, oldest first; the active one is the last. */
  readonly segments: Segment[]
  readonly #options: WriterOptions
  readonly #waiting: Waiting[] = []
  readonly #changes = new Changes()
  readonly #idle: ((failed: Error | undefined) => void)[] = []
  /** Told when what has changed is written, or could not be. */
  #onChanged: (() => void)[] = []
  readonly #spare: Spare
  readonly #tail: TailMark
  #active: Segment | undefined
  #file: OpenFile | undefined
  #headerEnd = 0
  #number = 0
  #lastOrder: number
  #running = false
  #renewing = false
  #full = false
  #timer: NodeJS.Timeout | undefined
  #tailTimer: NodeJS.Timeout | undefined

  constructor(options: WriterOptions, segments: readonly Segment[], lastOrder: number) {
    this.#options = options
    this.segments = [...segments]
    this.#lastOrder = lastOrder
    const { files, folder, shard, segmentBytes, log } = options
    this.#spare = new Spare(files, folder, shard, segmentBytes)
    this.#tail = new TailMark(files, folder, shard, log)
  }

  get active(): Segment | undefined {
    return this.#active
  }

  /** Ascending over all files and runs, whatever the clock does. */
  nextOrder(): number {
    this.#lastOrder = Math.max(this.#lastOrder + 1, Date.now() * 1000)
    return this.#lastOrder
  }

  push(waiting: Waiting): void {
    this.#waiting.push(waiting)
    this.#start()
  }

  release(place: Place): void {
    const { segment, sequence } = place
    segment.remove(place)
    this.#changes.release(segment, sequence)
    if (segment.live.size === 0) this.#retire()
    if (this.#full) this.renew()
    this.#later(RELEASE_DELAY_MS)
  }

  /** Resolves when it is written, or cannot be now. */
  markBegun(place: Place): Promise<void> {
    place.segment.touch()
    this.#changes.begin(place.segment, place.sequence)
    return new Promise((resolve) => {
      this.#onChanged.push(resolve)
      this.#start()
    })
  }

  clear(place: Place): void {
    place.segment.touch()
    this.#changes.clear(place.segment, place.sequence)
    this.#later(RELEASE_DELAY_MS)
  }

  /** Begins a file now, so that its header holds the state. */
  async begin(): Promise<void> {
    await this.#spare.find()
    await this.#rotate()
  }

  /** There is no room: the file that is written to gives up its own, if nothing lives in it. */
  renew(): void {
    if (!this.#isSpent()) return
    this.#renewing = true
    this.#start()
  }

  /** Nothing lives in the file that is written to, though something was written. */
  #isSpent(): boolean {
    const active = this.#active
    return active !== undefined && active.live.size === 0 && active.end > this.#headerEnd
  }

  /** Resolves when nothing waits to be written; rejects when a write fails. */
  flush(): Promise<void> {
    if (!this.#running && this.#waiting.length === 0 && this.#changes.empty && !this.#tail.changed)
      return Promise.resolve()
    return new Promise((resolve, reject) => {
      this.#idle.push((failed) => (failed ? reject(failed) : resolve()))
      this.#start()
    })
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer)
    clearTimeout(this.#tailTimer)
    await this.#file?.close().catch(() => {})
    this.#file = undefined
    this.#active = undefined
    for (const segment of this.segments) await segment.closeReader().catch(() => {})
    await this.#tail.close()
    await this.#spare.remove()
  }

  /** Removes every file: nothing lives in any. The newest goes last, for it knows what is released. */
  async removeAll(): Promise<void> {
    await this.close()
    await this.#tail.remove()
    for (const segment of [...this.segments]) await this.#remove(segment)
  }

  #later(delayMs: number): void {
    if (this.#running || this.#timer) return
    this.#timer = setTimeout(() => this.#start(), delayMs)
    this.#timer.unref()
  }

  #start(): void {
    if (this.#running) return
    this.#running = true
    clearTimeout(this.#timer)
    this.#timer = undefined
    setImmediate(() => void this.#run())
  }

  async #run(): Promise<void> {
    let failed: Error | undefined
    if (this.#renewing && this.#isSpent()) await this.#rotate().catch(() => {}) // What is written next tells.
    this.#renewing = false
    const more = () => !failed && (this.#waiting.length > 0 || !this.#changes.empty)
    do {
      while (more()) {
        const group = takeGroup(this.#waiting)
        const changed = this.#onChanged
        this.#onChanged = []
        failed = await this.#writeGroup(group, this.#changes.take())
        for (const tell of changed) tell()
      }
      await this.#markTail()
    } while (more())
    this.#running = false
    for (const wake of this.#idle.splice(0)) wake(failed)
    if (this.#waiting.length > 0) this.#start()
    else if (!this.#changes.empty) this.#later(failed ? RETRY_MS : RELEASE_DELAY_MS)
    if (this.#tail.changed)
      this.#tailTimer ??= setTimeout(() => this.#onTailTimer(), this.#tail.waitMs).unref()
  }

  #onTailTimer(): void {
    this.#tailTimer = undefined
    this.#start()
  }

  async #markTail(): Promise<void> {
    if (!this.#tail.changed) return
    if (this.#active === undefined)
      this.#tail.changed = false // Nothing is added to any file; the next one tells of all.
    else if (this.#tail.waitMs === 0 || this.#idle.length > 0)
      await this.#tail.write(this.#active, this.segments)
  }

  /** What failed, if something did; the changes are then back where they were. */
  async #writeGroup(group: Waiting[], changes: Changes): Promise<Error | undefined> {
    let syncing = false
    try {
      let bytes = 0
      for (const waiting of group) bytes += fileBytesOf(waiting)
      const segment = await this.#activeFor(bytes)
      const state = changes.empty ? undefined : changes.encode()
      const encoded = encodeGroup(group, state, segment, this.nextOrder())
      await this.#file?.write(encoded.buffers, segment.end)
      if (this.#options.fsync && (group.length > 0 || changes.removing.size > 0)) {
        syncing = true
        await this.#file?.sync()
      }
      this.#written(group, encoded, segment)
      this.#tail.changed = true
      if (group.length > 0) await this.#spare.provide()
      this.#full &&= group.length === 0
      for (const dead of changes.removing) await this.#remove(dead)
      return undefined
    } catch (error) {
      return await this.#failed(group, changes, toError(error), syncing)
    }
  }

  #written(group: Waiting[], encoded: EncodedGroup, segment: Segment): void {
    segment.end += encoded.byteLength
    segment.count += encoded.count
    this.#options.onGrown(segment, encoded.byteLength)
    this.#options.onWritten(encoded.byteLength)
    for (const [index, waiting] of group.entries()) {
      const place = encoded.places[index]
      if (waiting.type === NOTE) segment.hasNotes = true
      if (place && waiting.moving) this.#move(waiting.moving, place)
      else if (place) {
        place.holder = waiting.holder
        segment.add(place)
      }
      waiting.resolve(place)
    }
  }

  /** The record lives on in its copy, if it was not released meanwhile. */
  #move(moved: Place, copy: Place): void {
    const { segment } = copy
    if (moved.released) {
      this.#changes.release(segment, copy.sequence)
      return
    }
    const old = moved.segment
    old.remove(moved)
    this.#changes.release(old, moved.sequence)
    moved.segment = segment
    moved.sequence = copy.sequence
    moved.offset = copy.offset
    segment.add(moved)
    if (old.live.size === 0) this.#retire()
  }

  async #failed(group: Waiting[], changes: Changes, error: Error, syncing: boolean): Promise<Error> {
    this.#changes.add(changes)
    this.#options.onFailed(error)
    const segment = this.#active
    if (segment && (syncing || !(await this.#cutBack(segment)))) await this.#seal()
    const refused = new RefusedError(`the storage cannot be written: ${error.message}`)
    for (const waiting of group) waiting.reject(refused)
    this.#full = isFull(error)
    if (!this.#full) return refused
    // A full disk is not helped by keeping dead files until it can be written down that they go.
    if (this.#isSpent()) await this.#rotate().catch(() => {})
    for (const dead of this.#changes.removing) await this.#empty(dead)
    return refused
  }

  /** Frees the space of a dead file, though its removal cannot be written down now. */
  async #empty(segment: Segment): Promise<void> {
    if (segment.end === 0 || segment.holdsState || !(await segment.empty())) return
    this.#options.onRemoved(segment)
    segment.end = 0
    segment.chargedBytes = 0
  }

  async #cutBack(segment: Segment): Promise<boolean> {
    try {
      await this.#file?.truncate(segment.end)
      return true
    } catch {
      return false
    }
  }

  /** Nothing more is written into the active file. */
  async #seal(): Promise<void> {
    const file = this.#file
    this.#file = undefined
    this.#active = undefined
    await file?.close().catch(() => {})
    this.#retire()
  }

  async #activeFor(bytes: number): Promise<Segment> {
    const active = this.#active
    if (!active || active.end + bytes > this.#options.segmentBytes) {
      if (!active || active.end > this.#headerEnd) return await this.#rotate()
    }
    return active
  }

  async #rotate(): Promise<Segment> {
    const { files, folder, log, shard, incarnation, fsync, supersedes } = this.#options
    const number = ++this.#number
    const path = join(folder, segmentName({ owner: shard, incarnation, number }))
    const segment = new Segment(files, path, incarnation, number)
    const states = this.segments.map((other) => other.state())
    const header = encodeSegmentHeader({ log, incarnation, number, supersedes, segments: states })
    const file = await this.#create(path, header).catch(async (error: Error) => {
      const made = isFull(error) ? await this.#spare.become(path, header) : undefined
      if (made === undefined) throw error
      return made
    })
    try {
      if (fsync) {
        await file.sync()
        await files.syncFolder(folder)
      }
      segment.end = header.length
    } catch (error) {
      await file.close().catch(() => {})
      await files.remove(path).catch(() => {})
      throw error
    }
    await this.#seal()
    this.#active = segment
    this.#file = file
    this.#headerEnd = segment.end
    for (const other of this.segments) other.holdsState = false
    segment.holdsState = true
    this.segments.push(segment)
    this.#options.onGrown(segment, segment.end)
    this.#retire()
    this.#options.onRotated()
    return segment
  }

  async #create(path: string, header: Uint8Array): Promise<OpenFile> {
    const { files } = this.#options
    const file = await files.open(path, 'create')
    try {
      await file.write([header], 0)
      return file
    } catch (error) {
      await file.close().catch(() => {})
      await files.remove(path).catch(() => {})
      throw error
    }
  }

  /** Marks files in which nothing lives; they go once that is written. */
  #retire(): void {
    for (const segment of this.segments) {
      const dead = segment !== this.#active && segment.live.size === 0
      if (dead) this.#changes.remove(segment)
      else if (this.#options.notes) break
    }
  }

  async #remove(segment: Segment): Promise<void> {
    if (!this.segments.includes(segment)) return
    // One that cannot be removed is tried again when the next file begins.
    if (!(await this.#unlink(segment))) return
    this.#changes.forget(segment)
    this.#options.onRemoved(segment)
  }

  async #unlink(segment: Segment): Promise<boolean> {
    try {
      await segment.closeReader()
      await this.#options.files.remove(segment.path)
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) return false
    }
    const index = this.segments.indexOf(segment)
    if (index >= 0) this.segments.splice(index, 1)
    return true
  }
}

export function isFull(error: Error): boolean {
  return 'code' in error && (error.code === 'ENOSPC' || error.code === 'EDQUOT')
}
