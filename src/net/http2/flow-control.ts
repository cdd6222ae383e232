/**
 * Flow control (RFC 9113 sections 5.2 and 6.9). What a peer may still send, and what may still be sent to it, in bytes of DATA
 * frames with their padding. Credit is given back when half of a window is used, not for each frame.
 */
import { ConnectionError, ERROR } from './frames.ts'
import { DEFAULT_WINDOW, MAX_WINDOW } from './settings.ts'

/** The receiving side of a connection. */
export class ReceiveWindow {
  readonly #size: number
  #left: number

  constructor(size: number) {
    this.#size = size
    this.#left = size
  }

  /** What the first WINDOW_UPDATE of the connection has to add. */
  get opening(): number {
    return this.#size - DEFAULT_WINDOW
  }

  take(bytes: number): void {
    this.#left -= bytes
    if (this.#left < 0)
      throw new ConnectionError(ERROR.FLOW_CONTROL_ERROR, 'more DATA than the connection window allows')
  }

  /** The increment that is due, or 0. */
  refill(): number {
    const used = this.#size - this.#left
    if (used * 2 < this.#size) return 0
    this.#left = this.#size
    return used
  }
}

/** The sending side of a connection. */
export class SendWindow {
  left = DEFAULT_WINDOW

  add(increment: number): void {
    this.left += increment
    if (this.left > MAX_WINDOW)
      throw new ConnectionError(ERROR.FLOW_CONTROL_ERROR, 'the connection window overflows')
  }
}
