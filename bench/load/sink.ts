/**
 * What exporters send to: takes everything, answers success, counts requests and bytes, and decodes nothing. OTLP over gRPC
 * (frames are walked, header blocks are not read) or any POST over HTTP, each on a port of its own.
 *
 * The first line on stdout names the ports; a line on stdin asks for the counts so far, a line with a path writes the numbers of
 * the spans that came (requests.ts, numberedSpans) as bits to that file. Only `node bench/load/sink.ts spans` looks for them.
 */
import { writeFileSync } from 'node:fs'
import http from 'node:http'
import net from 'node:net'
import { createInterface } from 'node:readline'
import { gunzipSync } from 'node:zlib'
import { SPAN_NUMBER_MARK } from '../support/requests.ts'
import { frame, literal } from './framing.ts'

export interface SinkCounts {
  readonly requests: number
  readonly bytes: number
  readonly cpuMicros: number
  readonly spans: number
}

const noteSpans = process.argv[2] === 'spans'
let requests = 0
let bytes = 0
let spans = 0
/** One bit for each span number, index in the low 7 bits: requests of at most 128 spans. */
let seen = new Uint8Array(2 ** 20)

function note(message: Buffer): void {
  for (let at = message.indexOf(SPAN_NUMBER_MARK); at >= 0; at = message.indexOf(SPAN_NUMBER_MARK, at + 12)) {
    const number = message.readUInt32LE(at + 4) * 128 + message.readUInt16LE(at + 8)
    if (number >> 3 >= seen.length) {
      const grown = new Uint8Array(Math.max(seen.length * 2, (number >> 3) + 1))
      grown.set(seen)
      seen = grown
    }
    const bit = 1 << (number & 7)
    if ((seen[number >> 3]! & bit) === 0) spans++
    seen[number >> 3]! |= bit
  }
}

const PREFACE_BYTES = 24
/** Streams may send 16 MiB before they need more window; the connection gets back what came, a MiB at a time. */
const SETTINGS = frame(4, 0, 0, Buffer.from([0, 4, 1, 0, 0, 0, 0, 5, 0, 0x10, 0, 0, 0, 3, 0, 0, 4, 0]))
const WIDEN = frame(8, 0, 0, Buffer.from([0x3f, 0xff, 0, 0]))
const WINDOW_STEP = 2 ** 20
const HEAD = Buffer.concat([Buffer.from([0x88]), literal('content-type', 'application/grpc')])
const TRAILERS = literal('grpc-status', '0')
/** The answer to a call; the stream id is written into its three frames. */
const ANSWER = Buffer.concat([
  frame(1, 4, 0, HEAD),
  frame(0, 0, 0, Buffer.alloc(5)),
  frame(1, 5, 0, TRAILERS),
])
const STREAM_ID_AT = [5, 9 + HEAD.length + 5, 9 + HEAD.length + 14 + 5]

/** Walks the frames of one connection; the content of DATA frames is passed over, not copied (unless spans are noted). */
class GrpcSinkConnection {
  readonly #socket: net.Socket
  readonly #header = Buffer.alloc(9)
  #headerBytes = -PREFACE_BYTES
  /** Bytes of the present frame that are still to come, and of the window that were not given back. */
  #left = 0
  #taken = 0
  #small: Buffer[] = []
  readonly #messages = new Map<number, Buffer[]>()

  constructor(socket: net.Socket) {
    this.#socket = socket
    socket.write(Buffer.concat([SETTINGS, WIDEN]))
    socket.on('data', (chunk: Buffer) => this.#read(chunk))
    socket.on('error', () => socket.destroy())
  }

  #read(chunk: Buffer): void {
    let at = 0
    while (at < chunk.length) {
      if (this.#headerBytes < 0) {
        const skipped = Math.min(-this.#headerBytes, chunk.length)
        this.#headerBytes += skipped
        at += skipped
        continue
      }
      if (this.#headerBytes < 9) {
        const wanted = Math.min(9 - this.#headerBytes, chunk.length - at)
        chunk.copy(this.#header, this.#headerBytes, at, at + wanted)
        this.#headerBytes += wanted
        at += wanted
        if (this.#headerBytes < 9) return
        this.#left = this.#header.readUIntBE(0, 3)
      }
      const part = Math.min(this.#left, chunk.length - at)
      if (part > 0) this.#content(chunk.subarray(at, at + part))
      this.#left -= part
      at += part
      if (this.#left > 0) return
      this.#headerBytes = 0
      this.#end(this.#header[3]!, this.#header[4]!, this.#header.readUInt32BE(5) & 0x7fffffff)
    }
  }

  #content(part: Buffer): void {
    const type = this.#header[3]
    if (type === 0) {
      bytes += part.length
      this.#taken += part.length
      if (!noteSpans) return
      const stream = this.#header.readUInt32BE(5)
      const parts = this.#messages.get(stream)
      if (parts === undefined) this.#messages.set(stream, [part])
      else parts.push(part)
    } else if (type === 6) {
      this.#small.push(part)
    }
  }

  #end(type: number, flags: number, stream: number): void {
    if (type === 0) {
      if (this.#taken >= WINDOW_STEP) this.#giveBack()
      if (flags & 1) this.#answer(stream)
    } else if (type === 6) {
      const payload = Buffer.concat(this.#small)
      this.#small = []
      if (!(flags & 1)) this.#socket.write(frame(6, 1, 0, payload))
    } else if (type === 4 && !(flags & 1)) {
      this.#socket.write(frame(4, 1, 0, Buffer.alloc(0)))
    }
  }

  #giveBack(): void {
    const increment = Buffer.alloc(4)
    increment.writeUInt32BE(this.#taken)
    this.#taken = 0
    this.#socket.write(frame(8, 0, 0, increment))
  }

  #answer(stream: number): void {
    requests++
    const message = this.#messages.get(stream)
    if (message !== undefined) {
      this.#messages.delete(stream)
      const all = Buffer.concat(message)
      note(all[0] === 1 ? gunzipSync(all.subarray(5)) : all)
    }
    const answer = Buffer.from(ANSWER)
    for (const at of STREAM_ID_AT) answer.writeUInt32BE(stream, at)
    this.#socket.write(answer)
  }
}

const grpc = net.createServer({ noDelay: true }, (socket) => void new GrpcSinkConnection(socket))
const web = http.createServer((request, response) => {
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length
  })
  request.on('end', () => {
    requests++
    // Loki and Prometheus answer 204, OTLP 200 with an empty message.
    const otlp = request.url?.includes('/v1/') === true && request.url.startsWith('/api') === false
    response.writeHead(otlp && request.url?.includes('push') === false ? 200 : 204, {
      'content-type': 'application/x-protobuf',
    })
    response.end()
  })
})
const portOf = (server: net.Server) => {
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}
await Promise.all(
  [grpc, web].map((server) => new Promise<void>((done) => server.listen(0, '127.0.0.1', done))),
)
console.log(JSON.stringify({ grpcPort: portOf(grpc), httpPort: portOf(web) }))
for await (const line of createInterface({ input: process.stdin })) {
  if (line !== '') writeFileSync(line, seen)
  const { user, system } = process.cpuUsage()
  console.log(JSON.stringify({ requests, bytes, cpuMicros: user + system, spans } satisfies SinkCounts))
}
process.exit(0)
