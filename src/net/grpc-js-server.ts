/**
 * GrpcServer on @grpc/grpc-js, with sockets accepted elsewhere. Messages stay bytes: protobuf is none of its business.
 *
 * The library decodes gzip and deflate messages only. It reads the message encoding inside a private class, so there is no
 * clean place to add zstd or snappy: such a call ends as UNIMPLEMENTED. The server in `http2/` takes them.
 * It also does not tell how long a message was on the wire, joins metadata that is given twice (`a, b`), and holds no client to
 * a pace of pings. A client that trickles a message for longer than MESSAGE_MS loses its
 * connection; what one sends on after a refusal is dropped.
 */
import type { Socket } from 'node:net'
import * as grpc from '@grpc/grpc-js'
import { systemClock } from '../component/clock.ts'
import { compact } from './compression.ts'
import { GRPC, type GrpcServer, type GrpcServerOptions, type GrpcStatus, type UnaryCall } from './grpc.ts'

/** What one connection may buffer in the library, in MB. */
const SESSION_MEMORY_MB = 64
/** Streams at a time on one connection when the user sets no limit. */
const MAX_STREAMS = 10_000
/** How long a connection that was ended here stays for the peer to end it too. */
const HALF_OPEN_MS = 500
/** How long a message may take from the headers of its call to its last byte. */
const MESSAGE_MS = 300_000
const LONGEST_TIMER_MS = 2 ** 31 - 1

/** The head of a call, then the call itself: one object per request. */
class Call implements UnaryCall {
  readonly path: string
  readonly peer: string
  readonly startedMs = performance.now()
  message: Uint8Array = EMPTY
  deadlineMs: number | undefined
  readonly #source: grpc.Metadata
  readonly #host: string
  #metadata: Map<string, string[]> | undefined

  constructor(path: string, peer: string, host: string, source: grpc.Metadata) {
    this.path = path
    this.peer = peer
    this.#host = host
    this.#source = source
  }

