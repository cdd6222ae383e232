/**
 * A capture is a file of messages with their length in front, as the `file` exporter writes with `format:
 * proto`, and beside it a small index: 8 bytes `WEIRTIM1`, then for each message when it came in, as
 * nanoseconds since 1970 in 8 bytes, little-endian.
 */
export const TIMES_SUFFIX = '.times'
export const TIMES_MAGIC = Buffer.from('WEIRTIM1')
export const CAPTURE_SUFFIX = '.otlp'

export class ArrivalTimes {
  readonly #bytes: Buffer

  constructor(bytes: Buffer) {
    this.#bytes = bytes.subarray(0, TIMES_MAGIC.length).equals(TIMES_MAGIC) ? bytes : Buffer.alloc(0)
  }

  /** When the message with this index came in, in ms since 1970; undefined when the index ends before. */
  at(index: number): number | undefined {
    const at = TIMES_MAGIC.length + index * 8
    if (at + 8 > this.#bytes.length) return undefined
    return (this.#bytes.readUInt32LE(at + 4) * 2 ** 32 + this.#bytes.readUInt32LE(at)) / 1e6
  }
}

/** What stands before a message. */
export function lengthPrefix(byteLength: number): Buffer {
  const prefix = Buffer.allocUnsafe(4)
  prefix.writeUInt32BE(byteLength)
  return prefix
}

export function timeEntry(wallMs: number): Buffer {
  const entry = Buffer.allocUnsafe(8)
  entry.writeBigUInt64LE(BigInt(Math.round(wallMs * 1000)) * 1000n)
  return entry
}
