/** One HTTP request from a test to a receiver, and the whole answer. */
import http from 'node:http'
import https from 'node:https'

export interface HttpRequest {
  /** `/v1/traces` when absent. */
  path?: string
  /** POST when absent. */
  method?: string
  /** Content-Type: protobuf when absent, none when empty. */
  type?: string
  headers?: http.OutgoingHttpHeaders
  /** Makes it HTTPS. */
  agent?: https.Agent
}

export interface HttpResponse {
  status: number
  type: string | undefined
  headers: http.IncomingHttpHeaders
  body: Buffer
}

export function request(
  port: number,
  data: Uint8Array | string,
  more: HttpRequest = {},
): Promise<HttpResponse> {
  const headers = {
    ...(more.type === '' ? {} : { 'Content-Type': more.type ?? 'application/x-protobuf' }),
    ...more.headers,
  }
  const options = {
    port,
    host: '127.0.0.1',
    method: more.method ?? 'POST',
    path: more.path ?? '/v1/traces',
    headers,
  }
  return new Promise((resolve, reject) => {
    const call = more.agent ? https.request({ ...options, agent: more.agent }) : http.request(options)
    call.on('error', reject)
    call.on('response', (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          type: response.headers['content-type'],
          headers: response.headers,
          body: Buffer.concat(chunks),
        }),
      )
    })
    call.end(data)
  })
}
