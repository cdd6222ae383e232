/** A helper process of the bench (driver, sink) that is asked by lines on stdin and answers each with a line of JSON. */
import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

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
