/**
 * An OTLP/HTTP backend that notes, by the first part of the path, how often each span of the traffic came,
 * and whether it came under its own trace, resource and scope. Reads with protobufjs, not with Weir's reader.
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import protobuf from 'protobufjs'
import { SPAN_ID_MARK } from './tail-spans.ts'
import type { Traffic } from './tail-traffic.ts'

export interface Captured {
  /** By span: how often it came. */
  readonly seen: Uint8Array
  spans: number
  /** Spans that are not what was sent: unknown, or under another trace, resource or scope. */
  wrong: number
}

export interface Capture extends AsyncDisposable {
  readonly url: string
  readonly port: number
  get(config: string): Captured
}

export async function startCapture(traffic: Traffic): Promise<Capture> {
  const byConfig = new Map<string, Captured>()
  const get = (config: string): Captured => {
    let captured = byConfig.get(config)
    if (captured === undefined) {
      captured = { seen: new Uint8Array(traffic.traceOf.length), spans: 0, wrong: 0 }
      byConfig.set(config, captured)
    }
    return captured
  }
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      new RequestReader(traffic, get((request.url ?? '').split('/')[1] ?? '')).read(Buffer.concat(chunks))
      response.writeHead(200, { 'content-type': 'application/x-protobuf' }).end()
    })
  })
  server.keepAliveTimeout = 300_000 // A connection that closes under a request costs its sender a retry.
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    get,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => void server.close(resolve))
    },
  }
}

type Visit = (field: number, reader: protobuf.Reader) => boolean

/** Calls `visit` for every field of the message; what it does not take is skipped. */
function eachField(reader: protobuf.Reader, end: number, visit: Visit): void {
  while (reader.pos < end) {
    const tag = reader.uint32()
    if (!visit(tag >>> 3, reader)) reader.skipType(tag & 7)
  }
}

class RequestReader {
  readonly #traffic: Traffic
  readonly #captured: Captured
  #resource = ''
  #scope = ''

  constructor(traffic: Traffic, captured: Captured) {
    this.#traffic = traffic
    this.#captured = captured
  }

  read(bytes: Buffer): void {
    const reader = protobuf.Reader.create(bytes)
    eachField(reader, bytes.length, (field) => field === 1 && this.#resourceSpans(reader, bytes))
  }

  #resourceSpans(reader: protobuf.Reader, bytes: Buffer): boolean {
    const end = reader.uint32() + reader.pos
    this.#resource = headerOf(reader, end, serviceName)
    eachField(reader, end, (field) => field === 2 && this.#scopeSpans(reader, bytes))
    return true
  }

  #scopeSpans(reader: protobuf.Reader, bytes: Buffer): boolean {
    const end = reader.uint32() + reader.pos
    this.#scope = headerOf(reader, end, firstString)
    eachField(reader, end, (field) => field === 2 && this.#span(reader, bytes))
    return true
  }

  #span(reader: protobuf.Reader, bytes: Buffer): boolean {
    const end = reader.uint32() + reader.pos
    let traceId = ''
    let mark = 0
    let number = -1
    eachField(reader, end, (field) => {
      if (field !== 1 && field !== 2) return false
      const length = reader.uint32()
      const at = reader.pos
      if (field === 1) traceId = bytes.toString('hex', at, at + length)
      else if (length === 8) {
        mark = bytes.readUInt32BE(at)
        number = bytes.readUInt32BE(at + 4) - 1
      }
      reader.pos = at + length
      return true
    })
    this.#note(mark, number, traceId.padStart(32, '0'))
    return true
  }

  #note(mark: number, number: number, traceId: string): void {
    const { traces, traceOf, resourceOf, scopeOf } = this.#traffic
    const captured = this.#captured
    captured.spans++
    const trace = traces[traceOf[number] ?? -1]
    const same =
      mark === SPAN_ID_MARK &&
      trace?.id === traceId &&
      resourceOf[number] === this.#resource &&
      scopeOf[number] === this.#scope
    if (same) captured.seen[number] = Math.min((captured.seen[number] ?? 0) + 1, 255)
    else captured.wrong++
  }
}

/** Reads field 1 ahead: the Go collector writes it behind field 2. */
function headerOf(reader: protobuf.Reader, end: number, read: (reader: protobuf.Reader) => string): string {
  const start = reader.pos
  let text = ''
  eachField(reader, end, (field) => {
    if (field === 1) text = read(reader)
    return field === 1
  })
  reader.pos = start
  return text
}

function firstString(reader: protobuf.Reader): string {
  const end = reader.uint32() + reader.pos
  let text = ''
  eachField(reader, end, (field) => {
    if (field === 1) text = reader.string()
    return field === 1
  })
  return text
}

/** The service.name of a Resource, '' without one. */
function serviceName(reader: protobuf.Reader): string {
  const end = reader.uint32() + reader.pos
  let name = ''
  eachField(reader, end, (field) => {
    if (field !== 1 || name !== '') return false
    const pairEnd = reader.uint32() + reader.pos
    let [key, value] = ['', '']
    eachField(reader, pairEnd, (inner) => {
      if (inner === 1) key = reader.string()
      else if (inner === 2) value = firstString(reader)
      return inner === 1 || inner === 2
    })
    if (key === 'service.name') name = value
    return true
  })
  return name
}
