/**
 * The heads of the pipelines on one shard, where a capture (capture.ts) listens in: while one is on, what
 * enters its pipeline is copied, with the time.
 *
 * Main takes the copies away several times a second. What comes in faster than that is left out and
 * counted: at most LIMIT_BYTES wait here, and a capture that main has forgotten ends by itself.
 */
import type { Clock } from '../component/clock.ts'
import type { Consumer } from '../component/define.ts'
import type { Batch } from '../otlp/batch.ts'

/** The scope under which shards answer main. */
export const CAPTURE_SCOPE = 'capture'
/** Waits in one shard to be taken. */
const LIMIT_BYTES = 16 * 1024 * 1024
/** When nobody has asked for so long, nobody will. */
const FORGOTTEN_MS = 5000

/** What main asks a shard, as JSON: a capture begins with the first question about it. */
export interface CaptureQuestion {
  readonly id: number
  readonly pipeline: string
  /** The last question: what is there is taken and nothing more is copied. */
  readonly last: boolean
}

export interface CapturedMessage {
  readonly wallMs: number
  readonly bytes: Uint8Array
}

/**
 * Before each message in an answer: the time (double) and the length (32 bits), after 8 bytes with the
 * number of messages left out.
 */
const ENTRY_BYTES = 12
const HEADER_BYTES = 8

export class Taps {
  readonly #clock: Clock
  #id = 0
  #pipeline = ''
  #askedMs = 0
  #parts: Uint8Array[] = []
  #byteLength = 0
  #missed = 0
  #on = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** What stands at the head of a pipeline, in front of `next`. */
  head(pipeline: string, next: Consumer): Consumer {
    return {
      consume: (batch) => {
        if (this.#on && pipeline === this.#pipeline) this.#copy(batch)
        return next.consume(batch)
      },
      refusal: () => next.refusal?.(),
      releases: next.releases === true,
    }
  }

  #copy(batch: Batch): void {
    const now = this.#clock.monotonicMs()
    if (now - this.#askedMs > FORGOTTEN_MS) {
      this.#stop()
      return
    }
    const { byteLength } = batch
    if (this.#byteLength + byteLength > LIMIT_BYTES) {
      this.#missed++
      return
    }
    const entry = Buffer.allocUnsafe(ENTRY_BYTES + byteLength)
    entry.writeDoubleLE(this.#clock.wallMs(), 0)
    entry.writeUInt32LE(byteLength, 8)
    let at = ENTRY_BYTES
    for (const chunk of batch.chunks) {
      entry.set(chunk, at) // Chunks put end to end are one request.
      at += chunk.length
    }
    this.#parts.push(entry)
    this.#byteLength += byteLength
  }

  #stop(): void {
    this.#on = false
    this.#parts = []
    this.#byteLength = this.#missed = 0
  }

  /** Answers main: all that was copied since the question before. */
  respond(question: string): Uint8Array {
    const { id, pipeline, last } = JSON.parse(question) as CaptureQuestion // Main has made it.
    if (id !== this.#id) {
      this.#stop()
      this.#id = id
      this.#pipeline = pipeline
      this.#on = true
    }
    this.#askedMs = this.#clock.monotonicMs()
    const header = Buffer.alloc(HEADER_BYTES)
    header.writeUInt32LE(this.#missed)
    const answer = Buffer.concat([header, ...this.#parts])
    this.#parts = []
    this.#byteLength = this.#missed = 0
    if (last) this.#stop()
    return answer
  }
}

/** What a shard answered. */
export function readAnswer(answer: Uint8Array): { messages: CapturedMessage[]; missed: number } {
  const bytes = Buffer.from(answer.buffer, answer.byteOffset, answer.byteLength)
  const messages: CapturedMessage[] = []
  let at = HEADER_BYTES
  while (at < bytes.length) {
    const end = at + ENTRY_BYTES + bytes.readUInt32LE(at + 8)
    messages.push({ wallMs: bytes.readDoubleLE(at), bytes: bytes.subarray(at + ENTRY_BYTES, end) })
    at = end
  }
  return { messages, missed: bytes.readUInt32LE(0) }
}
