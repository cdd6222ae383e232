/** A gRPC server (grpc-js) on loopback for any unary method: records calls as bytes and answers by script. */
import * as grpc from '@grpc/grpc-js'

export interface ReceivedCall {
  readonly path: string
  readonly message: Buffer
  readonly metadata: grpc.Metadata
  readonly deadline: Date | number
}

export interface CallAnswer {
  readonly message?: Uint8Array
  readonly code?: number
  readonly details?: string
  /** An encoded google.rpc.Status for the trailer. */
  readonly statusDetails?: Uint8Array
  /** Never answers. */
  readonly hang?: boolean
}

export class GrpcBackend {
  readonly calls: ReceivedCall[] = []
  readonly script: CallAnswer[] = []
  always: CallAnswer | ((call: ReceivedCall) => CallAnswer) = {}
  cancelled = 0
  endpoint = ''
  readonly #server = new grpc.Server({ 'grpc.max_receive_message_length': -1 })

  async start(
    paths: readonly string[],
    credentials = grpc.ServerCredentials.createInsecure(),
    port = 0,
  ): Promise<this> {
    const identity = (bytes: Buffer) => bytes
    for (const path of paths) {
      const handle: grpc.handleUnaryCall<Buffer, Buffer> = (call, callback) =>
        this.#answer(path, call, callback)
      this.#server.register(path, handle, identity, identity, 'unary')
    }
    const bound = await new Promise<number>((resolve, reject) =>
      this.#server.bindAsync(`127.0.0.1:${port}`, credentials, (error, taken) =>
        error ? reject(error) : resolve(taken),
      ),
    )
    this.endpoint = `127.0.0.1:${bound}`
    return this
  }

  #answer(
    path: string,
    call: grpc.ServerUnaryCall<Buffer, Buffer>,
    callback: grpc.sendUnaryData<Buffer>,
  ): void {
    const { request: message, metadata } = call
    const received = { path, message, metadata, deadline: call.getDeadline() }
    this.calls.push(received)
    call.on('cancelled', () => this.cancelled++)
    const step = this.script.shift() ?? this.always
    const answer = typeof step === 'function' ? step(received) : step
    if (answer.hang) return
    if (!answer.code) {
      callback(null, Buffer.from(answer.message ?? []))
      return
    }
    const trailer = new grpc.Metadata()
    if (answer.statusDetails) trailer.set('grpc-status-details-bin', Buffer.from(answer.statusDetails))
    callback({ code: answer.code, details: answer.details ?? '', metadata: trailer })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.forceShutdown()
  }
}
