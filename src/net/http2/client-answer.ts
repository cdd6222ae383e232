/** What an answer that has ended means for its call (gRPC over HTTP/2, Responses). */
import { decompress } from '../compression.ts'
import { GRPC } from '../grpc.ts'
import { GrpcCallError } from '../grpc-transport.ts'
import type { ClientCall } from './client-call.ts'
import { type ResponseHead, statusOfHttp } from './response-head.ts'

/** `trailers` are the head itself when there is nothing else. */
export function settle(call: ClientCall, trailers: ResponseHead, limitBytes: number): void {
  const { head, reader } = call
  if (trailers.status < 0)
    return void call.reject(
      trailers.http > 0
        ? httpError(trailers)
        : new GrpcCallError(GRPC.UNKNOWN, 'an answer without grpc-status'),
    )
  if (trailers.status !== GRPC.OK)
    return void call.reject(new GrpcCallError(trailers.status, trailers.message, trailers.details))
  reader.end()
  if (reader.problem !== undefined)
    return void call.reject(answerError(reader.problem.code, reader.problem.message))
  if (!reader.compressed) return void call.resolve(reader.message)
  if (head?.encoding === undefined)
    return void call.reject(answerError(GRPC.INTERNAL, 'compressed by an encoding that is not known'))
  decompress(head.encoding, reader.message, limitBytes).then(
    (answer) => call.resolve(answer),
    (error: Error) => call.reject(answerError(GRPC.RESOURCE_EXHAUSTED, error.message)),
  )
}

export function answerError(code: number, message: string): GrpcCallError {
  return new GrpcCallError(code, `the answer of the server: ${message}`)
}

export function httpError(head: ResponseHead): GrpcCallError {
  const type = head.contentType === '' ? 'none' : head.contentType.slice(0, 100)
  return answerError(statusOfHttp(head.http), `HTTP ${head.http}, content-type ${type}`)
}
