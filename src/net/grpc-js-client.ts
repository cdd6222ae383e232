/** GrpcTransport on @grpc/grpc-js: the reference, and the one that knows proxies. A message is joined before it is sent. */
import { createSecureContext } from 'node:tls'
import * as grpc from '@grpc/grpc-js'
import { toError } from '../errors.ts'
import { GRPC } from './grpc.ts'
import {
  GrpcCallError,
  type GrpcTransport,
  type GrpcTransportOptions,
  type OutgoingCall,
} from './grpc-transport.ts'
import { headerFields } from './http2/client-heads.ts'
import { isLoopback } from './proxy.ts'

const FIRST_RECONNECT_MS = 1000
/** grpc-js does not let a call end a wait, so its waits stay short. */
const LONGEST_RECONNECT_MS = 10_000
const GZIP = 2

export function createGrpcJsTransport(options: GrpcTransportOptions): GrpcTransport {
  return new GrpcJsTransport(options)
}

class GrpcJsTransport implements GrpcTransport {
  readonly releases = false
  readonly #client: grpc.Client
  readonly #waitForReady: boolean

  constructor(options: GrpcTransportOptions) {
    const { target, tls } = options
    const credentials = tls
      ? grpc.credentials.createFromSecureContext(createSecureContext(tls), {
          rejectUnauthorized: tls.rejectUnauthorized ?? true,
        })
      : grpc.credentials.createInsecure()
    this.#client = new grpc.Client(target, credentials, channelOptions(options))
    this.#waitForReady = options.waitForReady
  }

  connect(): void {
    this.#client.getChannel().getConnectivityState(true)
  }

  drain(): void {}

  close(): void {
    this.#client.close()
  }

  async call({ path, message, headers, timeoutMs, attempt }: OutgoingCall): Promise<Uint8Array> {
    const metadata = toMetadata(headers, this.#waitForReady)
    const options = timeoutMs > 0 ? { deadline: Date.now() + timeoutMs } : {}
    const bytes = message.length === 1 ? message[0]! : Buffer.concat(message)
    return await new Promise<Uint8Array>((resolve, reject) => {
      const cancel = () => call.cancel()
      const call = this.#client.makeUnaryRequest(path, toBuffer, identity, bytes, metadata, options, end)
      attempt.addEventListener('abort', cancel)
      function end(error: grpc.ServiceError | null, response: Buffer | undefined) {
        attempt.removeEventListener('abort', cancel)
        if (error) reject(callError(error))
        else resolve(response ?? Buffer.alloc(0))
      }
    })
  }
}

function channelOptions(options: GrpcTransportOptions): grpc.ChannelOptions {
  const { address, authority, balancer, compression, keepalive, tls, userAgent, maxResponseBytes } = options
  const direct = !('host' in address) || isLoopback(address.host)
  return {
    'grpc.primary_user_agent': userAgent,
    'grpc.max_receive_message_length': maxResponseBytes,
    'grpc.max_send_message_length': -1,
    'grpc.initial_reconnect_backoff_ms': FIRST_RECONNECT_MS,
    'grpc.max_reconnect_backoff_ms': LONGEST_RECONNECT_MS,
    'grpc.use_local_subchannel_pool': 1,
    'grpc.enable_http_proxy': direct ? 0 : 1,
    'grpc.service_config': JSON.stringify({ loadBalancingConfig: [{ [balancer]: {} }] }),
    ...(compression === 'gzip' ? { 'grpc.default_compression_algorithm': GZIP } : {}),
    ...(authority !== '' ? { 'grpc.default_authority': authority } : {}),
    ...(tls?.servername !== undefined ? { 'grpc.ssl_target_name_override': tls.servername } : {}),
    ...(keepalive
      ? {
          'grpc.keepalive_time_ms': keepalive.timeMs,
          'grpc.keepalive_timeout_ms': keepalive.timeoutMs,
          'grpc.keepalive_permit_without_calls': keepalive.permitWithoutStream ? 1 : 0,
        }
      : {}),
  }
}

function toMetadata(headers: OutgoingCall['headers'], waitForReady: boolean): grpc.Metadata {
  const metadata = new grpc.Metadata({ waitForReady })
  try {
    for (const [name, value] of headerFields(headers))
      metadata.add(name, name.endsWith('-bin') ? Buffer.from(value, 'base64') : value)
  } catch (error) {
    throw new GrpcCallError(GRPC.INTERNAL, toError(error).message)
  }
  return metadata
}

function toBuffer(message: Uint8Array): Buffer {
  return Buffer.from(message.buffer, message.byteOffset, message.length)
}

function identity(message: Buffer): Buffer {
  return message
}

function callError(error: grpc.ServiceError): GrpcCallError {
  const details = error.metadata?.get('grpc-status-details-bin')[0]
  const bytes = typeof details === 'object' ? details : undefined
  return new GrpcCallError(error.code, plainDetails(error.details || error.message), bytes, toError(error))
}

/** What grpc-js says of a failed connection, without the words it repeats for each layer. */
function plainDetails(details: string): string {
  return details
    .replace(/^round_robin: /, '')
    .replace(/(No connection established\. Last error: )+(Error: )?/, '')
    .replace(/\.? Resolution note: $/, '')
}
