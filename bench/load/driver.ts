/**
 * The load: sends pre-encoded requests over gRPC (frames straight on sockets) or HTTP (autocannon), checks every answer, and prints one line
 * of JSON. Its own process, so that its cost is not the collector's.
 *
 *     node bench/load/driver.ts '{"protocol":"grpc","port":4317,"connections":32,"requests":5000,"items":100,"serial":0}'
 *
 * The gRPC side speaks just enough HTTP/2 for this: one unary call at a time on each connection, headers without a dynamic
 * table, windows kept open. It costs far less than the collector it loads.
 */
import net from 'node:net'
import autocannon from 'autocannon'
import { type Payload, renewTraceIds, tracePayload } from '../support/payload.ts'

export interface LoadPlan {
  readonly protocol: 'grpc' | 'http'
  readonly port: number
  readonly connections: number
  readonly requests: number
  readonly items: number
  /** First serial of the trace ids: each run brings traces of its own. */
  readonly serial: number
  readonly path?: string
}

export interface LoadResult {
  readonly requests: number
  readonly errors: number
  readonly seconds: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly driverCpuMicrosPerItem: number
}

const PAYLOADS = 16

async function load(plan: LoadPlan): Promise<LoadResult> {
  const payloads = Array.from({ length: PAYLOADS }, (_, index) => tracePayload(plan.items, index + 1))
  const cpu = process.cpuUsage()
  const startedMs = performance.now()
  const result = plan.protocol === 'grpc' ? await grpc(plan, payloads) : await http(plan, payloads)
  const used = process.cpuUsage(cpu)
  return {
    ...result,
    seconds: (performance.now() - startedMs) / 1000,
    driverCpuMicrosPerItem: (used.user + used.system) / (plan.requests * plan.items),
  }
}

type Counts = Pick<LoadResult, 'requests' | 'errors' | 'p50Ms' | 'p99Ms'>

async function http(plan: LoadPlan, payloads: readonly Payload[]): Promise<Counts> {
  let serial = plan.serial
  const result = await autocannon({
    url: `http://127.0.0.1:${plan.port}`,
    connections: plan.connections,
    amount: plan.requests,
    timeout: 60,
    requests: [
      {
        method: 'POST',
        path: plan.path ?? '/v1/traces',
        headers: { 'content-type': 'application/x-protobuf' },
        setupRequest(request: { body?: Buffer }) {
          const payload = payloads[serial % payloads.length] as Payload
          renewTraceIds(payload, serial++)
          request.body = payload.bytes
          return request
        },
      },
    ],
  } as autocannon.Options)
  return {
    requests: result['2xx'],
    errors: result.errors + result.non2xx,
    p50Ms: result.latency.p50,
    p99Ms: result.latency.p99,
  }
}

const frame = (type: number, flags: number, stream: number, payload: Uint8Array): Buffer => {
  const bytes = Buffer.alloc(9 + payload.length)
  bytes.writeUIntBE(payload.length, 0, 3)
  bytes[3] = type
  bytes[4] = flags
  bytes.writeUInt32BE(stream, 5)
  bytes.set(payload, 9)
  return bytes
}
const literal = (name: string, value: string) =>
  Buffer.concat([
    Buffer.from([0, name.length]),
    Buffer.from(name),
    Buffer.from([value.length]),
    Buffer.from(value),
  ])

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
/** No dynamic header table, so that every trailer is spelled out; a stream window of 1 MiB, a wide connection window. */
const SETTINGS = frame(4, 0, 0, Buffer.from([0, 1, 0, 0, 0, 0, 0, 4, 0, 0x10, 0, 0]))
const WIDEN = frame(8, 0, 0, Buffer.from([0x3f, 0xff, 0, 0]))
const FRAME_BYTES = 16_384

/** One connection: a call, its answer, the next call. */
class Connection {
  readonly #socket: net.Socket
  readonly #path: Buffer
  #rest: Buffer = Buffer.alloc(0)
  #stream = 1
  #window = 65_535
  #streamWindow = 65_535
  #initialWindow = 65_535
  #unsent: Buffer = Buffer.alloc(0)
  #sentMs = 0
  #grpcOk = false
  #done: ((ok: boolean, ms: number) => void) | undefined

