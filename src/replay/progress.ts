/**
 * How far a replay is, on stderr: one line that is written over on a terminal, a line every few seconds
 * elsewhere.
 */
import { bytes, count, seconds } from './numbers.ts'

const TERMINAL_MS = 200
const LOG_MS = 2000

export class Progress {
  readonly #out: NodeJS.WriteStream
  readonly #totalBytes: number
  readonly #startMs = performance.now()
  #lastMs = this.#startMs
  #width = 0

  constructor(out: NodeJS.WriteStream, totalBytes: number) {
    this.#out = out
    this.#totalBytes = totalBytes
  }

  update(readBytes: number, spans: number): void {
    const nowMs = performance.now()
    if (nowMs - this.#lastMs < (this.#out.isTTY ? TERMINAL_MS : LOG_MS)) return
    this.#lastMs = nowMs
    this.#write(progressLine(readBytes, this.#totalBytes, spans, (nowMs - this.#startMs) / 1000))
  }

  /** What it took, in all. */
  finish(readBytes: number, spans: number): void {
    const elapsed = Math.max(0.001, (performance.now() - this.#startMs) / 1000)
    const rate = count(spans / elapsed)
    this.#write(`${bytes(readBytes)}, ${count(spans)} spans in ${elapsed.toFixed(1)} s (${rate} spans/s)`)
    if (this.#out.isTTY) this.#out.write('\n')
  }

  #write(line: string): void {
    if (!this.#out.isTTY) return void this.#out.write(`${line}\n`)
    this.#out.write(`\r${line.padEnd(this.#width)}`)
    this.#width = line.length
  }
}

export function progressLine(readBytes: number, totalBytes: number, spans: number, elapsed: number): string {
  const share = totalBytes === 0 ? 1 : Math.min(1, readBytes / totalBytes)
  const left = share > 0 ? seconds((elapsed / share) * (1 - share)) : 'unknown'
  const rate = count(spans / Math.max(0.001, elapsed))
  return `${bytes(readBytes)} of ${bytes(totalBytes)}, ${count(spans)} spans, ${rate} spans/s, ${left} left`
}
