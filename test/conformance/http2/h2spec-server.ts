/**
 * A gRPC server for h2spec to run against:
 *
 *     node test/conformance/http2/h2spec-server.ts [tls]     prints its port
 *
 * h2spec sends GET requests, to which the answer is a short text.
 */
import net from 'node:net'
import tls from 'node:tls'
import { GRPC } from '../../../src/net/grpc.ts'
import { createHttp2GrpcServer } from '../../../src/net/http2/grpc-server.ts'
import { createAuthority, createCertificate } from '../../support/certificates.ts'

const server = createHttp2GrpcServer({
  handlers: new Map([['/test.Service/Export', async (call) => call.message]]),
  toStatus: (error) => {
    console.error('internal error', error)
    return { code: GRPC.INTERNAL, message: 'internal error' }
  },
  maxMessageBytes: 4 * 1024 * 1024,
  maxConcurrentStreams: 100,
  keepalive: {
    maxConnectionIdleMs: 0,
    maxConnectionAgeMs: 0,
    maxConnectionAgeGraceMs: 0,
    timeMs: 7_200_000,
    timeoutMs: 20_000,
    minTimeMs: 300_000,
    permitWithoutStream: false,
  },
})
const listener = process.argv[2] === 'tls' ? secureListener() : net.createServer(accept)
listener.on('tlsClientError', () => {})
listener.listen(0, '127.0.0.1', () => {
  const address = listener.address()
  console.log(typeof address === 'object' && address !== null ? address.port : '')
})

function accept(socket: net.Socket): void {
  server.accept(socket)
}

function secureListener(): net.Server {
  const { cert, key } = createCertificate(createAuthority(), 'server')
  return tls.createServer({ cert, key, ALPNProtocols: ['h2'] }, accept)
}
