/**
 * Messages on their way out: DATA frames as long as the server takes them, as many as its windows allow (RFC 9113 sections 5.2
 * and 6.9) and as the socket can hold. What does not go out now goes on in the order in which the calls began.
 */
import type { ClientCall } from './client-call.ts'
import type { Connection } from './connection.ts'

/** Bytes that wait to be written, at which no more are added until the socket has taken them. */
const MAX_UNWRITTEN_BYTES = 512 * 1024
/** The longest DATA frame, when the server allows more: what is urgent waits no longer than for this. */
const MAX_DATA_BYTES = 256 * 1024

export class ClientSender {
  readonly #connection: Connection
  readonly #calls = new Set<ClientCall>()
  /** The socket has as much as it may have. */
  blocked = false

  constructor(connection: Connection) {
    this.#connection = connection
  }

  add(call: ClientCall): void {
    this.#calls.add(call)
    this.pump(call)
  }

  delete(call: ClientCall): void {
    this.#calls.delete(call)
  }

  clear(): void {
    this.#calls.clear()
  }

  pump(call: ClientCall): void {
    const { sendWindow, peerSettings, output, socket, guard } = this.#connection
    while (call.left > 0) {
      if (output.waiting + socket.writableLength >= MAX_UNWRITTEN_BYTES) {
        this.blocked = true
        return
      }
      const window = Math.min(sendWindow.left, peerSettings.initialWindowSize + call.sendCredit)
      const count = Math.min(window, call.left, peerSettings.maxFrameSize, MAX_DATA_BYTES)
      if (count <= 0) return
      sendWindow.left -= count
      call.sendCredit -= count
      guard.answers++ // Earns the WINDOW_UPDATEs that come for it.
      call.write(count)
    }
    this.#calls.delete(call)
  }

  pumpAll(): void {
    for (const call of this.#calls) {
      if (this.blocked || this.#connection.sendWindow.left <= 0) return
      this.pump(call)
    }
  }

  /** The socket has taken all. */
  unblock(): void {
    this.blocked = false
    this.pumpAll()
  }
}
