/** Helper processes of the bench (driver, sink): asked by lines on stdin, they answer each with a line of JSON. */
import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

let children: Set<ChildProcess> | undefined

/** The child does not outlive this process, however that ends. */
export function endWithThisProcess(child: ChildProcess): void {
  if (children === undefined) {
    const started = new Set<ChildProcess>()
    children = started
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.once(signal, () => process.exit(1))
    process.once('exit', () => {
      for (const each of started) each.kill('SIGKILL')
    })
  }
  const known = children
  known.add(child)
  child.once('exit', () => known.delete(child))
}

export class Helper {
  readonly #child: ChildProcess
  readonly #lines: AsyncIterator<string>
  #errors = ''

  /** `script` stands in bench/load. With `cores` (a list for taskset) it runs on these alone. */
  constructor(script: string, scriptArguments: readonly string[] = [], cores?: string) {
    const [command, list] = pinned(
      process.execPath,
      [join(import.meta.dirname, '../load', script), ...scriptArguments],
      cores,
    )
    const child = spawn(command, list, { stdio: ['pipe', 'pipe', 'pipe'] })
    child.stderr.on('data', (data) => {
      this.#errors = (this.#errors + String(data)).slice(-8192)
    })
    child.stdin.on('error', () => {})
    endWithThisProcess(child)
    this.#child = child
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  }

  async ask<T>(line: string): Promise<T> {
    this.#child.stdin?.write(`${line}\n`)
    return this.next<T>()
  }

  async next<T>(): Promise<T> {
    const { value, done } = await this.#lines.next()
    if (done) throw new Error(`a helper of the bench ended: ${this.#errors}`)
    return JSON.parse(value) as T
  }

  stop(): void {
    this.#child.kill()
  }
}

/** The command as it is, or under taskset. */
export function pinned(
  command: string,
  list: readonly string[],
  cores: string | undefined,
): [string, string[]] {
  return cores === undefined ? [command, [...list]] : ['taskset', ['-c', cores, command, ...list]]
}
