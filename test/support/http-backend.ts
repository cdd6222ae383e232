/**
 * An HTTP server on loopback that records requests and answers by script; after the script it answers 200.
 */
import http from 'node:http'
import type { AddressInfo } from 'node:net'

export interface ReceivedRequest {
  readonly method: string
  readonly url: string
  readonly headers: http.IncomingHttpHeaders
  readonly body: Buffer
}

export interface Answer {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Uint8Array
}

type Step = Answer | ((request: ReceivedRequest, response: http.ServerResponse) => void)

export class HttpBackend {
  readonly requests: ReceivedRequest[] = []
  readonly script: Step[] = []
  always: Step = { status: 200 }
  connections = 0
  readonly #server: http.Server

  constructor() {
    this.#server = http.createServer((request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        const received: ReceivedRequest = {
          method: request.method ?? '',
          url: request.url ?? '',
          headers: request.headers,
          body: Buffer.concat(chunks),
        }
        this.requests.push(received)
        const step = this.script.shift() ?? this.always
        if (typeof step === 'function') step(received, response)
        else response.writeHead(step.status ?? 200, step.headers).end(step.body)
      })
    })
    this.#server.on('connection', () => this.connections++)
  }

  async start(): Promise<this> {
    await new Promise<void>((resolve) => void this.#server.listen(0, '127.0.0.1', resolve))
    return this
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}
