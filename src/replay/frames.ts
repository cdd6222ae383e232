/**
 * Takes a recording apart into messages: lines of JSON, or messages with their length in front (4 bytes,
 * big-endian), as the `file` exporters of Weir and of the Go collector write them.
 *
 * What is kept between blocks is at most one message, which is at most LARGEST_MESSAGE_BYTES.
 */
import { InvalidError } from '../errors.ts'

export const LARGEST_MESSAGE_BYTES = 256 * 1024 * 1024
const NEWLINE = 0x0a
const BRACE = 0x7b

type Form = 'lines' | 'document' | 'frames'

export class Frames {
  #form: Form | undefined
  readonly #rest: Buffer[] = []
  #restBytes = 0
  /** Of the frame that is begun: its length with the prefix; 0 when not known yet. */
  #wanted = 0

  /** Bytes of a message that has not ended: at the end of a file, one that was cut off. */
  get restBytes(): number {
    return this.#restBytes
  }

  /** Adds the messages that end in this block to `messages`. They share the memory of the blocks. */
  push(block: Buffer, messages: Buffer[]): void {
    if (block.length === 0) return
    this.#form ??= formOf(block)
    if (this.#form === 'frames') this.#pushFrames(block, messages)
    else if (this.#form === 'lines') this.#pushLines(block, messages)
    else this.#keep(block)
  }

  /** At the end of the file: a last line needs no newline, and a document ends here. */
  finish(messages: Buffer[]): void {
    if (this.#form === 'frames' || this.#restBytes === 0) return
    const last = this.#take()
    if (!isBlank(last)) messages.push(last)
  }

  #pushLines(block: Buffer, messages: Buffer[]): void {
    let start = 0
    while (true) {
      const end = block.indexOf(NEWLINE, start)
      if (end < 0) break
      let line = block.subarray(start, end)
      if (this.#restBytes > 0) {
        this.#keep(line)
        line = this.#take()
      }
      if (!isBlank(line)) messages.push(line)
      start = end + 1
    }
    if (start < block.length) this.#keep(block.subarray(start))
  }

  #pushFrames(given: Buffer, messages: Buffer[]): void {
    let block = given
    if (this.#restBytes > 0) {
      this.#keep(given)
      if (this.#wanted === 0 && this.#restBytes >= 4) {
        this.#wanted = 4 + lengthAt(this.#peek(), 0)
      }
      if (this.#wanted === 0 || this.#restBytes < this.#wanted) return
      block = this.#take()
    }
    let at = 0
    while (block.length - at >= 4) {
      const end = at + 4 + lengthAt(block, at)
      if (end > block.length) break
      messages.push(block.subarray(at + 4, end))
      at = end
    }
    if (at === block.length) return
    this.#keep(block.subarray(at))
    this.#wanted = block.length - at >= 4 ? 4 + lengthAt(block, at) : 0
  }

  /** The rest in one piece, which it becomes. */
  #peek(): Buffer {
    const whole = this.#take()
    this.#keep(whole)
    return whole
  }

  #keep(part: Buffer): void {
    this.#rest.push(part)
    this.#restBytes += part.length
    if (this.#restBytes > LARGEST_MESSAGE_BYTES + 16 * 1024 * 1024) throw tooLarge()
  }

  #take(): Buffer {
    const whole = this.#rest.length === 1 ? this.#rest[0]! : Buffer.concat(this.#rest)
    this.#rest.length = 0
    this.#restBytes = 0
    this.#wanted = 0
    return whole
  }
}

function lengthAt(bytes: Buffer, at: number): number {
  const length = bytes.readUInt32BE(at)
  if (length > LARGEST_MESSAGE_BYTES) throw tooLarge()
  return length
}

function tooLarge(): InvalidError {
  return new InvalidError('not a recording: neither lines of JSON nor messages with their length in front')
}

/**
 * JSON begins with a brace; a length that began so would be above the limit. One over several lines is a
 * document.
 */
function formOf(block: Buffer): Form {
  if (block[0] !== BRACE) return 'frames'
  const end = block.indexOf(NEWLINE)
  return end >= 0 && isBlank(block.subarray(1, end)) ? 'document' : 'lines'
}

function isBlank(bytes: Buffer): boolean {
  for (const byte of bytes)
    if (byte !== 0x20 && byte !== 0x0d && byte !== 0x09 && byte !== NEWLINE) return false
  return true
}
