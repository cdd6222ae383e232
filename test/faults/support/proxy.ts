/**
 * A TCP proxy on loopback that does to what passes what a bad network does. Each fault counts how often it
 * struck.
 *
 *     const proxy = await new FaultProxy(backendPort).start()
 *     proxy.fault = 'cut'
 */
import net, { type AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

export const FAULTS = ['delay', 'throttle', 'cut', 'reset', 'half-open'] as const
export type Fault = (typeof FAULTS)[number]

const THROTTLED_BYTES = 4096

export class FaultProxy {
  fault: Fault | undefined
  readonly fired = new Map<Fault, number>()
  readonly #upstreamPort: number
  readonly #sockets = new Set<net.Socket>()
  readonly #server = net.createServer((client) => this.#connect(client))
  #closed = false

  constructor(upstreamPort: number) {
    this.#upstreamPort = upstreamPort
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port // A TCP server has one.
  }

  async start(): Promise<this> {
    await new Promise<void>((resolve) => void this.#server.listen(0, '127.0.0.1', resolve))
    return this
  }

  #connect(client: net.Socket): void {
    const upstream = net.connect(this.#upstreamPort, '127.0.0.1')
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      this.#sockets.add(from)
      from.on('data', (data: Buffer) => void this.#pass(data, from, to))
      from.on('error', () => {})
      from.on('end', () => to.end())
      from.on('close', () => {
        this.#sockets.delete(from)
        to.destroy()
      })
    }
  }

  async #pass(data: Buffer, from: net.Socket, to: net.Socket): Promise<void> {
    const { fault } = this
    if (fault === undefined) {
      to.write(data)
      return
    }
    this.fired.set(fault, (this.fired.get(fault) ?? 0) + 1)
    from.pause() // Nothing overtakes it.
    if (fault === 'delay') await sleep(60)
    else if (fault === 'half-open') {
      // Neither side hears anything of it; what was on the way is gone when the connection ends.
      while (this.fault === 'half-open' && !from.destroyed && !this.#closed) await sleep(20)
    } else if (fault === 'throttle') {
      for (let at = 0; at < data.length && !to.destroyed; at += THROTTLED_BYTES) {
        to.write(data.subarray(at, at + THROTTLED_BYTES))
        await sleep(5)
      }
      from.resume()
      return
    } else if (fault === 'cut') {
      to.write(data.subarray(0, data.length / 2), () => to.destroy())
      from.destroy()
      return
    } else {
      to.resetAndDestroy()
      from.resetAndDestroy()
      return
    }
    to.write(data)
    from.resume()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    for (const socket of this.#sockets) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}
