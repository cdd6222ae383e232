/**
 * Content encodings, both ways. What a limit forbids is never allocated: decoders stop one chunk after it.
 *
 * Brotli is never decoded. `deflate` means zlib (RFC 1950), as HTTP has it. One encoding per body.
 *
 * Small bodies are decoded in place: gzip of 36 KB takes 40 us there, while the trip to the thread pool alone holds the
 * event loop for 50 to 100 us. In place a decoder may write SYNC_OUTPUT_BYTES at most, which bounds how long it holds the
 * event loop (1 to 3 ms). What is larger goes to the pool, at most MAX_JOBS at a time. Framed snappy and lz4 have no
 * decoder there: the limit bounds them (20 MiB: some 30 ms).
 */
import type { Transform } from 'node:stream'
import { promisify } from 'node:util'
import * as zlib from 'node:zlib'
import { InvalidError, TooLargeError } from '../errors.ts'
import { coalesce } from './coalesce.ts'
import { decodeLz4Frames } from './lz4.ts'
import {
  decodeSnappyBlock,
  decodeSnappyBlockInPool,
  decodeSnappyFrames,
  encodeSnappyBlock,
  encodeSnappyFrames,
  isFramedSnappy,
  snappyBlockLength,
} from './snappy.ts'

export const ENCODINGS = ['gzip', 'zstd', 'zlib', 'snappy', 'deflate', 'lz4', 'x-snappy-framed'] as const
export type Encoding = (typeof ENCODINGS)[number]
export const COMPRESSIONS = ['gzip', 'zlib', 'deflate', 'zstd', 'snappy', 'x-snappy-framed', 'none'] as const
export type Compression = (typeof COMPRESSIONS)[number]

/** A trip to the thread pool takes the event loop 50 us, twice what joining this much does. */
const POOL_PIECES = { smallBytes: 64 * 1024, blockBytes: 256 * 1024 }
const SYNC_INPUT_BYTES = 32 * 1024
const SYNC_OUTPUT_BYTES = 1024 * 1024
const MAX_JOBS = 4
const LARGEST_FIRST_CHUNK = 1024 * 1024
const SMALLEST_CHUNK = 16 * 1024

const gunzip = promisify<Uint8Array, zlib.ZlibOptions, Buffer>(zlib.gunzip)
const inflate = promisify<Uint8Array, zlib.ZlibOptions, Buffer>(zlib.inflate)
const zstdDecompress = promisify<Uint8Array, zlib.ZstdOptions, Buffer>(zlib.zstdDecompress)

export function isEncoding(name: string): name is Encoding {
  return (ENCODINGS as readonly string[]).includes(name)
}

/**
 * Decodes a body. Rejects with TooLargeError when it is over `limitBytes`, packed or unpacked, and with
 * InvalidError when it is broken. The result is the caller's.
 */
export function decompress(encoding: Encoding, body: Uint8Array, limitBytes: number): Promise<Uint8Array> {
  try {
    if (body.length > limitBytes) throw tooLarge(encoding, limitBytes)
    switch (encoding) {
      case 'snappy':
        if (isFramedSnappy(body)) return Promise.resolve(compact(decodeSnappyFrames(body, limitBytes)))
        return snappyBlockLength(body, limitBytes) <= SYNC_OUTPUT_BYTES
          ? Promise.resolve(compact(decodeSnappyBlock(body, limitBytes)))
          : snappyInPool(body)
      case 'x-snappy-framed':
        return Promise.resolve(compact(decodeSnappyFrames(body, limitBytes)))
      case 'lz4':
        return Promise.resolve(compact(decodeLz4Frames(body, limitBytes)))
      default:
        return body.length <= SYNC_INPUT_BYTES
          ? Promise.resolve(inPlace(encoding, body, limitBytes) ?? inPool(encoding, body, limitBytes))
          : inPool(encoding, body, limitBytes)
    }
  } catch (error) {
    return Promise.reject(error)
  }
}

/**
 * The bytes in a buffer of about their own size, copied if they lie in a much larger one: what is kept for long (a queue, a
 * trace store) should not keep more than itself.
 */
export function compact(bytes: Buffer): Buffer {
  const { length } = bytes
  if (bytes.buffer.byteLength <= length + length / 4 + 64) return bytes
  const copy = Buffer.allocUnsafeSlow(length)
  copy.set(bytes)
  return copy
}

type NodeEncoding = 'gzip' | 'zlib' | 'deflate' | 'zstd'

/** Undefined when the result is longer than may be made in place. */
function inPlace(encoding: NodeEncoding, body: Uint8Array, limitBytes: number): Uint8Array | undefined {
  const bound = Math.min(limitBytes, SYNC_OUTPUT_BYTES)
  try {
    const options = decoderOptions(encoding, body, bound, limitBytes)
    if (encoding === 'gzip') return compact(zlib.gunzipSync(body, options))
    return compact(
      encoding === 'zstd' ? zlib.zstdDecompressSync(body, options) : zlib.inflateSync(body, options),
    )
  } catch (error) {
    if (isOverLimit(error) && bound < limitBytes) return undefined
    throw decodeError(encoding, error, limitBytes)
  }
}

