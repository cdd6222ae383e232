/**
 * Reads request bodies and ends requests whose body is not wanted.
 *
 * A body lands in one buffer, which grows with what has come and not with what Content-Length promises. When the
 * bytes in flight are over their limit, reading pauses until there is room.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { InvalidError, RetryableError, TooLargeError } from '../errors.ts'
import { givePayload, takePayload } from '../otlp/payload-pool.ts'
import { compact } from './compression.ts'
import type { Exchange } from './http-server.ts'
import type { InFlightBytes } from './in-flight.ts'

/** Up to here a promised length is allocated at once. */
const TRUSTED_BYTES = 256 * 1024
const FIRST_BYTES = 16 * 1024
/** A refused body that is no longer than this is read and dropped, and the connection goes on. */
const DROP_BYTES = 256 * 1024
/** How much of, and how long, a longer one is dropped so that the client sees the answer before the end. */
const LINGER_BYTES = 4 * 1024 * 1024
const LINGER_MS = 500

/** Reading stopped because the client went away; nobody is there to answer. */
export class ClientGone extends RetryableError {
  static override code = 'CLIENT_GONE'
}

/** The promised length of the body; -1 when it comes in chunks. */
export function contentLength(request: IncomingMessage): number {
  const header = request.headers['content-length']
  if (header !== undefined) return Number(header)
  return request.headers['transfer-encoding'] === undefined ? 0 : -1
}

/**
 * Reads the body. Rejects with TooLargeError before reading when Content-Length is over the limit, and while reading
 * when a body in chunks gets there. `inFlight` holds as many bytes as the result has when it resolves: the
 * caller gives them back. `pooled`: the caller gives the result back to the payload pool as well.
 */
export function readBody(
  exchange: Exchange,
  limitBytes: number,
  inFlight: InFlightBytes,
  pooled = false,
): Promise<Buffer> {
  const { request, response } = exchange
  const promised = contentLength(request)
  if (promised > limitBytes) return Promise.reject(tooLarge(limitBytes))
  if (promised === 0) return Promise.resolve(EMPTY)
  if (exchange.expectsContinue) response.writeContinue()
  return new Promise((resolve, reject) => {
    new BodyReader(request, promised, limitBytes, inFlight, pooled, resolve, reject)
  })
}

const EMPTY = Buffer.alloc(0)

function tooLarge(limitBytes: number): TooLargeError {
  return new TooLargeError(`request body is over the limit of ${limitBytes} bytes`)
}

class BodyReader {
  #bytes: Buffer = EMPTY
  #length = 0
  /** Bytes taken from `inFlight`. */
  #held = 0
  #settled = false
  #ended = false
  #waiting = false
  readonly #request: IncomingMessage
  readonly #promised: number
  readonly #limitBytes: number
  readonly #inFlight: InFlightBytes
  readonly #pooled: boolean
  readonly #resolve: (bytes: Buffer) => void
  readonly #reject: (error: Error) => void

