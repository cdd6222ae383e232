/**
 * What does a unary call cost the gRPC server, beside what is done with its message?
 *
 *     node bench/micro/grpc-server.ts            both implementations, 36 KB and 562 B a request
 *     node bench/micro/grpc-server.ts serve X    the server alone: prints its port; X is http2 or grpc-js
 *
 * Each implementation runs in a process of its own and gets the same requests from the driver, in alternating rounds. CPU time
 * of the server process (user + system) from /proc. The handler checks the length of the message and answers two bytes.
 */
import { execFileSync, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import { GRPC, type GrpcServerOptions } from '../../src/net/grpc.ts'
import { createGrpcJsServer } from '../../src/net/grpc-js-server.ts'
import { createHttp2GrpcServer } from '../../src/net/http2/grpc-server.ts'
import type { LoadResult } from '../load/plan.ts'
import { Helper } from '../support/helper.ts'
import { tracePayload } from '../support/payload.ts'

const ROUNDS = 3
const CONNECTIONS = [1, 32]
const SIZES = [
  { items: 100, requests: 2500 },
  { items: 1, requests: 7000 },
]
const IMPLEMENTATIONS = ['http2', 'grpc-js'] as const
type Implementation = (typeof IMPLEMENTATIONS)[number]
const TICKS_PER_SECOND = 100
const PATH = '/opentelemetry.proto.collector.trace.v1.TraceService/Export'

function serve(implementation: string): void {
  const answer = Buffer.from([0x0a, 0])
  const options: GrpcServerOptions = {
    handlers: new Map([
      [
        PATH,
        async ({ message }) => {
          if (message.length < 100) throw new Error('a message is too short')
          return answer
        },
      ],
    ]),
    admit: () => undefined,
    releases: () => true,
    toStatus: () => ({ code: GRPC.INTERNAL, message: 'internal error' }),
    maxMessageBytes: 4 * 1024 * 1024,
    maxConcurrentStreams: 0,
    keepalive: {
      maxConnectionIdleMs: 0,
      maxConnectionAgeMs: 0,
      maxConnectionAgeGraceMs: 0,
      timeMs: 7_200_000,
      timeoutMs: 20_000,
      minTimeMs: 300_000,
      permitWithoutStream: false,
    },
  }
  const server = implementation === 'grpc-js' ? createGrpcJsServer(options) : createHttp2GrpcServer(options)
  const listener = net.createServer({ noDelay: true }, (socket) => server.accept(socket))
  listener.listen(0, '127.0.0.1', () => {
    const address = listener.address()
    console.log(typeof address === 'object' && address !== null ? address.port : 0)
  })
  process.on('SIGTERM', () => process.exit(0))
}

async function start(implementation: Implementation) {
  const child = spawn(process.execPath, [import.meta.filename, 'serve', implementation], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const port = await new Promise<number>((resolve) =>
    child.stdout.once('data', (data) => resolve(Number(data))),
  )
  const cpuMicros = (): number => {
    const fields = readFileSync(`/proc/${child.pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
    return ((Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND) * 1e6
  }
  return { implementation, port, cpuMicros, samples: [] as number[], stop: () => child.kill() }
}

function summary(samples: number[]): string {
  const sorted = [...samples].sort((a, b) => a - b)
  const median = sorted[sorted.length >> 1] ?? 0
  return `${median.toFixed(1).padStart(6)} (${sorted[0]?.toFixed(1)} to ${sorted.at(-1)?.toFixed(1)})`
}

async function main(): Promise<void> {
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim()
  console.log(`${os.cpus()[0]?.model}, ${os.cpus().length} cores, Node ${process.version}, commit ${commit}`)
  console.log(
    `CPU microseconds per request of the server process: median of ${ROUNDS} rounds (least to most)`,
  )
  const driver = new Helper('driver.ts')
  for (const { items, requests } of SIZES) {
    const bytes = tracePayload(items).bytes.length
    for (const connections of CONNECTIONS) {
      const servers = await Promise.all(IMPLEMENTATIONS.map(start))
      let serial = 0
      for (let round = -1; round < ROUNDS; round++) {
        for (const server of servers) {
          const before = server.cpuMicros()
          const plan = { protocol: 'grpc', port: server.port, connections, requests, items, serial } as const
          const result = await driver.ask<LoadResult>(JSON.stringify(plan))
          serial += requests
          if (result.requests !== requests) throw new Error(`${result.errors} calls failed`)
          if (round >= 0) server.samples.push((server.cpuMicros() - before) / requests)
        }
      }
      for (const server of servers) {
        const what = `${bytes} B, ${connections} connections`
        console.log(
          `${what.padEnd(24)} ${server.implementation.padEnd(8)} ${summary(server.samples)} us/request`,
        )
        server.stop()
      }
    }
  }
  driver.stop()
}

if (process.argv[2] === 'serve') serve(process.argv[3] ?? 'http2')
else {
  await main()
}
