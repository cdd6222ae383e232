/**
 * What does a unary call cost the gRPC client of an exporter?
 *
 *     node bench/micro/grpc-client.ts    both implementations, 36 KB and 562 B a request, 1 and 10 calls under way
 *
 * Each implementation runs in a process of its own and sends to a server of its own (bench/micro/grpc-server.ts serve http2, which
 * decodes nothing), in alternating rounds. CPU time of the client process (user + system), as it sees it itself.
 */
import { execFileSync, fork, spawn } from 'node:child_process'
import os from 'node:os'
import { join } from 'node:path'
import { createGrpcJsTransport } from '../../src/net/grpc-js-client.ts'
import type { GrpcTransport, GrpcTransportOptions } from '../../src/net/grpc-transport.ts'
import { createHttp2GrpcTransport } from '../../src/net/http2/client-channel.ts'
import { tracePayload } from '../support/payload.ts'

const ROUNDS = 5
const CALLS_UNDER_WAY = [1, 10]
const SIZES = [
  { items: 100, chunks: 1, requests: 2500 },
  { items: 100, chunks: 4, requests: 2500 },
  { items: 1, chunks: 1, requests: 8000 },
]
const IMPLEMENTATIONS = ['http2', 'grpc-js'] as const
const PATH = '/opentelemetry.proto.collector.trace.v1.TraceService/Export'

interface Plan {
  readonly items: number
  readonly chunks: number
  readonly requests: number
  readonly concurrency: number
}

function transport(implementation: string, port: number): GrpcTransport {
  const options: GrpcTransportOptions = {
    address: { host: '127.0.0.1', port },
    target: `ipv4:127.0.0.1:${port}`,
    authority: '',
    tls: undefined,
    userAgent: 'bench',
    compression: undefined,
    balancer: 'round_robin',
    waitForReady: true,
    maxResponseBytes: 4 * 1024 * 1024,
    keepalive: undefined,
  }
  return implementation === 'http2' ? createHttp2GrpcTransport(options) : createGrpcJsTransport(options)
}

async function send(client: GrpcTransport, { items, chunks, requests, concurrency }: Plan): Promise<number> {
  const whole = tracePayload(items).bytes
  const step = Math.ceil(whole.length / chunks)
  const message = Array.from({ length: chunks }, (_, index) =>
    whole.subarray(index * step, (index + 1) * step),
  )
  const headers = {}
  const before = process.cpuUsage()
  let left = requests
  const work = async () => {
    while (left-- > 0) {
      const { signal } = new AbortController() // As each attempt of an exporter has one.
      const answer = await client.call({ path: PATH, message, headers, timeoutMs: 5000, attempt: signal })
      if (answer.length !== 2) throw new Error('a wrong answer')
    }
  }
  await Promise.all(Array.from({ length: concurrency }, work))
  const { user, system } = process.cpuUsage(before)
  return (user + system) / requests
}

async function drive(implementation: string, port: number): Promise<void> {
  const client = transport(implementation, port)
  client.connect()
  process.on('message', async (plan: Plan) => process.send?.(await send(client, plan)))
}

async function start(implementation: string) {
  const server = spawn(process.execPath, [join(import.meta.dirname, 'grpc-server.ts'), 'serve', 'http2'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const port = await new Promise<string>((resolve) =>
    server.stdout.once('data', (data) => resolve(String(data).trim())),
  )
  const client = fork(import.meta.filename, ['drive', implementation, port])
  const run = async (plan: Plan): Promise<number> => {
    const answer = new Promise<number>((resolve) => client.once('message', (value) => resolve(Number(value))))
    client.send(plan)
    return answer
  }
  const stop = () => {
    client.kill()
    server.kill()
  }
  return { implementation, run, stop, samples: [] as number[] }
}

function summary(samples: readonly number[]): string {
  const sorted = [...samples].sort((a, b) => a - b)
  const median = sorted[sorted.length >> 1] ?? 0
  return `${median.toFixed(1).padStart(6)} (${sorted[0]?.toFixed(1)} to ${sorted.at(-1)?.toFixed(1)})`
}

async function main(): Promise<void> {
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim()
  console.log(`${os.cpus()[0]?.model}, ${os.cpus().length} cores, Node ${process.version}, commit ${commit}`)
  console.log(`CPU microseconds per call of the client process: median of ${ROUNDS} rounds (least to most)`)
  for (const { items, chunks, requests } of SIZES) {
    const { length } = tracePayload(items).bytes
    for (const concurrency of CALLS_UNDER_WAY) {
      const clients = await Promise.all(IMPLEMENTATIONS.map(start))
      for (let round = -1; round < ROUNDS; round++) {
        for (const client of clients) {
          const micros = await client.run({ items, chunks, requests, concurrency })
          if (round >= 0) client.samples.push(micros)
        }
      }
      for (const client of clients) {
        const what = `${length} B in ${chunks}, ${concurrency} under way`
        console.log(`${what.padEnd(28)} ${client.implementation.padEnd(8)} ${summary(client.samples)}`)
        client.stop()
      }
    }
  }
}

if (process.argv[2] === 'drive') await drive(process.argv[3] ?? 'http2', Number(process.argv[4]))
else await main()