async function inPool(encoding: NodeEncoding, body: Uint8Array, limitBytes: number): Promise<Uint8Array> {
  await jobs.enter()
  try {
    const options = decoderOptions(encoding, body, limitBytes, limitBytes)
    if (encoding === 'gzip') return compact(await gunzip(body, options))
    return compact(await (encoding === 'zstd' ? zstdDecompress(body, options) : inflate(body, options)))
  } catch (error) {
    throw decodeError(encoding, error, limitBytes)
  } finally {
    jobs.leave()
  }
}

/** The length of the block has been checked. */
async function snappyInPool(body: Uint8Array): Promise<Uint8Array> {
  await jobs.enter()
  try {
    return await decodeSnappyBlockInPool(body)
  } finally {
    jobs.leave()
  }
}

function decoderOptions(encoding: NodeEncoding, body: Uint8Array, boundBytes: number, limitBytes: number) {
  const chunkSize = firstChunkBytes(encoding, body, boundBytes)
  if (encoding !== 'zstd') return { maxOutputLength: boundBytes, chunkSize }
  // The window is allocated as the frame asks for it, so it may not be much larger than what may come out.
  const windowLog = Math.min(27, Math.max(23, Math.ceil(Math.log2(limitBytes))))
  return {
    maxOutputLength: boundBytes,
    chunkSize,
    params: { [zlib.constants.ZSTD_d_windowLogMax]: windowLog },
  }
}

/**
 * How much to allocate at first, so that the usual body takes one piece: gzip tells its length at its end. The
 * length may lie, so it counts only as far as the body could expand to it.
 */
function firstChunkBytes(encoding: NodeEncoding, body: Uint8Array, boundBytes: number): number {
  const length = body.length
  let guess = length * 4
  if (encoding === 'gzip' && length >= 18)
    guess =
      body[length - 4]! + body[length - 3]! * 256 + body[length - 2]! * 65536 + body[length - 1]! * 2 ** 24
  return Math.max(1024, Math.min(guess + 64, length * 64, boundBytes + 1, LARGEST_FIRST_CHUNK))
}

function isOverLimit(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ERR_BUFFER_TOO_LARGE'
}

function decodeError(encoding: string, error: unknown, limitBytes: number): Error {
  return isOverLimit(error)
    ? tooLarge(encoding, limitBytes)
    : new InvalidError(`broken ${encoding} data`, { cause: error })
}

function tooLarge(encoding: string, limitBytes: number): TooLargeError {
  return new TooLargeError(`${encoding} data is over the limit of ${limitBytes} bytes`)
}

/** Lets MAX_JOBS in at a time, the others in the order they came. Who waits is bounded by the bytes in flight. */
const jobs = {
  running: 0,
  waiting: [] as (() => void)[],
  enter(): Promise<void> | undefined {
    if (this.running < MAX_JOBS) {
      this.running++
      return undefined
    }
    return new Promise((resolve) => this.waiting.push(resolve))
  },
  leave(): void {
    const next = this.waiting.shift()
    if (next) next()
    else this.running--
  },
}

/**
 * Encodes a list of chunks as one body, which comes back in pieces. `level` as the algorithm has it;
 * undefined is its default.
 *
 * Large bodies go to the thread pool chunk by chunk: joined first they would lie outside the heap a second
 * time, and V8 answers every 64 MB of that with a collection of the whole heap.
 */
export async function compress(
  algorithm: Compression,
  level: number | undefined,
  chunks: readonly Uint8Array[],
): Promise<readonly Uint8Array[]> {
  if (algorithm === 'none') return chunks
  let length = 0
  for (const chunk of chunks) length += chunk.length
  if (algorithm === 'snappy') return [await encodeSnappyBlock(joined(chunks))]
  if (algorithm === 'x-snappy-framed') return [await encodeSnappyFrames(joined(chunks))]
  const small = length <= SYNC_INPUT_BYTES
  const chunkSize = Math.min(Math.max(length >> 3, SMALLEST_CHUNK), LARGEST_FIRST_CHUNK)
  if (algorithm === 'zstd') {
    const params = level === undefined ? {} : { [zlib.constants.ZSTD_c_compressionLevel]: level }
    const options = { params, chunkSize }
    return small
      ? [zlib.zstdCompressSync(joined(chunks), options)]
      : pack(zlib.createZstdCompress(options), chunks)
  }
  const options = level === undefined ? { chunkSize } : { level, chunkSize }
  if (algorithm === 'gzip')
    return small ? [zlib.gzipSync(joined(chunks), options)] : pack(zlib.createGzip(options), chunks)
  return small ? [zlib.deflateSync(joined(chunks), options)] : pack(zlib.createDeflate(options), chunks)
}

function joined(chunks: readonly Uint8Array[]): Uint8Array {
  return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)
}

function pack(encoder: Transform, chunks: readonly Uint8Array[]): Promise<readonly Uint8Array[]> {
  return new Promise((resolve, reject) => {
    const pieces: Uint8Array[] = []
    encoder.on('data', (piece: Buffer) => pieces.push(piece))
    encoder.on('end', () => resolve(pieces))
    encoder.on('error', reject)
    for (const piece of coalesce(chunks, POOL_PIECES)) encoder.write(piece)
    encoder.end()
  })
}
