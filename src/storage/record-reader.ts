/** Reads records back, each with its checksum checked, and keeps few files open. */
import { toError } from '../errors.ts'
import { CorruptRecordError } from './log.ts'
import { checksumOf, decodeHeader, HEADER_BYTES, type RecordHeader } from './record.ts'
import type { Place, Segment } from './segment.ts'

const MAX_OPEN = 16
const TRIES = 3
const RETRY_MS = 100

export interface ReadRecord {
  readonly header: RecordHeader
  readonly payload: Buffer
}

export class RecordReader {
  /** Used least recently first. */
  readonly #open: Segment[] = []

  /** Rejects with a CorruptRecordError; its cause is the error of the file system, if it was one. */
  async read(place: Place): Promise<ReadRecord> {
    let failure: Error | undefined
    for (let tries = 0; tries < TRIES && !place.released; tries++) {
      if (tries > 0) await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
      const { segment, offset } = place // A compaction may move it between two tries.
      try {
        const bytes = await this.#bytes(segment, HEADER_BYTES + place.length, offset)
        const header = decodeHeader(bytes, 0, segment.seed)
        const payload = bytes.subarray(HEADER_BYTES)
        if (header && payload.length === place.length && checksumOf([payload]) === header.checksum)
          return { header, payload }
        failure = undefined
      } catch (error) {
        failure = toError(error)
      }
    }
    throw new CorruptRecordError('the stored record cannot be read back', { cause: failure })
  }

  async #bytes(segment: Segment, length: number, offset: number): Promise<Buffer> {
    const index = this.#open.indexOf(segment)
    if (index >= 0) this.#open.splice(index, 1)
    this.#open.push(segment)
    if (this.#open.length > MAX_OPEN) {
      const idle = this.#open.findIndex((other) => other.reading === 0 && other !== segment)
      if (idle >= 0) await this.#open.splice(idle, 1)[0]?.closeReader()
    }
    return await segment.read(length, offset)
  }
}
