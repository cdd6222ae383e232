/**
 * Sends requests over 8 connections at once, 4 of gRPC and 4 of HTTP; each takes the next request when its
 * last is answered.
 */
import * as grpc from '@grpc/grpc-js'
import { Client } from 'undici'
import type { Traffic } from './tail-traffic.ts'

const METHOD = '/opentelemetry.proto.collector.trace.v1.TraceService/Export'
const CONNECTIONS_EACH = 4

type Send = (body: Buffer) => Promise<void>

/** Gives the longest time in ms from the first sending of spans of a trace to the answer for its last. */
export async function sendTraffic(traffic: Traffic, grpcPort: number, httpPort: number): Promise<number> {
  const { requests, firstRequest, lastRequest } = traffic
  const sentMs = new Float64Array(requests.length)
  const answeredMs = new Float64Array(requests.length)
  let next = 0
  const connection = async (send: Send) => {
    while (next < requests.length) {
      const index = next++
      sentMs[index] = performance.now()
      await send(requests[index] as Buffer) // In range.
      answeredMs[index] = performance.now()
    }
  }
  const clients = Array.from({ length: CONNECTIONS_EACH }, () => [
    grpcClient(grpcPort),
    httpClient(httpPort),
  ]).flat()
  try {
    await Promise.all(clients.map((client) => connection(client.send)))
  } finally {
    for (const client of clients) client.close()
  }
  let longest = 0
  for (let trace = 0; trace < firstRequest.length; trace++) {
    const [first, last] = [firstRequest[trace] ?? 0, lastRequest[trace] ?? 0]
    let begin = Infinity
    let end = 0
    for (let index = first; index <= last; index++) {
      begin = Math.min(begin, sentMs[index] ?? 0)
      end = Math.max(end, answeredMs[index] ?? 0)
    }
    longest = Math.max(longest, end - begin)
  }
  return longest
}

function grpcClient(port: number): { send: Send; close(): void } {
  const options = { 'grpc.use_local_subchannel_pool': 1 }
  const client = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), options)
  const identity = (bytes: Buffer) => bytes
  const send = (body: Buffer) =>
    new Promise<void>((resolve, reject) => {
      const deadline = Date.now() + 60_000
      client.makeUnaryRequest(METHOD, identity, identity, body, new grpc.Metadata(), { deadline }, (error) =>
        error ? reject(error) : resolve(),
      )
    })
  return { send, close: () => client.close() }
}

function httpClient(port: number): { send: Send; close(): void } {
  const client = new Client(`http://127.0.0.1:${port}`, { headersTimeout: 60_000 })
  const headers = { 'content-type': 'application/x-protobuf' }
  return {
    async send(body) {
      const answer = await client.request({ method: 'POST', path: '/v1/traces', headers, body })
      const text = await answer.body.text()
      if (answer.statusCode !== 200) throw new Error(`HTTP ${answer.statusCode}: ${text}`)
    },
    close: () => void client.destroy(),
  }
}
