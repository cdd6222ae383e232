/**
 * The listening sockets of one thread. They belong to it and not to the components, so that a reload hands a socket on to the
 * next component that asks for the same endpoint, and never closes one that is still wanted: closing a listener under
 * load resets the connections in its backlog.
 */
import net from 'node:net'
import type { Listener, ListenOptions } from '../component/host.ts'

export interface ListenPlace {
  readonly host: string
  readonly port: number
  readonly unixPath: string | undefined
}

/** What goes into the backlog before the kernel refuses; Linux caps it at net.core.somaxconn. */
const BACKLOG = 4096

/** Splits an endpoint: `host:port`, `:port`, `[::1]:port`, a bare port, or a path. `localhost` is the IPv4 loopback. */
export function parseEndpoint(options: Pick<ListenOptions, 'endpoint' | 'transport'>): ListenPlace {
  const { endpoint, transport } = options
  if (transport === 'unix' || endpoint.startsWith('unix:')) {
    return { host: '', port: 0, unixPath: endpoint.replace(/^unix:(\/\/)?/, '') }
  }
  const match = /^(?:\[([^\]]*)\]|([^:[\]]*)):(\d{1,5})$/.exec(endpoint.trim())
  const port = Number(match?.[3] ?? Number.NaN)
  if (match === null || port > 65_535) throw new RangeError(`"${endpoint}" is not host:port`)
  const name = match[1] ?? match[2] ?? ''
  const wildcard = transport === 'tcp4' ? '0.0.0.0' : '::'
  const host =
    name === '' ? wildcard : name === 'localhost' ? (transport === 'tcp6' ? '::1' : '127.0.0.1') : name
  return { host, port, unixPath: undefined }
}

/** Asks main to find out, once for all shards, that the place is free, and which port a 0 became. */
export type Claim = (options: ListenOptions) => Promise<ListenPlace>

interface Open {
  readonly server: net.Server
  readonly owners: ((socket: net.Socket) => void)[]
  address: string
  port: number
}

export class ListenerPool {
  readonly #open = new Map<string, Promise<Open>>()
  readonly #claim: Claim
  readonly #reusePort: boolean

  /** `reusePort`: other shards listen on the same port. */
  constructor(claim: Claim, reusePort: boolean) {
    this.#claim = claim
    this.#reusePort = reusePort
  }

  async listen(options: ListenOptions, onConnection: (socket: net.Socket) => void): Promise<Listener> {
    const key = `${options.name} ${options.transport ?? 'tcp'} ${options.endpoint}`
    let opening = this.#open.get(key)
    if (opening === undefined) {
      opening = this.#start(options)
      this.#open.set(key, opening)
      opening.catch(() => this.#open.delete(key))
    }
    const open = await opening
    open.owners.push(onConnection)
    return {
      address: open.address,
      port: open.port,
      close: () => this.#close(key, open, onConnection),
    }
  }

  async #start(options: ListenOptions): Promise<Open> {
    const place = await this.#claim(options)
    const owners: Open['owners'] = []
    const server = net.createServer({ noDelay: true, pauseOnConnect: false }, (socket) => {
      // A socket without an error handler would end the process when its peer resets it.
      socket.on('error', () => {})
      const owner = owners.at(-1)
      if (owner === undefined) socket.destroy()
      else owner(socket)
    })
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      const target =
        place.unixPath === undefined
          ? {
              host: place.host,
              port: place.port,
              backlog: BACKLOG,
              exclusive: true,
              reusePort: this.#reusePort,
            }
          : { path: place.unixPath, backlog: BACKLOG }
      server.listen(target, () => {
        server.off('error', reject)
        server.on('error', () => {}) // Errors of accept(), such as EMFILE: Node goes on listening.
        resolve()
      })
    })
    const bound = server.address()
    if (bound === null || typeof bound === 'string') return { server, owners, address: bound ?? '', port: 0 }
    const host = bound.family === 'IPv6' ? `[${bound.address}]` : bound.address
    return { server, owners, address: `${host}:${bound.port}`, port: bound.port }
  }

  async #close(key: string, open: Open, onConnection: (socket: net.Socket) => void): Promise<void> {
    const index = open.owners.lastIndexOf(onConnection)
    if (index < 0) return
    open.owners.splice(index, 1)
    if (open.owners.length > 0) return
    this.#open.delete(key)
    // Connections that were accepted belong to the component, which drains them; do not wait for them here.
    open.server.close()
  }
}

/** Listens alone and lets go again: an address that somebody else uses is an error, and port 0 gets a number. */
export async function claimPlace(options: ListenOptions): Promise<ListenPlace> {
  const place = parseEndpoint(options)
  if (place.unixPath !== undefined) return place
  if (place.host !== '::') return claimPort(options, place)
  try {
    return await claimPort(options, place)
  } catch (error) {
    if (!(error instanceof Error) || !String(error.cause).includes('EAFNOSUPPORT')) throw error
    return claimPort(options, { ...place, host: '0.0.0.0' }) // A machine without IPv6.
  }
}

async function claimPort(options: ListenOptions, place: ListenPlace): Promise<ListenPlace> {
  const server = net.createServer()
  const port = await new Promise<number>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const why = error.code === 'EADDRINUSE' ? 'address already in use' : error.message
      reject(new Error(`${options.name} cannot listen on ${options.endpoint}: ${why}`, { cause: error }))
    })
    server.listen({ host: place.host, port: place.port, exclusive: true }, () => {
      const bound = server.address()
      resolve(typeof bound === 'object' && bound !== null ? bound.port : place.port)
    })
  })
  await new Promise<void>((resolve) => void server.close(() => resolve()))
  return { ...place, port }
}
