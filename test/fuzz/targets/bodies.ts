/**
 * Packed bodies: snappy in blocks and in frames, LZ4, gzip, zlib, zstd. What comes out is never over the limit; blocks of snappy and
 * LZ4 are what plain decoders make of them.
 *
 * An input is a byte that chooses the encoding, then the body.
 */
import zlib from 'node:zlib'
import { InvalidError, TooLargeError } from '../../../src/errors.ts'
import { decompress, type Encoding } from '../../../src/net/compression.ts'
import { xxh32 } from '../../../src/net/lz4.ts'
import { encodeSnappyBlock, encodeSnappyFrames, isFramedSnappy } from '../../../src/net/snappy.ts'
import { lz4Block, snappyBlock } from '../block-references.ts'
import { type Draw, mutateBytes } from '../draw.ts'
import type { Target } from '../target.ts'

const LIMIT = 64 * 1024
/** Half of the inputs are snappy or LZ4 blocks, since their decoders are checked byte by byte. */
const CODES: readonly (Encoding | 'lz4 block')[] = [
  ...(['snappy', 'snappy', 'lz4 block', 'lz4', 'x-snappy-framed', 'gzip', 'zlib', 'zstd'] as const),
]

export function bodiesTarget(): Target {
  return {
    seeds(draw) {
      const seeds: Uint8Array[] = []
      for (let index = 0; index < 120; index++) {
        const code = index % CODES.length
        seeds.push(Buffer.concat([Buffer.from([code]), packed(draw, CODES[code] ?? 'snappy')]))
      }
      return seeds
    },
    next(draw, pool) {
      const base = draw.pick(pool)
      const code = (base[0] ?? 0) % CODES.length
      const fresh = draw.chance(0.2)
      const body = fresh ? made(draw, CODES[code] ?? 'snappy') : base.subarray(1)
      const mutant = fresh && draw.chance(0.7) ? body : mutateBytes(draw, body, draw.pick(pool).subarray(1))
      return Buffer.concat([Buffer.from([code]), mutant])
    },
    run(input) {
      const code = CODES[(input[0] ?? 0) % CODES.length] ?? 'snappy'
      const body = Buffer.from(input.subarray(1))
      return judged(code, body)
    },
  }
}

async function judged(code: Encoding | 'lz4 block', body: Buffer): Promise<boolean> {
  const encoding = code === 'lz4 block' ? 'lz4' : code
  const sent = code === 'lz4 block' ? frame(body) : body
  const output = await decompress(encoding, sent, LIMIT).catch((error: unknown) => {
    if (error instanceof InvalidError || error instanceof TooLargeError) return error
    throw error
  })
  if (!(output instanceof Error) && output.length > LIMIT) throw new Error(`${output.length} bytes came out`)
  if (output instanceof TooLargeError) return false
  const plain = code === 'snappy' && !isFramedSnappy(body)
  if (plain || code === 'lz4 block') {
    const want = plain ? snappyBlock(body) : lz4Block(body, LIMIT)
    if (output instanceof Error && want !== undefined) throw new Error(`refused: ${output.message}`)
    if (!(output instanceof Error) && !(want && Buffer.from(want).equals(output)))
      throw new Error(want === undefined ? 'accepted, which is broken' : 'decoded to something else')
  }
  return !(output instanceof Error)
}

function text(draw: Draw): Buffer {
  const words = ['span', 'trace', 'x'.repeat(40), '\0\0\0\0', 'service.name']
  const pieces = Array.from({ length: 1 + draw.below(60) }, () =>
    draw.chance(0.3) ? draw.bytes(10) : Buffer.from(draw.pick(words)),
  )
  return Buffer.concat(pieces)
}

function packed(draw: Draw, code: Encoding | 'lz4 block'): Uint8Array {
  const plain = text(draw)
  switch (code) {
    case 'gzip':
      return zlib.gzipSync(plain)
    case 'zstd':
      return zlib.zstdCompressSync(plain)
    case 'snappy':
      return encodeSnappyBlock(plain)
    case 'x-snappy-framed':
      return encodeSnappyFrames(plain)
    case 'lz4':
      return frame(sequences(draw))
    case 'lz4 block':
      return sequences(draw)
    default:
      return zlib.deflateSync(plain)
  }
}

/** As packed(), and elements that no encoder would write. */
function made(draw: Draw, code: Encoding | 'lz4 block'): Uint8Array {
  return code === 'snappy' ? elements(draw) : packed(draw, code)
}

/** An LZ4 frame without checksums but that of its head, of one block. */
function frame(block: Uint8Array): Buffer {
  const head = Buffer.from([0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, 0])
  head[6] = (xxh32(head, 4, 6) >>> 8) & 255
  const size = Buffer.alloc(4)
  size.writeUInt32LE(block.length)
  return Buffer.concat([head, size, block, Buffer.alloc(4)])
}

/** Sequences of LZ4, mostly in order. */
function sequences(draw: Draw): Buffer {
  const bytes: number[] = []
  let length = 0
  for (let count = draw.below(8); count > 0; count--) {
    const literals = draw.below(20)
    const match = draw.below(25)
    bytes.push((Math.min(literals, 15) << 4) | Math.min(match, 15))
    if (literals >= 15) bytes.push(literals - 15)
    for (let index = 0; index < literals; index++) bytes.push(draw.below(256))
    length += literals
    const offset = draw.chance(0.95) ? 1 + draw.below(Math.max(1, length)) : draw.below(70_000)
    bytes.push(offset & 255, (offset >> 8) & 255)
    if (match >= 15) bytes.push(match - 15)
    length += match + 4
  }
  const last = draw.below(12)
  bytes.push(last << 4)
  for (let index = 0; index < last; index++) bytes.push(draw.below(256))
  return Buffer.from(bytes)
}

/** Elements of snappy, mostly in order, before them the length that they make, mostly. */
function elements(draw: Draw): Buffer {
  const bytes: number[] = []
  let length = 0
  for (let count = 1 + draw.below(10); count > 0; count--) {
    const kind = length === 0 ? 0 : draw.below(4)
    const offset = draw.chance(0.97) ? 1 + draw.below(Math.max(1, length)) : draw.below(5000)
    if (kind === 0) {
      const literals = 1 + draw.below(draw.chance(0.2) ? 200 : 30)
      if (literals > 60 || draw.chance(0.1)) bytes.push(60 << 2, literals - 1)
      else bytes.push((literals - 1) << 2)
      for (let index = 0; index < literals; index++) bytes.push(draw.below(256))
      length += literals
    } else if (kind === 1) {
      const copied = 4 + draw.below(8)
      bytes.push(1 | ((copied - 4) << 2) | (((offset >> 8) & 7) << 5), offset & 255)
      length += copied
    } else {
      const copied = 1 + draw.below(64)
      bytes.push(kind | ((copied - 1) << 2), offset & 255, (offset >> 8) & 255)
      if (kind === 3) bytes.push(0, 0)
      length += copied
    }
  }
  if (draw.chance(0.05)) length = draw.pick([0, length - 1, length + 1, 2 ** 31 - 1])
  const head: number[] = []
  let rest = Math.max(0, length)
  for (; rest > 127; rest = Math.floor(rest / 128)) head.push((rest % 128) | 128)
  return Buffer.from([...head, rest, ...bytes])
}
