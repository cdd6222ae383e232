/** The server's end of HTTP/2 by hand: takes connections, reads the preface, and leaves the frames to the test. */
import net from 'node:net'
import { block, frame, grpcMessage, RawClient, settings, TYPE } from './raw-http2.ts'

export class RawServer {
  readonly peers: RawClient[] = []
  readonly #server: net.Server
  readonly #sockets = new Set<net.Socket>()
  #wake: (() => void)[] = []
  port = 0

  /** `greet` gives what each connection gets first: SETTINGS, unless it says otherwise. */
  constructor(greet: (index: number) => Buffer = () => settings()) {
    let index = 0
    this.#server = net.createServer({ noDelay: true }, (socket) => {
      this.#sockets.add(socket)
      socket.on('close', () => this.#sockets.delete(socket))
      socket.on('error', () => {})
      socket.write(greet(index++))
      socket.once('readable', () => {
        if (socket.read(24) === null) return
        this.peers.push(new RawClient(socket))
        for (const wake of this.#wake.splice(0)) wake()
      })
    })
  }

  async start(port = 0, host = '127.0.0.1'): Promise<this> {
    await new Promise<void>((resolve) => void this.#server.listen(port, host, resolve))
    this.port = (this.#server.address() as net.AddressInfo).port
    return this
  }

  async peer(index = 0): Promise<RawClient> {
    while (this.peers[index] === undefined) await new Promise<void>((resolve) => this.#wake.push(resolve))
    return this.peers[index]
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

/** Head, message and trailers of an answer with status OK. */
export function okAnswer(stream: number, message: Uint8Array = Buffer.alloc(0)): Buffer {
  return Buffer.concat([
    frame(TYPE.HEADERS, 4, stream, block({ ':status': '200', 'content-type': 'application/grpc' })),
    frame(TYPE.DATA, 0, stream, grpcMessage(message)),
    frame(TYPE.HEADERS, 5, stream, block({ 'grpc-status': '0' })),
  ])
}

/** The stream of the `count`-th call that has begun, once it has. */
export function callStream(peer: RawClient, count = 1): Promise<number> {
  return peer.until((frames) => frames.filter(({ type }) => type === TYPE.HEADERS)[count - 1]?.stream)
}

/** The DATA of a stream so far. */
export function dataOf(peer: RawClient, stream: number): Buffer {
  const frames = peer.frames.filter((seen) => seen.type === TYPE.DATA && seen.stream === stream)
  return Buffer.concat(frames.map(({ payload }) => payload))
}

/** Waits until the request on the stream has ended; gives its message. */
export async function wholeRequest(peer: RawClient, stream: number): Promise<Buffer> {
  await peer.until((frames) =>
    frames.find((seen) => seen.type === TYPE.DATA && seen.stream === stream && seen.flags & 1),
  )
  return dataOf(peer, stream).subarray(5)
}
