/**
 * One process per directory. The lock is a file that says who holds it: the process, when it was started, and the process
 * namespace (container) its number belongs to. All shards of a process share it.
 *
 * A lock of a process that is gone is taken over at once. One of another namespace tells nothing by its number: its holder touches
 * the file every second, so it counts as gone when the file was not touched for a while.
 */
import { randomBytes } from 'node:crypto'
import { readFileSync, readlinkSync } from 'node:fs'
import fsp from 'node:fs/promises'
import { join } from 'node:path'
import { WeirError } from '../errors.ts'

/** Another process uses the directory. */
export class LockedError extends WeirError {
  static override code = 'LOCKED'
}

interface Holder {
  readonly pid: number
  readonly started: string
  readonly namespace: string
}

const TOUCH_MS = 1000
/** A holder in another container that has not touched the file for so long is gone. */
const SILENT_MS = 3500
const POLL_MS = 50

export interface DirectoryLock {
  /** Gives it up: the file goes when `last`, that is when no other shard of this process is left. */
  release(last: boolean): Promise<void>
}

/** Waits up to `timeoutMs` for a holder that is alive to go; then rejects with a LockedError that names it. */
export async function lockDirectory(directory: string, timeoutMs: number): Promise<DirectoryLock> {
  const path = join(directory, 'lock')
  const self: Holder = { pid: process.pid, started: startOf(process.pid), namespace: ownNamespace() }
  const deadline = performance.now() + timeoutMs
  while (true) {
    const holder = await read(path)
    if (!holder) {
      if (await tryLock(path, self)) break
    } else if (holder.namespace === self.namespace) {
      if (holder.pid === self.pid && holder.started === self.started) break
      if (!isAlive(holder)) await takeAway(path, holder)
      else if (performance.now() >= deadline) throw locked(directory, holder)
      else await new Promise((resolve) => setTimeout(resolve, POLL_MS))
    } else if (await isTouched(path)) throw locked(directory, holder)
    else await takeAway(path, holder)
  }
  const timer = setInterval(() => void touch(path), TOUCH_MS).unref()
  return {
    async release(last) {
      clearInterval(timer)
      if (last) await fsp.unlink(path).catch(() => {})
    },
  }
}

function locked(directory: string, { pid, namespace }: Holder): LockedError {
  const where = namespace === ownNamespace() ? '' : ' in another container'
  return new LockedError(
    `${directory} is in use by process ${pid}${where}: give each process its own directory`,
  )
}

async function tryLock(path: string, holder: Holder): Promise<boolean> {
  // Linked into place whole, so that nobody reads half of it.
  const draft = `${path}.${randomBytes(6).toString('hex')}`
  await fsp.writeFile(draft, JSON.stringify(holder), { mode: 0o600 })
  try {
    await fsp.link(draft, path)
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false
    throw error
  } finally {
    await fsp.unlink(draft)
  }
}

async function read(path: string): Promise<Holder | undefined> {
  try {
    const holder: unknown = JSON.parse(await fsp.readFile(path, 'utf8'))
    if (typeof holder === 'object' && holder !== null && 'pid' in holder) return holder as Holder // As written here.
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
  }
  return { pid: 0, started: '', namespace: ownNamespace() } // Damaged: nobody's.
}

/** Only if it is still the lock that was looked at: somebody else may have taken it over meanwhile. */
async function takeAway(path: string, holder: Holder): Promise<void> {
  const aside = `${path}.${randomBytes(6).toString('hex')}`
  try {
    await fsp.rename(path, aside)
  } catch {
    return
  }
  const found = await read(aside)
  const same = found?.pid === holder.pid && found.started === holder.started
  if (!same) await fsp.link(aside, path).catch(() => {})
  await fsp.unlink(aside).catch(() => {})
}

function isAlive({ pid, started }: Holder): boolean {
  if (pid <= 0) return false
  try {
    process.kill(pid, 0)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EPERM')) return false
  }
  const now = startOf(pid)
  return now === '' || started === '' || now === started
}

/** When a process was started, in ticks since the boot, with the boot's id; empty where the system does not tell. */
function startOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    if (fields[0] === 'Z' || fields[0] === 'X') return 'ended' // Nobody has asked for its exit code yet.
    const ticks = fields[19] ?? ''
    return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()}/${ticks}`
  } catch {
    return ''
  }
}

function ownNamespace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid')
  } catch {
    return ''
  }
}

async function touch(path: string): Promise<void> {
  const now = new Date()
  await fsp.utimes(path, now, now).catch(() => {})
}

async function isTouched(path: string): Promise<boolean> {
  try {
    const before = (await fsp.stat(path)).mtimeMs
    const until = performance.now() + SILENT_MS
    while (performance.now() < until) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS))
      if ((await fsp.stat(path)).mtimeMs !== before) return true
    }
    return false
  } catch {
    return false // It is gone.
  }
}