  constructor(port: number, path: string) {
    this.#socket = net.connect({ port, host: '127.0.0.1', noDelay: true })
    this.#path = Buffer.concat([
      Buffer.from([0x83, 0x86]), // :method POST, :scheme http
      literal(':path', path),
      literal(':authority', `127.0.0.1:${port}`),
      literal('content-type', 'application/grpc'),
      literal('te', 'trailers'),
      literal('user-agent', 'weir-bench'),
    ])
    this.#socket.write(Buffer.concat([PREFACE, SETTINGS, WIDEN]))
    this.#socket.on('data', (chunk: Buffer) => this.#read(chunk))
    this.#socket.on('error', () => this.#finish(false))
    this.#socket.on('close', () => this.#finish(false))
  }

  call(message: Buffer): Promise<{ ok: boolean; ms: number }> {
    const stream = this.#stream
    const prefix = Buffer.alloc(5)
    prefix.writeUInt32BE(message.length, 1)
    this.#unsent = Buffer.concat([prefix, message])
    this.#streamWindow = this.#initialWindow
    this.#grpcOk = false
    this.#sentMs = performance.now()
    this.#socket.write(frame(1, 4, stream, this.#path))
    return new Promise((resolve) => {
      this.#done = (ok, ms) => resolve({ ok, ms })
      this.#pump()
    })
  }

  /** Sends what the windows allow. */
  #pump(): void {
    const frames: Buffer[] = []
    while (this.#unsent.length > 0) {
      const room = Math.min(this.#window, this.#streamWindow, FRAME_BYTES, this.#unsent.length)
      if (room <= 0) break
      const last = room === this.#unsent.length
      frames.push(frame(0, last ? 1 : 0, this.#stream, this.#unsent.subarray(0, room)))
      this.#unsent = this.#unsent.subarray(room)
      this.#window -= room
      this.#streamWindow -= room
    }
    if (frames.length > 0) this.#socket.write(Buffer.concat(frames))
  }

  #read(chunk: Buffer): void {
    let bytes = this.#rest.length > 0 ? Buffer.concat([this.#rest, chunk]) : chunk
    while (bytes.length >= 9) {
      const length = bytes.readUIntBE(0, 3)
      if (bytes.length < 9 + length) break
      this.#frame(
        bytes[3] ?? 0,
        bytes[4] ?? 0,
        bytes.readUInt32BE(5) & 0x7fffffff,
        bytes.subarray(9, 9 + length),
      )
      bytes = bytes.subarray(9 + length)
    }
    this.#rest = bytes
  }

  #frame(type: number, flags: number, stream: number, payload: Buffer): void {
    if (type === 4 && !(flags & 1)) {
      for (let at = 0; at + 6 <= payload.length; at += 6) {
        if (payload.readUInt16BE(at) !== 4) continue
        const initial = payload.readUInt32BE(at + 2)
        this.#streamWindow += initial - this.#initialWindow
        this.#initialWindow = initial
      }
      this.#socket.write(frame(4, 1, 0, Buffer.alloc(0)))
      this.#pump()
    } else if (type === 8) {
      const increment = payload.readUInt32BE(0) & 0x7fffffff
      if (stream === 0) this.#window += increment
      else if (stream === this.#stream) this.#streamWindow += increment
      this.#pump()
    } else if (type === 6 && !(flags & 1)) {
      this.#socket.write(frame(6, 1, 0, payload))
    } else if (type === 1 && stream === this.#stream) {
      // The trailers carry grpc-status: the text stands there literally, or Huffman-coded; 0 is one byte in both.
      if (flags & 1) {
        this.#grpcOk = isStatusZero(payload)
        this.#finish(this.#grpcOk)
      }
    } else if (type === 3 || type === 7) {
      this.#finish(false)
    }
  }

  #finish(ok: boolean): void {
    const done = this.#done
    this.#done = undefined
    this.#stream += 2
    done?.(ok, performance.now() - this.#sentMs)
  }

  close(): void {
    this.#socket.destroy()
  }
}

/** grpc-status: 0 as a literal value of one byte, plain or Huffman-coded. */
function isStatusZero(block: Buffer): boolean {
  return block.includes(Buffer.from([1, 0x30])) || block.includes(Buffer.from([0x81, 0x07]))
}

async function grpc(plan: LoadPlan, payloads: readonly Payload[]): Promise<Counts> {
  const path = plan.path ?? '/opentelemetry.proto.collector.trace.v1.TraceService/Export'
  const times = new Float64Array(plan.requests)
  let serial = plan.serial
  let started = 0
  let requests = 0
  let errors = 0
  const connections = Array.from({ length: plan.connections }, () => new Connection(plan.port, path))
  await Promise.all(
    connections.map(async (connection) => {
      while (started < plan.requests) {
        const index = started++
        const payload = payloads[serial % payloads.length] as Payload
        renewTraceIds(payload, serial++)
        const { ok, ms } = await connection.call(payload.bytes)
        times[index] = ms
        if (ok) requests++
        else errors++
      }
    }),
  )
  for (const connection of connections) connection.close()
  times.sort()
  return {
    requests,
    errors,
    p50Ms: times[Math.floor(times.length * 0.5)] ?? 0,
    p99Ms: times[Math.floor(times.length * 0.99)] ?? 0,
  }
}

if (import.meta.main) {
  const plan = JSON.parse(process.argv[2] ?? '{}') as LoadPlan
  console.log(JSON.stringify(await load(plan)))
  process.exit(0)
}
