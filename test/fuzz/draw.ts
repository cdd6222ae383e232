/** What a fuzzer draws from its seed, and the mutations that fit any bytes. */
import { randomSource } from '../property/http2-frames.ts'

/** Bytes that mean something to more than one parser: limits of lengths, signs, separators. */
const TELLING = Uint8Array.from([
  ...[0, 1, 2, 7, 8, 10, 13, 18, 26, 31, 32, 34, 44, 58, 63, 64],
  ...[91, 92, 93, 123, 125, 127, 128, 129, 191, 192, 240, 254, 255],
])

export class Draw {
  readonly unit: () => number
  constructor(seed: number) {
    this.unit = randomSource(seed)
  }

  below(limit: number): number {
    return Math.floor(this.unit() * limit)
  }

  chance(share: number): boolean {
    return this.unit() < share
  }

  pick<T>(from: readonly T[]): T {
    const picked = from[this.below(from.length)]
    if (picked === undefined) throw new RangeError('nothing to pick from')
    return picked
  }

  byte(): number {
    return this.chance(0.5) ? (TELLING[this.below(TELLING.length)] ?? 0) : this.below(256)
  }

  /** Below `limit` of them. */
  bytes(limit: number): Buffer {
    const bytes = Buffer.allocUnsafe(this.below(limit))
    for (let at = 0; at < bytes.length; at++) bytes[at] = this.below(256)
    return bytes
  }
}

/** A copy with bytes set, flipped, left out, repeated, put in, moved; cut now and then. */
export function mutateBytes(draw: Draw, bytes: Uint8Array, other: Uint8Array): Buffer {
  let mutant = Buffer.from(bytes)
  for (let count = 1 + draw.below(3); count > 0; count--) {
    const at = draw.below(mutant.length + 1)
    const length = 1 + draw.below(draw.chance(0.2) ? 64 : 4)
    const before = mutant.subarray(0, at)
    switch (draw.below(8)) {
      case 0:
        if (at < mutant.length) mutant[at] = (mutant[at] ?? 0) ^ (1 << draw.below(8))
        break
      case 1:
        mutant = Buffer.concat([before, mutant.subarray(at + length)])
        break
      case 2:
        mutant = Buffer.concat([before, mutant.subarray(at, at + length), mutant.subarray(at)])
        break
      case 3:
        mutant = Buffer.concat([before, draw.bytes(length + 1), mutant.subarray(at)])
        break
      case 4: {
        const from = draw.below(other.length + 1)
        mutant = Buffer.concat([before, other.subarray(from, from + length), mutant.subarray(at + length)])
        break
      }
      case 5:
        if (draw.chance(0.3)) mutant = Buffer.from(before)
        break
      default:
        if (at < mutant.length) mutant[at] = draw.byte()
    }
  }
  return mutant
}
