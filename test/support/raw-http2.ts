/** HTTP/2 by hand: frames as bytes, and a client on a bare socket that records the frames it is sent. */
import net from 'node:net'
import type { Duplex } from 'node:stream'
import { HpackDecoder } from '../../src/net/http2/hpack-decoder.ts'
import type { Field } from '../../src/net/http2/hpack-table.ts'

export const TYPE = {
  DATA: 0,
  HEADERS: 1,
  PRIORITY: 2,
  RST_STREAM: 3,
  SETTINGS: 4,
  PUSH_PROMISE: 5,
  PING: 6,
  GOAWAY: 7,
  WINDOW_UPDATE: 8,
  CONTINUATION: 9,
} as const

export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Uint8Array | number[] = [],
): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, Buffer.from(payload)])
}

export function uint32(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4)
  for (const [index, value] of values.entries()) bytes.writeUInt32BE(value, index * 4)
  return bytes
}

/** SETTINGS of these pairs. */
export function settings(...pairs: [number, number][]): Buffer {
  return frame(
    TYPE.SETTINGS,
    0,
    0,
    Buffer.concat(pairs.map(([id, value]) => Buffer.concat([Buffer.from([0, id]), uint32(value)]))),
  )
}

/** A header block of literals without indexing. */
export function block(
  fields: Readonly<Record<string, string>> | readonly (readonly [string, string])[],
): Buffer {
  const entries = Array.isArray(fields) ? fields : Object.entries(fields)
  return Buffer.concat(
    entries.map(([name, value]) =>
      Buffer.concat([Buffer.from([0]), short(name), Buffer.from(name), short(value), Buffer.from(value)]),
    ),
  )
}

function short(text: string): Buffer {
  const length = Buffer.byteLength(text)
  if (length < 127) return Buffer.from([length])
  const bytes = [127]
  let rest = length - 127
  for (; rest >= 128; rest >>>= 7) bytes.push((rest & 127) | 128)
  return Buffer.from([...bytes, rest])
}

export const REQUEST = {
  ':method': 'POST',
  ':scheme': 'http',
  ':path': '/test.Service/Export',
  ':authority': 'test',
  'content-type': 'application/grpc',
  te: 'trailers',
}

/** Length prefix and message. */
export function grpcMessage(message: Uint8Array, compressed = 0, length = message.length): Buffer {
  return Buffer.concat([Buffer.from([compressed]), uint32(length), message])
}

export interface SeenFrame {
  readonly type: number
  readonly flags: number
  readonly stream: number
  readonly payload: Buffer
  /** Of HEADERS. */
  readonly fields: Readonly<Record<string, string>>
}

export class RawClient {
  readonly frames: SeenFrame[] = []
  closed = false
  /** Whether SETTINGS of the server are acknowledged. */
  acknowledges = true
  /** What came before anything that looks like a frame is parsed as frames all the same. */
  readonly socket: Duplex
  #rest = Buffer.alloc(0)
  /** Of HEADERS and CONTINUATION so far; the fields stand with the last of them. */
  #block = Buffer.alloc(0)
  readonly #decoder = new HpackDecoder()
  #wake = new Set<() => void>()

  constructor(socket: Duplex) {
    this.socket = socket
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => this.#read(chunk))
    socket.on('close', () => {
      this.closed = true
      for (const wake of this.#wake) wake()
    })
  }

  static connect(port: number): RawClient {
    return new RawClient(net.connect({ port, host: '127.0.0.1', noDelay: true }))
  }

  /** Sends the preface and these frames. */
  static open(port: number, ...frames: Buffer[]): RawClient {
    const client = RawClient.connect(port)
    client.send(Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), settings(), ...frames)
    return client
  }

  send(...frames: Buffer[]): void {
    if (!this.closed) this.socket.write(Buffer.concat(frames))
  }

  /** The HEADERS of a call and its message. */
  call(stream: number, message: Uint8Array, fields: Readonly<Record<string, string>> = {}): void {
    this.send(
      frame(TYPE.HEADERS, 4, stream, block({ ...REQUEST, ...fields })),
      frame(TYPE.DATA, 1, stream, grpcMessage(message)),
    )
  }

  #read(chunk: Buffer): void {
    let bytes = Buffer.concat([this.#rest, chunk])
    while (bytes.length >= 9 && bytes.length >= 9 + bytes.readUIntBE(0, 3)) {
      const length = bytes.readUIntBE(0, 3)
      const payload = Buffer.from(bytes.subarray(9, 9 + length))
      const [type, flags] = [bytes[3] ?? 0, bytes[4] ?? 0]
      const fields: Field[] = []
      if (type === TYPE.HEADERS || type === TYPE.CONTINUATION) {
        this.#block = type === TYPE.HEADERS ? payload : Buffer.concat([this.#block, payload])
        if (flags & 4) this.#decoder.decode(this.#block, 0, this.#block.length, 1e6, fields)
      }
      const stream = bytes.readUInt32BE(5) & 0x7fffffff
      const seen = Object.fromEntries(fields.map(({ name, value }) => [name, value]))
      this.frames.push({ type, flags, stream, payload, fields: seen })
      if (this.acknowledges && type === TYPE.SETTINGS && flags === 0) this.send(frame(TYPE.SETTINGS, 1, 0))
      bytes = bytes.subarray(9 + length)
    }
    this.#rest = bytes
    for (const wake of this.#wake) wake()
  }

  /** Resolves with what `find` gives, as soon as it gives something; rejects when the connection closes before. */
  async until<T>(find: (frames: readonly SeenFrame[]) => T | undefined, ms = 10_000): Promise<T> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => done(new Error(`not seen: ${JSON.stringify(this.frames.slice(-9))}`)),
        ms,
      )
      const done = (error?: Error): void => {
        const found = find(this.frames)
        if (found === undefined && error === undefined && !this.closed) return
        this.#wake.delete(done as () => void)
        clearTimeout(timer)
        if (found !== undefined) resolve(found)
        else reject(error ?? new Error(`closed: ${JSON.stringify(this.frames.slice(-9))}`))
      }
      this.#wake.add(done as () => void)
      done()
    })
  }

  /** The grpc-status that ends the stream. */
  status(stream: number): Promise<string> {
    return this.until(
      (frames) =>
        frames.find((seen) => seen.stream === stream && seen.fields['grpc-status'])?.fields['grpc-status'],
    )
  }

  /** The code of the RST_STREAM that ends the stream. */
  reset(stream: number): Promise<number> {
    return this.until((frames) =>
      frames.find((seen) => seen.stream === stream && seen.type === TYPE.RST_STREAM)?.payload.readUInt32BE(0),
    )
  }

  /** The code and text of the last GOAWAY, which comes with the end of the connection. */
  async goAway(): Promise<{ code: number; text: string; last: number }> {
    return this.until((frames) => {
      const seen = frames.findLast(
        ({ type, payload }) => type === TYPE.GOAWAY && payload.readUInt32BE(0) < 0x7fffffff,
      )
      if (seen === undefined) return undefined
      const { payload } = seen
      return {
        last: payload.readUInt32BE(0),
        code: payload.readUInt32BE(4),
        text: payload.toString('utf8', 8),
      }
    })
  }
}
