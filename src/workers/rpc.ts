/**
 * Calls between the main thread and a shard: a method name, plain parameters, a promise of the answer. One per message port.
 */
import type { MessagePort, Worker } from 'node:worker_threads'
import { RetryableError, toError } from '../errors.ts'
import { type PackedError, packError, unpackError } from './packed-error.ts'

type Handler = (parameters: never) => unknown
export type Handlers = Readonly<Record<string, Handler>>

interface Call {
  readonly id: number
  readonly method: string
  readonly parameters: unknown
}
interface Answer {
  readonly answers: number
  readonly value?: unknown
  readonly error?: PackedError
}
interface Pending {
  resolve(value: unknown): void
  reject(error: Error): void
}
/** A worker as its maker sees it, the worker's own end, or one end of a channel. */
export type Port = MessagePort | Worker
type Movable = MessagePort | ArrayBuffer

/** What a handler returns to give these buffers away with its answer. */
export class Moved {
  readonly value: unknown
  readonly buffers: readonly ArrayBuffer[]
  constructor(value: unknown, buffers: readonly ArrayBuffer[]) {
    this.value = value
    this.buffers = buffers
  }
}

export class Rpc {
  readonly #port: Port
  readonly #handlers: Handlers
  readonly #pending = new Map<number, Pending>()
  #nextId = 1
  #closed = false

  constructor(port: Port, handlers: Handlers) {
    this.#port = port
    this.#handlers = handlers
    port.on('message', (message: Call | Answer) => {
      if ('answers' in message) this.#settle(message)
      else void this.#run(message)
    })
  }

  /** Calls the other side. The parameters are cloned; `T` is what its handler returns. */
  call<T>(method: string, parameters: unknown, transfer: readonly Movable[] = []): Promise<T> {
    if (this.#closed) return Promise.reject(new RetryableError('the other thread is gone'))
    const id = this.#nextId++
    this.#port.postMessage({ id, method, parameters }, transfer)
    return new Promise<unknown>((resolve, reject) => {
      this.#pending.set(id, { resolve, reject })
    }) as Promise<T> // The method table of both sides is in this repository; ids keep answers apart.
  }

  /** Tells the other side, without waiting for an answer. */
  tell(method: string, parameters: unknown, transfer: readonly Movable[] = []): void {
    if (!this.#closed) this.#port.postMessage({ id: 0, method, parameters }, transfer)
  }

  /** The other thread is gone: what waits for it fails. */
  close(): void {
    this.#closed = true
    for (const pending of this.#pending.values())
      pending.reject(new RetryableError('the other thread is gone'))
    this.#pending.clear()
  }

  async #run(call: Call): Promise<void> {
    const answer: { answers: number; value?: unknown; error?: PackedError } = { answers: call.id }
    let buffers: readonly ArrayBuffer[] = []
    try {
      const handler = this.#handlers[call.method]
      if (handler === undefined) throw new TypeError(`no method ${call.method}`)
      const value: unknown = await handler(call.parameters as never) // The handler declares what its callers pass.
      if (value instanceof Moved) buffers = value.buffers
      answer.value = value instanceof Moved ? value.value : value
    } catch (error) {
      answer.error = packError(toError(error))
    }
    if (call.id !== 0 && !this.#closed) this.#port.postMessage(answer, buffers)
  }

  #settle(answer: Answer): void {
    const pending = this.#pending.get(answer.answers)
    if (pending === undefined) return
    this.#pending.delete(answer.answers)
    if (answer.error === undefined) pending.resolve(answer.value)
    else pending.reject(unpackError(answer.error))
  }
}
