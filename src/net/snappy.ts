/**
 * Snappy blocks and the snappy framing format, on top of the native block codec.
 *
 * The decoded length that a block claims is checked against the limit, and against what its bytes could hold at best,
 * before anything is allocated for it.
 */
import { createRequire } from 'node:module'
import { InvalidError, TooLargeError } from '../errors.ts'

const require = createRequire(import.meta.url)
let loaded: typeof import('snappy') | undefined

/** The native library is loaded when the first block comes or goes: most configurations never see one. */
function native(): typeof import('snappy') {
  loaded ??= require('snappy') as typeof import('snappy') // What the package's own types say it exports.
  return loaded
}

/**
 * The result is copied into memory of the runtime. Otherwise the codec's own buffer is handed out, which goes back to the
 * system with each collection and is faulted in anew, page by page: 120 KB take 0.9 us a KB in place of 6.8, most of it the
 * kernel's.
 */
const IN_HEAP = { copyOutputData: true } as const

/** Chunk type 0xff, length 6, "sNaPpY". */
const STREAM_IDENTIFIER = Buffer.from([0xff, 6, 0, 0, 0x73, 0x4e, 0x61, 0x50, 0x70, 0x59])
/** Decoded bytes of one framed chunk, by the format. */
const MAX_CHUNK_BYTES = 65536
/** The densest element is a copy: 3 bytes that stand for 64. */
const MAX_EXPANSION = 64 / 3

export function isFramedSnappy(body: Uint8Array): boolean {
  return body.length >= 10 && STREAM_IDENTIFIER.compare(body, 0, 10) === 0
}

/** The decoded length that a block claims. Throws when it is over the limit or more than its bytes could hold. */
export function snappyBlockLength(body: Uint8Array, limitBytes: number): number {
  const length = claimedLength(body)
  if (length > limitBytes)
    throw new TooLargeError(`snappy block of ${length} bytes, the limit is ${limitBytes}`)
  if (length > body.length * MAX_EXPANSION) throw new InvalidError('broken snappy block')
  return length
}

/** Decodes one block. The result is the caller's. */
export function decodeSnappyBlock(body: Uint8Array, limitBytes: number): Buffer {
  snappyBlockLength(body, limitBytes)
  try {
    // The codec gives a Buffer unless told otherwise.
    return native().uncompressSync(body, IN_HEAP) as Buffer
  } catch (cause) {
    throw new InvalidError('broken snappy block', { cause })
  }
}

/** The same on the thread pool, for a block whose length has been checked. */
export async function decodeSnappyBlockInPool(body: Uint8Array): Promise<Uint8Array> {
  try {
    return (await native().uncompress(body, IN_HEAP)) as Buffer // As above.
  } catch (cause) {
    throw new InvalidError('broken snappy block', { cause })
  }
}

/** The varint before a block. */
function claimedLength(body: Uint8Array): number {
  let length = 0
  let scale = 1
  for (let index = 0; index < 5; index++) {
    const byte = body[index]
    if (byte === undefined) break
    length += (byte & 127) * scale
    if (byte < 128) {
      if (length > 0xffffffff) break
      return length
    }
    scale *= 128
  }
  throw new InvalidError('broken snappy block')
}

export function encodeSnappyBlock(data: Uint8Array): Uint8Array {
  return native().compressSync(data, IN_HEAP)
}

/**
 * Decodes a framed stream: chunks of a type byte, 3 bytes of length and the content. Types: 0 compressed and 1 plain, each
 * after a masked CRC-32C of the decoded bytes; 0xff identifier; 0x80 to 0xfe are skipped, 2 to 0x7f are errors.
 */
export function decodeSnappyFrames(body: Uint8Array, limitBytes: number): Buffer {
  if (!isFramedSnappy(body)) throw new InvalidError('snappy stream without its identifier')
  const parts: Uint8Array[] = []
  let total = 0
  for (let at = 0; at < body.length; ) {
    if (at + 4 > body.length) throw new InvalidError('snappy stream is cut off')
    const type = body[at]!
    const start = at + 4
    const end = start + (body[at + 1]! | (body[at + 2]! << 8) | (body[at + 3]! << 16))
    if (end > body.length) throw new InvalidError('snappy stream is cut off')
    at = end
    if (type === 0xff) {
      if (end - start !== 6 || STREAM_IDENTIFIER.compare(body, start, end, 4) !== 0)
        throw new InvalidError('broken snappy stream identifier')
      continue
    }
    if (type >= 0x80) continue
    if (type > 1 || end - start < 4) throw new InvalidError('broken snappy stream')
    const content = body.subarray(start + 4, end)
    if (type === 1 && content.length > MAX_CHUNK_BYTES) throw new InvalidError('snappy chunk is too long')
    const room = Math.min(MAX_CHUNK_BYTES, limitBytes - total)
    if (type === 1 && content.length > room) throw tooLarge(limitBytes)
    if (type === 0 && claimedLength(content) > MAX_CHUNK_BYTES)
      throw new InvalidError('snappy chunk is too long')
    const decoded = type === 1 ? content : decodeSnappyBlock(content, room)
    if (maskedCrc(decoded) !== readUint32(body, start))
      throw new InvalidError('snappy checksum does not match')
    total += decoded.length
    parts.push(decoded)
  }
  return Buffer.concat(parts, total)
}

function tooLarge(limitBytes: number): TooLargeError {
  return new TooLargeError(`snappy stream decodes to more than ${limitBytes} bytes`)
}

export function encodeSnappyFrames(data: Uint8Array): Uint8Array {
  const parts: Uint8Array[] = [STREAM_IDENTIFIER]
  for (let at = 0; at < data.length; at += MAX_CHUNK_BYTES) {
    const plain = data.subarray(at, at + MAX_CHUNK_BYTES)
    const packed = native().compressSync(plain)
    const compressed = packed.length < plain.length
    const content = compressed ? packed : plain
    const head = Buffer.allocUnsafe(8)
    head[0] = compressed ? 0 : 1
    head.writeUIntLE(content.length + 4, 1, 3)
    head.writeUInt32LE(maskedCrc(plain), 4)
    parts.push(head, content)
  }
  return Buffer.concat(parts)
}

function readUint32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0
}

/** The framing format stores a CRC rotated and shifted, so that a CRC of data with CRCs in it stays useful. */
function maskedCrc(bytes: Uint8Array): number {
  const crc = crc32c(bytes)
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0
}

/** Four tables, so that four bytes are taken at a time (polynomial 0x1EDC6F41, reflected). */
const TABLES = crcTables()

function crcTables(): Uint32Array {
  const tables = new Uint32Array(1024)
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1
    tables[byte] = crc
  }
  for (let index = 256; index < 1024; index++) {
    const before = tables[index - 256]!
    tables[index] = (before >>> 8) ^ tables[before & 255]!
  }
  return tables
}

export function crc32c(bytes: Uint8Array): number {
  const tables = TABLES
  let crc = -1
  let at = 0
  for (const last = bytes.length - 3; at < last; at += 4) {
    crc ^= bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
    crc =
      tables[768 + (crc & 255)]! ^
      tables[512 + ((crc >>> 8) & 255)]! ^
      tables[256 + ((crc >>> 16) & 255)]! ^
      tables[crc >>> 24]!
  }
  for (; at < bytes.length; at++) crc = (crc >>> 8) ^ tables[(crc ^ bytes[at]!) & 255]!
  return ~crc >>> 0
}
