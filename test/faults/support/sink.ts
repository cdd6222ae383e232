/**
 * An OTLP/HTTP backend that notes the spans it takes in the books, keeps no body, and misbehaves as `act`
 * says for each request. It can go away and come back at the same port.
 */
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { eachSerial } from './spans.ts'

export type Act =
  | { readonly kind: 'take'; readonly delayMs?: number }
  | { readonly kind: 'refuse'; readonly status: number; readonly retryAfter?: string }
  | { readonly kind: 'hang' }
  /** Takes it, and resets the connection instead of an answer, or in the middle of one. */
  | { readonly kind: 'reset' }
  | { readonly kind: 'cut' }

export class Sink {
  act: () => Act = () => ({ kind: 'take' })
  /** Told of the spans in requests that are refused for good. */
  refuse: (serial: number) => void = () => {}
  readonly acts = new Map<Act['kind'], number>()
  /** Taken, and the answer waits. */
  open = 0
  readonly #note: (serial: number) => void
  #server: http.Server | undefined
  #port = 0

  constructor(note: (serial: number) => void) {
    this.#note = note
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`
  }

  async start(port = this.#port): Promise<this> {
    const server = http.createServer((request, response) => {
      const chunks: Buffer[] = []
      request.on('error', () => {})
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => this.#answer(Buffer.concat(chunks), response))
    })
    this.#server = server
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(port, '127.0.0.1', resolve)
    })
    this.#port = (server.address() as AddressInfo).port // A TCP server has one.
    return this
  }

  #answer(body: Buffer, response: http.ServerResponse): void {
    const act = this.act()
    this.acts.set(act.kind, (this.acts.get(act.kind) ?? 0) + 1)
    if (act.kind === 'hang') return
    if (act.kind === 'refuse') {
      if (act.status === 400) eachSerial(body, this.refuse)
      response.writeHead(act.status, act.retryAfter ? { 'retry-after': act.retryAfter } : {}).end('not now')
      return
    }
    eachSerial(body, this.#note)
    if (act.kind === 'reset') response.socket?.resetAndDestroy()
    else if (act.kind === 'cut') {
      response.writeHead(200, { 'content-type': 'application/x-protobuf', 'content-length': '100' })
      response.write('half', () => response.socket?.destroy())
    } else {
      this.open++
      setTimeout(() => {
        this.open--
        response.writeHead(200).end()
      }, act.delayMs ?? 0)
    }
  }

  async stop(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    if (!server) return
    const closed = new Promise((resolve) => server.close(resolve))
    server.closeAllConnections()
    await closed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }
}
