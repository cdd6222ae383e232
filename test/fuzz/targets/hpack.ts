/**
 * HPACK: blocks on one connection, against the limits of the list and of the table. What Weir's own encoder writes is read as it was
 * meant, and text in Huffman's code is what it was.
 *
 * An input is a run of blocks, each behind two bytes of length.
 */
import { ConnectionError } from '../../../src/net/http2/frames.ts'
import { HpackDecoder } from '../../../src/net/http2/hpack-decoder.ts'
import { HpackEncoder } from '../../../src/net/http2/hpack-encoder.ts'
import type { Field } from '../../../src/net/http2/hpack-table.ts'
import { decodeHuffman, encodeHuffman, huffmanLength } from '../../../src/net/http2/huffman.ts'
import { type Draw, mutateBytes } from '../draw.ts'
import type { Target } from '../target.ts'

const TABLE_BYTES = 4096
const LIST_BYTES = 8192
/** A list of more times its limit ends the connection; one field may reach over that. */
const BOMB = 16

export function hpackTarget(): Target {
  return {
    seeds: (draw) => Array.from({ length: 60 }, () => blocks(draw)),
    next(draw, pool) {
      if (draw.chance(0.3)) return blocks(draw)
      return mutateBytes(draw, draw.pick(pool), draw.pick(pool))
    },
    run: judged,
  }
}

function judged(input: Uint8Array): boolean {
  const decoder = new HpackDecoder(TABLE_BYTES)
  for (let at = 0; at + 2 <= input.length; ) {
    const start = at + 2
    const end = Math.min(input.length, start + (input[at] ?? 0) * 256 + (input[at + 1] ?? 0))
    at = end
    const fields: Field[] = []
    try {
      decoder.decode(input, start, end, LIST_BYTES, fields)
    } catch (error) {
      if (!(error instanceof ConnectionError)) throw error
      return false
    }
    const { bytes, limitBytes } = decoder.table
    if (bytes > limitBytes || limitBytes > TABLE_BYTES) throw new Error(`a table of ${bytes} bytes`)
    let kept = 0
    for (const { name, value } of fields) kept += name.length + value.length + 32
    if (kept > LIST_BYTES * BOMB) throw new Error(`a list of ${kept} bytes`)
    written(fields)
  }
  return true
}

/** Weir's encoder and decoder understand each other, about anything that was read. */
function written(fields: readonly Field[]): void {
  let room = HpackEncoder.BEGIN_ROOM
  for (const { name, value } of fields) room += HpackEncoder.room(name, value)
  const target = new Uint8Array(room)
  const encoder = new HpackEncoder()
  let at = encoder.begin(target, 0)
  for (const [index, { name, value }] of fields.entries())
    at = encoder.field(target, at, name, value, index % 3)
  const again: Field[] = []
  new HpackDecoder(TABLE_BYTES).decode(target, 0, at, LIST_BYTES * BOMB, again)
  for (const [index, { name, value }] of fields.entries()) {
    const read = again[index]
    if (read?.name !== name || read.value !== value) throw new Error(`${name} was written as ${read?.name}`)
    const coded = new Uint8Array(huffmanLength(value) + 8)
    if (decodeHuffman(coded, 0, encodeHuffman(value, coded, 0)) !== value) throw new Error('Huffman')
  }
  if (again.length !== fields.length) throw new Error('another number of fields')
}

function blocks(draw: Draw): Buffer {
  const parts: Buffer[] = []
  for (let count = 1 + draw.below(4); count > 0; count--) {
    const block = oneBlock(draw)
    parts.push(Buffer.from([block.length >> 8, block.length & 255]), block)
  }
  return Buffer.concat(parts)
}

const NAMES = [':path', 'a', 'x-key', 'content-type', 'grpc-timeout', 'Upper', '', 'n'.repeat(140)]

function oneBlock(draw: Draw): Buffer {
  const parts: Buffer[] = []
  if (draw.chance(0.2)) parts.push(integer(0x20, 31, draw.pick([0, 30, 31, 100, 4096, 4097, 2 ** 31])))
  for (let count = draw.below(8); count > 0; count--) {
    const kind = draw.below(6)
    if (kind < 2) parts.push(integer(0x80, 127, draw.pick([1, 2, 31, 61, 62, 63, 64, draw.below(200)])))
    else {
      const prefix = kind === 2 ? 0x00 : kind === 3 ? 0x10 : 0x40
      const known = draw.chance(0.5) ? 1 + draw.below(66) : 0
      parts.push(integer(prefix, prefix === 0x40 ? 63 : 15, known))
      if (known === 0) parts.push(coded(draw, draw.pick(NAMES)))
      parts.push(coded(draw, draw.chance(0.3) ? draw.bytes(40).toString('latin1') : draw.pick(NAMES)))
    }
  }
  return Buffer.concat(parts)
}

function integer(prefix: number, mask: number, value: number): Buffer {
  if (value < mask) return Buffer.from([prefix | value])
  const bytes = [prefix | mask]
  let rest = value - mask
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128)
  return Buffer.from([...bytes, rest])
}

function coded(draw: Draw, text: string): Buffer {
  if (draw.chance(0.5)) return Buffer.concat([integer(0, 127, text.length), Buffer.from(text, 'latin1')])
  const target = new Uint8Array(huffmanLength(text) + 8)
  const end = encodeHuffman(text, target, 0)
  return Buffer.concat([integer(0x80, 127, end), target.subarray(0, end)])
}
