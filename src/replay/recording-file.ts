/**
 * Reads one file of a recording: the `file` exporter's, with or without compression of its messages, also
 * packed as a whole with gzip or zstd; or a capture, which has its arrival times beside it
 * (otlp/capture-format.ts).
 *
 * Every message is checked as a receiver checks a request, since the engine relies on that.
 */
import { createReadStream } from 'node:fs'
import { open, readFile, stat } from 'node:fs/promises'
import { pipeline } from 'node:stream'
import { createGunzip, createZstdDecompress, zstdDecompressSync } from 'node:zlib'
import { InvalidError, toError, WireError } from '../errors.ts'
import { ArrivalTimes, TIMES_SUFFIX } from '../otlp/capture-format.ts'
import { decodeJson } from '../otlp/json-decode.ts'
import { receiveRequest } from '../otlp/receive.ts'
import { Frames, LARGEST_MESSAGE_BYTES } from './frames.ts'

/** A request of the recording. */
export interface Recorded {
  readonly chunk: Uint8Array
  readonly spans: number
  /** When it came in, in ms since 1970; undefined when that was not recorded. */
  readonly arrivedMs: number | undefined
}

/** What was read, over all files. */
export class ReadCounts {
  files = 0
  /** Of the files as they lie there. */
  bytes = 0
  messages = 0
  /** Messages of another signal, or without spans. */
  withoutSpans = 0
  /** Messages that could not be decoded. */
  broken = 0
  /** Files that end within a message: they were cut off, or are being written. */
  cutOff = 0
}

const BLOCK_BYTES = 1024 * 1024
const ZSTD = 0x28b52ffd
const GZIP = 0x1f8b

export async function* readRecording(file: string, counts: ReadCounts): AsyncGenerator<Recorded[]> {
  counts.files++
  const frames = new Frames()
  const times = await arrivalTimes(file)
  let index = 0
  const decodeAll = (messages: readonly Buffer[]): Recorded[] => {
    const decoded: Recorded[] = []
    for (const message of messages) {
      const arrivedMs = times?.at(index++)
      const request = decode(message, counts)
      if (request !== undefined) decoded.push({ ...request, arrivedMs })
    }
    return decoded
  }
  const messages: Buffer[] = []
  try {
    for await (const block of blocksOf(file, counts)) {
      messages.length = 0
      frames.push(block, messages)
      if (messages.length > 0) yield decodeAll(messages)
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'Z_BUF_ERROR') throw named(file, error)
    counts.cutOff++ // The packed file ends too early.
    return
  }
  messages.length = 0
  frames.finish(messages)
  if (frames.restBytes > 0) counts.cutOff++
  if (messages.length > 0) yield decodeAll(messages)
}

function named(file: string, error: unknown): Error {
  return new InvalidError(`${file}: ${toError(error).message}`, { cause: error })
}

async function arrivalTimes(file: string): Promise<ArrivalTimes | undefined> {
  const path = `${file}${TIMES_SUFFIX}`
  const found = await stat(path).catch(() => undefined)
  return found?.isFile() ? new ArrivalTimes(await readFile(path)) : undefined
}

async function* blocksOf(file: string, counts: ReadCounts): AsyncGenerator<Buffer> {
  const source = createReadStream(file, { highWaterMark: BLOCK_BYTES })
  let seen = 0
  const count = () => {
    counts.bytes += source.bytesRead - seen
    seen = source.bytesRead
  }
  const unpacking = await packing(file)
  if (unpacking !== undefined) pipeline(source, unpacking, () => {}) // Its error comes out of the loop, too.
  for await (const block of unpacking ?? source) {
    count()
    yield block as Buffer // No encoding is set, so it reads buffers.
  }
  count()
}

/** What unpacks the file as a whole, told by its first bytes. */
async function packing(file: string) {
  const handle = await open(file)
  try {
    const { bytesRead, buffer } = await handle.read(Buffer.alloc(4), 0, 4, 0)
    if (bytesRead < 4) return undefined
    if (buffer.readUInt16BE(0) === GZIP) return createGunzip({ chunkSize: BLOCK_BYTES })
    if (buffer.readUInt32BE(0) === ZSTD) return createZstdDecompress({ chunkSize: BLOCK_BYTES })
    return undefined
  } finally {
    await handle.close()
  }
}

/** The message as a checked request; undefined, and counted, when it is none or has no spans. */
function decode(message: Buffer, counts: ReadCounts): { chunk: Uint8Array; spans: number } | undefined {
  counts.messages++
  try {
    const plain =
      message.length >= 4 && message.readUInt32BE(0) === ZSTD
        ? zstdDecompressSync(message, { maxOutputLength: LARGEST_MESSAGE_BYTES })
        : message
    if (isOtherJson(plain)) {
      counts.withoutSpans++
      return undefined
    }
    const encoded = plain[0] === 0x7b ? decodeJson('traces', plain) : plain
    const { chunk, itemCount } = receiveRequest('traces', encoded)
    if (itemCount > 0) return { chunk, spans: itemCount }
    counts.withoutSpans++
  } catch (error) {
    if (error instanceof WireError && isOtherSignal(message)) counts.withoutSpans++
    else counts.broken++
  }
  return undefined
}

/** A line of metrics or logs, told by its first key. */
function isOtherJson(bytes: Buffer): boolean {
  if (bytes[0] !== 0x7b) return false
  return /^\{\s*"resource_?(Metrics|Logs)"/i.test(bytes.toString('latin1', 0, 64))
}

function isOtherSignal(bytes: Buffer): boolean {
  for (const signal of ['metrics', 'logs'] as const) {
    try {
      receiveRequest(signal, bytes)
      return true
    } catch {
      // Not this one.
    }
  }
  return false
}
