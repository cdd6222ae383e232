/**
 * Reads a socket into memory that all plain sockets of the thread share: what is read is copied to where it
 * belongs before the next read. Left to itself, Node allocates 64 KB for each read. That costs 5 to 20
 * microseconds of the 25 to 40 that a request of 42 KB takes.
 *
 * net.Socket has this as its option `onread`, but only for sockets that its user constructs, not for accepted
 * ones. So the three fields that the option sets are set here. Where a version of Node does not have them,
 * and on TLS, the socket is read as usual.
 */
import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'

/**
 * Large enough for all that a socket's receive buffer holds in most reads; beyond it there is just another
 * read.
 */
const SHARED_BYTES = 256 * 1024

let memory: Buffer | undefined

interface Handle {
  useUserBuffer?(buffer: Buffer): void
}
type OnRead = (length: number, buffer: Buffer) => boolean

/** Calls `onBytes` with what comes. Where isShared() says so, the chunk is only lent until it returns. */
export function readSocket(socket: Socket, onBytes: (chunk: Buffer) => void): void {
  if (!lendMemory(socket, onBytes)) socket.on('data', onBytes)
}

export function isShared(chunk: Buffer): boolean {
  return memory !== undefined && chunk.buffer === memory.buffer
}

function lendMemory(socket: Socket, onBytes: (chunk: Buffer) => void): boolean {
  if (socket instanceof TLSSocket) return false
  const own = Object.getOwnPropertySymbols(socket)
  const buffer = own.find((symbol) => symbol.description === 'kBuffer')
  const callback = own.find((symbol) => symbol.description === 'kBufferCb')
  const fields = socket as unknown as Record<symbol, unknown> & { readonly _handle?: Handle | null }
  if (buffer === undefined || callback === undefined || !fields._handle?.useUserBuffer) return false
  memory ??= Buffer.allocUnsafeSlow(SHARED_BYTES)
  const onRead: OnRead = (length, bytes) => {
    onBytes(bytes.subarray(0, length))
    return true
  }
  fields[buffer] = memory
  fields[callback] = onRead
  fields._handle.useUserBuffer(memory)
  socket.resume()
  return true
}
