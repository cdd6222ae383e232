/**
 * What a socket still has to read of a request body when its request is over: the server may answer before it
 * has all. undici does not tell when a body is written, but it tells which socket a request goes to (by its
 * diagnostics channel), and that knows.
 */
import diagnostics from 'node:diagnostics_channel'
import type { Socket } from 'node:net'
import { keepPayload } from '../otlp/payload-pool.ts'

interface SendHeaders {
  readonly request: { readonly body: unknown }
  readonly socket: Socket
}

/** The socket of each body that was announced, once it is there. */
const sockets = new WeakMap<object, Socket | undefined>()

diagnostics.subscribe('undici:client:sendHeaders', (message) => {
  const { request, socket } = message as SendHeaders
  const { body } = request
  if (typeof body === 'object' && body !== null && sockets.has(body)) sockets.set(body, socket)
})

/** `body` goes to undici now, in one request and no other. */
export function announceBody(body: object): void {
  sockets.set(body, undefined)
}

/**
 * The request is over: what the socket still has to read is not to be used again when the owner of the bytes
 * thinks that they are free. Memory that is shared with another shard cannot be kept from that, so then the
 * connection ends.
 */
export function keepUnsent(body: object, chunks: readonly Uint8Array[]): void {
  const socket = sockets.get(body)
  if (socket === undefined || socket.destroyed || socket.writableLength === 0) return
  for (const chunk of chunks) {
    if (chunk.buffer instanceof SharedArrayBuffer) return void socket.destroy()
    keepPayload(chunk)
  }
}
