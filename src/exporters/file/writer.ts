/**
 * One file, and all who write to it. Messages are written whole and in order; those that come while a write is under way
 * go out together with the next one.
 *
 * Invariants:
 * - write() resolves when the operating system has the bytes, and rejects when it does not. A message that failed
 *   is cut off the file again, so that what follows can still be read.
 * - One writer per path (openWriter), however many exporters name it; the last one to let go closes the file.
 * - At most MAX_PENDING_BYTES wait in memory; further callers wait in line, and beyond MAX_WAITING they are refused.
 */
import { type FileHandle, mkdir, open } from 'node:fs/promises'
import path from 'node:path'
import type { Clock } from '../../component/clock.ts'
import { RefusedError, RetryableError, ShutdownError, toError } from '../../errors.ts'
import { backUp, deleteOldBackups } from './backups.ts'
import type { Rotation } from './config.ts'

const MAX_PENDING_BYTES = 16 * 1024 * 1024
const MAX_WAITING = 10_000
/** What one call hands to the operating system. */
const MAX_WRITE_PARTS = 512
/** Only its owner may read what an exporter wrote. */
const FILE_MODE = 0o600

export interface WriterOptions {
  readonly clock: Clock
  readonly rotation: Rotation | undefined
  /** Empties the file when it is opened now. */
  readonly truncate: boolean
  /** Permissions of the directories to be made; undefined: they must be there. */
  readonly directoryMode: number | undefined
  /** Told when old backups could not be deleted: nothing is lost by that. */
  readonly onCleanupError: (error: Error) => void
}

interface Message {
  readonly parts: readonly Uint8Array[]
  readonly byteLength: number
  readonly done: (error?: Error) => void
}

export class FileWriter {
  readonly path: string
  holders = 0
  #options: WriterOptions
  #handle: FileHandle | undefined
  #size = 0
  #pending: Message[] = []
  #pendingBytes = 0
  #waiting: (() => void)[] = []
  #writing: Promise<void> | undefined
  #closed = false

  constructor(file: string, options: WriterOptions) {
    this.path = file
    this.#options = options
  }

  /** The settings of the exporter that came last count: on a reload that is the new one. */
  adopt(options: WriterOptions): void {
    this.#options = options
  }

  async open(truncate: boolean): Promise<void> {
    const { directoryMode } = this.#options
    if (directoryMode !== undefined)
      await mkdir(path.dirname(this.path), { recursive: true, mode: directoryMode })
    this.#handle = await open(this.path, 'a', FILE_MODE)
    if (truncate) await this.#handle.truncate(0)
    this.#size = (await this.#handle.stat()).size
  }

