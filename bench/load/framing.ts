/**
 * A gRPC request as it goes over the wire: HEADERS and DATA frames laid out once, the message inside them. Per call only the
 * stream id in each frame and the renewed places are written; nothing is copied or allocated.
 *
 * The buffer must not be renewed before the socket has taken all of it: the connection says when.
 */
import type { Request } from '../support/requests.ts'

const FRAME_BYTES = 16_384
const FRAME_HEADER = 9
const END_STREAM = 1
const END_HEADERS = 4

export interface FramedRequest {
  readonly bytes: Buffer
  readonly items: number
  /** Where frames begin: HEADERS first, then DATA. One more entry: the end. */
  readonly frameAt: Int32Array
  readonly places: Int32Array
  readonly request: Request
}

export function frame(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  const bytes = Buffer.alloc(FRAME_HEADER + payload.length)
  bytes.writeUIntBE(payload.length, 0, 3)
  bytes[3] = type
  bytes[4] = flags
  bytes.writeUInt32BE(stream, 5)
  bytes.set(payload, FRAME_HEADER)
  return bytes
}

export function frameRequest(request: Request, headers: Uint8Array, compressed: boolean): FramedRequest {
  const prefix = Buffer.alloc(5)
  prefix[0] = compressed ? 1 : 0
  prefix.writeUInt32BE(request.bytes.length, 1)
  const message = Buffer.concat([prefix, request.bytes])
  const parts = [frame(1, END_HEADERS, 0, headers)]
  const frameAt = [0]
  const places = new Int32Array(request.places.length)
  let length = parts[0]?.length ?? 0
  let next = 0
  for (let start = 0; start < message.length; ) {
    let end = Math.min(start + FRAME_BYTES, message.length)
    // A frame never ends inside a renewed piece.
    let place = next
    while (place < places.length && (request.places[place] ?? 0) + 5 + request.pieceBytes <= end) place++
    const straddling = (request.places[place] ?? Number.POSITIVE_INFINITY) + 5
    if (end < message.length && straddling < end) end = straddling
    for (; next < place; next++)
      places[next] = length + FRAME_HEADER + (request.places[next] ?? 0) + 5 - start
    frameAt.push(length)
    const flags = end === message.length ? END_STREAM : 0
    const part = frame(0, flags, 0, message.subarray(start, end))
    parts.push(part)
    length += part.length
    start = end
  }
  frameAt.push(length)
  if (next !== places.length) throw new Error('a renewed piece is in no frame')
  return {
    bytes: Buffer.concat(parts),
    items: request.items,
    frameAt: Int32Array.from(frameAt),
    places,
    request,
  }
}

/** Makes it the call of `stream` that brings the request `serial`. */
export function renew(framed: FramedRequest, stream: number, serial: number): void {
  const { bytes, frameAt } = framed
  for (let index = 0; index < frameAt.length - 1; index++) bytes.writeUInt32BE(stream, frameAt[index]! + 5)
  framed.request.renew(bytes, framed.places, serial)
}

/** A header field that leaves the dynamic table alone. */
export const literal = (name: string, value: string) =>
  Buffer.concat([
    Buffer.from([0, name.length]),
    Buffer.from(name),
    Buffer.from([value.length]),
    Buffer.from(value),
  ])

/** The header block of a unary call, without the dynamic table. */
export function callHeaders(port: number, path: string, encoding: string | undefined): Buffer {
  return Buffer.concat([
    Buffer.from([0x83, 0x86]), // :method POST, :scheme http
    literal(':path', path),
    literal(':authority', `127.0.0.1:${port}`),
    literal('content-type', 'application/grpc'),
    literal('te', 'trailers'),
    literal('user-agent', 'weir-bench'),
    ...(encoding === undefined ? [] : [literal('grpc-encoding', encoding)]),
  ])
}