  /** Built when somebody asks. */
  get metadata(): ReadonlyMap<string, readonly string[]> {
    if (this.#metadata === undefined) {
      const metadata = new Map<string, string[]>()
      for (const key of Object.keys(this.#source.getMap()))
        metadata.set(
          key,
          this.#source
            .get(key)
            .map((value) => (typeof value === 'string' ? value : value.toString('base64'))),
        )
      if (this.#host !== '') metadata.set('host', [this.#host])
      this.#metadata = metadata
    }
    return this.#metadata
  }
}

const EMPTY = new Uint8Array(0)
const identity = (bytes: Buffer): Buffer => bytes
const asBuffer = (bytes: Uint8Array): Buffer =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** The calls of one server. */
class Calls {
  /** The library hands the same Metadata object to the interceptor and to the handler. */
  readonly byMetadata = new WeakMap<grpc.Metadata, Call>()
  /** Those whose message is not there yet, oldest first. */
  readonly unread = new Set<Call>()
}

export function createGrpcJsServer(options: GrpcServerOptions, messageMs = MESSAGE_MS): GrpcServer {
  const calls = new Calls()
  const server = new grpc.Server(serverOptions(options, calls))
  for (const path of options.handlers.keys()) register(server, path, options, calls)
  const injector = server.createConnectionInjector(grpc.ServerCredentials.createInsecure())
  const sockets = new Set<Socket>()
  const sweep = setInterval(() => cutSlow(calls, sockets, messageMs), messageMs / 10)
  sweep.unref()
  let stopping = false
  let onEmpty: (() => void) | undefined

  return {
    accept(socket) {
      if (stopping) return void socket.destroy()
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        sockets.delete(socket)
        if (sockets.size === 0) onEmpty?.()
      })
      // The library ends a connection and waits for the peer to do the same, which it may never do.
      socket.on('finish', () => setTimeout(() => socket.destroy(), HALF_OPEN_MS).unref())
      injector.injectConnection(socket)
    },
    get connectionCount() {
      return sockets.size
    },
    async shutdown(deadline) {
      stopping = true
      clearInterval(sweep)
      const empty = new Promise<void>((resolve) => {
        onEmpty = resolve
      })
      const cut = () => {
        for (const socket of sockets) socket.destroy()
      }
      if (deadline.aborted) cut()
      deadline.addEventListener('abort', cut)
      injector.drain(LONGEST_TIMER_MS)
      if (sockets.size > 0) await empty
      deadline.removeEventListener('abort', cut)
      injector.destroy()
      server.forceShutdown()
    },
  }
}

/** Closes the connections on which a message has been under way for too long. */
function cutSlow(calls: Calls, sockets: Iterable<Socket>, messageMs: number): void {
  const peers = new Set<string>()
  for (const call of calls.unread) {
    if (performance.now() - call.startedMs < messageMs) break
    peers.add(call.peer)
  }
  if (peers.size === 0) return
  for (const socket of sockets)
    if (peers.has(`${socket.remoteAddress}:${socket.remotePort}`)) socket.destroy()
}

function serverOptions(options: GrpcServerOptions, calls: Calls): grpc.ServerOptions {
  const { keepalive } = options
  const result: grpc.ServerOptions = {
    'grpc.max_receive_message_length': options.maxMessageBytes,
    'grpc.max_concurrent_streams': options.maxConcurrentStreams || MAX_STREAMS,
    'grpc.keepalive_time_ms': Math.min(keepalive.timeMs, LONGEST_TIMER_MS),
    'grpc.keepalive_timeout_ms': Math.min(keepalive.timeoutMs, LONGEST_TIMER_MS),
    'grpc-node.max_session_memory': SESSION_MEMORY_MB,
    'grpc.enable_channelz': 0,
    interceptors: [admission(options, calls)],
  }
  if (keepalive.maxConnectionIdleMs > 0) result['grpc.max_connection_idle_ms'] = keepalive.maxConnectionIdleMs
  if (keepalive.maxConnectionAgeMs > 0) result['grpc.max_connection_age_ms'] = keepalive.maxConnectionAgeMs
  if (keepalive.maxConnectionAgeGraceMs > 0)
    result['grpc.max_connection_age_grace_ms'] = keepalive.maxConnectionAgeGraceMs
  return result
}

/** Asks `admit` when the headers are there. The message is read only after the handler has been told of the call. */
function admission(options: GrpcServerOptions, calls: Calls): grpc.ServerInterceptor {
  return (method, call) => {
    let head: Call
    return new grpc.ServerInterceptingCall(call, {
      start: (next) =>
        next({
          // Also comes when a call has ended in the ordinary way.
          onCancel: () => calls.unread.delete(head),
          onReceiveMetadata: (metadata, proceed) => {
            head = new Call(method.path, call.getPeer(), call.getHost(), metadata)
            calls.byMetadata.set(metadata, head)
            calls.unread.add(head)
            const decide = (status: GrpcStatus | undefined): void => {
              if (status === undefined) proceed(metadata)
              else call.sendStatus(statusObject(status))
            }
            try {
              const verdict = options.admit?.(head)
              if (verdict instanceof Promise)
                verdict.then(decide, (error: unknown) => decide(options.toStatus(error)))
              else decide(verdict)
            } catch (error) {
              decide(options.toStatus(error))
            }
          },
        }),
    })
  }
}

function register(server: grpc.Server, path: string, options: GrpcServerOptions, calls: Calls): void {
  const handler = options.handlers.get(path)
  if (handler === undefined) return
  const run = (
    call: grpc.ServerUnaryCall<Buffer, Uint8Array>,
    callback: grpc.sendUnaryData<Uint8Array>,
  ): void => {
    const request = calls.byMetadata.get(call.metadata)
    if (request === undefined) {
      callback({ code: GRPC.INTERNAL, details: 'internal error' })
      return
    }
    calls.unread.delete(request)
    request.message = compact(call.request)
    const deadline = call.getDeadline()
    if (typeof deadline === 'number' && deadline !== Number.POSITIVE_INFINITY)
      request.deadlineMs = systemClock.monotonicMs() + deadline - Date.now()
    options.onMessage?.(-1, call.request.length)
    handler(request).then(
      (response) => callback(null, response),
      (error: unknown) => callback(statusObject(options.toStatus(error))),
    )
  }
  server.register(path, run as grpc.UntypedHandleCall, asBuffer, identity, 'unary')
}

function statusObject(status: GrpcStatus): grpc.StatusObject {
  const metadata = new grpc.Metadata()
  if (status.details !== undefined) metadata.set('grpc-status-details-bin', asBuffer(status.details))
  return { code: status.code, details: status.message, metadata }
}
