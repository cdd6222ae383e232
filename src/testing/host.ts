/** A Host for one component on one shard: plain budgets, a scripted clock, real loopback listeners. */
import net from 'node:net'
import type { Budget, Host, Listener, ListenOptions, RateBudget } from '../component/host.ts'
import { known, localBudget, localRate, localRecovery } from '../component/local-budgets.ts'
import { ScriptedClock } from './clock.ts'

export class TestHost implements Host {
  readonly shard = 0
  readonly shards = 1
  readonly clock: ScriptedClock
  readonly statuses: { status: string; error: Error | undefined }[] = []
  readonly extensions = new Map<string, unknown>()
  readonly listeners: Listener[] = []
  usedBytes = 0
  restBytes = 0
  collections = 0
  readonly memory = {
    usedBytes: () => this.usedBytes,
    refresh: () => this.usedBytes,
    restBytes: () => this.restBytes,
    collectGarbage: () => {
      this.collections++
    },
  }
  readonly recovery = localRecovery()
  #budgets = new Map<string, Budget>()
  #rates = new Map<string, RateBudget>()
  #respond: (question: string) => Uint8Array | Promise<Uint8Array> = () => new Uint8Array(0)

  constructor(clock = new ScriptedClock()) {
    this.clock = clock
  }

  budget(name: string, limit: number): Budget {
    return known(this.#budgets, name, () => localBudget(limit))
  }

  rateBudget(name: string, perSecond: number, burst: number): RateBudget {
    return known(this.#rates, name, () => localRate(this.clock, perSecond, burst))
  }

  async listen(options: ListenOptions, onConnection: (socket: net.Socket) => void): Promise<Listener> {
    const sockets = new Set<net.Socket>()
    const server = net.createServer({ noDelay: true }, (socket) => {
      sockets.add(socket)
      socket.on('close', () => sockets.delete(socket))
      onConnection(socket)
    })
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      if (options.transport === 'unix') server.listen(options.endpoint, resolve)
      else
        server.listen({ host: '127.0.0.1', port: Number(options.endpoint.split(':').at(-1) ?? 0) }, resolve)
    })
    const address = server.address()
    const port = typeof address === 'object' && address !== null ? address.port : 0
    const listener: Listener = {
      address: port ? `127.0.0.1:${port}` : options.endpoint,
      port,
      close: () => new Promise((resolve) => void server.close(() => resolve())),
    }
    this.listeners.push(listener)
    return listener
  }

  answer(respond: (question: string) => Uint8Array | Promise<Uint8Array>): void {
    this.#respond = respond
  }
  async gather(question: string): Promise<Uint8Array[]> {
    return [await this.#respond(question)]
  }
  extension(id: string): unknown {
    return this.extensions.get(id)
  }
  reportStatus(status: string, error?: Error): void {
    this.statuses.push({ status, error })
  }
}
