/**
 * A disk in memory that can fail, tear writes, and forget what was not synced. Everything random comes from the seed.
 *
 *     const disk = new Disk(seed)
 *     const files = disk.mount()   // what one process sees of it, until it dies
 *     disk.fault = (operation) => (operation === 'write' ? errno('ENOSPC') : undefined)
 *     disk.powerCut()   // what was not synced is gone, or there in part
 */
import { basename, dirname } from 'node:path'
import type { Files, OpenFile } from '../../../src/storage/files.ts'

export type Operation =
  | 'open'
  | 'list'
  | 'write'
  | 'read'
  | 'truncate'
  | 'sync'
  | 'rename'
  | 'remove'
  | 'syncFolder'

export function errno(code: string): Error {
  return Object.assign(new Error(`${code}: shim`), { code })
}

/** Mulberry32: small, seeded, good enough for schedules. */
export function random(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

class Inode {
  bytes: Buffer = Buffer.alloc(0)
  length = 0
  /** What survives a power cut. */
  synced: Buffer = Buffer.alloc(0)

  get content(): Buffer {
    return this.bytes.subarray(0, this.length)
  }
  set content(content: Buffer) {
    this.bytes = content
    this.length = content.length
  }
  write(data: Uint8Array, position: number): void {
    const end = position + data.length
    if (end > this.bytes.length) {
      const grown = Buffer.alloc(Math.max(end, this.bytes.length * 2))
      this.content.copy(grown)
      this.bytes = grown
    }
    if (position > this.length) this.bytes.fill(0, this.length, position)
    this.bytes.set(data, position)
    this.length = Math.max(this.length, end)
  }
}

export class Disk {
  readonly random: () => number
  /** By path: what a reader sees, and what a power cut leaves. */
  #names = new Map<string, Inode>()
  #durableNames = new Map<string, Inode>()
  /** Raised when the process dies. */
  #life = 0
  fault: ((operation: Operation, path: string) => Error | undefined) | undefined
  /** Faults that were thrown, by operation. */
  readonly fired = new Map<Operation, number>()
  writes = 0
  /** Bytes that fit. Writing over what is there needs no room. */
  capacity = Number.POSITIVE_INFINITY

  constructor(seed: number) {
    this.random = random(seed)
  }

  /** The process dies: what it wrote stays. */
  kill(): void {
    this.#life++
  }

  /** Only what was synced surely survives; of the rest nothing, a part, or zeros where it was to be. */
  powerCut(): void {
    this.#life++
    const names = new Map(this.#durableNames)
    for (const [path, inode] of this.#names)
      if (!names.has(path) && this.random() < 0.5) names.set(path, inode)
    this.#names = names
    this.#durableNames = new Map(names)
    for (const inode of new Set(names.values())) {
      const extra = inode.content.subarray(inode.synced.length)
      const kept = Math.floor(this.random() * (extra.length + 1))
      const choice = this.random()
      const rest =
        choice < 0.4 ? Buffer.alloc(0) : choice < 0.8 ? extra.subarray(0, kept) : Buffer.alloc(kept)
      inode.content = Buffer.concat([inode.synced, rest])
      inode.synced = Buffer.from(inode.content)
    }
  }

  content(path: string): Buffer | undefined {
    return this.#names.get(path)?.content
  }

  /** Puts a file there as a whole, or changes it. Undefined takes it away. */
  put(path: string, content: Buffer | undefined): void {
    this.#names.delete(path)
    this.#durableNames.delete(path)
    if (!content) return
    const inode = new Inode()
    inode.content = Buffer.from(content)
    inode.synced = Buffer.from(content)
    this.#names.set(path, inode)
    this.#durableNames.set(path, inode)
  }

  paths(): string[] {
    return [...this.#names.keys()].sort()
  }

  /** The file system of one process: after its death nothing that is left of it comes back or does anything. */
  mount(): Files {
    const life = this.#life
    const step = async (operation: Operation, path: string) => {
      await new Promise<void>((resolve) => setImmediate(resolve))
      if (life !== this.#life) await new Promise<never>(() => {})
      const error = this.fault?.(operation, path)
      if (!error) return
      this.fired.set(operation, (this.fired.get(operation) ?? 0) + 1)
      throw error
    }
    return {
      open: async (path, mode) => {
        await step('open', path)
        return this.#handle(path, this.#inode(path, mode === 'create'), step)
      },
      list: async (folder) => {
        await step('list', folder)
        return this.paths()
          .filter((path) => dirname(path) === folder)
          .map((path) => basename(path))
      },
      makeFolder: async () => {},
      rename: async (from, to) => {
        await step('rename', from)
        this.#rename(from, to)
      },
      remove: async (path) => {
        await step('remove', path)
        if (!this.#names.delete(path)) throw errno('ENOENT')
        if (this.random() < 0.5) this.#durableNames.delete(path)
      },
      syncFolder: async (folder) => {
        await step('syncFolder', folder)
        for (const path of [...this.#durableNames.keys()])
          if (dirname(path) === folder && !this.#names.has(path)) this.#durableNames.delete(path)
        for (const [path, inode] of this.#names)
          if (dirname(path) === folder) this.#durableNames.set(path, inode)
      },
    }
  }

  /** Leaves so much room. */
  leave(bytes: number): void {
    this.capacity = this.#usedBytes() + bytes
  }

  #usedBytes(): number {
    let used = 0
    for (const inode of this.#names.values()) used += inode.length
    return used
  }

  #inode(path: string, create: boolean): Inode {
    const known = this.#names.get(path)
    if (create ? known : !known) throw errno(create ? 'EEXIST' : 'ENOENT')
    if (known) return known
    const made = new Inode()
    this.#names.set(path, made)
    return made
  }

  /** A rename is one step on the disk, too: it is there or not, and never in two halves. */
  #rename(from: string, to: string): void {
    const inode = this.#names.get(from)
    if (!inode) throw errno('ENOENT')
    this.#names.delete(from)
    this.#names.set(to, inode)
    if (this.#durableNames.delete(from)) this.#durableNames.set(to, inode)
  }

  #handle(path: string, inode: Inode, step: (operation: Operation, path: string) => Promise<void>): OpenFile {
    return {
      write: async (buffers, position) => {
        const data = Buffer.concat(buffers)
        this.writes++
        try {
          await step('write', path)
        } catch (error) {
          inode.write(data.subarray(0, Math.floor(this.random() * data.length)), position)
          throw error
        }
        const room = Math.max(0, this.capacity - this.#usedBytes() + inode.length - position)
        inode.write(data.subarray(0, room), position)
        if (room >= data.length) return
        this.fired.set('write', (this.fired.get('write') ?? 0) + 1)
        throw errno('ENOSPC')
      },
      read: async (length, position) => {
        await step('read', path)
        return Buffer.from(inode.content.subarray(position, position + length))
      },
      size: async () => inode.length,
      truncate: async (length) => {
        await step('truncate', path)
        inode.content = Buffer.from(inode.content.subarray(0, length))
      },
      sync: async () => {
        await step('sync', path)
        inode.synced = Buffer.from(inode.content)
      },
      close: async () => {},
    }
  }
}