  constructor(
    request: IncomingMessage,
    promised: number,
    limitBytes: number,
    inFlight: InFlightBytes,
    pooled: boolean,
    resolve: (bytes: Buffer) => void,
    reject: (error: Error) => void,
  ) {
    this.#request = request
    this.#promised = promised
    this.#limitBytes = limitBytes
    this.#inFlight = inFlight
    this.#pooled = pooled
    this.#resolve = resolve
    this.#reject = reject
    request.on('data', (chunk: Buffer) => this.#onData(chunk))
    request.on('end', () => this.#onEnd())
    const gone = (): void => {
      if (!this.#settled) this.#fail(new ClientGone('the client closed the connection'))
    }
    request.on('error', gone)
    request.on('close', gone)
  }

  #onData(chunk: Buffer): void {
    if (this.#settled) return
    const needed = this.#length + chunk.length
    if (needed > this.#limitBytes) {
      this.#fail(tooLarge(this.#limitBytes))
      return
    }
    if (needed > this.#bytes.length) this.#grow(needed)
    chunk.copy(this.#bytes, this.#length)
    this.#length = needed
    if (needed <= this.#held) return
    const more = needed - this.#held
    if (!this.#waiting && this.#inFlight.tryTake(more)) this.#held = needed
    else if (!this.#waiting) this.#pause(more)
  }

  #grow(needed: number): void {
    const promised = this.#promised
    let size = promised
    if (promised < 0 || (promised > TRUSTED_BYTES && needed <= TRUSTED_BYTES))
      size = Math.min(Math.max(needed, this.#bytes.length * 2, FIRST_BYTES), this.#limitBytes)
    const wanted = Math.max(size, needed)
    const grown = this.#pooled ? takePayload(wanted) : Buffer.allocUnsafeSlow(wanted)
    this.#bytes.copy(grown, 0, 0, this.#length)
    if (this.#pooled) givePayload(this.#bytes)
    this.#bytes = grown
  }

  /** Chunks that node has read already may still come while this waits; they are taken into account after it. */
  #pause(more: number): void {
    this.#waiting = true
    this.#request.pause()
    this.#inFlight.wait(more).then(
      () => {
        this.#waiting = false
        if (this.#settled) return this.#inFlight.give(more)
        this.#held += more
        if (this.#length > this.#held) return this.#pause(this.#length - this.#held)
        if (this.#ended) this.#onEnd()
        else this.#request.resume()
      },
      (error: Error) => this.#fail(error),
    )
  }

  #onEnd(): void {
    this.#ended = true
    if (this.#settled || this.#waiting) return
    if (this.#promised >= 0 && this.#length !== this.#promised) {
      this.#fail(new InvalidError('request body is shorter than its Content-Length'))
      return
    }
    this.#settled = true
    const body = this.#bytes.subarray(0, this.#length)
    this.#resolve(this.#pooled ? body : compact(body))
  }

  #fail(error: Error): void {
    if (this.#settled) return
    this.#settled = true
    if (this.#pooled) givePayload(this.#bytes)
    this.#bytes = EMPTY
    this.#inFlight.give(this.#held)
    this.#reject(error)
  }
}

/**
 * Writes an answer. What is left of the body is dropped: a short rest is read so that the connection can go on, a
 * long one for a moment only, and then the connection closes.
 */
export function answer(
  exchange: Exchange,
  status: number,
  contentType: string,
  body: Uint8Array | string,
): void {
  const { request, response } = exchange
  if (response.destroyed) return
  if (exchange.server.stopping) response.setHeader('Connection', 'close')
  response.setHeader('Content-Type', contentType)
  response.setHeader('Content-Length', typeof body === 'string' ? Buffer.byteLength(body) : body.length)
  if (request.readableEnded || request.complete) {
    end(response, status, body)
    return
  }
  const promised = contentLength(request)
  if (promised === 0 || (promised > 0 && promised <= DROP_BYTES && !exchange.expectsContinue)) {
    end(response, status, body)
    request.resume()
    return
  }
  closeAfter(request, response, status, body)
}

/** A string goes out in one piece with the headers, bytes would not; so bytes are passed as a string of one byte each. */
function end(response: ServerResponse, status: number, body: Uint8Array | string): void {
  response.writeHead(status)
  if (typeof body === 'string') response.end(body)
  else response.end(Buffer.from(body.buffer, body.byteOffset, body.length).toString('latin1'), 'latin1')
}

/** The answer is complete by its Content-Length; the end is held back while the client may still be writing. */
function closeAfter(
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  body: Uint8Array | string,
): void {
  response.setHeader('Connection', 'close')
  response.writeHead(status)
  response.write(body)
  let dropped = 0
  const timer = setTimeout(finish, LINGER_MS)
  function finish(): void {
    clearTimeout(timer)
    if (!response.writableEnded) response.end(() => request.socket.destroySoon())
  }
  request.on('data', (chunk: Buffer) => {
    dropped += chunk.length
    if (dropped > LINGER_BYTES) finish()
  })
  request.on('end', finish)
  request.on('close', finish)
  request.resume()
}
