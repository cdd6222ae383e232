/** Notices a peer that takes nothing of what is written to it: what it is owed would stay in memory for ever. */
import type { Socket } from 'node:net'

/** How long a peer may take nothing. */
export const STALL_MS = 60_000

export class StallWatch {
  #takenBytes = -1
  #sinceMs = 0

  /** Asked now and then; true when bytes have waited for STALL_MS and the peer took none of them. */
  stalled(socket: Socket, nowMs: number): boolean {
    const waiting = socket.writableLength
    if (waiting === 0) {
      this.#takenBytes = -1
      return false
    }
    const taken = socket.bytesWritten - waiting
    if (taken !== this.#takenBytes) {
      this.#takenBytes = taken
      this.#sinceMs = nowMs
    }
    return nowMs - this.#sinceMs >= STALL_MS
  }
}
