/** What a small HTTP server (metrics, health) does with bytes that are no HTTP request: says so, and closes. */
import type { Server } from 'node:http'
import type { Duplex } from 'node:stream'

const BAD_REQUEST = 'HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n'

export function answerBadRequests(server: Server): void {
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => {
    socket.on('error', () => {}) // It may be gone by now.
    if (error.code === 'ECONNRESET' || !socket.writable) socket.destroy()
    else socket.end(BAD_REQUEST, () => socket.destroy())
  })
}
