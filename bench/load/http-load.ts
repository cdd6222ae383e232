/**
 * The HTTP load, by autocannon. Each of its clients gets a request of its own, built once; before it is sent again the trace ids or
 * times in the built bytes are renewed in place, which costs far less than building it anew.
 */
import autocannon from 'autocannon'
import type { Request } from '../support/requests.ts'
import type { Counts } from './grpc-load.ts'
import { HTTP_PATHS, type LoadPlan, Times } from './plan.ts'

/** What is used of autocannon's client beyond its types. */
interface Client {
  reqsMade: number
  responseMax: number
  setRequests(requests: object[]): void
  getRequestBuffer(): Buffer
  on(event: 'request', listener: () => void): void
  on(event: 'response', listener: (status: number, bytes: number, ms: number) => void): void
}

export async function httpLoad(plan: LoadPlan, variants: readonly Request[]): Promise<Counts> {
  const times = new Times()
  const clients: Client[] = []
  let serial = plan.serial
  const setupClient = (client: Client) => {
    const request = variants[clients.length % variants.length] as Request
    clients.push(client)
    client.setRequests([build(plan, request)])
    const bytes = client.getRequestBuffer()
    const bodyAt = bytes.length - request.bytes.length
    const places = request.places.map((place) => place + bodyAt)
    client.on('request', () => request.renew(bytes, places, serial++))
    client.on('response', (_status, _bytes, ms) => times.add(ms))
  }
  const amount = plan.requests ?? plan.connections * 10_000_000
  const running: PromiseLike<autocannon.Result> = autocannon({
    url: `http://127.0.0.1:${plan.port}`,
    connections: plan.connections,
    amount,
    timeout: 60,
    sampleInt: 20,
    setupClient,
  } as unknown as autocannon.Options)
  // Nobody begins another request after the time: each client ends with the answer it waits for.
  const timer = setTimeout(
    () => {
      for (const client of clients) client.responseMax = client.reqsMade
    },
    (plan.seconds ?? 1e6) * 1000,
  )
  const result = await running
  clearTimeout(timer)
  return {
    requests: result['2xx'],
    errors: result.errors + result.non2xx,
    ...times.percentiles(),
    nextSerial: serial,
  }
}

function build(plan: LoadPlan, request: Request): object {
  const kind = plan.kind ?? 'traces'
  const type = kind === 'json-traces' ? 'application/json' : 'application/x-protobuf'
  const headers = { 'content-type': type, ...(plan.gzip === true && { 'content-encoding': 'gzip' }) }
  return { method: 'POST', path: HTTP_PATHS[kind], headers, body: request.bytes }
}
