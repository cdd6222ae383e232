/** One unary call on the server: its stream (RFC 9113 section 5.1) and what the handler sees of it. */
import { givePayload, takePayload } from '../../otlp/payload-pool.ts'
import type { UnaryCall } from '../grpc.ts'
import { MessageReader, type Room } from './message-reader.ts'
import type { RequestHead } from './request-head.ts'

export const PHASE = {
  /** The message is not whole, or `admit` has not decided. */
  READING: 0,
  /** Being decompressed, or with the handler. */
  HANDLING: 1,
  /** The answer waits for the peer's windows. */
  SENDING: 2,
  /** Answered; the rest of the request is read and dropped. */
  DROPPING: 3,
  /** The stream is gone. A handler may still be at work. */
  GONE: 4,
} as const

const EMPTY = new Uint8Array(0)

/** Where a call accounts for its bytes. */
export interface CallRoom {
  takeRoom(bytes: number): boolean
}

export class Call implements UnaryCall, Room {
  readonly id: number
  readonly head: RequestHead
  readonly #room: CallRoom
  readonly reader = new MessageReader()
  message: Uint8Array = EMPTY
  deadlineMs: number | undefined
  phase: number = PHASE.READING
  admitted = false
  /** Decompression or the handler is at work. */
  working = false
  /** The peer has sent END_STREAM. */
  remoteEnded = false
  /** Content of DATA so far, for content-length. */
  received = 0
  /** What the peer may still send. */
  windowLeft: number
  /** What may be sent, less the peer's initial window. */
  sendCredit = 0
  /** Bytes of the budget that this call holds. */
  held = 0
  /** When the call is ended if nothing else happens. */
  dueMs: number
  /** What waits for the peer's windows. */
  pending: Uint8Array = EMPTY
  pendingAt = 0
  /** `pending` is no gRPC message but text, which ends without trailers. */
  text = false

  constructor(id: number, head: RequestHead, room: CallRoom, windowBytes: number, dueMs: number) {
    this.id = id
    this.head = head
    this.#room = room
    this.windowLeft = windowBytes
    this.dueMs = dueMs
  }

  get path(): string {
    return this.head.path
  }

  get peer(): string {
    return this.head.peer
  }

  get metadata(): ReadonlyMap<string, readonly string[]> {
    return this.head.metadata
  }

  take(bytes: number): boolean {
    if (!this.#room.takeRoom(bytes)) return false
    this.held += bytes
    return true
  }

  /** Nobody keeps the bytes that are decompressed, nor those of a handler that releases them. */
  allocate(bytes: number): Buffer {
    return this.head.releases || this.reader.compressed ? takePayload(bytes) : Buffer.allocUnsafeSlow(bytes)
  }

  free(bytes: Buffer): void {
    givePayload(bytes)
  }
}
