/**
 * Scenario: a backend answers without end, with a bomb, or with headers beyond all measure. Guarantee: an exporter reads at most 4
 * MiB of a success and 64 KiB of an error, decodes nothing, drops the connection, and the data is still accounted for: the
 * attempt fails, or what was answered counts.
 */
import http from 'node:http'
import http2 from 'node:http2'
import type { AddressInfo, Socket } from 'node:net'
import { gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import type { AnyExporter } from '../../src/component/define.ts'
import jaeger from '../../src/exporters/jaeger/index.ts'
import loki from '../../src/exporters/loki/index.ts'
import otlpGrpc from '../../src/exporters/otlp/index.ts'
import otlpHttp from '../../src/exporters/otlphttp/index.ts'
import remoteWrite from '../../src/exporters/prometheus-remote-write/index.ts'
import type { Batch } from '../../src/otlp/batch.ts'
import { createExporter } from '../support/create-test.ts'
import { logs, metrics, traces } from '../support/otlp.ts'

const MIB = 1024 * 1024
/** What sockets on both ends hold beyond what was read. */
const BUFFERED = 16 * MIB
const block = Buffer.alloc(64 * 1024, 0x20)
const bomb = gzipSync(Buffer.alloc(64 * MIB))

interface Hostile extends AsyncDisposable {
  readonly port: number
  /** Bytes of the answer that were written before the client went away. */
  readonly written: () => number
  readonly closed: () => number
}

/** Writes until nobody reads; gives up at 256 MiB, which no client may take. */
function pour(
  response: NodeJS.WritableStream & { destroyed?: boolean },
  count: (bytes: number) => void,
): void {
  let total = 0
  const more = () => {
    while (!response.destroyed && total < 256 * MIB) {
      total += block.length
      count(block.length)
      if (!response.write(block)) return void response.once('drain', more)
    }
    response.end()
  }
  response.on('error', () => {})
  more()
}

type Act = (response: http.ServerResponse, count: (bytes: number) => void) => void

async function startHttp(act: Act): Promise<Hostile> {
  let written = 0
  let closed = 0
  const server = http.createServer({ maxHeaderSize: 64 * 1024 }, (request, response) => {
    request.resume()
    request.on('end', () => act(response, (bytes) => void (written += bytes)))
  })
  server.on('connection', (socket: Socket) => socket.on('close', () => closed++).on('error', () => {}))
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    written: () => written,
    closed: () => closed,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

const ACTS: Readonly<Record<string, Act>> = {
  'a success without end': (response, count) => pour(response.writeHead(200), count),
  'an error without end': (response, count) => pour(response.writeHead(400), count),
  'a refusal to come back from, without end': (response, count) => pour(response.writeHead(503), count),
  'a bomb': (response, count) => {
    count(bomb.length)
    response
      .writeHead(200, { 'content-encoding': 'gzip', 'content-type': 'application/x-protobuf' })
      .end(bomb)
  },
  'headers of 8 MiB': (response, count) => {
    const { socket } = response
    socket?.write('HTTP/1.1 200 OK\r\n')
    const line = `x-y: ${'z'.repeat(32 * 1024)}\r\n`
    for (let i = 0; i < 256; i++) {
      count(line.length)
      socket?.write(line)
    }
    socket?.end('\r\n')
  },
  'a length that lies': (response) => {
    response.socket?.write(`HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n`)
    response.socket?.end('short')
  },
}

const one = { resource: { 'service.name': 's' } }
const gauge = { name: 'g', gauge: { dataPoints: [{ asInt: 1, timeUnixNano: 1n }] } }
const EXPORTERS: readonly (readonly [AnyExporter, string, () => Batch])[] = [
  [otlpHttp, '', () => traces({ ...one, spans: ['a'] })],
  [remoteWrite, '/api/v1/write', () => metrics({ ...one, metrics: [gauge] })],
  [loki, '/loki/api/v1/push', () => logs({ ...one, logs: [{ body: 'line' }] })],
]

for (const [definition, path, batch] of EXPORTERS) {
  test.each(Object.entries(ACTS))(`${definition.type} survives %s`, async (name, act) => {
    await using backend = await startHttp(act)
    const config = { endpoint: `http://127.0.0.1:${backend.port}${path}` }
    await using made = createExporter(definition, config, { signal: batch().signal })
    await made.start()
    const before = process.memoryUsage().rss
    const outcome = await made.consume(batch()).then(
      () => undefined,
      (error: unknown) => error,
    )
    if (!/success|bomb/.test(name)) expect(outcome).toBeInstanceOf(Error)
    if (outcome) expect(outcome).toHaveProperty('retryable')
    const limit = name.includes('error') || name.includes('refusal') ? 64 * 1024 : 4 * MIB
    if (name.includes('without end')) {
      await expect.poll(backend.closed).toBeGreaterThan(0)
      expect(backend.written()).toBeLessThan(limit + BUFFERED)
    }
    expect(process.memoryUsage().rss - before).toBeLessThan(128 * MIB)
  })
}

const GRPC_ACTS: Readonly<
  Record<string, (stream: http2.ServerHttp2Stream, count: (bytes: number) => void) => void>
> = {
  'a message without end': (stream, count) => {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' })
    stream.write(Buffer.from([0, 0xff, 0xff, 0xff, 0xff]))
    pour(stream, count)
  },
  'trailers of 4 MiB': (stream) => {
    stream.on('error', () => {})
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
    stream.on('wantTrailers', () => {
      try {
        stream.sendTrailers({ 'grpc-status': '3', 'grpc-message': 'm'.repeat(4 * MIB) })
      } catch {
        stream.close() // Too much even for the server: the client sees a stream that was reset.
      }
    })
    stream.end()
  },
  'a plain error page without end': (stream, count) => {
    stream.respond({ ':status': 502, 'content-type': 'text/html' })
    pour(stream, count)
  },
}

for (const definition of [otlpGrpc, jaeger]) {
  test.each(Object.entries(GRPC_ACTS))(`${definition.type} survives %s`, async (_, act) => {
    let written = 0
    const sessions = new Set<http2.ServerHttp2Session>()
    const server = http2.createServer({ maxSendHeaderBlockLength: 8 * MIB })
    server.on('session', (session) => {
      sessions.add(session)
      session.on('error', () => {})
    })
    server.on('stream', (stream) => {
      stream.resume()
      stream.on('error', () => {})
      stream.on('end', () => act(stream, (bytes) => void (written += bytes)))
    })
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
    const endpoint = `127.0.0.1:${(server.address() as AddressInfo).port}`
    try {
      await using made = createExporter(definition, { endpoint, tls: { insecure: true } })
      await made.start()
      const before = process.memoryUsage().rss
      const attempt = AbortSignal.timeout(20_000)
      const outcome = await made.consume(traces({ ...one, spans: ['a'] }), attempt).then(
        () => undefined,
        (error: unknown) => error,
      )
      expect(outcome).toHaveProperty('retryable')
      expect(attempt.aborted).toBe(false)
      expect(written).toBeLessThan(4 * MIB + BUFFERED)
      expect(process.memoryUsage().rss - before).toBeLessThan(128 * MIB)
    } finally {
      for (const session of sessions) session.destroy()
      await new Promise((resolve) => void server.close(resolve))
    }
  })
}
