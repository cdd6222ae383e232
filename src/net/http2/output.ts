/**
 * What goes out on a connection. Frames are written straight into one buffer, which goes to the socket as one piece at the end of
 * the turn of the event loop: after the promises that the turn settled, so that their answers are in it too. Long content can
 * go by reference: then the socket gets a list of pieces, and whoever owns the content leaves it alone until `taken` has passed
 * the `end` that was noted after it.
 */
import type { Socket } from 'node:net'
import { FRAME, FRAME_HEAD_BYTES, putFrameHead, putUint32 } from './frames.ts'

const FIRST_BYTES = 1024
/** A buffer of up to this stays for the next turn. */
const KEPT_BYTES = 16 * 1024
/** At this much the turn's end is not waited for. */
const FLUSH_BYTES = 256 * 1024
/** Content of less than this is copied: a piece of its own costs more. */
const REFERRED_BYTES = 2048
const EMPTY = Buffer.alloc(0)

const dirty: Output[] = []

function flushAll(): void {
  for (let index = 0; index < dirty.length; index++) dirty[index]!.flush()
  dirty.length = 0
}

export class Output {
  readonly #socket: Socket
  bytes: Buffer = EMPTY
  length = 0
  #scheduled = false
  /** What goes out before the bytes from `#cut` on: earlier parts of `bytes`, and content between them. */
  #pieces: Uint8Array[] = []
  #pieceBytes = 0
  #cut = 0
  #handed = 0

  constructor(socket: Socket) {
    this.#socket = socket
  }

  /** Bytes that are not with the socket yet. */
  get waiting(): number {
    return this.#pieceBytes + this.length - this.#cut
  }

  /** Where the last byte that was put in stands among all bytes ever put in. */
  get end(): number {
    return this.#handed + this.waiting
  }

  /** Up to where the socket has let go of the memory. */
  get taken(): number {
    return this.#handed - this.#socket.writableLength
  }

  /** Makes room for `count` bytes at `length` of `bytes`; who writes them adds to `length`. */
  reserve(count: number): void {
    if (!this.#scheduled) {
      this.#scheduled = true
      if (dirty.push(this) === 1) process.nextTick(flushAll)
    }
    if (this.waiting > FLUSH_BYTES) this.#write()
    const needed = this.length + count
    if (needed <= this.bytes.length) return
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.bytes.length * 2, FIRST_BYTES))
    this.bytes.copy(grown, 0, 0, this.length)
    this.bytes = grown
  }

  raw(piece: Uint8Array): void {
    this.reserve(piece.length)
    this.bytes.set(piece, this.length)
    this.length += piece.length
  }

  /** Content between `start` and `end`, by reference when it is long. */
  content(bytes: Uint8Array, start: number, end: number): void {
    const count = end - start
    if (count >= REFERRED_BYTES) {
      this.reserve(0)
      this.#refer(this.bytes, this.#cut, this.length)
      this.#cut = this.length
      this.#refer(bytes, start, end)
      return
    }
    this.reserve(count)
    this.bytes.set(start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end), this.length)
    this.length += count
  }

  #refer(bytes: Uint8Array, start: number, end: number): void {
    if (start === end) return
    this.#pieces.push(start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end))
    this.#pieceBytes += end - start
  }

  /** What the socket has not taken may not be read any more: nothing else is sent, and the connection ends. */
  cut(): void {
    this.#pieces = []
    this.#pieceBytes = 0
    this.#cut = 0
    this.length = 0
    this.#socket.destroy()
  }

  /** A frame of at most one 32-bit number: RST_STREAM, WINDOW_UPDATE. */
  number(type: number, streamId: number, value: number): void {
    this.reserve(FRAME_HEAD_BYTES + 4)
    const at = putFrameHead(this.bytes, this.length, 4, type, 0, streamId)
    putUint32(this.bytes, at, value)
    this.length = at + 4
  }

  /** A frame on the connection with this payload. */
  frame(type: number, flags: number, payload: Uint8Array): void {
    this.reserve(FRAME_HEAD_BYTES + payload.length)
    const at = putFrameHead(this.bytes, this.length, payload.length, type, flags, 0)
    this.bytes.set(payload, at)
    this.length = at + payload.length
  }

  goAway(lastStreamId: number, code: number, reason: string): void {
    const text = Buffer.from(reason)
    const payload = Buffer.alloc(8 + text.length)
    putUint32(payload, 0, lastStreamId)
    putUint32(payload, 4, code)
    payload.set(text, 8)
    this.frame(FRAME.GOAWAY, 0, payload)
  }

  flush(): void {
    this.#scheduled = false
    if (this.waiting > 0) this.#write()
  }

  /** The socket has the bytes until it has written them; when that was at once they are used again. */
  #write(): void {
    const socket = this.#socket
    const { bytes, length } = this
    if (this.#pieces.length > 0) return void this.#writePieces()
    this.length = 0
    this.#handed += length
    if (!socket.writable) {
      this.bytes = EMPTY
      return
    }
    socket.write(length === bytes.length ? bytes : bytes.subarray(0, length))
    if (socket.writableLength > 0 || bytes.length > KEPT_BYTES) this.bytes = EMPTY
  }

  #writePieces(): void {
    const socket = this.#socket
    const { bytes } = this
    this.#refer(bytes, this.#cut, this.length)
    const pieces = this.#pieces
    this.#handed += this.#pieceBytes
    this.#pieces = []
    this.#pieceBytes = 0
    this.#cut = 0
    this.length = 0
    if (socket.writable) {
      socket.cork()
      for (const piece of pieces) socket.write(piece)
      socket.uncork()
    }
    if (!socket.writable || socket.writableLength > 0 || bytes.length > KEPT_BYTES) this.bytes = EMPTY
  }
}
