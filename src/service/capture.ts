/**
 * Writes what enters a pipeline into a file, for a while: for `weir sampling replay` and to look at. One at
 * a time, and only into the directory that the configuration names; how long and how much are bounded
 * there, too.
 *
 * The file has the messages of otlp/capture-format.ts in order of their arrival, and beside it lies the
 * index of their times.
 */
import { type FileHandle, mkdir, open } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../component/clock.ts'
import type { Logger } from '../component/logger.ts'
import { counter, gauge, type Instruments } from '../component/telemetry.ts'
import type { CaptureSettings } from '../config/types.ts'
import { CAPTURE_SUFFIX, lengthPrefix, TIMES_MAGIC, TIMES_SUFFIX, timeEntry } from '../otlp/capture-format.ts'
import { CAPTURE_SCOPE, type CapturedMessage, type CaptureQuestion, readAnswer } from './taps.ts'

export const captureTelemetry = {
  running: gauge('capture_running', '{capture}', 'Captures under way: 0 or 1.'),
  messages: counter('capture_messages', '{message}', 'Requests that captures have written.'),
  bytes: counter('capture_bytes', 'By', 'Bytes that captures have written.'),
  missed: counter(
    'capture_missed_messages',
    '{message}',
    'Requests left out of captures: they came too fast.',
  ),
}

export interface CaptureRequest {
  readonly pipeline: string
  readonly durationMs: number
  readonly limitBytes: number
}

export interface CaptureResult {
  readonly file: string
  readonly pipeline: string
  readonly messages: number
  readonly bytes: number
  readonly seconds: number
  /** Requests that came too fast and are not in the file. */
  readonly missed: number
  readonly ended: 'duration' | 'size' | 'stopped'
}

export interface CaptureOptions {
  /** Asks every shard. */
  readonly gather: (scope: string, question: string, timeoutMs: number) => Promise<Uint8Array[]>
  readonly clock: Clock
  readonly logger: Logger
  readonly telemetry: Instruments<typeof captureTelemetry>
}

/** Shards are asked this often, and have this long to answer. */
const POLL_MS = 200
const ANSWER_MS = 2000
/** Only its owner may read what was captured. */
const FILE_MODE = 0o600
const DIRECTORY_MODE = 0o700

export class Captures {
  readonly #options: CaptureOptions
  #lastId = Date.now()
  #running = false

  constructor(options: CaptureOptions) {
    this.#options = options
  }

  get running(): boolean {
    return this.#running
  }

  /**
   * Runs until the time is over, the file is full or the signal stops it. Rejects when the file cannot be
   * written.
   */
  async run(settings: CaptureSettings, request: CaptureRequest, stop: AbortSignal): Promise<CaptureResult> {
    if (this.#running) throw new RangeError('a capture is under way')
    this.#running = true
    const { logger, telemetry } = this.#options
    telemetry.running.set(1)
    logger.info('capturing', { pipeline: request.pipeline, duration_ms: request.durationMs })
    try {
      const result = await this.#capture(settings.directory, request, stop)
      logger.info('captured', { ...result })
      return result
    } finally {
      this.#running = false
      telemetry.running.set(0)
    }
  }

  async #capture(directory: string, request: CaptureRequest, stop: AbortSignal): Promise<CaptureResult> {
    const { clock } = this.#options
    await mkdir(directory, { recursive: true, mode: DIRECTORY_MODE })
    const time = new Date(clock.wallMs()).toISOString().slice(0, -1).replaceAll(':', '-')
    const name = request.pipeline.replace(/[^A-Za-z0-9._-]/g, '_')
    const file = path.join(directory, `capture-${name}-${time}${CAPTURE_SUFFIX}`)
    const writer = await CaptureWriter.open(file, request.limitBytes)
    try {
      const startMs = clock.monotonicMs()
      const ended = await this.#poll(request, writer, stop)
      const { messages, bytes, missed } = writer
      const seconds = Math.round(clock.monotonicMs() - startMs) / 1000
      return { file, pipeline: request.pipeline, messages, bytes, seconds, missed, ended }
    } finally {
      await writer.close()
    }
  }

  async #poll(
    { pipeline, durationMs }: CaptureRequest,
    writer: CaptureWriter,
    stop: AbortSignal,
  ): Promise<CaptureResult['ended']> {
    const { clock } = this.#options
    const id = ++this.#lastId
    const endMs = clock.monotonicMs() + durationMs
    while (true) {
      const leftMs = endMs - clock.monotonicMs()
      const last = leftMs <= 0 || stop.aborted || writer.full
      // What every shard has answered for is complete up to the moment before it was asked.
      const askedMs = clock.wallMs()
      await this.#take({ id, pipeline, last }, writer)
      await writer.write(last ? Number.POSITIVE_INFINITY : askedMs)
      if (last) return writer.full ? 'size' : stop.aborted ? 'stopped' : 'duration'
      await sleep(Math.max(0, Math.min(POLL_MS, leftMs)), undefined, { signal: stop }).catch(() => {})
    }
  }

  async #take(question: CaptureQuestion, writer: CaptureWriter): Promise<void> {
    const { gather, telemetry } = this.#options
    const before = { messages: writer.messages, bytes: writer.bytes, missed: writer.missed }
    for (const answer of await gather(CAPTURE_SCOPE, JSON.stringify(question), ANSWER_MS)) {
      const { messages, missed } = readAnswer(answer)
      writer.add(messages, missed)
    }
    telemetry.missed.add(writer.missed - before.missed)
    telemetry.messages.add(writer.messages - before.messages)
    telemetry.bytes.add(writer.bytes - before.bytes)
  }
}

/** The two files, and what waits to be written in the order of its time. */
class CaptureWriter {
  readonly #data: FileHandle
  readonly #times: FileHandle
  readonly #limitBytes: number
  #pending: CapturedMessage[] = []
  messages = 0
  bytes = 0
  missed = 0
  full = false

  constructor(data: FileHandle, times: FileHandle, limitBytes: number) {
    this.#data = data
    this.#times = times
    this.#limitBytes = limitBytes
  }

  static async open(file: string, limitBytes: number): Promise<CaptureWriter> {
    const data = await open(file, 'wx', FILE_MODE)
    const times = await open(`${file}${TIMES_SUFFIX}`, 'wx', FILE_MODE).catch(async (error: unknown) => {
      await data.close()
      throw error
    })
    await times.appendFile(TIMES_MAGIC)
    return new CaptureWriter(data, times, limitBytes)
  }

  /** What no longer fits is left out. */
  add(messages: readonly CapturedMessage[], missed: number): void {
    this.missed += missed
    for (const message of messages) {
      const size = 4 + message.bytes.length
      this.full ||= this.bytes + size > this.#limitBytes
      if (this.full) return
      this.messages++
      this.bytes += size
      this.#pending.push(message)
    }
  }

  /** Writes what came in up to this time. */
  async write(untilMs: number): Promise<void> {
    this.#pending.sort((a, b) => a.wallMs - b.wallMs)
    const later = this.#pending.findIndex(({ wallMs }) => wallMs >= untilMs)
    const ready = later < 0 ? this.#pending : this.#pending.slice(0, later)
    this.#pending = later < 0 ? [] : this.#pending.slice(later)
    if (ready.length === 0) return
    await this.#data.appendFile(
      Buffer.concat(ready.flatMap(({ bytes }) => [lengthPrefix(bytes.length), bytes])),
    )
    await this.#times.appendFile(Buffer.concat(ready.map(({ wallMs }) => timeEntry(wallMs))))
  }

  async close(): Promise<void> {
    await this.#data.close()
    await this.#times.close()
  }
}
