/**
 * Decodes the LZ4 frame format: magic, frame descriptor, blocks, end mark, optional checksums. Skippable frames are
 * skipped, frames may follow each other, dictionaries are refused. What comes out is measured first, so that nothing is
 * allocated for data over the limit.
 */
import { InvalidError, TooLargeError } from '../errors.ts'

const MAGIC = 0x184d2204
const MAX_BLOCK_BYTES = [0, 0, 0, 0, 65536, 262144, 1048576, 4194304]

/** Where decoded bytes go. Without a buffer they are only counted, up to a limit. */
class Output {
  length = 0
  readonly bytes: Buffer | undefined
  readonly #limitBytes: number
  constructor(limitBytes: number, bytes?: Buffer) {
    this.#limitBytes = limitBytes
    this.bytes = bytes
  }

  literals(body: Uint8Array, at: number, count: number): void {
    const start = this.#grow(count)
    this.bytes?.set(body.subarray(at, at + count), start)
  }

  match(from: number, count: number): void {
    let to = this.#grow(count)
    const { bytes } = this
    if (bytes === undefined) return
    if (to - from >= count) bytes.copyWithin(to, from, from + count)
    else for (const end = to + count; to < end; ) bytes[to++] = bytes[from++]!
  }

  #grow(count: number): number {
    const start = this.length
    this.length += count
    if (this.length > this.#limitBytes)
      throw new TooLargeError(`lz4 data is over the limit of ${this.#limitBytes} bytes`)
    return start
  }
}

/** Twice over the body: how much it makes is known before anything is allocated for it. */
export function decodeLz4Frames(body: Uint8Array, limitBytes: number): Buffer {
  const measured = new Output(limitBytes)
  decodeFrames(body, measured)
  const { length } = measured
  const bytes = Buffer.allocUnsafeSlow(length)
  decodeFrames(body, new Output(length, bytes))
  return bytes
}

function decodeFrames(body: Uint8Array, output: Output): void {
  let at = 0
  do {
    if (at + 4 > body.length) throw broken()
    const magic = readUint32(body, at)
    if (magic === MAGIC) at = decodeFrame(body, at + 4, output)
    else if (magic >>> 4 === 0x0184d2a5) {
      if (at + 8 > body.length) throw broken()
      at += 8 + readUint32(body, at + 4)
    } else throw broken()
  } while (at < body.length)
  if (at > body.length) throw broken()
}

function broken(): InvalidError {
  return new InvalidError('broken lz4 data')
}

/** Decodes the frame whose descriptor begins at `at`; returns where it ends. */
function decodeFrame(body: Uint8Array, at: number, output: Output): number {
  const descriptor = at
  const flags = body[at] ?? 0
  const block = body[at + 1] ?? 0
  const maxBlockBytes = MAX_BLOCK_BYTES[(block >>> 4) & 7] ?? 0
  const independent = (flags & 0x20) !== 0
  if (flags >>> 6 !== 1 || (flags & 3) !== 0 || (block & 0x8f) !== 0 || maxBlockBytes === 0) throw broken()
  at += 2
  if (flags & 8) at += 8
  if (at + 1 > body.length) throw broken()
  if (((xxh32(body, descriptor, at) >>> 8) & 255) !== body[at]) throw broken()
  at++
  const frameStart = output.length
  while (true) {
    if (at + 4 > body.length) throw broken()
    const word = readUint32(body, at)
    at += 4
    if (word === 0) break
    const size = word & 0x7fffffff
    const end = at + size
    if (size > maxBlockBytes || end > body.length) throw broken()
    const blockStart = output.length
    if (word >>> 31) output.literals(body, at, size)
    else decodeBlock(body, at, end, output, independent ? blockStart : frameStart, maxBlockBytes)
    if (flags & 16) {
      if (end + 4 > body.length || xxh32(body, at, end) !== readUint32(body, end)) throw broken()
      at = end + 4
    } else at = end
  }
  if (flags & 4) {
    if (at + 4 > body.length) throw broken()
    const { bytes, length } = output
    if (bytes !== undefined && xxh32(bytes, frameStart, length) !== readUint32(body, at)) throw broken()
    at += 4
  }
  return at
}

/** Sequences of a token, literals, and a match that copies what was decoded before; the last has no match. */
function decodeBlock(
  body: Uint8Array,
  at: number,
  end: number,
  output: Output,
  oldest: number,
  maxBlockBytes: number,
): void {
  const last = output.length + maxBlockBytes
  while (at < end) {
    const token = body[at++]!
    let literals = token >>> 4
    if (literals === 15) {
      let byte: number
      do {
        if (at >= end) throw broken()
        byte = body[at++]!
        literals += byte
      } while (byte === 255)
    }
    if (at + literals > end || output.length + literals > last) throw broken()
    output.literals(body, at, literals)
    at += literals
    if (at === end) return
    if (at + 2 > end) throw broken()
    const offset = body[at]! | (body[at + 1]! << 8)
    at += 2
    let length = (token & 15) + 4
    if (length === 19) {
      let byte: number
      do {
        if (at >= end) throw broken()
        byte = body[at++]!
        length += byte
      } while (byte === 255)
    }
    const from = output.length - offset
    if (offset === 0 || from < oldest || output.length + length > last) throw broken()
    output.match(from, length)
  }
  throw broken()
}

function readUint32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0
}

const P1 = 0x9e3779b1
const P2 = 0x85ebca77
const P3 = 0xc2b2ae3d
const P4 = 0x27d4eb2f
const P5 = 0x165667b1

function rotate(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits))
}

/** xxHash, 32 bits, seed 0, of a range. */
export function xxh32(bytes: Uint8Array, start: number, end: number): number {
  let at = start
  let hash: number
  if (end - start >= 16) {
    let a = (P1 + P2) | 0
    let b = P2 | 0
    let c = 0
    let d = -P1 | 0
    for (const last = end - 16; at <= last; at += 16) {
      a = Math.imul(rotate((a + Math.imul(readUint32(bytes, at), P2)) | 0, 13), P1)
      b = Math.imul(rotate((b + Math.imul(readUint32(bytes, at + 4), P2)) | 0, 13), P1)
      c = Math.imul(rotate((c + Math.imul(readUint32(bytes, at + 8), P2)) | 0, 13), P1)
      d = Math.imul(rotate((d + Math.imul(readUint32(bytes, at + 12), P2)) | 0, 13), P1)
    }
    hash = (rotate(a, 1) + rotate(b, 7) + rotate(c, 12) + rotate(d, 18)) | 0
  } else hash = P5 | 0
  hash = (hash + (end - start)) | 0
  for (; at + 4 <= end; at += 4)
    hash = Math.imul(rotate((hash + Math.imul(readUint32(bytes, at), P3)) | 0, 17), P4)
  for (; at < end; at++) hash = Math.imul(rotate((hash + Math.imul(bytes[at]!, P5)) | 0, 11), P1)
  hash = Math.imul(hash ^ (hash >>> 15), P2)
  hash = Math.imul(hash ^ (hash >>> 13), P3)
  return (hash ^ (hash >>> 16)) >>> 0
}
