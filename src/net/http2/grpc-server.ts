/**
 * GrpcServer on sockets directly: HTTP/2 (RFC 9113), HPACK (RFC 7541) and gRPC unary calls without node:http2.
 *
 *     server-connection.ts  streams        calls.ts  calls from head to answer     lifetime.ts  keepalive, age, drain
 *     connection.ts         frames on the connection, windows, errors              budget.ts    bytes in flight
 *
 * Whatever a peer sends ends its call or its connection, never the process. Deadlines and times are looked at by one timer for all
 * connections, so those of calls are up to SWEEP_MS late, those of connections half a second.
 */
import type { Socket } from 'node:net'
import type { Timer } from '../../component/clock.ts'
import type { GrpcServer, GrpcServerOptions } from '../grpc.ts'
import { ServerConnection } from './server-connection.ts'
import { ServerContext } from './server-context.ts'
import { readSocket } from './socket-reader.ts'

const SWEEP_MS = 100
/** Connections that are looked at before other work gets its turn: a tenth of a millisecond. */
const SWEPT_AT_ONCE = 256
/** Of its connections, when the server is asked to make room. */
const EVICTED_SHARE = 0.01

export function createHttp2GrpcServer(options: GrpcServerOptions, messageMs?: number): GrpcServer {
  const context = new ServerContext(options, messageMs)
  const connections = new Set<ServerConnection>()
  let timer: Timer | undefined
  let onEmpty: (() => void) | undefined

  let sweeping: Iterator<ServerConnection> | undefined
  const sweepSome = (): void => {
    const nowMs = context.clock.monotonicMs()
    for (let count = 0; count < SWEPT_AT_ONCE; count++) {
      const next = sweeping?.next()
      if (next === undefined || next.done) {
        sweeping = undefined
        return
      }
      next.value.sweep(nowMs)
    }
    setImmediate(sweepSome)
  }
  const sweep = (): void => {
    if (sweeping !== undefined) return
    sweeping = connections.values()
    sweepSome()
  }
  const closed = (connection: ServerConnection): void => {
    connections.delete(connection)
    connection.onClose()
    if (connections.size > 0) return
    timer?.cancel()
    timer = undefined
    onEmpty?.()
  }

  return {
    accept(socket: Socket) {
      socket.on('error', ignore)
      if (context.stopping || socket.destroyed) return void socket.destroy()
      socket.setNoDelay(true)
      const connection = new ServerConnection(socket, context)
      connections.add(connection)
      timer ??= context.clock.every(SWEEP_MS, sweep)
      socket.on('close', () => closed(connection))
      readSocket(socket, (chunk) => connection.receive(chunk))
    },
    get connectionCount() {
      return connections.size
    },
    get inFlightBytes() {
      return context.budget.usedBytes
    },
    makeRoom: () => makeRoom(connections),
    async shutdown(deadline) {
      context.stopping = true
      const empty = new Promise<void>((resolve) => {
        onEmpty = resolve
      })
      const cut = (): void => {
        for (const connection of connections) connection.destroy()
      }
      if (deadline.aborted) cut()
      deadline.addEventListener('abort', cut)
      const nowMs = context.clock.monotonicMs()
      for (const connection of connections) {
        connection.lifetime.drain(nowMs)
        connection.wake()
      }
      if (connections.size > 0) await empty
      deadline.removeEventListener('abort', cut)
    },
  }
}

/** Closes some connections without calls: those that never had one first, then any, the oldest first. */
function makeRoom(connections: ReadonlySet<ServerConnection>): boolean {
  let left = Math.ceil(connections.size * EVICTED_SHARE)
  for (const unused of [true, false]) {
    for (const connection of connections) {
      if (connection.closing || connection.callCount > 0) continue
      if (unused && connection.lastStreamId > 0) continue
      connection.evict()
      if (--left === 0) return true
    }
  }
  return left < Math.ceil(connections.size * EVICTED_SHARE)
}

function ignore(): void {}
