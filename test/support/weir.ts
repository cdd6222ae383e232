/**
 * Weir as a child process, as a user runs it. Listeners with port 0 get a free one; the ready line says which.
 *
 *     await using weir = await startWeir({ receivers: ..., service: ... })
 *     await fetch(`http://${weir.address('receivers/otlp/protocols/http')}/v1/traces`, ...)
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

const ROOT = join(import.meta.dirname, '../..')

export interface LogLine {
  readonly level: string
  readonly msg: string
  readonly [field: string]: unknown
}

export interface RunningWeir extends AsyncDisposable {
  readonly pid: number
  readonly folder: string
  readonly configPath: string
  /** Everything logged so far. */
  readonly log: readonly LogLine[]
  address(listener: string): string
  port(listener: string): number
  /** Resolves with the first line that matches, also one that was logged already (from index `since`). */
  logged(matches: (line: LogLine) => boolean, since?: number, timeoutMs?: number): Promise<LogLine>
  signal(name: NodeJS.Signals): void
  /** SIGTERM, and the exit code. */
  stop(): Promise<number | null>
}

/** `config` is an object (written as JSON, which is YAML) or YAML text. */
export async function startWeir(
  config: unknown,
  options: {
    readonly env?: Readonly<Record<string, string>>
    readonly arguments?: readonly string[]
    /** Put in front of the command line. It has to become Weir (`exec`), so that signals reach it. */
    readonly wrapper?: readonly string[]
    /** Written beside the configuration, by their paths. */
    readonly files?: Readonly<Record<string, string>>
  } = {},
): Promise<RunningWeir> {
  const folder = mkdtempSync(join(tmpdir(), 'weir-test-'))
  for (const [name, text] of Object.entries(options.files ?? {})) {
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    writeFileSync(join(folder, name), text)
  }
  const configPath = join(folder, 'config.yaml')
  writeFileSync(configPath, typeof config === 'string' ? config : JSON.stringify(config, null, 1))
  const [command = '', ...words] = [
    ...(options.wrapper ?? []),
    ...[process.execPath, join(ROOT, 'src/main.ts'), '--config', configPath],
    ...(options.arguments ?? []),
  ]
  const child = spawn(command, words, {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, ...options.env },
    cwd: folder,
  })
  const log: LogLine[] = []
  const waiting = new Set<() => void>()
  let rest = ''
  let raw = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    raw = (raw + text).slice(-16_384)
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) log.push(parseLine(line))
    for (const check of waiting) check()
  })
  child.on('exit', () => {
    for (const check of waiting) check()
  })
  const logged = (matches: (line: LogLine) => boolean, since = 0, timeoutMs = 30_000) =>
    new Promise<LogLine>((resolve, reject) => {
      const finish = (act: () => void) => {
        clearTimeout(timer)
        waiting.delete(check)
        act()
      }
      const check = () => {
        const found = log.slice(since).find(matches)
        if (found !== undefined) finish(() => resolve(found))
        else if (child.exitCode !== null || child.signalCode !== null)
          finish(() => reject(new Error(`weir ended (${child.exitCode ?? child.signalCode}): ${raw}`)))
      }
      const timer = setTimeout(() => finish(() => reject(new Error(`not logged in time: ${raw}`))), timeoutMs)
      waiting.add(check)
      check()
    })
  const ready = await logged((line) => line.msg === 'weir is ready')
  const listeners = ready['listeners'] as Record<string, string> // The ready line of service/run.ts.
  const address = (listener: string) => {
    const found = listeners[listener]
    if (found === undefined)
      throw new RangeError(`${listener} is not among ${Object.keys(listeners).join(', ')}`)
    return found
  }
  const stop = () => end(child)
  return {
    pid: child.pid ?? 0,
    folder,
    configPath,
    log,
    address,
    port: (listener) => Number(address(listener).split(':').at(-1)),
    logged,
    signal: (name) => void child.kill(name),
    stop,
    async [Symbol.asyncDispose]() {
      await stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

function parseLine(line: string): LogLine {
  try {
    return JSON.parse(line) as LogLine
  } catch {
    return { level: 'raw', msg: line }
  }
}

async function end(child: ChildProcess): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode
  const exited = new Promise<number | null>((resolve) => void child.once('exit', (code) => resolve(code)))
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), 40_000)
  const code = await exited
  clearTimeout(timer)
  return code
}