  /** Resolves when the bytes are in the hands of the operating system. */
  async write(parts: readonly Uint8Array[]): Promise<void> {
    if (this.#closed) throw new ShutdownError('the file is closed')
    while (this.#pendingBytes >= MAX_PENDING_BYTES) {
      if (this.#waiting.length >= MAX_WAITING) throw new RefusedError('too many batches wait for the file')
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
    let byteLength = 0
    for (const part of parts) byteLength += part.length
    this.#pendingBytes += byteLength
    return new Promise((resolve, reject) => {
      this.#pending.push({ parts, byteLength, done: (error) => (error ? reject(error) : resolve()) })
      this.#writing ??= this.#writeAll()
    })
  }

  async #writeAll(): Promise<void> {
    await Promise.resolve() // What is handed over in the same turn goes out together.
    while (this.#pending.length > 0) {
      const messages = await this.#next()
      const error = await this.#writeMessages(messages).then(
        () => undefined,
        (cause) => new RetryableError('the file could not be written', { cause }),
      )
      for (const message of messages) {
        this.#pendingBytes -= message.byteLength
        message.done(error)
      }
      for (const wake of this.#waiting.splice(0)) wake()
      await Promise.resolve() // Those who waited hand their messages over.
    }
    this.#writing = undefined
  }

  /** Takes the messages that go out in one write: as many as fit the file. */
  #next(): Message[] {
    const limit = this.#options.rotation?.maxBytes ?? Number.POSITIVE_INFINITY
    let size = this.#size
    let parts = 0
    let count = 0
    for (const message of this.#pending) {
      size += message.byteLength
      parts += message.parts.length
      if (count > 0 && (size > limit || parts > MAX_WRITE_PARTS)) break
      count++
    }
    return this.#pending.splice(0, count)
  }

  async #writeMessages(messages: readonly Message[]): Promise<void> {
    let byteLength = 0
    for (const message of messages) byteLength += message.byteLength
    if (this.#handle === undefined) await this.open(false)
    const { rotation } = this.#options
    if (rotation && this.#size > 0 && this.#size + byteLength > rotation.maxBytes)
      await this.#rotate(rotation)
    const handle = this.#handle
    if (handle === undefined) throw new Error('the file is not open')
    try {
      await writeFully(
        handle,
        messages.flatMap((message) => message.parts),
      )
      this.#size += byteLength
    } catch (error) {
      await handle.truncate(this.#size).catch(() => {})
      await this.#close() // The next write opens it anew.
      throw error
    }
  }

  async #rotate(rotation: Rotation): Promise<void> {
    const { clock, onCleanupError } = this.#options
    await this.#close()
    await backUp(this.path, clock.wallMs(), rotation)
    await this.open(false)
    await deleteOldBackups(this.path, clock.wallMs(), rotation).catch((error) =>
      onCleanupError(toError(error)),
    )
  }

  async #close(): Promise<void> {
    const handle = this.#handle
    this.#handle = undefined
    await handle?.close().catch(() => {})
  }

  /** Writes what was handed over and what waits in line, then closes. */
  async close(): Promise<void> {
    this.#closed = true
    while (this.#writing !== undefined || this.#waiting.length > 0) await this.#writing
    await this.#close()
  }
}

/** The system may take less than it is given. */
async function writeFully(handle: FileHandle, parts: readonly Uint8Array[]): Promise<void> {
  let rest = parts
  while (rest.length > 0) {
    let { bytesWritten } = await handle.writev(rest)
    let index = 0
    while (index < rest.length && bytesWritten >= rest[index]!.length) bytesWritten -= rest[index++]!.length
    const cut = rest[index]
    rest = cut === undefined ? [] : [cut.subarray(bytesWritten), ...rest.slice(index + 1)]
  }
}

/** The open files of this thread by path. All data of an exporter meets on one thread (affinity `process`). */
const writers = new Map<string, FileWriter>()
/** Files that are being closed: who wants one of them waits for that. */
const closing = new Map<string, Promise<void>>()
/** Files that are being opened. */
const opening = new Map<string, Promise<void>>()

/** The writer of this path, opened if nobody has it. Every call needs one releaseWriter(). */
export async function openWriter(file: string, options: WriterOptions): Promise<FileWriter> {
  const key = path.resolve(file)
  let writer = writers.get(key)
  if (writer) {
    writer.adopt(options)
    writer.holders++
  } else {
    writer = new FileWriter(key, options)
    writer.holders = 1
    writers.set(key, writer)
    const opened = writer
    const ready = (async () => {
      await closing.get(key)
      await opened.open(options.truncate)
    })()
    opening.set(key, ready)
    ready.finally(() => opening.delete(key)).catch(() => {})
  }
  try {
    await opening.get(key)
  } catch (error) {
    if (--writer.holders === 0 && writers.get(key) === writer) writers.delete(key)
    throw error
  }
  return writer
}

export async function releaseWriter(writer: FileWriter): Promise<void> {
  if (--writer.holders > 0) return
  if (writers.get(writer.path) === writer) writers.delete(writer.path)
  const closed = writer.close()
  closing.set(writer.path, closed)
  await closed
  if (closing.get(writer.path) === closed) closing.delete(writer.path)
}
