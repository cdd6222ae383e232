/** Both gRPC servers behind one helper, for tests that hold for either, and a client of @grpc/grpc-js that sends bytes. */
import net from 'node:net'
import * as grpc from '@grpc/grpc-js'
import { GRPC, type GrpcServer, type GrpcServerOptions, type UnaryCall } from '../../src/net/grpc.ts'
import { createGrpcJsServer } from '../../src/net/grpc-js-server.ts'
import { createHttp2GrpcServer } from '../../src/net/http2/grpc-server.ts'

export const CREATE = { 'grpc-js': createGrpcJsServer, http2: createHttp2GrpcServer } as const
export type Implementation = keyof typeof CREATE

export const PATH = '/test.Service/Export'
export const keepalive = {
  maxConnectionIdleMs: 0,
  maxConnectionAgeMs: 0,
  maxConnectionAgeGraceMs: 0,
  timeMs: 7_200_000,
  timeoutMs: 20_000,
  minTimeMs: 300_000,
  permitWithoutStream: false,
}

export type ServeOptions = Partial<GrpcServerOptions> & { handler?: (call: UnaryCall) => Promise<Uint8Array> }

export interface Served {
  readonly server: GrpcServer
  readonly calls: UnaryCall[]
  readonly port: number
  /** What reached toStatus. */
  readonly errors: unknown[]
  close(): Promise<void>
}

/** Answers with the message it got, unless there is a handler; records the calls. */
export async function serveGrpc(
  implementation: Implementation,
  options: ServeOptions = {},
  messageMs?: number,
): Promise<Served> {
  const calls: UnaryCall[] = []
  const errors: unknown[] = []
  const handler = async (call: UnaryCall) => {
    calls.push(call)
    return options.handler ? options.handler(call) : call.message
  }
  const server = CREATE[implementation](
    {
      handlers: new Map([[PATH, handler]]),
      maxMessageBytes: 1000,
      maxConcurrentStreams: 0,
      keepalive,
      ...options,
      toStatus: (error) => {
        errors.push(error)
        return options.toStatus?.(error) ?? { code: GRPC.INTERNAL, message: 'internal error' }
      },
    },
    messageMs,
  )
  const listener = net.createServer((socket) => server.accept(socket))
  await new Promise<void>((resolve) => void listener.listen(0, '127.0.0.1', resolve))
  const port = (listener.address() as net.AddressInfo).port
  const close = async (): Promise<void> => {
    listener.close()
    await server.shutdown(AbortSignal.abort())
  }
  return { server, calls, port, errors, close }
}

export interface Answer {
  readonly code: number
  readonly details: string
  readonly message: Buffer | undefined
  readonly metadata: grpc.Metadata | undefined
}

export type Send = (
  message: Uint8Array,
  metadata?: grpc.Metadata,
  options?: grpc.CallOptions,
  path?: string,
) => Promise<Answer>

export function grpcClient(
  port: number,
  options: grpc.ClientOptions = {},
): { send: Send; client: grpc.Client } {
  const client = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
    ...options,
  })
  const same = (bytes: Buffer) => bytes
  const send: Send = (message, metadata = new grpc.Metadata(), callOptions = {}, path = PATH) =>
    new Promise((resolve) => {
      client.makeUnaryRequest(path, same, same, Buffer.from(message), metadata, callOptions, (error, value) =>
        resolve({
          code: error?.code ?? 0,
          details: error?.details ?? '',
          message: value,
          metadata: error?.metadata,
        }),
      )
    })
  return { client, send }
}
