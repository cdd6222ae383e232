/**
 * Compresses a request while its series are written, as a Snappy block, out of what is known about them.
 *
 * Neighbouring series share most of their labels: those of one data point all but `__name__` and `le`, those of one
 * resource its labels. So the packer does not search for repetitions, it looks where the series before has the same
 * label. On the bench (bench/micro/remote-write.ts) this costs about what a general encoder costs that keeps its memory, for
 * a block that is about half as large again; it saves the second walk over the bytes.
 *
 * Everything is said in offsets into the bytes that are compressed. What is not named as a copy goes out as it is.
 */
import { ByteArea } from '../../prometheus/byte-area.ts'

/** Copies reach back as far as two bytes can say. */
const FARTHEST = 65_535
/** Shorter ones cost more than the bytes themselves. */
const SHORTEST = 4

export class Packer {
  readonly #source: ByteArea
  readonly #area = new ByteArea(16 * 1024)
  #start = 0
  #done = 0

  /** `source` is what is compressed; it grows while the packer works. */
  constructor(source: ByteArea) {
    this.#source = source
  }

  /** Begins a block at this offset of the source. */
  begin(start: number): void {
    this.#area.clear()
    this.#start = this.#done = start
  }

  /** The block of all from its beginning to `end`. The bytes are the caller's. */
  finish(end: number): Uint8Array {
    this.#literal(end)
    const header = new ByteArea(16)
    header.varint(end - this.#start)
    const block = Buffer.allocUnsafeSlow(header.length + this.#area.length)
    header.bytes.copy(block, 0, 0, header.length)
    this.#area.bytes.copy(block, header.length, 0, this.#area.length)
    return block
  }

  /** Says that [from, to) equals what lies `back` bytes before it. The caller has made sure of it. */
  copy(from: number, to: number, back: number): void {
    if (to - from < SHORTEST || back > FARTHEST || from - back < this.#start || from < this.#done) return
    this.#literal(from)
    const area = this.#area
    area.reserve((to - from) / 16 + 8)
    let length = to - from
    // Element: length - 1 in the upper six bits, then the offset; short ones have a form of two bytes.
    while (length >= 68) {
      this.#long(64, back)
      length -= 64
    }
    if (length > 64) {
      this.#long(60, back)
      length -= 60
    }
    if (length >= 12 || back >= 2048) this.#long(length, back)
    else {
      area.byte(((back >> 8) << 5) | ((length - 4) << 2) | 1)
      area.byte(back & 255)
    }
    this.#done = to
  }

  #long(length: number, back: number): void {
    const area = this.#area
    area.byte(((length - 1) << 2) | 2)
    area.byte(back & 255)
    area.byte(back >> 8)
  }

  #literal(end: number): void {
    const start = this.#done
    const length = end - start
    if (length <= 0) return
    const area = this.#area
    const rest = length - 1
    if (rest < 60) area.byte(rest << 2)
    else {
      const bytes = rest < 256 ? 1 : rest < 65_536 ? 2 : rest < 16_777_216 ? 3 : 4
      area.byte((59 + bytes) << 2)
      for (let index = 0; index < bytes; index++) area.byte((rest / 256 ** index) & 255)
    }
    area.copy(this.#source.bytes, start, end)
    this.#done = end
  }

  /** Copies all runs of [from, to) that equal what lies `back` bytes before them. */
  same(from: number, to: number, back: number): void {
    const bytes = this.#source.bytes
    if (from - back < 0) return
    let at = from
    while (at < to) {
      const start = at
      while (at < to && bytes[at] === bytes[at - back]) at++
      if (at > start) this.copy(start, at, back)
      while (at < to && bytes[at] !== bytes[at - back]) at++
    }
  }

  /**
   * Two sorted runs of labels, those in [from, to) and those of an earlier series: copies what labels of the same
   * name have in common from their beginning on.
   */
  labels(from: number, to: number, earlier: number, earlierEnd: number): void {
    const bytes = this.#source.bytes
    let runStart = from
    let runBack = -1
    while (from < to && earlier < earlierEnd) {
      const end = fieldEnd(bytes, from)
      const earlierNext = fieldEnd(bytes, earlier)
      let equal = 0
      const most = Math.min(end - from, earlierNext - earlier)
      while (equal < most && bytes[from + equal] === bytes[earlier + equal]) equal++
      const back = from - earlier
      const whole = from + equal === end && earlierNext - earlier === end - from
      if (runBack !== back) {
        if (runBack >= 0) this.copy(runStart, from, runBack)
        runStart = from
        runBack = back
      }
      if (whole) {
        from = end
        earlier = earlierNext
        continue
      }
      const order = compareFieldNames(bytes, from, earlier)
      this.copy(runStart, order === 0 ? from + equal : from, back)
      runBack = -1
      if (order <= 0) from = end
      if (order >= 0) earlier = earlierNext
    }
    if (runBack >= 0) this.copy(runStart, from, runBack)
  }
}

/** Where the label field at this offset ends: tag, length, content. */
function fieldEnd(bytes: Uint8Array, at: number): number {
  let length = bytes[at + 1]!
  if (length < 128) return at + 2 + length
  length &= 127
  let scale = 128
  at += 2
  while (bytes[at]! >= 128) {
    length += (bytes[at++]! & 127) * scale
    scale *= 128
  }
  return at + 1 + length + bytes[at]! * scale
}

function compareFieldNames(bytes: Uint8Array, left: number, right: number): number {
  left = nameLengthAt(bytes, left)
  right = nameLengthAt(bytes, right)
  const leftLength = bytes[left]!
  const rightLength = bytes[right]!
  // Longer names than a byte can say are compared by their beginning; a wrong order only costs a copy.
  const most = Math.min(leftLength, rightLength) & 127
  for (let index = 1; index <= most; index++) {
    const order = bytes[left + index]! - bytes[right + index]!
    if (order !== 0) return order
  }
  return leftLength - rightLength
}

/** Where the length of the name of a label field stands: behind tag and length of the field and the tag of the name. */
function nameLengthAt(bytes: Uint8Array, field: number): number {
  let at = field + 1
  while (bytes[at]! >= 128) at++
  return at + 2
}
