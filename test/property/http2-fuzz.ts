/**
 * A fuzzer of the HTTP/2 server: conversations of random, broken and mutated frames, cut anywhere, against a connection in this process,
 * while a clock of its own jumps over the timeouts. Whatever comes, nothing is thrown past the connection, no promise is left
 * unhandled, and when the connections are gone so is every byte that they held.
 *
 *     node --expose-gc --max-semi-space-size=8 test/property/http2-fuzz.ts [--full] [--frames N] [--seed N]
 *
 * The young generation is bounded, since V8 keeps what it once took for it, which is no growth of Weir's. Only frames that the server read count: what comes after the end of a connection does not. Prints a line of JSON.
 */
import type { Socket } from 'node:net'
import { duplexPair } from 'node:stream'
import { parseArgs } from 'node:util'
import { systemClock } from '../../src/component/clock.ts'
import { GRPC } from '../../src/net/grpc.ts'
import { ServerConnection } from '../../src/net/http2/server-connection.ts'
import { ServerContext } from '../../src/net/http2/server-context.ts'
import { keepalive } from '../support/grpc-servers.ts'
import { Conversation, randomSource } from './http2-frames.ts'

const PATH = '/test.Service/Export'
const FULL = 10_000_000
/** The part of the frames after which the memory is measured first. */
const WARM_UP = 0.25

interface Seen {
  frames: number
  connections: number
  answered: number
  /** Connections that ended with an error of the peer. */
  ended: number
  readonly problems: string[]
}

class Fuzzer {
  readonly seen: Seen = { frames: 0, connections: 0, answered: 0, ended: 0, problems: [] }
  readonly #random: () => number
  readonly context: ServerContext
  #nowMs = 1000
  /** The messages of this conversation are what they should be. */
  #intact = false

  constructor(seed: number) {
    this.#random = randomSource(seed)
    this.context = new ServerContext({
      handlers: new Map([[PATH, ({ message }) => this.#handle(message)]]),
      admit: () => this.#admit(),
      toStatus: (error) => {
        if (!(error instanceof Error) || error.message !== 'refused') this.#problem(error)
        return { code: GRPC.INTERNAL, message: 'internal error' }
      },
      releases: () => true,
      maxMessageBytes: 5000,
      maxConcurrentStreams: 20,
      maxInFlightBytes: 60_000,
      keepalive: { ...keepalive, maxConnectionIdleMs: 400_000, maxConnectionAgeMs: 900_000 },
      clock: { ...systemClock, monotonicMs: () => this.#nowMs },
    })
  }

  #below(limit: number): number {
    return Math.floor(this.#random() * limit)
  }

  #problem(error: unknown): void {
    const { problems } = this.seen
    if (problems.length < 10) problems.push(error instanceof Error ? String(error.stack) : String(error))
  }

  #admit() {
    const kind = this.#below(40)
    const refusal = { code: GRPC.UNAVAILABLE, message: 'no' }
    if (kind === 0) return refusal
    if (kind === 1) return new Promise<undefined>((resolve) => setImmediate(resolve, undefined))
    return kind === 2 ? Promise.resolve(refusal) : undefined
  }

  async #handle(message: Uint8Array): Promise<Uint8Array> {
    this.seen.answered++
    if (this.#intact && message.some((byte) => byte !== 0x6d)) this.#problem('a message was changed')
    const kind = this.#below(5)
    if (kind === 0) throw new Error('refused')
    if (kind === 1) await new Promise((resolve) => setImmediate(resolve))
    return kind === 2 ? Buffer.alloc(this.#below(40_000), 'a') : message
  }

  async converse(): Promise<void> {
    const { seen } = this
    const [near, far] = duplexPair()
    // As far as a connection goes a duplex is a socket.
    const socket = Object.assign(near, { bytesWritten: 0 }) as unknown as Socket
    const connection = new ServerConnection(socket, this.context)
    near.on('error', () => {})
    far.on('error', () => {})
    // Now and then nobody reads the answers.
    if (this.#below(20) > 0) far.resume()
    const { bytes, ends, intact } = new Conversation(this.#random)
    this.#intact = intact
    seen.connections++
    let counted = 0
    for (let at = 0; at < bytes.length && !connection.closing; ) {
      const end = Math.min(bytes.length, at + 1 + this.#below(this.#below(10) === 0 ? 20 : 20_000))
      connection.receive(Buffer.from(bytes.subarray(at, end)))
      at = end
      while (counted < ends.length && ends[counted]! <= at) counted++
      if (this.#below(8) === 0) await new Promise((resolve) => setImmediate(resolve))
      if (this.#below(10) === 0) this.#sweep(connection)
    }
    seen.frames += counted
    if (connection.closing) seen.ended++
    await new Promise((resolve) => setImmediate(resolve))
    if (this.#below(4) === 0) this.#sweep(connection)
    near.destroy()
    far.destroy()
    connection.onClose()
  }

  #sweep(connection: ServerConnection): void {
    this.#nowMs += this.#below(this.#below(6) === 0 ? 400_000 : 200)
    connection.sweep(this.#nowMs)
  }
}

export interface FuzzResult extends Seen {
  readonly seed: number
  readonly seconds: number
  /** Growth of RSS from the end of the warm-up to the end, and to its highest point. */
  readonly rssGrowthMb: number
  readonly rssPeakGrowthMb: number
  readonly heapGrowthMb: number
  readonly heldBytes: number
}

function rssMb(): number {
  globalThis.gc?.()
  return process.memoryUsage.rss() / 2 ** 20
}

export async function fuzz(seed: number, frames: number): Promise<FuzzResult> {
  const fuzzer = new Fuzzer(seed)
  const { seen, context } = fuzzer
  const unhandled = (reason: unknown): void => void seen.problems.push(`unhandled: ${String(reason)}`)
  process.on('unhandledRejection', unhandled)
  const startMs = performance.now()
  let baseMb = Number.NaN
  let baseHeap = 0
  let peakMb = 0
  let looked = 0
  while (seen.frames < frames && seen.problems.length === 0) {
    await fuzzer.converse()
    if (Number.isNaN(baseMb) && seen.frames >= frames * WARM_UP) {
      baseMb = rssMb()
      baseHeap = process.memoryUsage().heapUsed
    }
    if (seen.frames < looked + frames / 50) continue
    looked = seen.frames
    peakMb = Math.max(peakMb, process.memoryUsage.rss() / 2 ** 20)
    if (frames >= 1e6) console.error(`${seen.frames} frames, RSS ${rssMb().toFixed(0)} MB`)
  }
  for (let wait = 0; wait < 100 && context.budget.usedBytes > 0; wait++)
    await new Promise((resolve) => setTimeout(resolve, 20))
  process.off('unhandledRejection', unhandled)
  const endMb = rssMb()
  return {
    ...seen,
    seed,
    seconds: Math.round((performance.now() - startMs) / 100) / 10,
    rssGrowthMb: Math.round(endMb - baseMb),
    rssPeakGrowthMb: Math.round(Math.max(peakMb, endMb) - baseMb),
    heapGrowthMb: Math.round((process.memoryUsage().heapUsed - baseHeap) / 2 ** 20),
    heldBytes: context.budget.usedBytes,
  }
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { full: { type: 'boolean' }, frames: { type: 'string' }, seed: { type: 'string' } },
  })
  const frames = values.full ? FULL : Number(values.frames ?? 200_000)
  const result = await fuzz(Number(values.seed ?? Date.now() % 2 ** 31), frames)
  console.log(JSON.stringify(result))
  process.exitCode = result.problems.length > 0 || result.heldBytes > 0 ? 1 : 0
}
