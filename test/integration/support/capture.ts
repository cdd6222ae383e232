/** An OTLP backend on loopback, gRPC (grpc-js) and HTTP, that keeps every request decoded by protobufjs. */
import zlib from 'node:zlib'
import { uncompressSync } from 'snappy'
import type { Signal } from '../../../src/otlp/batch.ts'
import { GrpcBackend } from '../../support/grpc-backend.ts'
import { HttpBackend, type ReceivedRequest } from '../../support/http-backend.ts'
import { decode, type Plain } from '../../support/otlp.ts'
import { parseRequest } from './otlp-json.ts'

const METHODS: Record<Signal, string> = {
  traces: '/opentelemetry.proto.collector.trace.v1.TraceService/Export',
  metrics: '/opentelemetry.proto.collector.metrics.v1.MetricsService/Export',
  logs: '/opentelemetry.proto.collector.logs.v1.LogsService/Export',
}

const DECOMPRESS: Readonly<Record<string, (body: Buffer) => Uint8Array>> = {
  '': (body) => body,
  gzip: (body) => zlib.gunzipSync(body),
  deflate: (body) => zlib.inflateSync(body),
  zstd: (body) => zlib.zstdDecompressSync(body),
  snappy: (body) => uncompressSync(body) as Buffer,
}

export class Capture implements AsyncDisposable {
  readonly #grpc = new GrpcBackend()
  readonly #http = new HttpBackend()

  async start(): Promise<this> {
    await this.#grpc.start(Object.values(METHODS))
    await this.#http.start()
    this.#http.always = (request, response) =>
      response.writeHead(200, { 'content-type': request.headers['content-type'] ?? '' }).end()
    return this
  }

  get grpcEndpoint(): string {
    return this.#grpc.endpoint
  }

  get httpUrl(): string {
    return this.#http.url
  }

  /** What came by either way, in the order it came. */
  requests(signal: Signal): Plain[] {
    return [
      ...this.#grpc.calls
        .filter((call) => call.path === METHODS[signal])
        .map((call) => decode(signal, call.message)),
      ...this.#http.requests
        .filter((request) => request.url === `/v1/${signal}`)
        .map((request) => httpRequest(signal, request)),
    ]
  }

  /** Content types, encodings and paths that came over HTTP. */
  get httpForms(): Set<string> {
    return new Set(
      this.#http.requests.map(({ url, headers }) =>
        [url, headers['content-type'], headers['content-encoding'] ?? 'identity'].join(' '),
      ),
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#grpc[Symbol.asyncDispose]()
    await this.#http[Symbol.asyncDispose]()
  }
}

function httpRequest(signal: Signal, { headers, body }: ReceivedRequest): Plain {
  const encoding = headers['content-encoding'] ?? ''
  const decompress = DECOMPRESS[encoding]
  if (decompress === undefined) throw new TypeError(`content encoding ${encoding}`)
  const bytes = decompress(body)
  return headers['content-type'] === 'application/json'
    ? parseRequest(signal, Buffer.from(bytes).toString())
    : decode(signal, bytes)
}
