/** Random conversations of an HTTP/2 client: calls as they should be, calls that are not, and bytes that are neither. */
import zlib from 'node:zlib'
import { block, frame, grpcMessage, REQUEST, settings, TYPE, uint32 } from '../support/raw-http2.ts'

const FRAMES = 70
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
const KINDS = ['calls', 'calls', 'mixed', 'mixed', 'flipped', 'mutated', 'random', 'noise'] as const

export function randomSource(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** All that a client sends on one connection. */
export class Conversation {
  readonly bytes: Buffer
  /** Where each frame ends. */
  readonly ends: readonly number[]
  /** Every message in it is made of `m` and nothing else. */
  readonly intact: boolean
  readonly #random: () => number
  #stream = -1

  constructor(random: () => number) {
    this.#random = random
    const kind = KINDS[this.#below(KINDS.length)] ?? 'calls'
    this.intact = kind === 'calls'
    let frames: Buffer[] = [settings(), frame(TYPE.SETTINGS, this.#below(20) > 0 ? 1 : 0, 0)]
    for (let count = 0; count < FRAMES; count++) {
      if (kind === 'random' && count > 3) frames.push(this.#anyFrame())
      else if (kind === 'noise' && count > 20) frames.push(this.#bytes(200))
      else if (kind === 'mixed' || (kind === 'mutated' && count % 8 === 0)) frames.push(...this.#next())
      else frames.push(...(this.intact || this.#below(20) > 0 ? this.#call() : this.#next()))
    }
    if (kind === 'mutated') frames = this.#mutate(frames)
    this.bytes = Buffer.concat([PREFACE, ...frames])
    let end = PREFACE.length
    this.ends = frames.map((one) => (end += one.length))
    if (kind === 'flipped')
      for (let flips = 1 + this.#below(6); flips > 0; flips--)
        this.bytes[this.#below(this.bytes.length)] = this.#below(256)
  }

  #below(limit: number): number {
    return Math.floor(this.#random() * limit)
  }

  #bytes(limit: number): Buffer {
    const bytes = Buffer.allocUnsafe(this.#below(limit))
    for (let at = 0; at < bytes.length; at++) bytes[at] = this.#below(256)
    return bytes
  }

  /** A stream that is open, was open, or never will be. */
  #someStream(): number {
    return this.#below(8) === 0 ? this.#below(200) : Math.max(1, this.#stream - 2 * this.#below(3))
  }

  #message(): Buffer {
    const content = Buffer.alloc(this.#below(3) === 0 ? this.#below(5000) : this.#below(60), 'm')
    if (this.#below(5) > 0)
      return grpcMessage(content, 0, this.#below(12) === 0 ? this.#below(2 ** 32) : content.length)
    return grpcMessage(this.#below(3) > 0 ? zlib.gzipSync(content) : content, 1)
  }

  #request(): Buffer {
    const fields: Record<string, string> = { ...REQUEST }
    if (this.#below(3) === 0) fields['grpc-encoding'] = ['gzip', 'zstd', 'snappy', 'br'][this.#below(4)] ?? ''
    if (this.#below(6) === 0) fields['grpc-timeout'] = `${this.#below(1000)}u`
    if (this.#below(6) === 0) fields[`x-${this.#below(9)}`] = 'v'.repeat(this.#below(300))
    if (this.#below(12) === 0) fields[':path'] = '/other'
    if (this.#below(12) === 0) fields['content-length'] = String(this.#below(60))
    const encoded = block(fields)
    // Now and then literals that go into the table, references into it, changes of its size, strings in Huffman's code.
    if (this.#below(3) === 0) encoded[0] = 0x40
    if (this.intact) return encoded
    if (this.#below(8) === 0) return Buffer.concat([encoded, this.#hpack()])
    return this.#below(20) === 0 ? Buffer.concat([this.#hpack(), encoded]) : encoded
  }

  #hpack(): Buffer {
    const parts: Buffer[] = []
    for (let count = this.#below(6); count >= 0; count--) {
      const kind = this.#below(5)
      const text = this.#bytes(30)
      const coded = Buffer.concat([Buffer.from([(this.#below(2) << 7) | text.length]), text])
      if (kind === 0) parts.push(Buffer.from([0x80 | this.#below(128)]))
      else if (kind === 1) parts.push(Buffer.from([0x20 | this.#below(32)]), this.#bytes(3))
      else if (kind === 2) parts.push(Buffer.from([0x40 | (1 + this.#below(62))]), coded)
      else parts.push(Buffer.from([this.#below(2) << 4]), coded, coded)
    }
    return Buffer.concat(parts)
  }

  #call(): Buffer[] {
    this.#stream += 2
    const stream = this.#stream
    const head = this.#request()
    const message = this.#message()
    const cut = this.#below(head.length)
    const opening =
      this.#below(4) > 0
        ? [frame(TYPE.HEADERS, 4, stream, head)]
        : [
            frame(TYPE.HEADERS, 0, stream, head.subarray(0, cut)),
            frame(TYPE.CONTINUATION, 4, stream, head.subarray(cut)),
          ]
    const end = this.#below(message.length)
    const closing =
      this.#below(2) === 0
        ? [frame(TYPE.DATA, 1, stream, message)]
        : [
            frame(TYPE.DATA, 0, stream, message.subarray(0, end)),
            frame(TYPE.DATA, 1, stream, message.subarray(end)),
          ]
    return [...opening, ...closing]
  }

  #next(): Buffer[] {
    switch (this.#below(14)) {
      case 0:
        return [frame(TYPE.DATA, this.#below(2) * 8 + this.#below(2), this.#someStream(), this.#bytes(60))]
      case 1:
        return [
          frame(TYPE.HEADERS, 4 + this.#below(2), this.#someStream() + 2 * this.#below(2), this.#request()),
        ]
      case 2:
        return [frame(TYPE.RST_STREAM, 0, this.#someStream(), uint32(this.#below(14)))]
      case 3:
        return [
          frame(
            TYPE.WINDOW_UPDATE,
            0,
            this.#below(2) * this.#someStream(),
            uint32(this.#below(this.#below(9) === 0 ? 2 ** 32 : 70_000)),
          ),
        ]
      case 4:
        return [settings([this.#below(7), [0, 1, 100, 65_535, 2 ** 31 - 1][this.#below(5)] ?? 0])]
      case 5:
        return [frame(TYPE.PING, this.#below(2), 0, Buffer.alloc(8))]
      case 6:
        return [
          this.#below(8) > 0
            ? frame(TYPE.PRIORITY, 0, this.#someStream(), this.#bytes(6))
            : frame(this.#below(256), this.#below(256), this.#below(300), this.#bytes(100)),
        ]
      default:
        return this.#call()
    }
  }

  /** The type is one that exists, mostly; nothing else is as it should be. */
  #anyFrame(): Buffer {
    const type = this.#below(10) > 0 ? this.#below(10) : this.#below(256)
    const length = { [TYPE.PING]: 8, [TYPE.RST_STREAM]: 4, [TYPE.WINDOW_UPDATE]: 4, [TYPE.PRIORITY]: 5 }[type]
    const payload = this.#bytes(80)
    const fitting =
      length !== undefined && this.#below(4) > 0
        ? Buffer.concat([payload, Buffer.alloc(length)], length)
        : payload
    return frame(type, this.#below(3) > 0 ? this.#below(2) * 4 : this.#below(256), this.#below(12), fitting)
  }

  /** Frames left out, doubled, swapped, or with another head. */
  #mutate(frames: readonly Buffer[]): Buffer[] {
    const mutated = [...frames]
    for (let count = 1 + this.#below(5); count > 0; count--) {
      const at = this.#below(mutated.length)
      const other = this.#below(mutated.length)
      const one = mutated[at] ?? Buffer.alloc(9)
      const copy = Buffer.from(one)
      switch (this.#below(6)) {
        case 0:
          mutated.splice(at, 1)
          break
        case 1:
          mutated.splice(other, 0, copy)
          break
        case 2:
          mutated[at] = mutated[other] ?? copy
          mutated[other] = one
          break
        case 3:
          copy[3] = this.#below(11)
          mutated[at] = copy
          break
        case 4:
          copy[4] = this.#below(256)
          mutated[at] = copy
          break
        default:
          copy.writeUInt32BE(this.#below(200), 5)
          mutated[at] = copy
      }
    }
    return mutated
  }
}
